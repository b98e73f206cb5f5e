//! Text to speech: hibari, a 6-million-parameter voice distilled from Kokoro-82M, on `rten`.
//!
//! [`Synthesizer::load`] reads a folder with `hibari.onnx` and the tables of its front end;
//! [`Synthesizer::synthesize`] speaks. Three steps for each sentence: `front` writes phonemes, the
//! network predicts spectra, `vocoder` makes a waveform of them. The same text gives the same
//! samples, whatever was said before it.

mod front;
mod vocoder;

use crate::job::{Cancelled, Job};
use crate::speech::sentences;
use front::FrontEnd;
use ndarray::ArrayView2;
use rten::{Model, NodeId, Value};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use vocoder::{BINS, Spectra, Vocoder};

/// The sample rate of what is spoken.
pub const SAMPLE_RATE_HZ: usize = 24_000;
/// Longer sentences are split, at clauses if possible: the network was trained on no longer ones.
const MAX_PHONEMES: usize = 400;
/// The outputs of `hibari.onnx`, pitch last.
const OUTPUTS: [&str; 6] = ["lh", "theta", "ln", "lr", "phi", "f0"];
/// A phoneme lasts 100 ms on average and never this long.
const MAX_FRAMES_PER_PHONEME: usize = 200;

/// Speech synthesis that is ready to use.
pub struct Synthesizer {
    front: FrontEnd,
    model: Model,
    ids: NodeId,
    speed: NodeId,
    outputs: [NodeId; 6],
    /// Phoneme to the network's number for it.
    alphabet: HashMap<char, i32>,
    vocoder: Vocoder,
}

impl fmt::Debug for Synthesizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synthesizer")
            .field("phonemes", &self.alphabet.len())
            .finish_non_exhaustive()
    }
}

