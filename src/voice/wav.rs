//! WAV files: any usual one in, mono; 16-bit mono out.

use crate::speech::resample::{RATES_HZ, ResampleError, Resampler};
use crate::whole_file::WholeFile;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// More channels than any microphone array in use has.
const MAX_CHANNELS: u16 = 64;

/// Mono audio with its sample rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// -1 to 1; the mean of the file's channels.
    pub samples: Vec<f32>,
    /// Samples in a second.
    pub sample_rate_hz: u32,
}

/// Why a WAV file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// The file cannot be opened, read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no WAV file that can be read.
    #[error("{} is not a WAV file that can be read: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        why: String,
    },
    /// The file ends before its audio does.
    #[error("{} is cut short: its header says {expected} samples, {found} are there", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Samples that the header says, over all channels.
        expected: u32,
        /// Samples that are there.
        found: usize,
    },
    /// A sample is not a number.
    #[error("{} has a sample that is not a number, at {at_secs:.3} s", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// Where.
        at_secs: f64,
    },
    /// The sample rate cannot be converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// Reads integer samples of 8 to 32 bits or 32-bit floating point, any number of channels.
///
/// # Errors
/// When the file cannot be read, is of another kind, is cut short, or holds what is not a number.
pub fn read(path: &Path) -> Result<Recording, WavError> {
    let file = File::open(path).map_err(|source| WavError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mut reader =
        WavReader::new(BufReader::new(file)).map_err(|error| read_error(path, error))?;
    let WavSpec {
        channels,
        sample_rate,
        ..
    } = reader.spec();
    let malformed = |why: String| WavError::Malformed {
        path: path.to_owned(),
        why,
    };
    if !(1..=MAX_CHANNELS).contains(&channels) {
        return Err(malformed(format!(
            "it has {channels} channels, 1 to {MAX_CHANNELS} are read"
        )));
    }
    if !RATES_HZ.contains(&sample_rate) {
        let (low, high) = (RATES_HZ.start(), RATES_HZ.end());
        return Err(malformed(format!(
            "its sample rate is {sample_rate} Hz, {low} Hz to {high} Hz are read"
        )));
    }
    let interleaved = samples(path, &mut reader)?;
    let channels = usize::from(channels);
    if let Some(at) = interleaved.iter().position(|sample| !sample.is_finite()) {
        let at_secs = (at / channels) as f64 / f64::from(sample_rate);
        return Err(WavError::NotANumber {
            path: path.to_owned(),
            at_secs,
        });
    }
    let samples = interleaved
        .chunks_exact(channels)
        .map(|frame| frame.iter().sum::<f32>() / channels as f32)
        .collect();
    Ok(Recording {
        samples,
        sample_rate_hz: sample_rate,
    })
}

/// The samples of all channels in turn, until the end of the file, not until what the header claims.
fn samples(path: &Path, reader: &mut WavReader<BufReader<File>>) -> Result<Vec<f32>, WavError> {
    let expected = reader.len();
    let WavSpec {
        bits_per_sample,
        sample_format,
        ..
    } = reader.spec();
    let mut samples = Vec::new();
    let ended = match sample_format {
        SampleFormat::Float => reader
            .samples::<f32>()
            .try_for_each(|sample| sample.map(|sample| samples.push(sample))),
        SampleFormat::Int => {
            if !(8..=32).contains(&bits_per_sample) {
                return Err(WavError::Malformed {
                    path: path.to_owned(),
                    why: format!("its samples have {bits_per_sample} bits, 8 to 32 are read"),
                });
            }
            let scale = 1.0 / (1_u64 << (bits_per_sample - 1)) as f64;
            reader.samples::<i32>().try_for_each(|sample| {
                sample.map(|sample| samples.push((f64::from(sample) * scale) as f32))
            })
        }
    };
    match ended {
        Ok(()) => Ok(samples),
        // hound says "Failed to read enough bytes." as an error of kind Other.
        Err(hound::Error::IoError(error))
            if matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::Other
            ) =>
        {
            Err(WavError::Truncated {
                path: path.to_owned(),
                expected,
                found: samples.len(),
            })
        }
        Err(error) => Err(read_error(path, error)),
    }
}

