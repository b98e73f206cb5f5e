//! The shape of a Llama-family transformer: hyperparameters, and which tensors it has.

/// How the rotary embedding pairs the elements of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Element `2i` turns with `2i + 1`: `llama` weights in GGUF order.
    Adjacent,
    /// Element `i` turns with `i + head_dim / 2`: Hugging Face order, `qwen2`, `qwen3`.
    Halves,
}

/// The numbers that fix every tensor's shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameters {
    /// Transformer blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Width of the feed-forward block.
    pub feed_forward: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Elements of one head; even.
    pub head_dim: u32,
    /// Rows of the embedding.
    pub vocab: u32,
    /// Longest context the model was trained for, in tokens.
    pub context: u32,
    /// Added to the mean square in every RMS norm.
    pub norm_epsilon: f32,
    /// How heads are rotated.
    pub rope_pairs: RopePairs,
}

/// Largest value that any dimension may take; keeps products of two inside `u64`.
pub const MAX_DIMENSION: u32 = 1 << 20;
/// Largest number of layers.
pub const MAX_LAYERS: u32 = 1 << 10;
/// Largest number of heads; with as long heads they are as wide as [`MAX_DIMENSION`].
const MAX_HEADS: u32 = 1 << 10;

impl Hyperparameters {
    /// Width of all query heads together.
    #[must_use]
    pub const fn query_width(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    #[must_use]
    pub const fn kv_width(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// Whether the numbers describe a model that the engine can run.
    ///
    /// # Errors
    /// The first number that is out of range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let in_range = |v: u32, max: u32| v > 0 && v <= max;
        let is_head_count = in_range(self.kv_heads, self.heads)
            && in_range(self.heads, MAX_HEADS)
            && self.heads.is_multiple_of(self.kv_heads);
        let is_head_dim = in_range(self.head_dim, 1 << 10) && self.head_dim.is_multiple_of(2);
        let is_epsilon = self.norm_epsilon >= 0.0 && self.norm_epsilon < 1.0;
        let million = "1 to 1048576";
        let numbers = [
            (
                "layers",
                in_range(self.layers, MAX_LAYERS),
                "1 to 1024",
                self.layers,
            ),
            (
                "hidden",
                in_range(self.hidden, MAX_DIMENSION),
                million,
                self.hidden,
            ),
            (
                "feed_forward",
                in_range(self.feed_forward, MAX_DIMENSION),
                million,
                self.feed_forward,
            ),
            (
                "heads",
                in_range(self.heads, MAX_HEADS),
                "1 to 1024",
                self.heads,
            ),
            (
                "kv_heads",
                is_head_count,
                "a divisor of heads",
                self.kv_heads,
            ),
            (
                "head_dim",
                is_head_dim,
                "an even number from 2 to 1024",
                self.head_dim,
            ),
            (
                "vocab",
                in_range(self.vocab, MAX_DIMENSION),
                million,
                self.vocab,
            ),
            (
                "context",
                in_range(self.context, 1 << 24),
                "1 to 16777216",
                self.context,
            ),
            (
                "norm_epsilon",
                is_epsilon,
                "the bits of a number from 0 to 1",
                self.norm_epsilon.to_bits(),
            ),
        ];
        match numbers.into_iter().find(|(_, is_valid, ..)| !is_valid) {
            Some((name, _, expected, found)) => Err(OutOfRange {
                name,
                expected,
                found,
            }),
            None => Ok(()),
        }
    }
}

/// A hyperparameter with which no model can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange {
    /// The field of [`Hyperparameters`].
    pub name: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is; the bits of a float.
    pub found: u32,
}

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

    /// Whether it is a matrix that a recipe may compress; the rest stays in 32 bits.
    #[must_use]
    pub const fn is_matrix(self) -> bool {
        match self {
            Self::Embedding
            | Self::Query
            | Self::Key
            | Self::Value
            | Self::AttentionOutput
            | Self::Gate
            | Self::Up
            | Self::Down
            | Self::Output => true,
            Self::AttentionNorm
            | Self::QueryBias
            | Self::KeyBias
            | Self::ValueBias
            | Self::QueryNorm
            | Self::KeyNorm
            | Self::FeedForwardNorm
            | Self::OutputNorm
            | Self::RopeFrequencies => false,
        }
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
