//! From the spectra that the network predicts to a waveform.
//!
//! A frame is 12.5 ms. Its spectrum is the sum of three parts: pulses at the pitch, filtered; noise,
//! shaped; and a part with a phase of its own:
//! `S = exp(lh) · e^(iπ·tanh θ) · STFT(pulses(f0)) + exp(ln) · noise + exp(lr) · e^(iφ)`.
//! Frames are transformed back and overlapped (1200 samples every 300, Hann). After `dsp.py` of
//! hibari (Copyright 2026 Maureese Williams, Apache-2.0); the noise comes from a fixed seed here, so
//! that the same text always gives the same samples.

use super::SAMPLE_RATE_HZ;
use ndarray::ArrayView2;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};
use std::f32::consts::{PI, TAU};
use std::fmt;
use std::sync::Arc;

/// Samples in one frame's window.
const WINDOW: usize = 1200;
/// Samples from one frame to the next.
pub(super) const HOP: usize = 300;
/// Frequencies of a frame.
pub(super) const BINS: usize = WINDOW / 2 + 1;
/// Frames below this pitch are unvoiced.
const LOWEST_PITCH_HZ: f32 = 40.0;
/// Harmonics above this are left out.
const HIGHEST_HARMONIC_HZ: f32 = 11_000.0;
/// The network's logarithms are cut here, so that a bad frame cannot deafen anyone.
const LOUDEST_LOG: f32 = 7.0;

/// What the network predicts: five spectra `[BINS, frames]` and the pitch.
#[derive(Debug)]
pub(super) struct Spectra<'a> {
    /// Log magnitude of the voiced part.
    pub(super) voiced: ArrayView2<'a, f32>,
    /// Its phase, before tanh.
    pub(super) voiced_phase: ArrayView2<'a, f32>,
    /// Log magnitude of the noise.
    pub(super) noise: ArrayView2<'a, f32>,
    /// Log magnitude of the free part.
    pub(super) free: ArrayView2<'a, f32>,
    /// Its phase in radians.
    pub(super) free_phase: ArrayView2<'a, f32>,
    /// In Hz, one for each frame.
    pub(super) pitch_hz: &'a [f32],
}

/// Prepared transforms.
pub(super) struct Vocoder {
    window: Vec<f32>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
}

impl fmt::Debug for Vocoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocoder").finish_non_exhaustive()
    }
}

impl Vocoder {
    pub(super) fn new() -> Self {
        let mut planner = FftPlanner::new();
        Self {
            window: (0..WINDOW)
                .map(|i| 0.5 - 0.5 * (TAU * i as f32 / WINDOW as f32).cos())
                .collect(),
            forward: planner.plan_fft_forward(WINDOW),
            inverse: planner.plan_fft_inverse(WINDOW),
        }
    }

    /// The waveform: 300 samples at 24 kHz for each frame.
    pub(super) fn waveform(&self, spectra: &Spectra<'_>) -> Vec<f32> {
        let frames = spectra.pitch_hz.len();
        let source = pulses(spectra.pitch_hz);
        let mut noise = Noise::new();
        let mut samples = vec![0.0; frames * HOP + WINDOW];
        let mut weights = vec![0.0; frames * HOP + WINDOW];
        let mut spectrum = vec![Complex32::default(); WINDOW];
        let scratch = self
            .forward
            .get_inplace_scratch_len()
            .max(self.inverse.get_inplace_scratch_len());
        let mut scratch = vec![Complex32::default(); scratch];
        for frame in 0..frames {
            // A unit cosine peaks at a quarter of the window's length in its transform.
            let unit = 4.0 / WINDOW as f32;
            for (i, (slot, weight)) in spectrum.iter_mut().zip(&self.window).enumerate() {
                let sample = mirrored(frame * HOP + i, source.len()).map_or(0.0, |at| source[at]);
                *slot = Complex32::new(sample * weight * unit, 0.0);
            }
            self.forward
                .process_with_scratch(&mut spectrum, &mut scratch);
            for (bin, value) in spectrum[..BINS].iter_mut().enumerate() {
                let at = [bin, frame];
                let magnitude = |log: f32| log.min(LOUDEST_LOG).exp();
                let filter = Complex32::from_polar(
                    magnitude(spectra.voiced[at]),
                    PI * spectra.voiced_phase[at].tanh(),
                );
                let free =
                    Complex32::from_polar(magnitude(spectra.free[at]), spectra.free_phase[at]);
                *value = *value * filter + noise.sample() * magnitude(spectra.noise[at]) + free;
            }
            // A real signal: the first and middle bins have no phase, the upper half mirrors the lower.
            spectrum[0].im = 0.0;
            spectrum[WINDOW / 2].im = 0.0;
            for bin in 1..WINDOW / 2 {
                spectrum[WINDOW - bin] = spectrum[bin].conj();
            }
            self.inverse
                .process_with_scratch(&mut spectrum, &mut scratch);
            let start = frame * HOP;
            for (i, weight) in self.window.iter().enumerate() {
                samples[start + i] += spectrum[i].re / WINDOW as f32 * weight;
                weights[start + i] += weight * weight;
            }
        }
        let middle = WINDOW / 2..WINDOW / 2 + frames * HOP;
        samples[middle.clone()]
            .iter()
            .zip(&weights[middle])
            .map(|(sample, weight)| sample / weight.max(1e-11))
            .collect()
    }
}

