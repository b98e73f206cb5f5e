//! The forward pass, read top to bottom.

use crate::arena::{Arena, ArenaLayout, Limits};
use crate::float::{f16_from_f32, sin_cos};
use crate::kernels::{
    ActivationScratch, Activations, Attention, add, attend, multiply, rms_norm, rotate, silu_times,
};
use crate::matrix::Matrix;
use crate::shape::{Hyperparameters, Role};
use crate::weights::Weights;
use crate::workers::Host;

/// One conversation: a KV cache in a borrowed arena.
#[derive(Debug)]
pub struct Session<'a> {
    shape: Hyperparameters,
    limits: Limits,
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
    /// The weights are of another shape, or `logits` is not whole rows of at most the tokens given.
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
        shape.check().map_err(SessionError::Shape)?;
        if limits.context == 0 || limits.batch == 0 {
            return Err(SessionError::Shape(if limits.batch == 0 {
                "batch"
            } else {
                "context"
            }));
        }
        let layout = ArenaLayout::new(shape, limits);
        let found = arena.len();
        let arena = layout.split(arena).ok_or(SessionError::Arena {
            needed: layout.words(),
            found,
        })?;
        Ok(Self {
            shape: *shape,
            limits,
            arena,
            position: 0,
        })
    }

    /// Tokens in the KV cache.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Forgets every token from `position` on.
    pub fn truncate(&mut self, position: usize) {
        self.position = self.position.min(position);
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
            self.blocks(weights, host, batch);
            let skipped = silent.min(batch.len());
            silent -= skipped;
            let (now, later) =
                core::mem::take(&mut logits).split_at_mut((batch.len() - skipped) * vocab);
            self.head(weights, host, skipped, now);
            logits = later;
        }
        Ok(())
    }

    /// Runs one batch through every transformer block; the residual stream is left in the arena.
    fn blocks(&mut self, weights: &Weights<'_>, host: &Host<'_>, tokens: &[u32]) {
        let shape = self.shape;
        let (hidden, epsilon) = (shape.hidden as usize, shape.norm_epsilon);
        let Arena {
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
            keys,
            values,
        } = &mut self.arena;
        let count = tokens.len();
        let x = &mut x[..count * hidden];
        let normed = &mut normed[..count * hidden];
        let q = &mut q[..count * shape.query_width() as usize];
        let attended = &mut attended[..count * shape.query_width() as usize];
        let k = &mut k[..count * shape.kv_width() as usize];
        let v = &mut v[..count * shape.kv_width() as usize];
        let gate = &mut gate[..count * shape.feed_forward as usize];
        let up = &mut up[..count * shape.feed_forward as usize];
        let head_dim = shape.head_dim as usize;
        let half = count * head_dim / 2;
        let angles = Angles::new(
            &mut cosines[..half],
            &mut sines[..half],
            weights,
            self.position,
        );

        let embedding = weights.matrix(Role::Embedding, 0);
        for (token, x) in tokens.iter().zip(x.chunks_exact_mut(hidden)) {
            embedding.dequantize_row(*token as usize, x);
        }

        for layer in 0..shape.layers {
            // Attention: x += Wo · attend(rope(Wq · n), rope(Wk · n), Wv · n), n = norm(x).
            norm(
                weights,
                Role::AttentionNorm,
                layer,
                x,
                hidden,
                epsilon,
                normed,
            );
            let projections = [
                (Role::Query, Role::QueryBias, &mut *q),
                (Role::Key, Role::KeyBias, &mut *k),
                (Role::Value, Role::ValueBias, &mut *v),
            ];
            let input = activations(
                weights.matrix(Role::Query, layer),
                &[Role::Key, Role::Value].map(|r| weights.matrix(r, layer)),
                normed,
                scratch,
            );
            for (role, bias, out) in projections {
                multiply(host, weights.matrix(role, layer), &input, out);
                add_bias(weights, bias, layer, out);
            }
            for (norm_role, row) in [(Role::QueryNorm, &mut *q), (Role::KeyNorm, &mut *k)] {
                norm_heads(weights, norm_role, layer, row, head_dim, epsilon);
            }
            angles.rotate(&shape, q);
            angles.rotate(&shape, k);
            let cached = (shape.kv_width() as usize) * self.limits.context;
            let layer_cache = layer as usize * cached..(layer as usize + 1) * cached;
            let (keys, values) = (&mut keys[layer_cache.clone()], &mut values[layer_cache]);
            store(k, keys, head_dim, self.position, self.limits.context);
            store(v, values, head_dim, self.position, self.limits.context);
            let attention = Attention {
                heads: shape.heads as usize,
                kv_heads: shape.kv_heads as usize,
                head_dim,
                context: self.limits.context,
                position: self.position,
                keys,
                values,
            };
            attend(host, &attention, q, scores, attended);
            let matrix = weights.matrix(Role::AttentionOutput, layer);
            multiply(
                host,
                matrix,
                &activations(matrix, &[], attended, scratch),
                normed,
            );
            add(x, normed);

            // Feed-forward: x += Wd · (silu(Wg · n) * (Wu · n)), n = norm(x).
            norm(
                weights,
                Role::FeedForwardNorm,
                layer,
                x,
                hidden,
                epsilon,
                normed,
            );
            let (gate_matrix, up_matrix) = (
                weights.matrix(Role::Gate, layer),
                weights.matrix(Role::Up, layer),
            );
            let input = activations(gate_matrix, &[up_matrix], normed, scratch);
            multiply(host, gate_matrix, &input, gate);
            multiply(host, up_matrix, &input, up);
            silu_times(gate, up);
            let matrix = weights.matrix(Role::Down, layer);
            multiply(
                host,
                matrix,
                &activations(matrix, &[], gate, scratch),
                normed,
            );
            add(x, normed);
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
        norm(
            weights,
            Role::OutputNorm,
            0,
            x,
            hidden,
            self.shape.norm_epsilon,
            normed,
        );
        let matrix = weights.output();
        multiply(
            host,
            matrix,
            &activations(matrix, &[], normed, &mut self.arena.scratch),
            logits,
        );
    }
}

