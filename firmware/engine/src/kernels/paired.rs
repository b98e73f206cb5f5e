//! Two products in one multiplication, for processors without vectors.
//!
//! Masked, a word of codes holds two of them, 16 bits apart: `c0 + c1 x 2^16`. Times a pair of
//! activations `a1 + a0 x 2^16` that is `c0 a0 + c1 a1` in the upper half and `c0 a1` below, and a few
//! such products can be summed before either half overflows. The lower half is a signed number: half
//! its range added before the shift takes out what it borrowed. The sums are those of the definition.
//!
//! Codes of 8 bits fill a half with one product, and those of sparse rows do not stand side by side:
//! both are left to the definition, as is a tensor whose bytes are not aligned to words.

use super::Activations;
use super::scalar::{self, Dots, TILE, add_scaled, for_tiles, scale_rows};
use crate::block::{Block, Group};
use crate::codes::TRITS;
use crate::encoding::{BLOCK_ROWS, CHUNK, CHUNKS, Encoding, GROUP, Twin, Width};

/// Pairs of a group: two of each chunk, its columns 0 and 2, then 1 and 3.
const PAIRS: usize = GROUP / 2;
/// Masked words of codes, or pairs of activations.
type Pairs = [u32; PAIRS];
/// Words of codes of one chunk: a row each.
type Words = [u32; BLOCK_ROWS];

/// Sixteen rows times the tokens from `token` on, one for each element of `out`.
pub(super) fn block(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    if !block.is_word_aligned() {
        return scalar::block(block, input, token, out);
    }
    // A loop of its own for each encoding, so that nothing is decided row by row.
    match block.encoding {
        Encoding::Dense(Width::One) => planes::<1, 0>(block, input, token, out),
        Encoding::Dense(Width::Two) => planes::<2, 0>(block, input, token, out),
        Encoding::Dense(Width::Three) => planes::<2, 1>(block, input, token, out),
        Encoding::Dense(Width::Four) => planes::<4, 0>(block, input, token, out),
        Encoding::Dense(Width::Five) => planes::<4, 1>(block, input, token, out),
        Encoding::Dense(Width::Six) => planes::<4, 2>(block, input, token, out),
        Encoding::Ternary => for_tiles(
            out,
            token,
            |token, out| tile::<_, TILE>(block, input, token, out, ternary),
            |token, out| tile::<_, 1>(block, input, token, out, ternary),
        ),
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(Width::Eight)
        | Encoding::OneOfFour
        | Encoding::Sparse(_)
        | Encoding::Twin(Twin::Q8_0 | Twin::Q4_1 | Twin::Q4K | Twin::Q6K) => {
            scalar::block(block, input, token, out);
        }
    }
}

/// [`block`] for codes in a plane of `LOW` bits and one of `HIGH` above it.
fn planes<const LOW: usize, const HIGH: usize>(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    let encoding = block.encoding;
    for_tiles(
        out,
        token,
        |token, out| {
            tile(block, input, token, out, |group, pairs, totals| {
                plane_dots::<LOW, HIGH, TILE>(encoding, group, pairs, totals)
            });
        },
        |token, out| {
            tile(block, input, token, out, |group, pairs, totals| {
                plane_dots::<LOW, HIGH, 1>(encoding, group, pairs, totals)
            });
        },
    );
}

