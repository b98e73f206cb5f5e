//! A model in another form: as a GGUF file that Whittle and llama.cpp load.
//!
//! [`rotate`] writes the same function in another basis, [`trim()`] the same model with fewer tokens. Whatever
//! a rewrite leaves alone goes over bit for bit, and the tokenizer and the chat template come along.

mod cost;
mod entries;
mod file;
mod orthogonal;
mod rotation;
mod trim;
mod vocabulary;

pub use crate::packed::export::FloatType;
pub use cost::Cost;
pub use rotation::{Basis, Rotated, Rotation, rotate};
pub use trim::{Sample, Trimmed, trim};

use crate::calibrate::CalibrateError;
use crate::job::Cancelled;
use crate::model::{Misfit, ModelError};
use crate::packed::export::ExportError;

/// Why a model cannot be rewritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// A value is beyond what 16-bit floats hold.
    #[error(
        "expected weights of {tensor} within ±65504, which 16-bit floats hold, found {value} in row {row}, column {col} (from 0): 32-bit floats are needed"
    )]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// The first such value.
        value: f32,
        /// Its row in the new file.
        row: usize,
        /// Its column.
        col: usize,
    },
    /// Weights that are to be rewritten are no finite numbers.
    #[error("expected finite weights in {tensor}, found {found}")]
    Weights {
        /// The tensor.
        tensor: String,
        /// How many, and where.
        found: Misfit,
    },
    /// What a model makes of a text is no finite number.
    #[error("expected finite bits a byte of {model}, found {found} nats in all")]
    NotFinite {
        /// Its name.
        model: String,
        /// What came out.
        found: f64,
    },
    /// A text has nothing to learn from.
    #[error("expected a text of two tokens or more in {name}")]
    EmptyText {
        /// The text.
        name: String,
    },
    /// A vocabulary cannot be that small.
    #[error(
        "a vocabulary of {found} tokens is too small: bytes, control tokens and chat template need {needed}"
    )]
    TooFewTokens {
        /// Least number.
        needed: usize,
        /// What was asked.
        found: usize,
    },
    /// Conversations cannot be read.
    #[error(transparent)]
    Chats(#[from] CalibrateError),
    /// The file cannot be written, or the model's numbers cannot be said in it.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