/// The activations in the forms that these matrices take.
fn activations<'s>(
    first: &Matrix<'_>,
    others: &[&Matrix<'_>],
    floats: &'s [f32],
    scratch: &'s mut ActivationScratch<'_>,
) -> Activations<'s> {
    if first.takes_int8() || others.iter().any(|m| m.takes_int8()) {
        Activations::quantize(first.cols(), floats, scratch)
    } else {
        Activations::floats_only(first.cols(), floats)
    }
}

fn norm(
    weights: &Weights<'_>,
    role: Role,
    layer: u32,
    x: &[f32],
    width: usize,
    epsilon: f32,
    out: &mut [f32],
) {
    if let Some(gain) = weights.vector(role, layer) {
        rms_norm(x, gain, width, epsilon, out);
    }
}

/// `qwen3`: each head of queries and keys is normed by itself.
fn norm_heads(
    weights: &Weights<'_>,
    role: Role,
    layer: u32,
    heads: &mut [f32],
    head_dim: usize,
    epsilon: f32,
) {
    let Some(gain) = weights.vector(role, layer) else {
        return;
    };
    for head in heads.chunks_exact_mut(head_dim) {
        let mut normed = [0.0; 1024];
        let normed = &mut normed[..head_dim];
        rms_norm(head, gain, head_dim, epsilon, normed);
        head.copy_from_slice(normed);
    }
}

fn add_bias(weights: &Weights<'_>, role: Role, layer: u32, out: &mut [f32]) {
    let Some(bias) = weights.optional(role, layer).and_then(Matrix::floats) else {
        return;
    };
    for row in out.chunks_exact_mut(bias.len()) {
        for (x, b) in row.iter_mut().zip(bias) {
            *x += f32::from_le_bytes(*b);
        }
    }
}

/// Writes rows `[t, kv_heads, head_dim]` to their positions in a cache `[kv_heads, context, head_dim]`.
fn store(rows: &[f32], cache: &mut [u16], head_dim: usize, position: usize, context: usize) {
    let width = cache.len() / context;
    for (t, row) in rows.chunks_exact(width).enumerate() {
        for (head, row) in row.chunks_exact(head_dim).enumerate() {
            let at = (head * context + position + t) * head_dim;
            for (cached, x) in cache[at..at + head_dim].iter_mut().zip(row) {
                *cached = f16_from_f32(*x);
            }
        }
    }
}

/// Cosines and sines of a batch's positions `[t, head_dim / 2]`.
struct Angles<'a> {
    cosines: &'a mut [f32],
    sines: &'a mut [f32],
}

impl Angles<'_> {
    fn new<'a>(
        cosines: &'a mut [f32],
        sines: &'a mut [f32],
        weights: &Weights<'_>,
        position: usize,
    ) -> Angles<'a> {
        if let Some(frequency) = weights.vector(Role::RopeFrequencies, 0) {
            let half = weights.shape().head_dim as usize / 2;
            for (i, (c, s)) in cosines.iter_mut().zip(sines.iter_mut()).enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^53")]
                let angle = (position + i / half) as f64 * f64::from(frequency(i % half));
                (*s, *c) = sin_cos(angle);
            }
        }
        Angles { cosines, sines }
    }

    /// Rotates rows `[t, heads, head_dim]`.
    fn rotate(&self, shape: &Hyperparameters, rows: &mut [f32]) {
        let half = shape.head_dim as usize / 2;
        let width = rows.len() / (self.cosines.len() / half);
        let angles = self
            .cosines
            .chunks_exact(half)
            .zip(self.sines.chunks_exact(half));
        for (row, (cosines, sines)) in rows.chunks_exact_mut(width).zip(angles) {
            rotate(row, shape.rope_pairs, cosines, sines);
        }
    }
}
