//! The memory of a session: one slice whose length the host and the board compute with this code.

use crate::encoding::GROUP;
pub use crate::kernels::CachePrecision;
use crate::kernels::{ActivationScratch, CacheShape, score_floats};
use crate::shape::Hyperparameters;

/// How long and how wide a session may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Positions of the KV cache.
    pub context: usize,
    /// Tokens computed together in a prefill; 1 on small boards.
    pub batch: usize,
    /// Bits of an element of the KV cache.
    pub cache: CachePrecision,
}

/// Elements of each part of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArenaLayout {
    hidden: usize,
    query: usize,
    kv: usize,
    feed_forward: usize,
    angles: usize,
    scores: usize,
    int8: usize,
    groups: usize,
    /// 32-bit words of all layers' keys and values, scales included.
    cache: usize,
}

/// The cache of one layer under these limits.
pub(crate) const fn cache_shape(shape: &Hyperparameters, limits: Limits) -> CacheShape {
    CacheShape {
        precision: limits.cache,
        kv_heads: shape.kv_heads as usize,
        head_dim: shape.head_dim as usize,
        context: limits.context,
    }
}

impl ArenaLayout {
    /// The layout for a model of this shape.
    #[must_use]
    pub fn new(shape: &Hyperparameters, limits: Limits) -> Self {
        let Limits { context, batch, .. } = limits;
        let n = |x: u32| x as usize;
        let widest = n(shape.hidden)
            .max(n(shape.query_width()))
            .max(n(shape.feed_forward));
        let groups = widest.div_ceil(GROUP);
        Self {
            hidden: batch * n(shape.hidden),
            query: batch * n(shape.query_width()),
            kv: batch * n(shape.kv_width()),
            feed_forward: batch * n(shape.feed_forward),
            angles: batch * n(shape.head_dim) / 2,
            scores: score_floats(n(shape.heads), batch, context),
            int8: batch * groups * GROUP,
            groups: batch * groups,
            cache: n(shape.layers) * cache_shape(shape, limits).words(),
        }
    }

    /// 32-bit words of the whole arena.
    #[must_use]
    pub const fn words(&self) -> usize {
        // x, normed; q, attention out; k, v; gate, up; sines, cosines; scores; int8; scales, sums; cache.
        2 * self.hidden
            + 2 * self.query
            + 2 * self.kv
            + 2 * self.feed_forward
            + 2 * self.angles
            + self.scores
            + self.int8 / 4
            + 2 * self.groups
            + self.cache
    }

    /// Bytes of the whole arena, KV cache included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.words() * 4
    }

    /// Bytes of the KV cache alone.
    #[must_use]
    pub const fn kv_cache_bytes(&self) -> usize {
        self.cache * 4
    }

    /// Cuts an arena into its parts; `None` when it is shorter than [`Self::words`].
    pub(crate) fn split<'a>(&self, arena: &'a mut [u32]) -> Option<Arena<'a>> {
        let mut rest = arena.get_mut(..self.words())?;
        let mut take = |words: usize| {
            let (part, tail) = core::mem::take(&mut rest).split_at_mut(words);
            rest = tail;
            part
        };
        let mut floats = |len: usize| -> &'a mut [f32] { bytemuck::cast_slice_mut(take(len)) };
        let (x, normed) = (floats(self.hidden), floats(self.hidden));
        let (q, attended) = (floats(self.query), floats(self.query));
        let (k, v) = (floats(self.kv), floats(self.kv));
        let (gate, up) = (floats(self.feed_forward), floats(self.feed_forward));
        let (cosines, sines) = (floats(self.angles), floats(self.angles));
        let scores = floats(self.scores);
        let scales = floats(self.groups);
        let sums = bytemuck::cast_slice_mut(take(self.groups));
        let values = bytemuck::cast_slice_mut(take(self.int8 / 4));
        let cache = take(self.cache);
        let scratch = ActivationScratch {
            values,
            scales,
            sums,
        };
        Some(Arena {
            x,
            normed,
            q,
            attended,
            k,
            v,
            gate,
            up,
            cosines,
            sines,
            scores,
            scratch,
            cache,
        })
    }
}

/// The parts of an arena; shapes for `t` tokens of a batch.
#[derive(Debug)]
pub(crate) struct Arena<'a> {
    /// Residual stream `[t, hidden]`.
    pub(crate) x: &'a mut [f32],
    /// Normed residual, and outputs that are added to it `[t, hidden]`.
    pub(crate) normed: &'a mut [f32],
    /// Queries `[t, heads, head_dim]`.
    pub(crate) q: &'a mut [f32],
    /// Attention output `[t, heads, head_dim]`.
    pub(crate) attended: &'a mut [f32],
    /// Keys of this batch `[t, kv_heads, head_dim]`.
    pub(crate) k: &'a mut [f32],
    /// Values of this batch `[t, kv_heads, head_dim]`.
    pub(crate) v: &'a mut [f32],
    /// `[t, feed_forward]`.
    pub(crate) gate: &'a mut [f32],
    /// `[t, feed_forward]`.
    pub(crate) up: &'a mut [f32],
    /// `[t, head_dim / 2]`.
    pub(crate) cosines: &'a mut [f32],
    /// `[t, head_dim / 2]`.
    pub(crate) sines: &'a mut [f32],
    /// What [`score_floats`] counts.
    pub(crate) scores: &'a mut [f32],
    /// int8 form of the widest activations.
    pub(crate) scratch: ActivationScratch<'a>,
    /// `[layers]`, each a [`LayerCache`](crate::kernels::LayerCache).
    pub(crate) cache: &'a mut [u32],
}
