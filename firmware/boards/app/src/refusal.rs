//! Why a board does not answer, in one sentence.

use core::fmt::{Display, Formatter, Result};
use engine::format::FormatError;
use engine::sampler::{NotFinite, SamplingError};
use engine::session::SessionError;
use engine::weights::WeightsError;

/// Why a board does not answer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The packed file is not one, or damaged.
    Format(FormatError),
    /// Its tensors are not a model.
    Weights(WeightsError),
    /// The engine refused the conversation.
    Session(SessionError),
    /// The board has too little memory for this conversation.
    Memory {
        /// 32-bit words that it takes.
        needed: usize,
        /// Words that the board has.
        found: usize,
    },
    /// The model has more layers than the board lists.
    Table {
        /// Places that its tensors take.
        needed: usize,
        /// Places that the board has.
        found: usize,
    },
    /// A prompt of so many bytes is too long to be brought into the words of the model.
    LongPrompt(usize),
    /// A word of the prompt, of so many bytes, is too long to encode.
    LongWord(usize),
    /// What the model computed is no finite number: the answer ends.
    NotFinite(NotFinite),
    /// Tokens cannot be drawn as asked.
    Sampling(SamplingError),
    /// The flash holds no model: why.
    NoModel(&'static str),
}

impl From<SamplingError> for Refusal {
    fn from(error: SamplingError) -> Self {
        Self::Sampling(error)
    }
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<WeightsError> for Refusal {
    fn from(error: WeightsError) -> Self {
        Self::Weights(error)
    }
}

impl From<NotFinite> for Refusal {
    fn from(error: NotFinite) -> Self {
        Self::NotFinite(error)
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::Weights(error) => weights(error, f),
            Self::Session(error) => error.fmt(f),
            Self::Memory { needed, found } => write!(
                f,
                "the conversation needs {needed} words of memory, the board has {found}"
            ),
            Self::Table { needed, found } => write!(
                f,
                "the model needs room for {needed} tensors, the board has {found}"
            ),
            Self::LongPrompt(bytes) => {
                write!(f, "a prompt of {bytes} bytes is too long for this memory")
            }
            Self::LongWord(bytes) => {
                write!(f, "a word of {bytes} bytes is too long for this memory")
            }
            Self::NotFinite(error) => write!(f, "the answer ends: {error}"),
            Self::Sampling(error) => error.fmt(f),
            Self::NoModel(why) => f.write_str(why),
        }
    }
}

fn weights(error: &WeightsError, f: &mut Formatter<'_>) -> Result {
    match error {
        WeightsError::Hyperparameter(name) => write!(f, "{name} is out of range"),
        WeightsError::TableLength => f.write_str("the table of tensors has another length"),
        WeightsError::Missing(role, layer) => {
            write!(f, "layer {layer} has no {}", role.gguf_name())
        }
        WeightsError::Shape(role, layer) => {
            write!(f, "{} of layer {layer} has another shape", role.gguf_name())
        }
        WeightsError::NotFloat(role, layer) => {
            write!(
                f,
                "{} of layer {layer} is not in 32-bit floats",
                role.gguf_name()
            )
        }
    }
}
