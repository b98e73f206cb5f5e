//! The kernels in plain Rust: the definition of right.

use super::{Activations, LANES, TILE, fold};
use crate::encoding::{BLOCK_ROWS, Encoding, GROUP, Width};
use crate::matrix::{BitReader, SparseRow, half_at, kept_level, scale_unit};

/// The int8 activations of one group, of each of `N` tokens.
type Values<'a, const N: usize> = [&'a [i8; GROUP]; N];

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
    if tile == TILE {
        dense_tile::<TILE>(encoding, records, input, token, &mut sums);
    } else {
        for (t, sums) in sums[..tile].iter_mut().enumerate() {
            dense_tile::<1>(
                encoding,
                records,
                input,
                token + t,
                core::array::from_mut(sums),
            );
        }
    }
    for sums in &mut sums[..tile] {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum *= half_at(row_scales, lane) * scale_unit(encoding);
        }
    }
    sums
}

/// Adds the products of all groups to `sums`; row scales are left to the caller.
fn dense_tile<const N: usize>(
    encoding: Encoding,
    records: &[u8],
    input: &Activations<'_>,
    token: usize,
    sums: &mut [[f32; BLOCK_ROWS]; N],
) {
    for (group, record) in records.chunks_exact(encoding.record_bytes()).enumerate() {
        let values: Values<'_, N> = group_values(input, token, group);
        let totals: [i32; N] = core::array::from_fn(|t| input.sums(token + t)[group]);
        let scales: [f32; N] = core::array::from_fn(|t| input.scales(token + t)[group]);
        for lane in 0..BLOCK_ROWS {
            let dots = level_dots(encoding, record, lane, &values, &totals);
            for (t, sums) in sums.iter_mut().enumerate() {
                sums[lane] += scaled(dots[t], record[lane], scales[t]);
            }
        }
    }
}

/// `sum of level * activation` of one row and group, for each token.
///
/// A level is a code less an offset, so codes are multiplied plane by plane and the offset once,
/// with the sum `totals` of the activations.
fn level_dots<const N: usize>(
    encoding: Encoding,
    record: &[u8],
    lane: usize,
    values: &Values<'_, N>,
    totals: &[i32; N],
) -> [i32; N] {
    let header = if encoding.has_zero_point() { 2 } else { 1 } * BLOCK_ROWS;
    let codes = &record[header..];
    let zero = i32::from(record[BLOCK_ROWS + lane]);
    let dots = |low: [i32; N], high: [i32; N], [unit, high_unit, offset]: [i32; 3]| {
        core::array::from_fn(|t| unit * low[t] + high_unit * high[t] - offset * totals[t])
    };
    let none = [0; N];
    match encoding {
        Encoding::Dense(Width::One) => dots(plane::<1, N>(codes, lane, values), none, [2, 0, 1]),
        Encoding::Ternary => dots(plane::<2, N>(codes, lane, values), none, [1, 0, 1]),
        Encoding::Dense(Width::Two) => {
            dots(plane::<2, N>(codes, lane, values), none, [16, 0, zero])
        }
        Encoding::Dense(Width::Three) => dots(
            plane::<2, N>(codes, lane, values),
            plane::<1, N>(&codes[64..], lane, values),
            [16, 64, zero],
        ),
        Encoding::Dense(Width::Four) => {
            dots(plane::<4, N>(codes, lane, values), none, [16, 0, zero])
        }
        Encoding::Dense(Width::Five) => dots(
            plane::<4, N>(codes, lane, values),
            plane::<1, N>(&codes[128..], lane, values),
            [1, 16, 16],
        ),
        Encoding::Dense(Width::Six) => dots(
            plane::<4, N>(codes, lane, values),
            plane::<2, N>(&codes[128..], lane, values),
            [1, 16, 32],
        ),
        Encoding::Dense(Width::Eight) => plane::<8, N>(codes, lane, values),
        Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) => none,
    }
}

