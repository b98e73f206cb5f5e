//! Words that no dictionary has: a small network reads them letter by letter.
//!
//! `oov.onnx` takes letters and gives phonemes to each of a few slots of every letter; repeats are
//! merged and blanks dropped (connectionist temporal classification).

use super::super::SynthesizeError;
use super::tables;
use rten::Model;
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// `oov.json`.
#[derive(Deserialize)]
struct Alphabets {
    #[serde(rename = "in")]
    letters: Vec<char>,
    #[serde(rename = "out")]
    phonemes: Vec<String>,
    #[serde(rename = "maxlen")]
    most_letters: usize,
}

/// The network with its alphabets.
pub(super) struct UnknownWords {
    model: Model,
    /// From 1; 0 is padding.
    letters: HashMap<char, i32>,
    /// From 1; 0 is the blank.
    phonemes: Vec<String>,
    most_letters: usize,
}

impl fmt::Debug for UnknownWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownWords")
            .field("letters", &self.letters.len())
            .finish_non_exhaustive()
    }
}

impl UnknownWords {
    /// Reads `oov.onnx` and `oov.json` from `folder`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn load(folder: &Path) -> Result<Self, SynthesizeError> {
        let alphabets: Alphabets = tables::read(folder, "oov.json")?;
        Ok(Self {
            model: super::super::load_network(&folder.join("oov.onnx"))?,
            letters: alphabets.letters.into_iter().zip(1..).collect(),
            phonemes: alphabets.phonemes,
            most_letters: alphabets.most_letters.min(64),
        })
    }

    /// The sound of a word; empty when it has no letter of the alphabet.
    ///
    /// # Errors
    /// When the network fails.
    pub(super) fn sound(&self, word: &str) -> Result<String, SynthesizeError> {
        let letters: Vec<i32> = word
            .chars()
            .filter_map(|c| self.letters.get(&c).copied())
            .take(self.most_letters)
            .collect();
        if letters.is_empty() {
            return Ok(String::new());
        }
        let failed = |why: String| SynthesizeError::Network {
            network: "oov.onnx",
            why,
        };
        let input = NdTensor::from_data([1, letters.len()], letters);
        let output = self
            .model
            .run_one(input.view().into(), None)
            .map_err(|error| failed(error.to_string()))?;
        let output: NdTensor<i32, 2> = output
            .try_into()
            .map_err(|error| failed(format!("{error}")))?;
        let mut sound = String::new();
        let mut previous = 0;
        for symbol in output.to_vec() {
            if symbol != previous && symbol != 0 {
                let index = usize::try_from(symbol - 1).ok();
                let phoneme = index.and_then(|index| self.phonemes.get(index));
                sound += phoneme.ok_or_else(|| {
                    failed(format!(
                        "gave the phoneme {symbol} of {}",
                        self.phonemes.len()
                    ))
                })?;
            }
            previous = symbol;
        }
        Ok(sound)
    }
}