/// The index into `length` samples for `padded` counted from half a window before the first, with
/// the signal mirrored at both ends; nothing beyond the mirror image.
fn mirrored(padded: usize, length: usize) -> Option<usize> {
    let half = WINDOW / 2;
    let at = match padded.checked_sub(half) {
        None => half - padded,
        Some(at) if at < length => at,
        Some(at) => (2 * length).checked_sub(2 + at)?,
    };
    (at < length).then_some(at)
}

/// A pulse train at the pitch: every harmonic below 11 kHz with amplitude 1, and silence where the
/// frames are unvoiced.
///
/// The sum of H cosines in closed form: `sin((H + 1/2)·t) / (2·sin(t/2)) - 1/2`.
fn pulses(pitch_hz: &[f32]) -> Vec<f32> {
    let frames = pitch_hz.len();
    let mut phase = 0.0_f64;
    (0..frames * HOP)
        .map(|i| {
            let position = ((i as f32 + 0.5) / HOP as f32 - 0.5).max(0.0);
            let (frame, part) = (position as usize, position.fract());
            let next = pitch_hz[(frame + 1).min(frames - 1)];
            let pitch = pitch_hz[frame] * (1.0 - part) + next * part;
            let voiced = pitch > LOWEST_PITCH_HZ;
            let pitch = pitch.max(LOWEST_PITCH_HZ);
            phase = (phase + f64::from(pitch) / SAMPLE_RATE_HZ as f64).fract();
            if !voiced {
                return 0.0;
            }
            let angle = (phase * std::f64::consts::TAU) as f32;
            let harmonics = (HIGHEST_HARMONIC_HZ / pitch).floor() + 0.5;
            let divisor = 2.0 * (0.5 * angle).sin();
            // At the pulse itself both sines vanish; the quotient's limit is the number of harmonics.
            if divisor.abs() <= 2e-3 {
                harmonics - 0.5
            } else {
                (harmonics * angle).sin() / divisor - 0.5
            }
        })
        .collect()
}

/// Gaussian noise from a fixed seed: xorshift64* (Vigna 2014, arXiv:1402.6246) and Box-Muller.
struct Noise(u64);

impl Noise {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Uniform in (0, 1).
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 41;
        (bits as f32 + 0.5) / (1_u64 << 23) as f32
    }

    /// Real and imaginary part of unit variance each.
    fn sample(&mut self) -> Complex32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        Complex32::from_polar(radius, TAU * self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulses_come_at_the_pitch_and_not_without_one() {
        let train = pulses(&[100.0; 80]);
        assert_eq!(train.len(), 80 * HOP);
        let peaks = train.iter().filter(|sample| **sample > 100.0).count();
        // One second at 100 Hz, each pulse one or two samples wide at this height.
        assert!((90..=210).contains(&peaks), "{peaks}");
        assert!(pulses(&[0.0; 10]).iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn noise_is_centred_with_unit_variance_and_always_the_same() {
        let mut noise = Noise::new();
        let samples: Vec<Complex32> = (0..20_000).map(|_| noise.sample()).collect();
        let mean = samples.iter().sum::<Complex32>() / 20_000.0;
        let variance = samples.iter().map(|sample| sample.norm_sqr()).sum::<f32>() / 40_000.0;
        assert!(
            mean.norm() < 0.02 && (variance - 1.0).abs() < 0.03,
            "{mean} {variance}"
        );
        assert_eq!(Noise::new().sample(), samples[0]);
    }

    #[test]
    fn silence_in_gives_next_to_silence_out() {
        let quiet = ndarray::Array2::from_elem((BINS, 4), -20.0_f32);
        let phase = ndarray::Array2::zeros((BINS, 4));
        let spectra = Spectra {
            voiced: quiet.view(),
            voiced_phase: phase.view(),
            noise: quiet.view(),
            free: quiet.view(),
            free_phase: phase.view(),
            pitch_hz: &[0.0; 4],
        };
        let samples = Vocoder::new().waveform(&spectra);
        assert_eq!(samples.len(), 4 * HOP);
        assert!(samples.iter().all(|sample| sample.abs() < 1e-3));
    }

    #[test]
    fn mirroring_stays_inside() {
        assert_eq!(
            [mirrored(0, 1000), mirrored(600, 1000), mirrored(1600, 1000)],
            [Some(600), Some(0), Some(998)]
        );
        assert_eq!([mirrored(0, 300), mirrored(1500, 300)], [None, None]);
    }
}