#[inline(always)]
fn tile<F, const N: usize>(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]; N],
    dots: F,
) where
    F: Fn(&Group<'_>, &[Pairs; N], &[i32; N]) -> Dots<N>,
{
    *out = [[0.0; BLOCK_ROWS]; N];
    let tile = input.tile::<N>(token);
    for (index, group) in block.groups() {
        let pairs = tile.values.map(|groups| paired(&groups[index]));
        let totals = tile.totals.map(|groups| groups[index]);
        let scales = tile.scales.map(|groups| groups[index]);
        let dots = dots(&group, &pairs, &totals);
        add_scaled(block.encoding, &group, &dots, scales, out);
    }
    scale_rows(block, out);
}

/// The activations of a group side by side with codes: columns 0 and 2 of each chunk, then 1 and 3.
#[inline(always)]
fn paired(values: &[i8; GROUP]) -> Pairs {
    let mut pairs = [0; PAIRS];
    let chunks = values.as_chunks::<4>().0;
    for ([even, odd], [a, b, c, d]) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(chunks) {
        let pair = |low: i8, high: i8| {
            let sum = i32::from(low) + (i32::from(high) << 16);
            sum.cast_unsigned()
        };
        *even = pair(*c, *a);
        *odd = pair(*d, *b);
    }
    pairs
}

/// `sum of code * activation`, given codes of at most `BITS` bits.
///
/// Activations are at most 127, 128 if they were not made here. At 4 bits eight products come to
/// 8 x 2 x 15 x 128 = 30,720 in the upper half and half of that below, inside 32,768; at 2 bits all
/// sixteen to 12,288.
#[inline(always)]
fn dot<const BITS: usize>(codes: &Pairs, pairs: &Pairs) -> i32 {
    const { assert!(BITS <= 4) }
    let most = if BITS > 2 { PAIRS / 2 } else { PAIRS };
    let mut sum = 0;
    for (codes, pairs) in codes.chunks_exact(most).zip(pairs.chunks_exact(most)) {
        let mut products = 0x8000u32;
        for (code, pair) in codes.iter().zip(pairs) {
            products = products.wrapping_add(code.wrapping_mul(*pair));
        }
        sum += products.cast_signed() >> 16;
    }
    sum
}

/// The codes of one row in a plane of `BITS` bits; the places are those of [`crate::codes::plane_byte`].
#[inline(always)]
fn codes<const BITS: usize>(plane: &[Words], lane: usize) -> Pairs {
    let mask = 0x0001_0001 * ((1 << BITS) - 1);
    let mut codes = [0; PAIRS];
    for (chunk, words) in plane[..BITS].iter().enumerate() {
        let word = u32::from_le(words[lane]);
        for place in 0..8 / BITS {
            for odd in 0..2 {
                let shift = BITS * place + 8 * odd;
                codes[2 * (chunk + BITS * place) + odd] = word >> shift & mask;
            }
        }
    }
    codes
}

/// The products of sixteen rows: levels are codes less an offset, which is multiplied once, with the
/// sum `totals` of the activations.
#[inline(always)]
fn plane_dots<const LOW: usize, const HIGH: usize, const N: usize>(
    encoding: Encoding,
    group: &Group<'_>,
    pairs: &[Pairs; N],
    totals: &[i32; N],
) -> Dots<N> {
    let mut dots = [[0; N]; BLOCK_ROWS];
    let words: &[u32] = bytemuck::cast_slice(group.bytes);
    let (low, high) = words.as_chunks::<BLOCK_ROWS>().0.split_at(LOW);
    // Levels beside a zero point count sixteenths of a step.
    let unit = match (LOW, HIGH) {
        (1, 0) => 2,
        (4, 1 | 2) => 1,
        _ => 16,
    };
    for (lane, dots) in dots.iter_mut().enumerate() {
        let offset = match (LOW, HIGH) {
            (1, 0) => 1,
            (4, 1) => 16,
            (4, 2) => 32,
            _ => {
                debug_assert!(encoding.has_zero_point());
                i32::from(group.zero_point(lane))
            }
        };
        let codes_low = codes::<LOW>(low, lane);
        for (t, dot_of) in dots.iter_mut().enumerate() {
            *dot_of = unit * dot::<LOW>(&codes_low, &pairs[t]) - offset * totals[t];
        }
        if HIGH > 0 {
            let codes_high = codes::<HIGH>(high, lane);
            for (t, dot_of) in dots.iter_mut().enumerate() {
                *dot_of += (unit << LOW) * dot::<HIGH>(&codes_high, &pairs[t]);
            }
        }
    }
    dots
}

/// The products of sixteen rows of trits less one; the codes are those of
/// [`crate::codes::write_trits`].
#[inline(always)]
fn ternary<const N: usize>(group: &Group<'_>, pairs: &[Pairs; N], totals: &[i32; N]) -> Dots<N> {
    let mut dots = [[0; N]; BLOCK_ROWS];
    let words: &[u32] = bytemuck::cast_slice(group.bytes);
    let (fives, threes) = words.split_at(CHUNK / 4);
    for (lane, dots) in dots.iter_mut().enumerate() {
        let codes = trits(fives, threes, lane);
        for (t, dot_of) in dots.iter_mut().enumerate() {
            *dot_of = dot::<2>(&codes, &pairs[t]) - totals[t];
        }
    }
    dots
}

/// The trits of one row, two in a word.
#[inline(always)]
fn trits(fives: &[u32], threes: &[u32], lane: usize) -> Pairs {
    const HALVES: u32 = 0x0001_0001;
    let mut codes = [0; PAIRS];
    let word = u32::from_le(fives[lane]);
    // Low nibbles of four numbers, then a bit above each, spread over the bytes.
    let nibbles = u32::from_le(threes[lane % 8]) >> (lane / 8 * 4) & 0x0f0f_0f0f;
    let upper = u32::from_le(threes[8 + lane / 8]) >> (lane % 8 * 4) & 15;
    let numbers = nibbles | (upper.wrapping_mul(0x0020_4081) & 0x0101_0101) << 4;
    for odd in 0..2 {
        let mut fractions = word >> (8 * odd) & (0xff * HALVES);
        for chunk in 0..TRITS {
            fractions *= 3;
            codes[2 * chunk + odd] = fractions >> 8 & (3 * HALVES);
            fractions &= 0xff * HALVES;
        }
        let mut numbers = numbers >> (8 * odd) & (31 * HALVES);
        // Only a damaged file has numbers past 26: they begin anew, as in the table of the definition.
        numbers -= 27 * (((numbers + 5 * HALVES) >> 5) & HALVES);
        // Below 27: n / 9 = 57 n / 512; below 9: n / 3 = 11 n / 32.
        let ninths = (numbers * 57) >> 9 & (3 * HALVES);
        let rest = numbers - 9 * ninths;
        let thirds = (rest * 11) >> 5 & (3 * HALVES);
        let digits = [rest - 3 * thirds, thirds, ninths];
        for (chunk, digit) in (TRITS..CHUNKS).zip(digits) {
            codes[2 * chunk + odd] = digit;
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mixture of the largest codes and activations of either sign, those of 128 among them.
    #[test]
    fn the_largest_sums_stay_apart() {
        fn check<const BITS: usize>() {
            let most: u32 = (1 << BITS) - 1;
            for signs in 0..1u32 << 8 {
                for (one, other) in [
                    (-128, 127),
                    (127, -128),
                    (-128, -128),
                    (127, 127),
                    (0, -128),
                ] {
                    let set = |i: usize| signs >> (i % 8) & 1 != 0;
                    let values = core::array::from_fn(|i| if set(i) { one } else { other });
                    let code = |col: usize| if set(col / 3) { most } else { most & 1 };
                    // As `codes` makes them of a word: columns 0 and 2 of a chunk, then 1 and 3.
                    let codes = core::array::from_fn(|i| {
                        let col = 4 * (i / 2) + i % 2;
                        code(col) | code(col + 2) << 16
                    });
                    let sum = |col: usize| code(col).cast_signed() * i32::from(values[col]);
                    let expected: i32 = (0..GROUP).map(sum).sum();
                    assert_eq!(dot::<BITS>(&codes, &paired(&values)), expected);
                }
            }
        }
        check::<1>();
        check::<2>();
        check::<4>();
    }
}
