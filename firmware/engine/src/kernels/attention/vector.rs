//! Attention of several queries over one head's cache, 16 floats at a time.
//!
//! Sixteen positions of a score, or sixteen elements of an output, lie side by side in a register:
//! each lane runs in the order of `scalar.rs`, however many queries share a load.

use super::cache::Head;
use super::codec::Codec;
use super::{Row, softmax};
use crate::kernels::LANES;
use crate::kernels::lanes::Lanes;
use crate::workers::Level;

/// Positions whose weights are made ready together.
const CHUNK: usize = 64;

/// Attends from `T` rows, scoring `BLOCKS` blocks of keys together and summing `COLUMNS` registers
/// of each output.
#[inline(always)]
pub(super) fn attend<
    V: Lanes,
    C: Codec,
    const T: usize,
    const BLOCKS: usize,
    const COLUMNS: usize,
>(
    level: Level,
    heads: &[Head<'_, C>; 2],
    rows: &mut [Row<'_>; T],
) {
    let (mut fewest, mut most) = (usize::MAX, 0);
    for row in rows.iter() {
        fewest = fewest.min(row.seen);
        most = most.max(row.seen);
    }
    // What the last block of a prefix scores past its end, the cache's first block scores after it.
    for head in heads {
        let blocks = head.below(most).div_ceil(LANES);
        let together = blocks - blocks % BLOCKS;
        for block in (0..together).step_by(BLOCKS) {
            score::<V, C, T, BLOCKS>(head, block, rows);
        }
        for block in together..blocks {
            score::<V, C, T, 1>(head, block, rows);
        }
    }
    let mut inverses = [0.0; T];
    for (row, inverse) in rows.iter_mut().zip(&mut inverses) {
        let padded = row.seen.next_multiple_of(LANES);
        row.scores[row.seen..padded].fill(f32::NEG_INFINITY);
        *inverse = softmax(level, &mut row.scores[..padded]);
        row.out.fill(0.0);
    }
    // What all rows see, then what only the later ones do.
    for head in heads {
        add_values::<V, C, T, COLUMNS>(head, 0, head.below(fewest), rows);
    }
    // All rows see the whole prefix.
    let [_, head] = heads;
    let fewest = head.below(fewest);
    for (row, inverse) in rows.iter_mut().zip(inverses) {
        let seen = head.below(row.seen);
        add_values::<V, C, 1, COLUMNS>(head, fewest, seen, core::array::from_mut(row));
        row.out.iter_mut().for_each(|x| *x *= inverse);
    }
}

/// The scores of `B` blocks of 16 positions.
#[inline(always)]
fn score<V: Lanes, C: Codec, const T: usize, const B: usize>(
    head: &Head<'_, C>,
    block: usize,
    rows: &mut [Row<'_>; T],
) {
    let head_dim = rows[0].query.len();
    let width = head_dim * LANES / C::PACKED;
    let keys = &head.keys[block * width..][..B * width];
    let group = C::group(head_dim);
    let zero = V::splat(0.0);
    let mut scores = [[zero; B]; T];
    for (g, first) in (0..head_dim).step_by(group).enumerate() {
        let mut sums = [[zero; B]; T];
        for d in first..head_dim.min(first + group) {
            let mut k = [zero; B];
            for (b, k) in k.iter_mut().enumerate() {
                *k = C::keys(&keys[b * width..][..width], d);
            }
            for (sums, row) in sums.iter_mut().zip(rows.iter()) {
                let q = V::splat(row.query[d]);
                for (sum, k) in sums.iter_mut().zip(k) {
                    *sum = sum.plus_product(q, k);
                }
            }
        }
        for b in 0..B {
            let scales = head.key_scales::<V>(g, block + b);
            for (scores, sums) in scores.iter_mut().zip(sums) {
                scores[b] = scores[b].plus_product(sums[b], scales);
            }
        }
    }
    for (scores, row) in scores.into_iter().zip(rows) {
        let scale = V::splat(row.scale);
        let own = &mut row.scores[head.positions.start..];
        let places = &mut own.as_chunks_mut().0[block..][..B];
        for (score, place) in scores.into_iter().zip(places) {
            score.times(scale).store(place);
        }
    }
}

/// Adds the weighted values of the positions `from..to`, counted from the head's first, to the outputs.
#[inline(always)]
fn add_values<V: Lanes, C: Codec, const T: usize, const COLUMNS: usize>(
    head: &Head<'_, C>,
    from: usize,
    to: usize,
    rows: &mut [Row<'_>; T],
) {
    let head_dim = rows[0].out.len();
    let width = head_dim / C::PACKED;
    let group = C::group(head_dim);
    for first in (from..to).step_by(CHUNK) {
        let count = CHUNK.min(to - first);
        let values = &head.values[first * width..][..count * width];
        for (g, start) in (0..head_dim).step_by(group).enumerate() {
            let end = head_dim.min(start + group);
            let mut weights = [[0.0; CHUNK]; T];
            for (weights, row) in weights.iter_mut().zip(rows.iter()) {
                let scores = &row.scores[head.positions.start + first..][..count];
                head.weights::<V>(g, first, scores, weights);
            }
            let (mut column, last) = (start / LANES, end / LANES);
            while column + COLUMNS <= last {
                add_columns::<V, C, T, COLUMNS>(values, count, &weights, column, rows);
                column += COLUMNS;
            }
            if COLUMNS > 2 && column + 2 <= last {
                add_columns::<V, C, T, 2>(values, count, &weights, column, rows);
                column += 2;
            }
            while column < last {
                add_columns::<V, C, T, 1>(values, count, &weights, column, rows);
                column += 1;
            }
            for (value, i) in values.chunks_exact(width).zip(0..count) {
                for d in column * LANES..end {
                    let value = C::value(value, d);
                    for (weights, row) in weights.iter().zip(rows.iter_mut()) {
                        row.out[d] += weights[i] * value;
                    }
                }
            }
        }
    }
}

/// Adds `count` weighted values to `N` registers of each output, from register `column` on.
#[inline(always)]
fn add_columns<V: Lanes, C: Codec, const T: usize, const N: usize>(
    values: &[C::Code],
    count: usize,
    weights: &[[f32; CHUNK]; T],
    column: usize,
    rows: &mut [Row<'_>; T],
) {
    let width = values.len() / count;
    let zero = V::splat(0.0);
    let mut sums = [[zero; N]; T];
    for (sums, row) in sums.iter_mut().zip(rows.iter()) {
        let out = &row.out.as_chunks().0[column..][..N];
        for (sum, out) in sums.iter_mut().zip(out) {
            *sum = V::load(out);
        }
    }
    for (i, value) in values.chunks_exact(width).enumerate().take(CHUNK) {
        let mut v = [zero; N];
        for (c, v) in v.iter_mut().enumerate() {
            *v = C::values(value, column + c);
        }
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let weight = V::splat(weights[i]);
            for (sum, v) in sums.iter_mut().zip(v) {
                *sum = sum.plus_product(weight, v);
            }
        }
    }
    for (sums, row) in sums.into_iter().zip(rows) {
        let out = &mut row.out.as_chunks_mut().0[column..][..N];
        for (sum, out) in sums.into_iter().zip(out) {
            sum.store(out);
        }
    }
}
