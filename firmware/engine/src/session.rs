//! The forward pass, read top to bottom.

mod attention;
mod batch;
mod feed_forward;
mod watch;

use crate::arena::{Arena, ArenaLayout, Limits, cache_shape};
use crate::format::Prefix;
use crate::kernels::{CacheShape, LayerCache, multiply, rms_norm};
use crate::shape::{Hyperparameters, Role};
use crate::weights::Weights;
use crate::workers::Host;
use attention::{Memory, attention};
use batch::{Batch, Block, activations};
use feed_forward::feed_forward;

pub use watch::{Watch, Work};

/// One conversation: a KV cache in a borrowed arena.
#[derive(Debug)]
pub struct Session<'a> {
    shape: Hyperparameters,
    limits: Limits,
    prefix: Option<Prefix<'a>>,
    arena: Arena<'a>,
    position: usize,
}

/// Why a session could not start or go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionError {
    /// The hyperparameter or limit of this name is out of range.
    Shape(&'static str),
    /// The arena is too small.
    Arena {
        /// 32-bit words that the session needs.
        needed: usize,
        /// Words lent.
        found: usize,
    },
    /// The context is full.
    ContextFull {
        /// Positions asked for.
        needed: usize,
        /// Positions of the KV cache.
        context: usize,
    },
    /// No token has this number.
    UnknownToken(u32),
    /// The weights or the prefix are of another shape, or `logits` is not whole rows of at most the tokens given.
    WrongArgument,
}

impl core::fmt::Display for SessionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Shape(name) => write!(f, "{name} is out of range"),
            Self::Arena { needed, found } => {
                write!(f, "the arena needs {needed} words and has {found}")
            }
            Self::ContextFull { needed, context } => write!(
                f,
                "the conversation needs {needed} positions, the context has {context}"
            ),
            Self::UnknownToken(token) => write!(f, "token {token} is not in the vocabulary"),
            Self::WrongArgument => write!(f, "weights or logits do not fit the session"),
        }
    }
}

impl core::error::Error for SessionError {}

impl<'a> Session<'a> {
    /// An empty conversation in `arena`, of which [`ArenaLayout::words`] are used.
    ///
    /// # Errors
    /// When the shape or a limit is out of range, or the arena too small.
    pub fn new(
        shape: &Hyperparameters,
        limits: Limits,
        arena: &'a mut [u32],
    ) -> Result<Self, SessionError> {
        Self::after(None, shape, limits, arena)
    }

    /// A conversation that begins with `prefix`, in `arena`, of which [`ArenaLayout::after`] its
    /// positions are used. The context counts them too.
    ///
    /// # Errors
    /// As [`Self::new`], and when the prefix is of another model, of another precision than the limits
    /// ask, or as long as the context.
    pub fn after(
        prefix: Option<Prefix<'a>>,
        shape: &Hyperparameters,
        limits: Limits,
        arena: &'a mut [u32],
    ) -> Result<Self, SessionError> {
        shape.check().map_err(|e| SessionError::Shape(e.name))?;
        if limits.context == 0 || limits.batch == 0 {
            return Err(SessionError::Shape(if limits.batch == 0 {
                "batch"
            } else {
                "context"
            }));
        }
        let position = prefix.map_or(0, |p| p.positions());
        if position >= limits.context {
            let (needed, context) = (position + 1, limits.context);
            return Err(SessionError::ContextFull { needed, context });
        }
        if prefix.is_some_and(|p| !p.fits(shape) || p.precision() != limits.cache) {
            return Err(SessionError::WrongArgument);
        }
        let layout = ArenaLayout::after(position, shape, limits);
        let found = arena.len();
        let arena = layout.split(arena).ok_or(SessionError::Arena {
            needed: layout.words(),
            found,
        })?;
        Ok(Self {
            shape: *shape,
            limits,
            prefix,
            arena,
            position,
        })
    }

    /// Takes up a conversation whose first `position` tokens `prefix` and `arena` still hold, under the
    /// same shape and limits.
    ///
    /// # Errors
    /// As [`Self::after`], and when `position` is past the context or inside the prefix.
    pub fn resume(
        prefix: Option<Prefix<'a>>,
        shape: &Hyperparameters,
        limits: Limits,
        arena: &'a mut [u32],
        position: usize,
    ) -> Result<Self, SessionError> {
        if position > limits.context {
            return Err(SessionError::ContextFull {
                needed: position,
                context: limits.context,
            });
        }
        let session = Self::after(prefix, shape, limits, arena)?;
        if position < session.position {
            return Err(SessionError::WrongArgument);
        }
        Ok(Self {
            position,
            ..session
        })
    }

    /// Tokens whose keys and values are there, those of the prefix among them.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The keys and values of all layers, each in the room of the whole context after the prefix: what a
    /// packed file holds of a prefix as long as this context.
    #[must_use]
    pub const fn cache_words(&self) -> &[u32] {
        self.arena.cache
    }

    /// Forgets every token from `position` on, but none of the prefix.
    pub fn truncate(&mut self, position: usize) {
        let kept = self.prefix.map_or(0, |p| p.positions());
        self.position = self.position.min(position).max(kept);
    }

