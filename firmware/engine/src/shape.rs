//! The shape of a Llama-family transformer: hyperparameters, the family they are of, and which tensors
//! it has.

mod architecture;
mod role;

pub use architecture::Architecture;
pub use role::{Part, Role};

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
