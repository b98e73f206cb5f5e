//! Products in 512 bits: sixteen rows in the lanes of one register, four columns in each lane.
//!
//! Every encoding is unpacked to unsigned codes of eight bits, a zero point and scales; products are
//! `vpdpbusd`, which neither saturates nor rounds. Products of integers below 2^24 are exact as
//! floats, so that scaling after the conversion gives the bits of scaling before it.

use super::PICKS;
use super::load::{bytes, load128, load256, load512};
use crate::block::{Block, Group};
use crate::codes::TRITS;
use crate::encoding::{BLOCK_ROWS, CHUNK, CHUNKS, Encoding, GROUP, GROUP_WEIGHTS, Twin, Width};
use crate::kernels::Activations;
use crate::kernels::activations::Tile;
use crate::kernels::encodings::{encoding_of, for_encoding, zero_code};
use core::arch::x86_64::*;

/// Codes of one group: eight chunks of four columns by sixteen rows.
type Chunks = [__m512i; CHUNKS];

/// The chunks of a group, each made by an expression of its number.
///
/// A loop and no closure: closures of functions with target features are not inlined reliably.
macro_rules! chunks {
    (|$chunk:ident| $code:expr) => {{
        let mut chunks = [_mm512_setzero_si512(); CHUNKS];
        for ($chunk, code) in chunks.iter_mut().enumerate() {
            *code = $code;
        }
        chunks
    }};
}

/// Repeats a block for every token of a tile.
///
/// Spelled out, since loops of this size may stay loops, with their sums in memory: a third slower.
macro_rules! for_tokens {
    ($tokens:ident, |$t:ident| $body:block) => {
        for_tokens!($tokens, $t, $body, 0 1 2 3 4 5 6 7)
    };
    ($tokens:ident, $t:ident, $body:block, $($number:literal)*) => {
        $(if $number < $tokens {
            let $t = $number;
            $body
        })*
    };
}

// After the macros, which it uses.
mod sparse;

/// Sixteen rows times the tokens from `token` on, one for each element of `out`.
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
pub(in crate::kernels) fn block(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    for_encoding!(block.encoding, tiles(block, input, token, out));
}

/// Cuts the tokens into tiles that share one unpacking of the weights.
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
fn tiles<const NUMBER: u8>(
    block: &Block<'_>,
    input: &Activations<'_>,
    mut token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    let (eights, rest) = out.as_chunks_mut::<8>();
    for out in eights {
        tile::<NUMBER, 8>(block, input, token, out);
        token += 8;
    }
    let (twos, rest) = rest.as_chunks_mut::<2>();
    for out in twos {
        tile::<NUMBER, 2>(block, input, token, out);
        token += 2;
    }
    for out in rest {
        tile::<NUMBER, 1>(block, input, token, core::array::from_mut(out));
        token += 1;
    }
}

#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
fn tile<const NUMBER: u8, const N: usize>(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    let Tile {
        values,
        scales,
        totals,
    } = input.tile::<N>(token);
    let encoding = const { encoding_of(NUMBER) };
    if let Encoding::Sparse(_) = encoding {
        return sparse::tile::<NUMBER, N>(block, input, token, out);
    }
    let mut sums = [_mm512_setzero_ps(); N];
    for (index, group) in block.groups() {
        let codes = unpack::<NUMBER>(&group);
        match encoding {
            Encoding::Twin(Twin::Q6K) => {
                let row = halves(load256(group.header, 0));
                let half_scale = |half: usize| {
                    let scale = _mm512_cvtepi8_epi32(load128(group.bytes, half * BLOCK_ROWS));
                    _mm512_mul_ps(row, _mm512_cvtepi32_ps(scale))
                };
                let half_scales = [half_scale(0), half_scale(1)];
                for_tokens!(N, |t| {
                    let first = _mm512_cvtepi32_ps(half_dot::<0>(&codes, &values[t][index]));
                    let second = _mm512_cvtepi32_ps(half_dot::<1>(&codes, &values[t][index]));
                    let product = _mm512_add_ps(
                        _mm512_mul_ps(first, half_scales[0]),
                        _mm512_mul_ps(second, half_scales[1]),
                    );
                    sums[t] = add_scaled(sums[t], product, scales[t][index]);
                });
            }
            Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => {
                let (scale, minimum) = scale_and_minimum::<NUMBER>(&group);
                for_tokens!(N, |t| {
                    let dot = _mm512_cvtepi32_ps(dot(&codes, &values[t][index]));
                    let total = _mm512_cvtepi32_ps(_mm512_set1_epi32(totals[t][index]));
                    let product =
                        _mm512_add_ps(_mm512_mul_ps(dot, scale), _mm512_mul_ps(total, minimum));
                    sums[t] = add_scaled(sums[t], product, scales[t][index]);
                });
            }
            Encoding::F32
            | Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_)
            | Encoding::Twin(Twin::Q8_0) => {
                let scale = scale::<NUMBER>(&group);
                let zeros = if encoding.has_zero_point() {
                    _mm512_cvtepu8_epi32(load128(group.header, BLOCK_ROWS))
                } else {
                    _mm512_setzero_si512()
                };
                for_tokens!(N, |t| {
                    let total = totals[t][index];
                    let dot = dot(&codes, &values[t][index]);
                    let dot = if encoding.has_zero_point() {
                        less_zeros(dot, zeros, total)
                    } else {
                        let zero = i32::from(const { zero_code(encoding_of(NUMBER)) });
                        _mm512_sub_epi32(dot, _mm512_set1_epi32(zero * total))
                    };
                    let product = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale);
                    sums[t] = add_scaled(sums[t], product, scales[t][index]);
                });
            }
        }
    }
    finish(block, sums, out);
}

