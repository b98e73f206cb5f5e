//! Changes of sample rate, for whole recordings and for streams: the transform resampler of `rubato`.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};
use std::collections::VecDeque;

/// The lowest and highest sample rate that any sound card or file in use has, in Hz.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// Input samples converted at once, about 10 ms at 48 kHz.
const CHUNK: usize = 480;

/// Converts one mono stream from one sample rate to another.
pub struct Resampler {
    /// Nothing when the rates are equal.
    inner: Option<Fft<f32>>,
    from_hz: u32,
    to_hz: u32,
    waiting: VecDeque<f32>,
    /// Samples of the filter's delay that are still to be dropped.
    skip: usize,
    taken: u64,
    given: u64,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("from_hz", &self.from_hz)
            .field("to_hz", &self.to_hz)
            .finish_non_exhaustive()
    }
}

/// Why a sample rate cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResampleError {
    /// A rate is out of range.
    #[error("a sample rate of {rate_hz} Hz is not between 1000 Hz and 768000 Hz")]
    Rate {
        /// The rate.
        rate_hz: u32,
    },
    /// The filter refused.
    #[error("cannot convert {from_hz} Hz to {to_hz} Hz: {why}")]
    Filter {
        /// The rate of the input.
        from_hz: u32,
        /// The rate of the output.
        to_hz: u32,
        /// What the filter says.
        why: String,
    },
}

impl Resampler {
    /// A resampler that has heard nothing.
    ///
    /// # Errors
    /// When a rate is out of [`RATES_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, ResampleError> {
        if let Some(rate_hz) = [from_hz, to_hz]
            .into_iter()
            .find(|rate| !RATES_HZ.contains(rate))
        {
            return Err(ResampleError::Rate { rate_hz });
        }
        let inner = if from_hz == to_hz {
            None
        } else {
            let fft = Fft::new(from_hz as usize, to_hz as usize, CHUNK, 1, FixedSync::Input);
            Some(fft.map_err(|error| ResampleError::Filter {
                from_hz,
                to_hz,
                why: error.to_string(),
            })?)
        };
        let skip = inner.as_ref().map_or(0, |fft| fft.output_delay());
        Ok(Self {
            inner,
            from_hz,
            to_hz,
            waiting: VecDeque::new(),
            skip,
            taken: 0,
            given: 0,
        })
    }

    /// Adds input and appends the output that it completes.
    ///
    /// # Errors
    /// When the filter refuses.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), ResampleError> {
        self.taken += samples.len() as u64;
        let Some(fft) = &mut self.inner else {
            out.extend_from_slice(samples);
            return Ok(());
        };
        self.waiting.extend(samples);
        while self.waiting.len() >= fft.input_frames_next() {
            let count = fft.input_frames_next();
            let chunk: Vec<f32> = self.waiting.drain(..count).collect();
            let filter = |why: String| ResampleError::Filter {
                from_hz: self.from_hz,
                to_hz: self.to_hz,
                why,
            };
            let input = InterleavedSlice::new(&chunk, 1, count)
                .map_err(|error| filter(error.to_string()))?;
            let output = fft
                .process(&input, None::<&Indexing>)
                .map_err(|error| filter(error.to_string()))?;
            let output = output.take_data();
            let dropped = self.skip.min(output.len());
            self.skip -= dropped;
            self.given += (output.len() - dropped) as u64;
            out.extend_from_slice(&output[dropped..]);
        }
        Ok(())
    }

    /// Appends what is still in the filter, so that as much time has come out as went in.
    ///
    /// # Errors
    /// When the filter refuses.
    pub fn finish(mut self, out: &mut Vec<f32>) -> Result<(), ResampleError> {
        if self.inner.is_none() {
            return Ok(());
        }
        let wanted = (self.taken * u64::from(self.to_hz)).div_ceil(u64::from(self.from_hz));
        while self.given < wanted {
            self.push(&[0.0; CHUNK], out)?;
        }
        let surplus = usize::try_from(self.given - wanted).unwrap_or(usize::MAX);
        out.truncate(out.len().saturating_sub(surplus));
        Ok(())
    }

    /// Converts a whole recording.
    ///
    /// # Errors
    /// When a rate is out of [`RATES_HZ`].
    pub fn convert(samples: &[f32], from_hz: u32, to_hz: u32) -> Result<Vec<f32>, ResampleError> {
        let mut resampler = Self::new(from_hz, to_hz)?;
        let mut out = Vec::new();
        resampler.push(samples, &mut out)?;
        resampler.finish(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate_hz: u32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|i| (std::f32::consts::TAU * 440.0 * i as f32 / rate_hz as f32).sin())
            .collect()
    }

    #[test]
    fn a_tone_keeps_its_pitch_its_place_and_its_length() {
        for (from_hz, to_hz) in [
            (48_000, 16_000),
            (44_100, 16_000),
            (8_000, 16_000),
            (24_000, 48_000),
            (16_000, 16_000),
        ] {
            let out = Resampler::convert(&tone(from_hz, from_hz as usize), from_hz, to_hz).unwrap();
            assert_eq!(out.len(), to_hz as usize, "{from_hz} to {to_hz}");
            let expected = tone(to_hz, to_hz as usize);
            let middle = to_hz as usize / 4..to_hz as usize * 3 / 4;
            let worst = middle
                .map(|i| (out[i] - expected[i]).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.01, "{from_hz} to {to_hz}: {worst}");
        }
    }

    #[test]
    fn blocks_of_any_size_give_the_same_samples() {
        let input = tone(44_100, 10_000);
        let whole = Resampler::convert(&input, 44_100, 16_000).unwrap();
        let mut resampler = Resampler::new(44_100, 16_000).unwrap();
        let mut out = Vec::new();
        for block in input.chunks(7) {
            resampler.push(block, &mut out).unwrap();
        }
        resampler.finish(&mut out).unwrap();
        assert_eq!(out, whole);
        assert!(Resampler::convert(&[], 8_000, 16_000).unwrap().is_empty());
    }

    #[test]
    fn absurd_rates_are_refused() {
        assert!(matches!(
            Resampler::new(0, 16_000),
            Err(ResampleError::Rate { rate_hz: 0 })
        ));
        assert!(Resampler::new(u32::MAX, 16_000).is_err());
    }
}