/// `sum of code * activation` over one plane of `BITS` bits, for each token; signed at 8 bits.
///
/// The places are those of [`crate::matrix::plane_byte`].
fn plane<const BITS: usize, const N: usize>(
    plane: &[u8],
    lane: usize,
    values: &Values<'_, N>,
) -> [i32; N] {
    let mut dots = [0; N];
    // The row's bytes: four of every 32.
    let bytes = &plane[lane * 4..][..32 * (BITS - 1) + 4];
    for chunk in 0..BITS {
        for i in 0..4 {
            let byte = bytes[chunk * 32 + i];
            for place in 0..8 / BITS {
                let code = if BITS == 8 {
                    i32::from(byte.cast_signed())
                } else {
                    i32::from(byte >> (BITS * place)) & ((1 << BITS) - 1)
                };
                let col = 4 * (chunk + BITS * place) + i;
                for (dot, values) in dots.iter_mut().zip(values) {
                    *dot += code * i32::from(values[col]);
                }
            }
        }
    }
    dots
}

/// One row of a sparse matrix times up to [`TILE`] tokens.
pub(super) fn sparse_row(
    width: Width,
    row: &SparseRow<'_>,
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [f32; TILE] {
    // One copy of the loop for each width, so that nothing is decided weight by weight.
    match width {
        Width::One => sparse_row_of(Width::One, row, input, token, tile),
        Width::Two => sparse_row_of(Width::Two, row, input, token, tile),
        Width::Three => sparse_row_of(Width::Three, row, input, token, tile),
        Width::Four => sparse_row_of(Width::Four, row, input, token, tile),
        Width::Five => sparse_row_of(Width::Five, row, input, token, tile),
        Width::Six => sparse_row_of(Width::Six, row, input, token, tile),
        Width::Eight => sparse_row_of(Width::Eight, row, input, token, tile),
    }
}

#[inline(always)]
fn sparse_row_of(
    width: Width,
    row: &SparseRow<'_>,
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    if tile == TILE {
        sparse_tile::<TILE>(width, row, input, token, &mut sums);
    } else {
        for (t, sum) in sums[..tile].iter_mut().enumerate() {
            sparse_tile::<1>(width, row, input, token + t, core::array::from_mut(sum));
        }
    }
    sums[..tile].iter_mut().for_each(|sum| *sum *= row.scale);
    sums
}

#[inline(always)]
fn sparse_tile<const N: usize>(
    width: Width,
    row: &SparseRow<'_>,
    input: &Activations<'_>,
    token: usize,
    sums: &mut [f32; N],
) {
    let mut reader = BitReader::new(row.values);
    for (group, group_scale) in row.group_scales.iter().enumerate() {
        let values: Values<'_, N> = group_values(input, token, group);
        let mut dots = [0; N];
        let (mut mask, mut col) = (row.mask(group), 0);
        // Column by column: counting the zeros between takes longer where no instruction does it.
        while mask != 0 {
            if mask & 1 == 1 {
                let level = i32::from(kept_level(width, reader.take(width)));
                for (dot, values) in dots.iter_mut().zip(values) {
                    *dot += level * i32::from(values[col % GROUP]);
                }
            }
            mask >>= 1;
            col += 1;
        }
        for (t, sum) in sums.iter_mut().enumerate() {
            *sum += scaled(dots[t], *group_scale, input.scales(token + t)[group]);
        }
    }
}

/// The activations of one group, of each of `N` tokens from `token` on.
fn group_values<'a, const N: usize>(
    input: &Activations<'a>,
    token: usize,
    group: usize,
) -> Values<'a, N> {
    core::array::from_fn(|t| {
        let (groups, _) = input.values(token + t).as_chunks();
        &groups[group]
    })
}

/// The integer product of one group, times its integer scale, then once times the activations' scale.
///
/// Levels reach 255, so at most 32 x 255 x 127 x 255 = 264,261,600: inside 32 bits.
fn scaled(dot: i32, group_scale: u8, activation_scale: f32) -> f32 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "rounded half to even, as every SIMD conversion does"
    )]
    let product = (dot * i32::from(group_scale)) as f32;
    product * activation_scale
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