/// Multiplies the sums of sixteen rows with their row scales, where they have any.
#[target_feature(enable = "avx512f,f16c")]
#[inline]
fn finish<const N: usize>(
    block: &Block<'_>,
    mut sums: [__m512; N],
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    if !block.row_scales().is_empty() {
        let unit = _mm512_set1_ps(crate::block::scale_unit(block.encoding));
        let row_scales = _mm512_mul_ps(halves(load256(block.row_scales(), 0)), unit);
        for sum in &mut sums {
            *sum = _mm512_mul_ps(*sum, row_scales);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        // SAFETY: sixteen writable floats; the store takes any alignment.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn add_scaled(sum: __m512, product: __m512, scale: f32) -> __m512 {
    _mm512_add_ps(sum, _mm512_mul_ps(product, _mm512_set1_ps(scale)))
}

/// `dot - zeros * total`. Totals are at most 32 x 127: 16 bits, with the upper half times zero.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn less_zeros(dot: __m512i, zeros: __m512i, total: i32) -> __m512i {
    _mm512_dpwssd_epi32(dot, zeros, _mm512_set1_epi32(-total))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn halves(halves: __m256i) -> __m512 {
    _mm512_cvtph_ps(halves)
}

/// Four activations for every lane.
#[target_feature(enable = "avx512f")]
#[inline]
fn quad(values: &[i8; GROUP], chunk: usize) -> __m512i {
    let (quads, _) = values.as_chunks::<4>();
    _mm512_set1_epi32(i32::from_le_bytes(quads[chunk].map(i8::cast_unsigned)))
}

/// Sums of products of 32 columns; lane `r` is row `r`.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn dot(codes: &Chunks, values: &[i8; GROUP]) -> __m512i {
    let mut sums = [_mm512_setzero_si512(); 2];
    for pair in 0..CHUNKS / 2 {
        sums[0] = _mm512_dpbusd_epi32(sums[0], codes[2 * pair], quad(values, 2 * pair));
        sums[1] = _mm512_dpbusd_epi32(sums[1], codes[2 * pair + 1], quad(values, 2 * pair + 1));
    }
    _mm512_add_epi32(sums[0], sums[1])
}

/// Sums of products of 16 of the 32 columns, with 32 taken from every code.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn half_dot<const HALF: usize>(codes: &Chunks, values: &[i8; GROUP]) -> __m512i {
    let zero = _mm512_set1_epi8(32);
    let (mut sum, mut offset) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for i in 0..CHUNKS / 2 {
        let chunk = CHUNKS / 2 * HALF + i;
        let quad = quad(values, chunk);
        sum = _mm512_dpbusd_epi32(sum, codes[chunk], quad);
        offset = _mm512_dpbusd_epi32(offset, zero, quad);
    }
    _mm512_sub_epi32(sum, offset)
}

/// Sixteen nibbles as integers: low ones first.
#[target_feature(enable = "avx512f")]
#[inline]
fn nibbles(bytes: [u8; 8]) -> __m512i {
    let both = u64::from_le_bytes(bytes);
    let mask = 0x0f0f_0f0f_0f0f_0f0f;
    let (low, high) = (both & mask, both >> 4 & mask);
    _mm512_cvtepu8_epi32(_mm_set_epi64x(high.cast_signed(), low.cast_signed()))
}

