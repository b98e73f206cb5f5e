//! Speech to text: Whisper (Radford et al. 2022, arXiv:2212.04356) from faster-whisper's files.
//!
//! [`Recognizer::load`] reads a folder with `model.bin` (CTranslate2, version 6), `tokenizer.json`
//! and `config.json`; [`Recognizer::recognize`] writes down what was said. Every Whisper model with
//! 80 mel bands loads; `tiny.en` is the one that is measured.
//!
//! Departures from the reference: the window is as short as the utterance allows, but no shorter
//! than 8 s, because a shorter one makes Whisper repeat itself; a transcript that repeats itself or
//! is unlikely is made again with the full 30 s. Decoding is greedy and without timestamps.

mod container;
mod decoder;
mod encoder;
mod layers;
mod matrix;
mod mel;
mod vocabulary;

use crate::job::{Cancelled, Job};
use container::Container;
use decoder::Decoder;
use encoder::Encoder;
use mel::MelSpectrum;
use std::path::{Path, PathBuf};
use vocabulary::Vocabulary;

/// The sample rate that speech is recognized at.
pub const SAMPLE_RATE_HZ: usize = 16_000;
/// Whisper's own window.
const FULL_WINDOW_SECS: usize = 30;
/// Shorter windows make Whisper repeat itself.
const LEAST_WINDOW_SECS: usize = 8;
/// A transcript below this mean log-probability is made again, as in OpenAI's `transcribe.py`.
const LEAST_LOG_PROBABILITY: f32 = -1.0;
/// Samples that make one encoder position: two mel frames.
const POSITION_SAMPLES: usize = 2 * mel::HOP;

/// Speech recognition that is ready to use.
#[derive(Debug)]
pub struct Recognizer {
    spectrum: MelSpectrum,
    encoder: Encoder,
    decoder: Decoder,
    vocabulary: Vocabulary,
}

/// What was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// The words, with punctuation; empty when nothing was heard.
    pub text: String,
    /// Mean natural log-probability of a token; above -1 for clear speech.
    pub mean_log_probability: f32,
    /// The longest stretch of audio that the model looked at, padding included.
    pub window_secs: f32,
}