/// Why text cannot be spoken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthesizeError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} cannot be used: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        why: String,
    },
    /// A network did not give what it should.
    #[error("the speech synthesis network {network} failed: {why}")]
    Network {
        /// The network's file.
        network: &'static str,
        /// What went wrong.
        why: String,
    },
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Synthesizer {
    /// Loads the voice from `folder`: `hibari.onnx`, `vocab.json`, `oov.onnx`, `oov.json`,
    /// `normalize.json`, `tokenizer_exceptions.json`, `tagger.json.gz` and the two American lexicons.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be, or the job is cancelled.
    pub fn load(folder: &Path, job: &Job<'_>) -> Result<Self, SynthesizeError> {
        const STAGE: &str = "Loading speech synthesis";
        job.report(STAGE, 0, 2)?;
        let path = folder.join("hibari.onnx");
        let model = load_network(&path)?;
        let node = |name: &str| {
            model
                .node_id(name)
                .map_err(|error| SynthesizeError::Malformed {
                    path: path.clone(),
                    why: error.to_string(),
                })
        };
        let (ids, speed) = (node("ids")?, node("speed")?);
        let mut outputs = [ids; 6];
        for (output, name) in outputs.iter_mut().zip(OUTPUTS) {
            *output = node(name)?;
        }
        job.report(STAGE, 1, 2)?;
        let alphabet = front::tables::read(folder, "vocab.json")?;
        let front = FrontEnd::load(folder)?;
        job.report(STAGE, 2, 2)?;
        Ok(Self {
            front,
            model,
            ids,
            speed,
            outputs,
            alphabet,
            vocoder: Vocoder::new(),
        })
    }

    /// Speaks `text`, of any length: mono samples at 24 kHz, -1 to 1. Text without anything that can
    /// be said gives no samples.
    ///
    /// # Errors
    /// When a network fails.
    pub fn synthesize(&self, text: &str) -> Result<Vec<f32>, SynthesizeError> {
        let mut samples = Vec::new();
        for sentence in sentences::split(text) {
            for clause in clauses(&self.front.phonemes(&sentence)?) {
                samples.extend(self.speak(clause)?);
            }
        }
        Ok(samples)
    }

    /// The phonemes of `text`, sentence by sentence, as the network gets them.
    ///
    /// # Errors
    /// When the network for unknown words fails.
    pub fn phonemes(&self, text: &str) -> Result<Vec<String>, SynthesizeError> {
        sentences::split(text)
            .map(|sentence| self.front.phonemes(&sentence))
            .collect()
    }

    fn speak(&self, phonemes: &str) -> Result<Vec<f32>, SynthesizeError> {
        let failed = |why: String| SynthesizeError::Network {
            network: "hibari.onnx",
            why,
        };
        // 0 stands for the silence before and after.
        let mut ids = vec![0];
        ids.extend(
            phonemes
                .chars()
                .filter_map(|phoneme| self.alphabet.get(&phoneme).copied()),
        );
        ids.push(0);
        if ids.len() < 3 {
            return Ok(Vec::new());
        }
        let most_frames = ids.len() * MAX_FRAMES_PER_PHONEME;
        let ids = NdTensor::from_data([1, ids.len()], ids);
        let speed = NdTensor::from_data([1], vec![1.0_f32]);
        let inputs = vec![
            (self.ids, ids.view().into()),
            (self.speed, speed.view().into()),
        ];
        let outputs = self
            .model
            .run_n(inputs, self.outputs, None)
            .map_err(|error| failed(error.to_string()))?;
        let [voiced, voiced_phase, noise, free, free_phase, pitch] = outputs;
        let pitch: NdTensor<f32, 2> = pitch
            .try_into()
            .map_err(|error| failed(format!("the pitch: {error}")))?;
        let pitch = pitch.to_vec();
        if pitch.is_empty() || pitch.len() > most_frames || pitch.iter().any(|hz| !hz.is_finite()) {
            return Err(failed(format!(
                "expected 1 to {most_frames} frames of finite pitch, found {}",
                pitch.len()
            )));
        }
        let spectrum = |value: Value, name: &str| -> Result<Vec<f32>, SynthesizeError> {
            let tensor: NdTensor<f32, 3> = value
                .try_into()
                .map_err(|error| failed(format!("{name}: {error}")))?;
            let (expected, found) = ([1, BINS, pitch.len()], tensor.shape());
            if found != expected {
                return Err(failed(format!(
                    "{name} has shape {found:?}, expected {expected:?}"
                )));
            }
            Ok(tensor.to_vec())
        };
        let parts = [
            spectrum(voiced, "lh")?,
            spectrum(voiced_phase, "theta")?,
            spectrum(noise, "ln")?,
            spectrum(free, "lr")?,
            spectrum(free_phase, "phi")?,
        ];
        let [voiced, voiced_phase, noise, free, free_phase] = parts.each_ref().map(|part| {
            ArrayView2::from_shape((BINS, pitch.len()), part).expect("the shape was checked")
        });
        let mut samples = self.vocoder.waveform(&Spectra {
            voiced,
            voiced_phase,
            noise,
            free,
            free_phase,
            pitch_hz: &pitch,
        });
        for sample in &mut samples {
            // A frame that is not a number must not reach a loudspeaker.
            *sample = if sample.is_finite() {
                sample.clamp(-1.0, 1.0)
            } else {
                0.0
            };
        }
        Ok(samples)
    }
}

/// Loads an ONNX network.
fn load_network(path: &Path) -> Result<Model, SynthesizeError> {
    let data = std::fs::read(path).map_err(|source| SynthesizeError::Io {
        path: path.to_owned(),
        source,
    })?;
    Model::load(data).map_err(|error| SynthesizeError::Malformed {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

/// Cuts phonemes into pieces of at most [`MAX_PHONEMES`], after a comma or the like if there is one,
/// else at a space, else anywhere.
fn clauses(phonemes: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut rest = phonemes;
    while let Some((limit, _)) = rest.char_indices().nth(MAX_PHONEMES) {
        let head = &rest[..limit];
        let after_pause = head
            .match_indices(' ')
            .map(|(at, _)| at)
            .rfind(|&at| head[..at].ends_with([',', ';', ':', '—']));
        let cut = after_pause
            .or_else(|| head.rfind(' '))
            .filter(|&at| at > 0)
            .unwrap_or(limit);
        clauses.push(&rest[..cut]);
        rest = rest[cut..].trim_start();
    }
    if !rest.is_empty() {
        clauses.push(rest);
    }
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_cut_at_clauses() {
        assert_eq!(clauses("həlˈO."), ["həlˈO."]);
        assert!(clauses("").is_empty());
        let long = format!(
            "{}, {} {}",
            "a".repeat(150),
            "b".repeat(200),
            "c".repeat(100)
        );
        let cut = clauses(&long);
        assert_eq!(cut.join(" "), long);
        assert_eq!(cut[0].len(), 151);
        assert_eq!(clauses(&"ə".repeat(1000)).len(), 3);
    }
}
