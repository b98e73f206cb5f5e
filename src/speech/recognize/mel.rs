//! Whisper's input: the logarithm of 80 mel bands, 100 frames a second.
//!
//! As in OpenAI's `whisper/audio.py`: Hann window of 400 samples every 160, mel filters of
//! librosa's Slaney scale with unit area, log10 clamped 8 below the loudest value, then (x + 4) / 4.

use super::SAMPLE_RATE_HZ;
use ndarray::Array2;
use ndarray::linalg::general_mat_mul;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};
use std::fmt;
use std::sync::Arc;

/// Samples in one window.
const WINDOW: usize = 400;
/// Samples from one frame to the next.
pub(super) const HOP: usize = 160;
/// Frequencies of a real transform of one window.
const BINS: usize = WINDOW / 2 + 1;

/// Computes log mel spectra.
pub(super) struct MelSpectrum {
    /// `[bands, BINS]`
    filters: Array2<f32>,
    window: Vec<f32>,
    fft: Arc<dyn Fft<f32>>,
}

impl fmt::Debug for MelSpectrum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MelSpectrum")
            .field("bands", &self.filters.nrows())
            .finish_non_exhaustive()
    }
}

impl MelSpectrum {
    /// Prepares the filters of `bands` mel bands.
    pub(super) fn new(bands: usize) -> Self {
        let turn = std::f32::consts::TAU / WINDOW as f32;
        Self {
            filters: mel_filters(bands),
            window: (0..WINDOW)
                .map(|i| 0.5 - 0.5 * (turn * i as f32).cos())
                .collect(),
            fft: FftPlanner::new().plan_fft_forward(WINDOW),
        }
    }

    /// `audio` at 16 kHz, a multiple of 160 samples and at least 400, to `[frames, bands]`.
    pub(super) fn log_mel(&self, audio: &[f32]) -> Array2<f32> {
        let frames = audio.len() / HOP;
        let mut power = Array2::zeros((frames, BINS));
        let mut buffer = vec![Complex32::default(); WINDOW];
        let mut scratch = vec![Complex32::default(); self.fft.get_inplace_scratch_len()];
        for (frame, mut row) in power.rows_mut().into_iter().enumerate() {
            for (i, (slot, weight)) in buffer.iter_mut().zip(&self.window).enumerate() {
                let sample = audio[mirrored(frame * HOP + i, audio.len())];
                *slot = Complex32::new(sample * weight, 0.0);
            }
            self.fft.process_with_scratch(&mut buffer, &mut scratch);
            for (power, bin) in row.iter_mut().zip(&buffer) {
                *power = bin.norm_sqr();
            }
        }
        let mut mel = Array2::zeros((frames, self.filters.nrows()));
        general_mat_mul(1.0, &power, &self.filters.t(), 0.0, &mut mel);
        mel.mapv_inplace(|energy| energy.max(1e-10).log10());
        let loudest = mel.iter().copied().fold(f32::MIN, f32::max);
        mel.mapv_inplace(|level| (level.max(loudest - 8.0) + 4.0) / 4.0);
        mel
    }
}

/// The index into `length` samples for `padded` counted from half a window before the first, with
/// the audio mirrored at both ends.
fn mirrored(padded: usize, length: usize) -> usize {
    let half = WINDOW / 2;
    if padded < half {
        half - padded
    } else if padded - half < length {
        padded - half
    } else {
        2 * (length - 1) - (padded - half)
    }
}

/// Triangular filters `[bands, BINS]`, equally spaced on the Slaney mel scale up to 8 kHz.
fn mel_filters(bands: usize) -> Array2<f32> {
    let top = mel_from_hz(SAMPLE_RATE_HZ as f64 / 2.0);
    let edges: Vec<f64> = (0..bands + 2)
        .map(|i| hz_from_mel(top * i as f64 / (bands + 1) as f64))
        .collect();
    Array2::from_shape_fn((bands, BINS), |(band, bin)| {
        let hz = (bin * SAMPLE_RATE_HZ) as f64 / WINDOW as f64;
        let (low, middle, high) = (edges[band], edges[band + 1], edges[band + 2]);
        let triangle = ((hz - low) / (middle - low))
            .min((high - hz) / (high - middle))
            .max(0.0);
        (triangle * 2.0 / (high - low)) as f32
    })
}

/// The Slaney scale is linear below 1 kHz (15 mel) and logarithmic above.
fn mel_from_hz(hz: f64) -> f64 {
    if hz < 1000.0 {
        hz * 3.0 / 200.0
    } else {
        15.0 + (hz / 1000.0).ln() * 27.0 / 6.4_f64.ln()
    }
}

fn hz_from_mel(mel: f64) -> f64 {
    if mel < 15.0 {
        mel * 200.0 / 3.0
    } else {
        1000.0 * ((mel - 15.0) * 6.4_f64.ln() / 27.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_loudest_in_its_own_band() {
        let spectrum = MelSpectrum::new(80);
        let tone: Vec<f32> = (0..16_000)
            .map(|i| (std::f32::consts::TAU * 1000.0 * i as f32 / 16_000.0).sin())
            .collect();
        let mel = spectrum.log_mel(&tone);
        assert_eq!(mel.dim(), (100, 80));
        let row = mel.row(50);
        let loudest = (0..80).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        // 15 mel of 45.25 in all, times 81 edges, is band 26 counted from the first edge.
        assert!((25..=27).contains(&loudest), "band {loudest}");
    }

    #[test]
    fn silence_is_finite_and_flat() {
        let mel = MelSpectrum::new(80).log_mel(&[0.0; 1600]);
        assert!(mel.iter().all(|level| (level - -1.5).abs() < 1e-6));
    }

    #[test]
    fn mel_and_hertz_are_inverse() {
        for hz in [0.0, 440.0, 1000.0, 7999.0] {
            assert!((hz_from_mel(mel_from_hz(hz)) - hz).abs() < 1e-6);
        }
    }
}