/// Reads a file and converts it to 16 kHz, as speech is recognized.
///
/// # Errors
/// As [`read`].
pub fn read_16k(path: &Path) -> Result<Vec<f32>, WavError> {
    let Recording {
        samples,
        sample_rate_hz,
    } = read(path)?;
    Ok(Resampler::convert(&samples, sample_rate_hz, 16_000)?)
}

/// Writes 16-bit mono; an existing file is replaced only once the new one is complete.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, recording: &Recording) -> Result<(), WavError> {
    let io = |source| WavError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = WholeFile::create(path).map_err(io)?;
    let spec = WavSpec {
        channels: 1,
        sample_rate: recording.sample_rate_hz,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let write_error = |error| match error {
        hound::Error::IoError(source) => io(source),
        error => WavError::Malformed {
            path: path.to_owned(),
            why: error.to_string(),
        },
    };
    let mut writer = WavWriter::new(&mut file, spec).map_err(write_error)?;
    for sample in &recording.samples {
        writer
            .write_sample((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16)
            .map_err(write_error)?;
    }
    writer.finalize().map_err(write_error)?;
    file.finish().map_err(io)
}

fn read_error(path: &Path, error: hound::Error) -> WavError {
    match error {
        hound::Error::IoError(source) if source.kind() != std::io::ErrorKind::Other => {
            WavError::Io {
                path: path.to_owned(),
                source,
            }
        }
        error => WavError::Malformed {
            path: path.to_owned(),
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(spec: WavSpec, samples: &[i32]) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for sample in samples {
            match spec.sample_format {
                SampleFormat::Int => writer.write_sample(*sample).unwrap(),
                SampleFormat::Float => writer.write_sample(*sample as f32 / 32_768.0).unwrap(),
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn read_bytes(bytes: &[u8]) -> Result<Recording, WavError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn every_usual_format_is_read_and_channels_are_mixed() {
        for (bits_per_sample, sample_format, one) in [
            (16, SampleFormat::Int, 1 << 14),
            (24, SampleFormat::Int, 1 << 22),
            (32, SampleFormat::Int, 1 << 30),
            (32, SampleFormat::Float, 1 << 14),
        ] {
            let spec = WavSpec {
                channels: 2,
                sample_rate: 44_100,
                bits_per_sample,
                sample_format,
            };
            let recording = read_bytes(&wav(spec, &[one, 0, -one, -one])).unwrap();
            assert_eq!(
                recording,
                Recording {
                    samples: vec![0.25, -0.5],
                    sample_rate_hz: 44_100
                },
                "{bits_per_sample}"
            );
        }
    }

    const SPEC: WavSpec = WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };

    #[test]
    fn a_cut_file_says_so() {
        let bytes = wav(SPEC, &[1; 100]);
        let error = read_bytes(&bytes[..bytes.len() - 50]).unwrap_err();
        assert!(
            matches!(
                error,
                WavError::Truncated {
                    expected: 100,
                    found: 75,
                    ..
                }
            ),
            "{error}"
        );
        assert!(read_bytes(&bytes[..20]).is_err());
        assert!(matches!(
            read_bytes(b"not a WAV file"),
            Err(WavError::Malformed { .. })
        ));
    }

    #[test]
    fn changed_headers_never_panic() {
        let good = wav(SPEC, &[1; 10]);
        for position in 0..44 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[position] = value;
                // Some changes are valid files; the point is that none of them panics.
                drop(read_bytes(&bad));
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.wav");
        let recording = Recording {
            samples: vec![0.0, 0.5, -1.0, 2.0],
            sample_rate_hz: 24_000,
        };
        write(&path, &recording).unwrap();
        let found = read(&path).unwrap();
        assert_eq!(found.sample_rate_hz, 24_000);
        for (found, expected) in found.samples.iter().zip([0.0, 0.5, -1.0, 1.0]) {
            assert!((found - expected).abs() < 1e-3);
        }
        assert!(write(Path::new("no/such/folder/out.wav"), &recording).is_err());
    }
}
