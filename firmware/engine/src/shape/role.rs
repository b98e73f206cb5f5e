//! Which tensors a transformer has, what each does, and where it stands.

use super::Hyperparameters;

/// What a tensor does in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Token embedding `[vocab, hidden]`; also the output head when that is tied.
    Embedding = 0,
    /// RMS norm before attention `[1, hidden]`.
    AttentionNorm = 1,
    /// Query projection `[query_width, hidden]`.
    Query = 2,
    /// Key projection `[kv_width, hidden]`.
    Key = 3,
    /// Value projection `[kv_width, hidden]`.
    Value = 4,
    /// Attention output projection `[hidden, query_width]`.
    AttentionOutput = 5,
    /// Query bias `[1, query_width]`; optional.
    QueryBias = 6,
    /// Key bias `[1, kv_width]`; optional.
    KeyBias = 7,
    /// Value bias `[1, kv_width]`; optional.
    ValueBias = 8,
    /// RMS norm of each query head `[1, head_dim]`; optional (`qwen3`).
    QueryNorm = 9,
    /// RMS norm of each key head `[1, head_dim]`; optional (`qwen3`).
    KeyNorm = 10,
    /// RMS norm before the feed-forward block `[1, hidden]`.
    FeedForwardNorm = 11,
    /// Gate projection `[feed_forward, hidden]`.
    Gate = 12,
    /// Up projection `[feed_forward, hidden]`.
    Up = 13,
    /// Down projection `[hidden, feed_forward]`.
    Down = 14,
    /// Final RMS norm `[1, hidden]`.
    OutputNorm = 15,
    /// Output head `[vocab, hidden]`; absent when tied to the embedding.
    Output = 16,
    /// Rotary frequencies in radians per position `[1, head_dim / 2]`, scaling included.
    RopeFrequencies = 17,
}

/// The part of a model to which a matrix belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The token embedding.
    Embedding,
    /// Query, key, value and output projections.
    Attention,
    /// Gate, up and down projections.
    FeedForward,
    /// An output head of its own.
    Output,
}

impl Part {
    /// All parts, in the order of the forward pass.
    pub const ALL: [Self; 4] = [
        Self::Embedding,
        Self::Attention,
        Self::FeedForward,
        Self::Output,
    ];

    /// Its name in recipes: `feed-forward`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::FeedForward => "feed-forward",
            Self::Output => "output",
        }
    }
}

impl Role {
    /// Every role, in the order in which a packed file lists them.
    pub const ALL: [Self; 18] = [
        Self::Embedding,
        Self::AttentionNorm,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::QueryBias,
        Self::KeyBias,
        Self::ValueBias,
        Self::QueryNorm,
        Self::KeyNorm,
        Self::FeedForwardNorm,
        Self::Gate,
        Self::Up,
        Self::Down,
        Self::OutputNorm,
        Self::Output,
        Self::RopeFrequencies,
    ];

    /// The role with this number in a packed file.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether each layer has one.
    #[must_use]
    pub const fn is_per_layer(self) -> bool {
        match self {
            Self::Embedding | Self::OutputNorm | Self::Output | Self::RopeFrequencies => false,
            Self::AttentionNorm
            | Self::Query
            | Self::Key
            | Self::Value
            | Self::AttentionOutput
            | Self::QueryBias
            | Self::KeyBias
            | Self::ValueBias
            | Self::QueryNorm
            | Self::KeyNorm
            | Self::FeedForwardNorm
            | Self::Gate
            | Self::Up
            | Self::Down => true,
        }
    }

    /// The part of the model whose matrix it is; `None` for norms, biases and frequencies.
    #[must_use]
    pub const fn part(self) -> Option<Part> {
        match self {
            Self::Embedding => Some(Part::Embedding),
            Self::Query | Self::Key | Self::Value | Self::AttentionOutput => Some(Part::Attention),
            Self::Gate | Self::Up | Self::Down => Some(Part::FeedForward),
            Self::Output => Some(Part::Output),
            Self::AttentionNorm
            | Self::QueryBias
            | Self::KeyBias
            | Self::ValueBias
            | Self::QueryNorm
            | Self::KeyNorm
            | Self::FeedForwardNorm
            | Self::OutputNorm
            | Self::RopeFrequencies => None,
        }
    }

    /// Its short name among the matrices of a part that each layer has: `q`, `down`; `None` for all others.
    #[must_use]
    pub const fn projection(self) -> Option<&'static str> {
        match self {
            Self::Query => Some("q"),
            Self::Key => Some("k"),
            Self::Value => Some("v"),
            Self::AttentionOutput => Some("o"),
            Self::Gate => Some("gate"),
            Self::Up => Some("up"),
            Self::Down => Some("down"),
            Self::Embedding
            | Self::AttentionNorm
            | Self::QueryBias
            | Self::KeyBias
            | Self::ValueBias
            | Self::QueryNorm
            | Self::KeyNorm
            | Self::FeedForwardNorm
            | Self::OutputNorm
            | Self::Output
            | Self::RopeFrequencies => None,
        }
    }

    /// Whether it is a matrix that a recipe may compress; the rest stays in 32 bits.
    #[must_use]
    pub const fn is_matrix(self) -> bool {
        self.part().is_some()
    }

    /// Whether a model may lack it.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(
            self,
            Self::QueryBias
                | Self::KeyBias
                | Self::ValueBias
                | Self::QueryNorm
                | Self::KeyNorm
                | Self::Output
        )
    }

    /// Its shape `[rows, cols]` in a model with these hyperparameters.
    #[must_use]
    pub const fn shape(self, h: &Hyperparameters) -> (u32, u32) {
        match self {
            Self::Embedding | Self::Output => (h.vocab, h.hidden),
            Self::AttentionNorm | Self::FeedForwardNorm | Self::OutputNorm => (1, h.hidden),
            Self::Query => (h.query_width(), h.hidden),
            Self::Key | Self::Value => (h.kv_width(), h.hidden),
            Self::AttentionOutput => (h.hidden, h.query_width()),
            Self::QueryBias => (1, h.query_width()),
            Self::KeyBias | Self::ValueBias => (1, h.kv_width()),
            Self::QueryNorm | Self::KeyNorm => (1, h.head_dim),
            Self::Gate | Self::Up => (h.feed_forward, h.hidden),
            Self::Down => (h.hidden, h.feed_forward),
            Self::RopeFrequencies => (1, h.head_dim / 2),
        }
    }

    /// Its name in GGUF, without `blk.N.` for the layers: `attn_q.weight`.
    #[must_use]
    pub const fn gguf_name(self) -> &'static str {
        match self {
            Self::Embedding => "token_embd.weight",
            Self::AttentionNorm => "attn_norm.weight",
            Self::Query => "attn_q.weight",
            Self::Key => "attn_k.weight",
            Self::Value => "attn_v.weight",
            Self::AttentionOutput => "attn_output.weight",
            Self::QueryBias => "attn_q.bias",
            Self::KeyBias => "attn_k.bias",
            Self::ValueBias => "attn_v.bias",
            Self::QueryNorm => "attn_q_norm.weight",
            Self::KeyNorm => "attn_k_norm.weight",
            Self::FeedForwardNorm => "ffn_norm.weight",
            Self::Gate => "ffn_gate.weight",
            Self::Up => "ffn_up.weight",
            Self::Down => "ffn_down.weight",
            Self::OutputNorm => "output_norm.weight",
            Self::Output => "output.weight",
            Self::RopeFrequencies => "rope_freqs",
        }
    }
}
