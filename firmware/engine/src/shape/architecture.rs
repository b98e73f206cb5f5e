//! The families of models, as data: what a file that names one must bring.

use super::{Role, RopePairs};

/// A family of Llama-like transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// SmolLM2, TinyLlama, Llama 2 and 3.
    Llama,
    /// Qwen 2 and 2.5: biases on query, key and value.
    Qwen2,
    /// Qwen 3: norms on query and key heads.
    Qwen3,
}

impl Architecture {
    /// Every architecture that the engine runs.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// The architecture that GGUF files and Hugging Face folders call by this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Its name in GGUF, `general.architecture`, and in Hugging Face folders, `model_type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// How a GGUF of this architecture pairs the elements of a head. The converter reorders the
    /// query and key rows of `llama` only; Hugging Face folders always have halves.
    #[must_use]
    pub const fn gguf_rope_pairs(self) -> RopePairs {
        match self {
            Self::Llama => RopePairs::Adjacent,
            Self::Qwen2 | Self::Qwen3 => RopePairs::Halves,
        }
    }

    /// Optional roles that this architecture must have all the same.
    #[must_use]
    pub const fn required(self) -> &'static [Role] {
        match self {
            Self::Llama => &[],
            Self::Qwen2 => &[Role::QueryBias, Role::KeyBias, Role::ValueBias],
            Self::Qwen3 => &[Role::QueryNorm, Role::KeyNorm],
        }
    }
}

impl core::fmt::Display for Architecture {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_its_architecture() {
        for architecture in Architecture::ALL {
            assert_eq!(
                Architecture::from_name(architecture.name()),
                Some(architecture)
            );
        }
        assert_eq!(Architecture::from_name("mamba"), None);
    }
}
