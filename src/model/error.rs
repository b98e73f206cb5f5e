//! Why a model cannot be used: one sentence with what was expected, what was found, and where.

use crate::job::Cancelled;
use std::fmt::Display;
use std::path::PathBuf;

/// Why a model cannot be loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The operating system refused to read a file.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bytes are not what the format says they are.
    #[error("{place}: expected {expected}, found {found}")]
    Malformed {
        /// Where in the model.
        place: String,
        /// What the format asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The bytes end in the middle of something.
    #[error(
        "the file ends inside {what}: needs {needed} bytes from byte {offset}, {left} are left"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it starts.
        offset: usize,
        /// How long it should be.
        needed: u64,
        /// How many bytes there are.
        left: usize,
    },
    /// A valid model of a kind that Whittle does not run.
    #[error("{what} {found} is not supported; supported: {supported}")]
    Unsupported {
        /// The property: "architecture".
        what: String,
        /// Its value in this model.
        found: String,
        /// The values that would do.
        supported: String,
    },
    /// A tensor has another shape than the hyperparameters ask for.
    #[error("tensor {tensor}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// `[rows, cols]` from the hyperparameters.
        expected: [u64; 2],
        /// `[rows, cols]` in the file.
        found: [u64; 2],
    },
    /// A tensor that the architecture needs is absent.
    #[error("tensor {tensor} of shape {expected:?} is missing")]
    Missing {
        /// Its name.
        tensor: String,
        /// `[rows, cols]` from the hyperparameters.
        expected: [u64; 2],
    },
    /// The tokenizer cannot be built or cannot encode a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template cannot be parsed or rendered.
    #[error("chat template: {0}")]
    Chat(String),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ModelError {
    pub(super) fn malformed(
        place: impl Display,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Self::Malformed {
            place: place.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(super) fn unsupported(
        what: impl Display,
        found: impl Display,
        supported: impl Display,
    ) -> Self {
        Self::Unsupported {
            what: what.to_string(),
            found: found.to_string(),
            supported: supported.to_string(),
        }
    }
}