/// Why speech cannot be recognized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecognizeError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// `model.bin` is not what it claims.
    #[error("{} is not a usable Whisper model: at byte {offset}, {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        offset: u64,
        /// What was expected and found.
        why: String,
    },
    /// `tokenizer.json` or `config.json` is not what it claims.
    #[error("{} cannot be used: {why}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        why: String,
    },
    /// The model lacks a variable.
    #[error("the speech recognition model has no variable {name}")]
    Missing {
        /// The variable.
        name: String,
    },
    /// A variable has another shape than the rest of the model calls for.
    #[error("the speech recognition model's {name} has shape {found:?}, expected {expected}")]
    Shape {
        /// The variable.
        name: String,
        /// What fits.
        expected: String,
        /// Length of each axis in the file.
        found: Vec<usize>,
    },
    /// The audio holds something that is not a number.
    #[error("the audio has a sample that is not a number, at {at_secs:.3} s")]
    NotANumber {
        /// Where.
        at_secs: f32,
    },
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Recognizer {
    /// Loads `model.bin`, `tokenizer.json` and `config.json` from `folder`.
    ///
    /// # Errors
    /// When a file is missing or is not what it claims, or the job is cancelled.
    pub fn load(folder: &Path, job: &Job<'_>) -> Result<Self, RecognizeError> {
        let mut container = Container::read(&folder.join("model.bin"), job)?;
        let [tokens, width] = container.plane("decoder/embeddings/weight")?;
        let [most_tokens, _] = container.plane("decoder/position_encodings/encodings")?;
        let [most_positions, _] = container.plane("encoder/position_encodings/encodings")?;
        let shape = |container: &Container, name: &str, expected: String| {
            let found = container.shape(name).unwrap_or_default().to_vec();
            Err(RecognizeError::Shape {
                name: name.to_owned(),
                expected,
                found,
            })
        };
        let &[_, bands, _] = container.shape("encoder/conv1/weight")? else {
            return shape(&container, "encoder/conv1/weight", "three axes".to_owned());
        };
        if width == 0 || width % layers::HEAD_WIDTH != 0 {
            let expected = format!("a width in heads of {}", layers::HEAD_WIDTH);
            return shape(&container, "decoder/embeddings/weight", expected);
        }
        let full = FULL_WINDOW_SECS * SAMPLE_RATE_HZ / POSITION_SAMPLES;
        if most_positions < full {
            let expected = format!("at least [{full}, {width}]");
            return shape(&container, "encoder/position_encodings/encodings", expected);
        }
        let vocabulary = Vocabulary::load(folder, tokens)?;
        let encoder = Encoder::take(&mut container, bands, width, most_positions)?;
        let decoder = Decoder::take(&mut container, tokens, width, most_tokens)?;
        Ok(Self {
            spectrum: MelSpectrum::new(bands),
            encoder,
            decoder,
            vocabulary,
        })
    }

    /// Writes down what is said in `audio_16k`, mono at 16 kHz, -1 to 1, of any length.
    ///
    /// # Errors
    /// When a sample is not a number or the job is cancelled.
    pub fn recognize(
        &self,
        audio_16k: &[f32],
        job: &Job<'_>,
    ) -> Result<Transcript, RecognizeError> {
        if let Some(at) = audio_16k.iter().position(|sample| !sample.is_finite()) {
            return Err(RecognizeError::NotANumber {
                at_secs: at as f32 / SAMPLE_RATE_HZ as f32,
            });
        }
        let mut whole = Transcript {
            text: String::new(),
            mean_log_probability: 0.0,
            window_secs: 0.0,
        };
        let mut rest = audio_16k;
        while !rest.is_empty() {
            let done = (audio_16k.len() - rest.len()) / SAMPLE_RATE_HZ;
            job.report(
                "Recognizing speech",
                done as u64,
                (audio_16k.len() / SAMPLE_RATE_HZ) as u64,
            )?;
            let (piece, later) = rest.split_at(piece_length(rest));
            let part = self.recognize_piece(piece, job)?;
            if !whole.text.is_empty() && !part.text.is_empty() {
                whole.text.push(' ');
            }
            whole.text += &part.text;
            let (before, weight) = ((audio_16k.len() - rest.len()) as f32, piece.len() as f32);
            whole.mean_log_probability = (whole.mean_log_probability * before
                + part.mean_log_probability * weight)
                / (before + weight);
            whole.window_secs = whole.window_secs.max(part.window_secs);
            rest = later;
        }
        Ok(whole)
    }

    /// Recognizes at most 30 s, in the short window first.
    fn recognize_piece(&self, audio: &[f32], job: &Job<'_>) -> Result<Transcript, RecognizeError> {
        let longest = FULL_WINDOW_SECS * SAMPLE_RATE_HZ;
        // A second of silence tells the model that the utterance is over.
        let short =
            (audio.len() + SAMPLE_RATE_HZ).clamp(LEAST_WINDOW_SECS * SAMPLE_RATE_HZ, longest);
        let first = self.recognize_window(audio, short, job)?;
        if first.mean_log_probability >= LEAST_LOG_PROBABILITY || short == longest {
            return Ok(first);
        }
        self.recognize_window(audio, longest, job)
    }

    fn recognize_window(
        &self,
        audio: &[f32],
        window: usize,
        job: &Job<'_>,
    ) -> Result<Transcript, RecognizeError> {
        let window = window / POSITION_SAMPLES * POSITION_SAMPLES;
        let mut padded = audio[..audio.len().min(window)].to_vec();
        padded.resize(window, 0.0);
        let window_secs = window as f32 / SAMPLE_RATE_HZ as f32;
        let heard = self.encoder.encode(&self.spectrum.log_mel(&padded), job)?;
        // Nobody speaks ten tokens a second for long; a few more make room for short utterances.
        let limit = 12 + (10.0 * window_secs) as usize;
        let decoded = self.decoder.decode(&heard, &self.vocabulary, limit, job)?;
        Ok(Transcript {
            text: self.vocabulary.text(&decoded.tokens),
            mean_log_probability: decoded.mean_log_probability,
            window_secs,
        })
    }
}

/// How much of `audio` to recognize at once: all of up to 30 s, else up to the quietest tenth of a
/// second between 22 s and 29 s, where a word is least likely to be cut.
fn piece_length(audio: &[f32]) -> usize {
    const TENTH: usize = SAMPLE_RATE_HZ / 10;
    if audio.len() <= FULL_WINDOW_SECS * SAMPLE_RATE_HZ {
        return audio.len();
    }
    let energy = |tenth: usize| {
        audio[tenth * TENTH..(tenth + 1) * TENTH]
            .iter()
            .map(|x| x * x)
            .sum::<f32>()
    };
    let quietest = (220..290)
        .min_by(|&a, &b| energy(a).total_cmp(&energy(b)))
        .expect("the range is not empty");
    quietest * TENTH + TENTH / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_audio_is_cut_where_it_is_quiet() {
        assert_eq!(piece_length(&[0.1; 16_000]), 16_000);
        let mut audio = vec![0.5; 40 * SAMPLE_RATE_HZ];
        audio[25 * SAMPLE_RATE_HZ..25 * SAMPLE_RATE_HZ + 1600].fill(0.0);
        assert_eq!(piece_length(&audio), 25 * SAMPLE_RATE_HZ + 800);
    }

    #[test]
    fn a_missing_model_names_its_file() {
        let error = Recognizer::load(Path::new("nowhere"), &Job::silent()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot read {}",
                Path::new("nowhere").join("model.bin").display()
            )
        );
    }
}
