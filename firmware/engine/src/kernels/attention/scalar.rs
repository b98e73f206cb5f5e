//! Attention of one query over one head's prefix and cache in plain Rust: the definition of right.

use super::cache::Head;
use super::codec::Codec;
use super::{Row, softmax};
use crate::kernels::LANES;
use crate::workers::Level;

/// Attends from one row.
///
/// A score is the sum over a head's elements in order, within each group that has a scale and then
/// from group to group; an output is the sum over positions in order, divided by the sum of the
/// exponentials at the end.
pub(super) fn attend<C: Codec>(heads: &[Head<'_, C>; 2], row: &mut Row<'_>) {
    let scores = &mut row.scores[..row.seen];
    for head in heads {
        let own = &mut scores[head.positions.start..][..head.below(row.seen)];
        for (block, scores) in own.chunks_mut(LANES).enumerate() {
            score(head, block, row.query, row.scale, scores);
        }
    }
    let inverse = softmax(Level::Scalar, scores);
    row.out.fill(0.0);
    let width = row.out.len() / C::PACKED;
    let group = C::group(row.out.len());
    for head in heads {
        let own = &scores[head.positions.start..][..head.below(row.seen)];
        for (position, weight) in own.iter().enumerate() {
            let value = &head.values[position * width..][..width];
            for (g, out) in row.out.chunks_mut(group).enumerate() {
                let weight = weight * head.value_scale(g, position);
                for (i, out) in out.iter_mut().enumerate() {
                    *out += weight * C::value(value, g * group + i);
                }
            }
        }
    }
    row.out.iter_mut().for_each(|x| *x *= inverse);
}

/// The scores of up to 16 positions of one block.
fn score<C: Codec>(
    head: &Head<'_, C>,
    block: usize,
    query: &[f32],
    scale: f32,
    scores: &mut [f32],
) {
    let width = query.len() * LANES / C::PACKED;
    let keys = &head.keys[block * width..][..width];
    let group = C::group(query.len());
    scores.fill(0.0);
    for (g, query) in query.chunks(group).enumerate() {
        let mut sums = [0.0; LANES];
        let sums = &mut sums[..scores.len()];
        for (d, q) in query.iter().enumerate() {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += q * C::key(keys, g * group + d, lane);
            }
        }
        for (lane, (score, sum)) in scores.iter_mut().zip(sums).enumerate() {
            *score += *sum * head.key_scale(g, block * LANES + lane);
        }
    }
    scores.iter_mut().for_each(|score| *score *= scale);
}
