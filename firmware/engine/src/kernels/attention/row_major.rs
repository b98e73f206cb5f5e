//! Attention over 16-bit keys and values that are given row by row, as the tests of `kernels` have
//! them: stores them in a cache and attends over that.

use super::{CachePrecision, CacheShape, CachedAttention, LayerCache, attend_cached, score_floats};
use crate::float::f32_from_f16;
use crate::workers::Host;
use std::vec;
use std::vec::Vec;

/// Shapes, keys and values `[kv_heads, context, head_dim]`.
#[derive(Debug)]
pub(in super::super) struct Attention<'a> {
    pub(in super::super) heads: usize,
    pub(in super::super) kv_heads: usize,
    pub(in super::super) head_dim: usize,
    pub(in super::super) context: usize,
    pub(in super::super) position: usize,
    pub(in super::super) keys: &'a [u16],
    pub(in super::super) values: &'a [u16],
}

pub(in super::super) fn attend(
    host: &Host<'_>,
    a: &Attention<'_>,
    queries: &[f32],
    _scores: &mut [f32],
    out: &mut [f32],
) {
    let shape = CacheShape {
        precision: CachePrecision::Sixteen,
        kv_heads: a.kv_heads,
        head_dim: a.head_dim,
        context: a.context,
    };
    let by_token = |rows: &[u16]| -> Vec<f32> {
        let element = |token: usize, i: usize| {
            let (head, d) = (i / a.head_dim, i % a.head_dim);
            f32_from_f16(rows[(head * a.context + token) * a.head_dim + d])
        };
        let width = a.kv_heads * a.head_dim;
        (0..a.context * width)
            .map(|i| element(i / width, i % width))
            .collect()
    };
    let mut words = vec![0; shape.words()];
    let mut cache = LayerCache::new(shape, &mut words);
    cache.store(host, &by_token(a.keys), &by_token(a.values), 0);
    let attention = CachedAttention {
        heads: a.heads,
        position: a.position,
        cache: &cache,
    };
    let mut scores = vec![0.0; score_floats(a.heads, a.context, a.context)];
    attend_cached(host, &attention, queries, &mut scores, out);
}
