//! The kernels in plain Rust: the definition of right.

use super::{Activations, LANES, TILE, fold};
use crate::encoding::{BLOCK_ROWS, Encoding, GROUP, Width};
use crate::float::f32_from_f16;
use crate::matrix::{BitReader, SparseRow, half_at, level, scale_unit};

/// Eight rows of a dense or ternary matrix times up to [`TILE`] tokens.
pub(super) fn dense_block(
    encoding: Encoding,
    block: &[u8],
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [[f32; BLOCK_ROWS]; TILE] {
    let mut sums = [[0.0; BLOCK_ROWS]; TILE];
    let (row_scales, records) = block.split_at(2 * BLOCK_ROWS);
    for (group, record) in records.chunks_exact(encoding.record_bytes()).enumerate() {
        for lane in 0..BLOCK_ROWS {
            let mut levels = [0; GROUP];
            for (col, l) in levels.iter_mut().enumerate() {
                *l = level(encoding, record, lane, col);
            }
            let group_scale = i32::from(record[lane]);
            for (t, sums) in sums[..tile].iter_mut().enumerate() {
                sums[lane] += group_product(&levels, group_scale, input, token + t, group);
            }
        }
    }
    for sums in &mut sums[..tile] {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum *= half_at(row_scales, lane) * scale_unit(encoding);
        }
    }
    sums
}

/// One row of a sparse matrix times up to [`TILE`] tokens.
pub(super) fn sparse_row(
    width: Width,
    row: &SparseRow<'_>,
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    let mut reader = BitReader::new(row.values);
    for (group, group_scale) in row.group_scales.iter().enumerate() {
        let levels = row.group_levels(width, group, &mut reader);
        for (t, sum) in sums[..tile].iter_mut().enumerate() {
            *sum += group_product(&levels, i32::from(*group_scale), input, token + t, group);
        }
    }
    sums[..tile].iter_mut().for_each(|sum| *sum *= row.scale);
    sums
}

/// Integer product of one group, times the integer group scale, then once times the activations' scale.
///
/// Levels reach 255, so at most 32 x 255 x 127 x 255 = 264,261,600: inside 32 bits.
fn group_product(
    levels: &[i16; GROUP],
    group_scale: i32,
    input: &Activations<'_>,
    token: usize,
    group: usize,
) -> f32 {
    let values = &input.values(token)[group * GROUP..][..GROUP];
    let dot: i32 = levels
        .iter()
        .zip(values)
        .map(|(l, a)| i32::from(*l) * i32::from(*a))
        .sum();
    #[expect(
        clippy::cast_precision_loss,
        reason = "rounded half to even, as every SIMD conversion does"
    )]
    let product = (dot * group_scale) as f32;
    product * input.scales(token)[group]
}

/// Sum over 16 strided lanes, folded in halves.
fn strided(len: usize, product: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for i in 0..len {
        lanes[i % LANES] += product(i);
    }
    fold(lanes)
}

pub(super) fn dot_half_bytes(halves: &[u8], x: &[f32]) -> f32 {
    strided(x.len(), |i| half_at(halves, i) * x[i])
}

pub(super) fn dot_float_bytes(floats: &[u8], x: &[f32]) -> f32 {
    let floats = floats.as_chunks::<4>().0;
    strided(x.len(), |i| f32::from_le_bytes(floats[i]) * x[i])
}

pub(super) fn dot_half(halves: &[u16], x: &[f32]) -> f32 {
    strided(x.len(), |i| f32_from_f16(halves[i]) * x[i])
}

pub(super) fn add_scaled_half(factor: f32, halves: &[u16], sum: &mut [f32]) {
    for (s, h) in sum.iter_mut().zip(halves) {
        *s += factor * f32_from_f16(*h);
    }
}