/// The scale of sixteen rows in a group; twins with a minimum have [`scale_and_minimum`].
#[target_feature(enable = "avx512f")]
#[inline]
fn scale<const NUMBER: u8>(group: &Group<'_>) -> __m512 {
    match const { encoding_of(NUMBER) } {
        Encoding::Twin(_) => halves(load256(group.header, 0)),
        Encoding::Ternary => {
            let less = nibbles(bytes(group.header, 0));
            _mm512_cvtepi32_ps(_mm512_add_epi32(less, _mm512_set1_epi32(1)))
        }
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::OneOfFour
        | Encoding::Sparse(_) => _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load128(group.header, 0))),
    }
}

/// Scale and minimum of sixteen rows of Q4_1 or Q4_K.
#[target_feature(enable = "avx512f")]
#[inline]
fn scale_and_minimum<const NUMBER: u8>(group: &Group<'_>) -> (__m512, __m512) {
    let row = halves(load256(group.header, 0));
    let row_minimum = halves(load256(group.header, 2 * BLOCK_ROWS));
    if let Encoding::Twin(Twin::Q4_1) = const { encoding_of(NUMBER) } {
        return (row, row_minimum);
    }
    let low = _mm512_cvtepu8_epi32(load128(group.bytes, 0));
    let high = nibbles(bytes(group.bytes, BLOCK_ROWS));
    let three = _mm512_set1_epi32(3);
    let upper = |pair: __m512i| _mm512_slli_epi32::<4>(_mm512_and_si512(pair, three));
    let scale = _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(15)), upper(high));
    let minimum = _mm512_or_si512(
        _mm512_srli_epi32::<4>(low),
        upper(_mm512_srli_epi32::<2>(high)),
    );
    let minimum = _mm512_mul_ps(row_minimum, _mm512_cvtepi32_ps(minimum));
    (
        _mm512_mul_ps(row, _mm512_cvtepi32_ps(scale)),
        // The sign bit alone: a minimum is taken away.
        _mm512_castsi512_ps(_mm512_xor_si512(
            _mm512_castps_si512(minimum),
            _mm512_set1_epi32(i32::MIN),
        )),
    )
}

#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
#[inline]
fn unpack<const NUMBER: u8>(group: &Group<'_>) -> Chunks {
    let encoding = const { encoding_of(NUMBER) };
    let codes = group.codes(encoding);
    match encoding {
        // Signs are twice the bit, less one.
        Encoding::Dense(Width::One) => plane1::<1>(codes, 0),
        // Sixteenths of a step: codes are shifted up by four.
        Encoding::Dense(Width::Two) => plane2::<4>(codes, 0),
        Encoding::Dense(Width::Three) => {
            or(plane2::<4>(codes, 0), plane1::<6>(codes, GROUP_WEIGHTS / 4))
        }
        Encoding::Dense(Width::Four) => plane4::<4>(codes, 0),
        Encoding::Dense(Width::Five) => {
            or(plane4::<0>(codes, 0), plane1::<4>(codes, GROUP_WEIGHTS / 2))
        }
        Encoding::Dense(Width::Six) | Encoding::Twin(Twin::Q6K) => {
            or(plane4::<0>(codes, 0), plane2::<4>(codes, GROUP_WEIGHTS / 2))
        }
        Encoding::Dense(Width::Eight) | Encoding::Twin(Twin::Q8_0) => {
            chunks!(|i| load512(codes, i * CHUNK))
        }
        Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => plane4::<0>(codes, 0),
        Encoding::Ternary => ternary(codes),
        Encoding::OneOfFour => one_of_four(codes),
        // Floats have no groups, and sparse ones are spread from their bitmaps.
        Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) => [_mm512_setzero_si512(); CHUNKS],
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn or(a: Chunks, b: Chunks) -> Chunks {
    chunks!(|i| _mm512_or_si512(a[i], b[i]))
}

/// `x` with bit `FROM` of every byte moved to bit `to`; other bits are rubbish.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn shift(x: __m512i, from: usize, to: usize) -> __m512i {
    // Constants after inlining.
    if from > to {
        _mm512_srl_epi16(x, _mm_cvtsi64_si128((from - to) as i64))
    } else if to > from {
        _mm512_sll_epi16(x, _mm_cvtsi64_si128((to - from) as i64))
    } else {
        x
    }
}

/// Eight chunks of single bits, each at bit `TO`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn plane1<const TO: usize>(codes: &[u8], at: usize) -> Chunks {
    let bits = load512(codes, at);
    let mask = _mm512_set1_epi8(1 << TO);
    chunks!(|i| _mm512_and_si512(shift(bits, i, TO), mask))
}