    /// Computes `tokens` after those already seen; the logits of the last `logits.len() / vocab` of
    /// them land in `logits` `[n, vocab]`. How the tokens are cut into calls changes no bit.
    ///
    /// # Errors
    /// When the context is full, a token is unknown, or an argument does not fit; then nothing was
    /// computed.
    pub fn forward(
        &mut self,
        weights: &Weights<'_>,
        host: &Host<'_>,
        tokens: &[u32],
        logits: &mut [f32],
    ) -> Result<(), SessionError> {
        self.forward_watched(weights, host, tokens, logits, &mut |_, _| ())
    }

    /// [`Self::forward`], with `watch` told what was just computed: whoever measures looks at a clock there.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_watched(
        &mut self,
        weights: &Weights<'_>,
        host: &Host<'_>,
        tokens: &[u32],
        logits: &mut [f32],
        watch: &mut Watch<'_>,
    ) -> Result<(), SessionError> {
        let vocab = self.shape.vocab as usize;
        let (needed, context) = (self.position + tokens.len(), self.limits.context);
        if needed > context {
            return Err(SessionError::ContextFull { needed, context });
        }
        if let Some(token) = tokens.iter().find(|t| **t >= self.shape.vocab) {
            return Err(SessionError::UnknownToken(*token));
        }
        if *weights.shape() != self.shape
            || !logits.len().is_multiple_of(vocab)
            || logits.len() / vocab > tokens.len()
        {
            return Err(SessionError::WrongArgument);
        }
        let mut silent = tokens.len() - logits.len() / vocab;
        let mut logits = logits;
        for batch in tokens.chunks(self.limits.batch) {
            self.blocks(weights, host, batch, watch);
            let skipped = silent.min(batch.len());
            silent -= skipped;
            let (now, later) =
                core::mem::take(&mut logits).split_at_mut((batch.len() - skipped) * vocab);
            self.head(weights, host, skipped, now);
            watch(None, Work::Head);
            logits = later;
        }
        Ok(())
    }

    /// Runs one batch through every transformer block; the residual stream is left in the arena.
    fn blocks(
        &mut self,
        weights: &Weights<'_>,
        host: &Host<'_>,
        tokens: &[u32],
        watch: &mut Watch<'_>,
    ) {
        let (shape, count) = (self.shape, tokens.len());
        let (mut batch, cache, angles) = Batch::of(&mut self.arena, &shape, count);
        let angles = angles.of(weights.floats(Role::RopeFrequencies, 0), self.position);
        // Where the arena's cache begins.
        let first = self.prefix.map_or(0, |p| p.positions());
        let cache_shape = CacheShape {
            context: self.limits.context - first,
            ..cache_shape(&shape, self.limits)
        };

        let embedding = weights.matrix(Role::Embedding, 0);
        let rows = batch.x.chunks_exact_mut(shape.hidden as usize);
        for (token, x) in tokens.iter().zip(rows) {
            embedding.dequantize_row(*token as usize, x);
        }
        watch(None, Work::Embedding);

        let words = cache_shape.words();
        for layer in 0..shape.layers {
            let block = Block {
                shape: &shape,
                weights,
                host,
                layer,
            };
            let words = &mut cache[layer as usize * words..][..words];
            let memory = Memory {
                position: self.position,
                first,
                prefix: self.prefix.map(|p| p.layer(layer)),
                cache: LayerCache::new(cache_shape, words),
            };
            let mut done = |work| watch(Some(layer), work);
            attention(&block, &angles, memory, &mut batch, &mut done);
            feed_forward(&block, &mut batch, &mut done);
        }
        self.position += count;
    }

    /// Final norm and output head of the batch's tokens from `skipped` on.
    fn head(&mut self, weights: &Weights<'_>, host: &Host<'_>, skipped: usize, logits: &mut [f32]) {
        let hidden = self.shape.hidden as usize;
        let count = logits.len() / self.shape.vocab as usize;
        if count == 0 {
            return;
        }
        let x = &self.arena.x[skipped * hidden..][..count * hidden];
        let normed = &mut self.arena.normed[..count * hidden];
        let gain = weights.floats(Role::OutputNorm, 0);
        rms_norm(host, x, gain, self.shape.norm_epsilon, normed);
        let matrix = weights.output();
        multiply(
            host,
            matrix,
            &activations(host, [matrix], normed, &mut self.arena.scratch),
            logits,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{ArenaLayout, CachePrecision};
    use crate::shape::RopePairs;
    use std::vec;

    #[test]
    fn a_conversation_is_taken_up_where_it_was_left() {
        let shape = Hyperparameters {
            layers: 1,
            hidden: 32,
            feed_forward: 32,
            heads: 2,
            kv_heads: 1,
            head_dim: 16,
            vocab: 8,
            context: 16,
            norm_epsilon: 1e-5,
            rope_pairs: RopePairs::Adjacent,
        };
        let limits = Limits {
            context: 16,
            batch: 1,
            cache: CachePrecision::Sixteen,
        };
        let mut arena = vec![0; ArenaLayout::new(&shape, limits).words()];
        for position in [0, 1, 16] {
            let session = Session::resume(None, &shape, limits, &mut arena, position);
            assert_eq!(session.map(|session| session.position()), Ok(position));
        }
        let session = Session::resume(None, &shape, limits, &mut arena, 17);
        let (needed, context) = (17, 16);
        let full = SessionError::ContextFull { needed, context };
        assert_eq!(session.map(|session| session.position()), Err(full));
    }
}
