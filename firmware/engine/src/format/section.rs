//! The sections of a packed file: what stands beside its tensors, each under a name.

/// Bytes of a section's name, padded with zeros.
pub const SECTION_NAME_BYTES: usize = 16;

/// A section that this engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// The numbers of the model.
    Shape = 0,
    /// The tensor directory, [`ENTRY_BYTES`](super::ENTRY_BYTES) a tensor.
    Tensors = 1,
    /// How text becomes tokens: kind and options.
    Tokenizer = 2,
    /// The bytes of every token.
    Vocabulary = 3,
    /// Which pairs of tokens merge, and in which order.
    Merges = 4,
    /// The chat template around the user's text, as tokens.
    Chat = 5,
    /// Tokens that end an answer.
    StopTokens = 6,
    /// The recipe, as TOML.
    Recipe = 7,
    /// Name, licence and hash of the source, as TOML.
    Provenance = 8,
    /// The tokens with which conversations begin, with their keys and values; may be empty.
    Prefix = 9,
}

/// What a reader does with a section whose name it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It passes over it.
    Optional,
    /// It refuses the file: without this section the model would do what it must not.
    Required,
}

/// Where a section lies in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

/// The place of each section that this engine knows; those that a file lacks are empty.
pub(super) type Places = [Place; Section::ALL.len()];

/// A section as a file lists it, known or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its name.
    pub name: &'a str,
    /// What a reader does that does not know it.
    pub need: Need,
    /// Where it begins in the file.
    pub offset: usize,
    /// What it holds.
    pub bytes: &'a [u8],
}

impl Section {
    /// Every known section, in the order in which files have them.
    pub const ALL: [Self; 10] = [
        Self::Shape,
        Self::Tensors,
        Self::Tokenizer,
        Self::Vocabulary,
        Self::Merges,
        Self::Chat,
        Self::StopTokens,
        Self::Recipe,
        Self::Provenance,
        Self::Prefix,
    ];

    /// Its name in the file: `stop-tokens`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Tensors => "tensors",
            Self::Tokenizer => "tokenizer",
            Self::Vocabulary => "vocabulary",
            Self::Merges => "merges",
            Self::Chat => "chat",
            Self::StopTokens => "stop-tokens",
            Self::Recipe => "recipe",
            Self::Provenance => "provenance",
            Self::Prefix => "prefix",
        }
    }

    /// Whether a model can be run without it.
    #[must_use]
    pub const fn need(self) -> Need {
        match self {
            Self::Shape
            | Self::Tensors
            | Self::Tokenizer
            | Self::Vocabulary
            | Self::Merges
            | Self::Chat
            | Self::StopTokens => Need::Required,
            // Texts for people, and what a session computes itself where it does not find it.
            Self::Recipe | Self::Provenance | Self::Prefix => Need::Optional,
        }
    }

    /// The section of this name, if it is known.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}
