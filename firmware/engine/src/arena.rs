//! The memory of a session: one slice whose length the host and the board compute with this code.

use crate::encoding::GROUP;
pub use crate::kernels::CachePrecision;
use crate::kernels::{ActivationScratch, CacheShape, score_floats_after};
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
    /// 32-bit words of the int8 form of the activations.
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
    /// The layout for a model of this shape. What a `usize` cannot count, on a 32-bit board 4 Gi
    /// words, makes [`Self::words`] [`usize::MAX`], which no arena has.
    #[must_use]
    pub fn new(shape: &Hyperparameters, limits: Limits) -> Self {
        Self::after(0, shape, limits)
    }

    /// As [`Self::new`] for a session whose first `prefix` positions lie in a packed file.
    #[must_use]
    pub fn after(prefix: usize, shape: &Hyperparameters, limits: Limits) -> Self {
        let limits = Limits {
            context: limits.context.saturating_sub(prefix),
            ..limits
        };
        let Limits { context, batch, .. } = limits;
        let n = |x: u32| x as usize;
        let widest = n(shape.hidden)
            .max(n(shape.query_width()))
            .max(n(shape.feed_forward));
        let groups = widest.div_ceil(GROUP);
        let each = |elements: usize| batch.saturating_mul(elements);
        Self {
            hidden: each(n(shape.hidden)),
            query: each(n(shape.query_width())),
            kv: each(n(shape.kv_width())),
            feed_forward: each(n(shape.feed_forward)),
            angles: each(n(shape.head_dim) / 2),
            scores: score_floats_after(prefix, n(shape.heads), batch, context),
            int8: each(groups * (GROUP / 4)),
            groups: each(groups),
            cache: n(shape.layers).saturating_mul(cache_shape(shape, limits).words()),
        }
    }

    /// 32-bit words of the whole arena.
    #[must_use]
    pub const fn words(&self) -> usize {
        // x, normed; q, attention out; k, v; gate, up; sines, cosines; scores; int8; scales, sums; cache.
        let twice = self
            .hidden
            .saturating_add(self.query)
            .saturating_add(self.kv)
            .saturating_add(self.feed_forward)
            .saturating_add(self.angles)
            .saturating_add(self.groups);
        twice
            .saturating_mul(2)
            .saturating_add(self.scores)
            .saturating_add(self.int8)
            .saturating_add(self.cache)
    }

    /// Bytes of the whole arena, KV cache included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.words().saturating_mul(4)
    }

    /// Bytes of the KV cache alone.
    #[must_use]
    pub const fn kv_cache_bytes(&self) -> usize {
        self.cache.saturating_mul(4)
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
        let values = bytemuck::cast_slice_mut(take(self.int8));
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
    /// What [`score_floats_after`] counts.
    pub(crate) scores: &'a mut [f32],
    /// int8 form of the widest activations.
    pub(crate) scratch: ActivationScratch<'a>,
    /// `[layers]`, each a [`LayerCache`](crate::kernels::LayerCache).
    pub(crate) cache: &'a mut [u32],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Session, SessionError};
    use crate::shape::RopePairs;

    const SHAPE: Hyperparameters = Hyperparameters {
        layers: 30,
        hidden: 576,
        feed_forward: 1536,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab: 49_152,
        context: 8192,
        norm_epsilon: 1e-5,
        rope_pairs: RopePairs::Adjacent,
    };

    #[test]
    fn the_arena_is_as_large_as_what_stands_in_it() {
        let words = |context, batch, cache| {
            let limits = Limits {
                context,
                batch,
                cache,
            };
            ArenaLayout::new(&SHAPE, limits).words()
        };
        // SmolLM2-135M, one token at a time: x, normed, q, attended; k, v; gate, up; angles; scores of
        // 9 heads; int8 form and two numbers a group of 1536.
        let floats = 4 * 576 + 2 * 192 + 2 * 1536 + 2 * 32 + 9 * 64 + 1536 / 4 + 2 * 48;
        let cache = 30 * 2 * 192 * 64;
        assert_eq!(words(64, 1, CachePrecision::Sixteen), floats + cache / 2);
        // A 16-bit scale for each head and position, of keys and of values.
        let scales = 30 * 3 * 64;
        assert_eq!(
            words(64, 1, CachePrecision::Eight),
            floats + cache / 4 + scales
        );
    }

    #[test]
    fn positions_that_lie_in_a_file_take_no_room() {
        for cache in CachePrecision::ALL {
            let limits = |context| Limits {
                context,
                batch: 4,
                cache,
            };
            let after = ArenaLayout::after(8, &SHAPE, limits(32));
            let alone = ArenaLayout::new(&SHAPE, limits(24));
            assert_eq!(after.kv_cache_bytes(), alone.kv_cache_bytes());
        }
    }

    #[test]
    fn an_arena_that_cannot_be_counted_is_refused() {
        let most = usize::MAX;
        for cache in CachePrecision::ALL {
            for (context, batch) in [(most, 1), (most / 4, 1), (1, most), (1, most / 1024)] {
                let limits = Limits {
                    context,
                    batch,
                    cache,
                };
                let refused = Session::new(&SHAPE, limits, &mut [0; 64]).map(|_| ());
                let (needed, found) = (most, 64);
                assert_eq!(
                    refused,
                    Err(SessionError::Arena { needed, found }),
                    "{limits:?}"
                );
            }
        }
    }
}
