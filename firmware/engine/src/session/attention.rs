//! The first half of a transformer block: each token reads those before it.

use super::batch::{Batch, Block, activations};
use super::watch::Work;
use crate::kernels::{
    Angles, CachedAttention, LayerCache, LayerView, add, add_bias, attend_cached, multiply,
    multiply_all, rms_norm, rms_norm_heads,
};
use crate::shape::Role;

/// What one layer remembers of the tokens before the batch.
pub(super) struct Memory<'m> {
    /// The position of the batch's first token.
    pub(super) position: usize,
    /// The position where `cache` begins.
    pub(super) first: usize,
    /// Keys and values of the positions before `first`.
    pub(super) prefix: Option<LayerView<'m>>,
    /// Those from there on.
    pub(super) cache: LayerCache<'m>,
}

/// Attention: x += Wo · attend(rope(Wq · n), rope(Wk · n), Wv · n), n = norm(x).
pub(super) fn attention(
    block: &Block<'_>,
    angles: &Angles<'_>,
    mut memory: Memory<'_>,
    batch: &mut Batch<'_>,
    done: &mut dyn FnMut(Work),
) {
    let Block {
        shape,
        weights,
        host,
        layer,
    } = *block;
    let Batch {
        x,
        normed,
        q,
        attended,
        k,
        v,
        scores,
        scratch,
        ..
    } = batch;
    let epsilon = shape.norm_epsilon;
    let gain = weights.floats(Role::AttentionNorm, layer);
    rms_norm(host, x, gain, epsilon, normed);
    done(Work::Elementwise);
    let matrices = [Role::Query, Role::Key, Role::Value].map(|r| weights.matrix(r, layer));
    let [query, key, value] = matrices;
    let input = activations(host, matrices, normed, scratch);
    multiply_all(
        host,
        [(query, &mut **q), (key, &mut **k), (value, &mut **v)],
        &input,
    );
    done(Work::Products);
    for (role, rows) in [
        (Role::QueryBias, &mut **q),
        (Role::KeyBias, &mut **k),
        (Role::ValueBias, &mut **v),
    ] {
        if let Some(bias) = weights.optional_floats(role, layer) {
            add_bias(rows, bias);
        }
    }
    for (norm, rows) in [(Role::QueryNorm, &mut **q), (Role::KeyNorm, &mut **k)] {
        if let Some(gain) = weights.optional_floats(norm, layer) {
            rms_norm_heads(host, rows, gain, epsilon);
        }
        angles.rotate(host, shape.rope_pairs, rows);
    }
    memory
        .cache
        .store(host, k, v, memory.position - memory.first);
    done(Work::Elementwise);
    let cached = CachedAttention {
        heads: shape.heads as usize,
        position: memory.position,
        prefix: memory.prefix,
        cache: memory.cache.view(memory.first),
    };
    attend_cached(host, &cached, q, scores, attended);
    done(Work::Attention);
    let matrix = weights.matrix(Role::AttentionOutput, layer);
    multiply(
        host,
        matrix,
        &activations(host, [matrix], attended, scratch),
        normed,
    );
    done(Work::Products);
    add(host, x, normed);
    done(Work::Elementwise);
}
