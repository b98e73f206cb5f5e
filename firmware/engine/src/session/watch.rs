//! What a forward pass consists of, for whoever measures it.

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Rows of the embedding, and the angles of the positions.
    Embedding,
    /// Products with the matrices of a block, and their inputs as codes.
    Products,
    /// Queries with the keys of the conversation, softmax, sums of its values.
    Attention,
    /// Norms, biases, rotation, storing in the cache, activation function, residual sums.
    Elementwise,
    /// The last norm and the logits.
    Head,
}

impl Work {
    /// Each of them.
    pub const ALL: [Self; 5] = [
        Self::Embedding,
        Self::Products,
        Self::Attention,
        Self::Elementwise,
        Self::Head,
    ];
}

/// Told what was computed since it was told before: in which block, if in one, and what.
pub type Watch<'w> = dyn FnMut(Option<u32>, Work) + 'w;
