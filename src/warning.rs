//! What a person should know of a result that was made all the same.
//!
//! Every command tells its [`Warning`]s on standard error, or with `--json` as sentences under
//! `warnings`; the window shows the same sentences.

use serde::{Serialize, Serializer};
use std::fmt;

/// Something that may make a result other than what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A text was to be scored on fewer tokens than there are in a window.
    FewTokens {
        /// What was asked.
        asked: usize,
        /// Tokens of a window.
        window: usize,
    },
    /// A file is compared with another model than it was made of.
    OtherReference {
        /// The file.
        file: String,
        /// Name of its source, and the SHA-256 that it states.
        made_of: (String, String),
        /// Name of the reference, and its SHA-256.
        reference: (String, String),
    },
    /// A rule of a recipe that no tensor of the model matches.
    IdleRule {
        /// Which tensors it means.
        tensors: String,
        /// Layers of the model.
        layers: u32,
        /// Why the rule matches none.
        why: IdleWhy,
    },
    /// Weights are fitted to so little text that they come out worse than without.
    ShortCalibration {
        /// Tokens of the text.
        tokens: usize,
        /// The fewest that tell of every input.
        fewest: usize,
    },
}

/// Why a rule matches no tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleWhy {
    /// It means layers that there are not.
    NoSuchLayer,
    /// It means the output head, which is the embedding.
    TiedHead,
    /// It asks for layers of what belongs to none.
    OfNoLayer,
}

/// Characters of a hash that people compare.
const HASH: usize = 12;

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |hash: &str| hash.chars().take(HASH).collect::<String>();
        match self {
            Self::FewTokens { asked, window } => write!(
                f,
                "{asked} tokens are less than a window: one window of {window} tokens was scored"
            ),
            Self::OtherReference {
                file,
                made_of: (source, source_hash),
                reference: (reference, hash),
            } => write!(
                f,
                "{reference} (SHA-256 {}) is not what {file} was made of, which is {source} ({}): \
                 the figures tell both differences together",
                short(hash),
                short(source_hash)
            ),
            Self::IdleRule {
                tensors,
                layers,
                why,
            } => match why {
                IdleWhy::NoSuchLayer => write!(
                    f,
                    "the rule for {tensors} matches no tensor: the model has {layers} layers, from 0"
                ),
                IdleWhy::OfNoLayer => write!(
                    f,
                    "the rule for {tensors} matches no tensor: what it names belongs to no layer"
                ),
                IdleWhy::TiedHead => write!(
                    f,
                    "the rule for {tensors} matches no tensor: the model's output head is its embedding"
                ),
            },
            Self::ShortCalibration { tokens, fewest } => write!(
                f,
                "a calibration on {tokens} tokens knows less than the {fewest} inputs of the model's matrices: \
                 weights that are fitted to it are likely to be worse than those of method:search, which needs none"
            ),
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_one_sentence_in_json_too() {
        let warning = Warning::FewTokens {
            asked: 20,
            window: 512,
        };
        let sentence = "20 tokens are less than a window: one window of 512 tokens was scored";
        assert_eq!(warning.to_string(), sentence);
        assert_eq!(
            serde_json::to_string(&[warning]).unwrap(),
            format!("[\"{sentence}\"]")
        );
    }
}
