//! Attention of one layer over the KV cache, one task a head.

use super::{LANES, Shared, add_scaled_half, dot_half, fold};
use crate::float::{exp, sqrt};
use crate::workers::Host;

/// The shapes and the cache of one layer's attention.
#[derive(Debug)]
pub struct Attention<'a> {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Positions that the cache has room for.
    pub context: usize,
    /// Position of the first token of `queries`.
    pub position: usize,
    /// Keys as 16-bit floats `[kv_heads, context, head_dim]`.
    pub keys: &'a [u16],
    /// Values as 16-bit floats `[kv_heads, context, head_dim]`.
    pub values: &'a [u16],
}

/// Causal attention of `queries` `[tokens, heads, head_dim]` into `out` of the same shape.
///
/// `scores` is room for `[heads, context]`. Scores are summed over 16 strided lanes, values one
/// position after the other.
pub fn attend(
    host: &Host<'_>,
    a: &Attention<'_>,
    queries: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    let width = a.heads * a.head_dim;
    let tokens = queries.len() / width;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a head has at most 1024 elements"
    )]
    let scale = 1.0 / sqrt(a.head_dim as f32);
    let level = host.level.0;
    let (scores, out) = (Shared::new(scores), Shared::new(out));
    host.workers.run(a.heads, &|head| {
        let start = head / (a.heads / a.kv_heads) * a.context * a.head_dim;
        let row = |at: usize| start + at * a.head_dim..start + (at + 1) * a.head_dim;
        for token in 0..tokens {
            let at = token * width + head * a.head_dim;
            let query = &queries[at..at + a.head_dim];
            let seen = a.position + token + 1;
            // SAFETY: these parts belong to this head alone, and a head to one task.
            let (scores, out) = unsafe {
                (
                    scores.slice(head * a.context, seen),
                    out.slice(at, a.head_dim),
                )
            };
            for (i, score) in scores.iter_mut().enumerate() {
                *score = dot_half(level, &a.keys[row(i)], query) * scale;
            }
            softmax(scores);
            out.fill(0.0);
            for (i, score) in scores.iter().enumerate() {
                add_scaled_half(level, *score, &a.values[row(i)], out);
            }
        }
    });
}

fn softmax(scores: &mut [f32]) {
    let largest = scores
        .iter()
        .fold(f32::NEG_INFINITY, |m, x| if *x > m { *x } else { m });
    let mut lanes = [0.0; LANES];
    for chunk in scores.chunks_mut(LANES) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = exp(*x - largest);
            *lane += *x;
        }
    }
    let inverse = 1.0 / fold(lanes);
    scores.iter_mut().for_each(|x| *x *= inverse);
}