/// Eight chunks of pairs of bits, each at bit `TO`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn plane2<const TO: usize>(codes: &[u8], at: usize) -> Chunks {
    let pairs = [load512(codes, at), load512(codes, at + CHUNK)];
    let mask = _mm512_set1_epi8(3 << TO);
    chunks!(|i| _mm512_and_si512(shift(pairs[i % 2], i / 2 * 2, TO), mask))
}

/// Eight chunks of nibbles, each at bit `TO`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn plane4<const TO: usize>(codes: &[u8], at: usize) -> Chunks {
    let nibbles = [
        load512(codes, at),
        load512(codes, at + CHUNK),
        load512(codes, at + 2 * CHUNK),
        load512(codes, at + 3 * CHUNK),
    ];
    let mask = _mm512_set1_epi8((15u8 << TO).cast_signed());
    chunks!(|i| _mm512_and_si512(shift(nibbles[i % 4], i / 4 * 4, TO), mask))
}

/// The first four trits of every byte in base 3, two bits each, and the fifth.
static FIVE_TRITS: [[u8; 256]; 2] = {
    let mut table = [[0; 256]; 2];
    let mut byte = 0;
    while byte < 256 {
        let mut fraction = byte as u16;
        let mut trit = 0;
        while trit < TRITS {
            fraction *= 3;
            let [_, carry] = fraction.to_le_bytes();
            table[trit / 4][byte] |= carry << (trit % 4 * 2);
            fraction &= 255;
            trit += 1;
        }
        byte += 1;
    }
    table
};

/// The three trits of a number below 32, two bits each.
static THREE_TRITS: [u8; 64] = {
    let mut table = [0; 64];
    let mut number = 0;
    while number < 32 {
        let n = number as u8;
        table[number] = (n % 3) | ((n / 3 % 3) << 2) | ((n / 9 % 3) << 4);
        number += 1;
    }
    table
};

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[inline]
fn ternary(codes: &[u8]) -> Chunks {
    let fives = load512(codes, 0);
    let upper = _mm512_movepi8_mask(fives);
    let look_up = |table: &[u8; 256]| {
        let part = |i: usize| load512(table, i * 64);
        _mm512_mask_blend_epi8(
            upper,
            _mm512_permutex2var_epi8(part(0), fives, part(1)),
            _mm512_permutex2var_epi8(part(2), fives, part(3)),
        )
    };
    let (four, fifth) = (look_up(&FIVE_TRITS[0]), look_up(&FIVE_TRITS[1]));
    let low = _mm512_broadcast_i64x4(load256(codes, CHUNK));
    let low = _mm512_srlv_epi64(low, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
    let low = _mm512_and_si512(low, _mm512_set1_epi8(15));
    let high = u64::from_le_bytes(bytes(codes, CHUNK + 32));
    let number = _mm512_mask_add_epi8(low, high, low, _mm512_set1_epi8(16));
    let three = _mm512_permutexvar_epi8(number, load512(&THREE_TRITS, 0));
    let mask = _mm512_set1_epi8(3);
    chunks!(|i| match i {
        0..=3 => _mm512_and_si512(shift(four, 2 * i, 0), mask),
        4 => fifth,
        _ => _mm512_and_si512(shift(three, 2 * (i - TRITS), 0), mask),
    })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[inline]
fn one_of_four(codes: &[u8]) -> Chunks {
    // Three bytes a row to the low three bytes of its lane; what is above them is shifted out late.
    let spread: [u8; 64] = const {
        let mut spread = [63; 64];
        let mut row = 0;
        while row < BLOCK_ROWS {
            let byte = row as u8 * 3;
            spread[4 * row] = byte;
            spread[4 * row + 1] = byte + 1;
            spread[4 * row + 2] = byte + 2;
            row += 1;
        }
        spread
    };
    // Only the lowest three bits of an index differ: the table is there twice.
    let table = _mm512_broadcast_i64x4(load256(PICKS.as_flattened(), 0));
    let codes = {
        let codes: &[u8; 3 * BLOCK_ROWS] = codes.first_chunk().expect("three bytes a row");
        // SAFETY: the mask keeps the load to the 48 bytes there are.
        unsafe { _mm512_maskz_loadu_epi8((1 << (3 * BLOCK_ROWS)) - 1, codes.as_ptr().cast()) }
    };
    let rows = _mm512_permutexvar_epi8(load512(&spread, 0), codes);
    chunks!(|i| {
        let shifted = _mm512_srl_epi32(rows, _mm_cvtsi64_si128(3 * i as i64));
        _mm512_permutexvar_epi32(shifted, table)
    })
}
