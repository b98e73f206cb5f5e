//! Products in 256 bits: eight rows in the lanes of one register, four columns in each lane.
//!
//! A block of sixteen rows is walked twice, once for each half of it. Every encoding is unpacked to
//! unsigned codes of eight bits, a zero point and scales. Products go through 16 bits, and every
//! place where they could saturate says why they do not.

use super::load::{bytes, load128};
use crate::block::{Block, Group, half_at};
use crate::encoding::{BLOCK_ROWS, CHUNKS, Encoding, GROUP, Twin, Width};
use crate::kernels::activations::Tile;
use crate::kernels::encodings::{encoding_of, for_encoding, zero_code};
use crate::kernels::{Activations, LANES, TILE, fold};
use core::arch::x86_64::*;
use unpack::unpack;

/// Rows of one register.
const HALF: usize = BLOCK_ROWS / 2;

/// Codes of one group: eight chunks of four columns by eight rows.
type Chunks = [__m256i; CHUNKS];

/// The chunks of a group, each made by an expression of its number.
///
/// A loop and no closure: closures of functions with target features are not inlined reliably.
macro_rules! chunks {
    (|$chunk:ident| $code:expr) => {{
        let mut chunks = [_mm256_setzero_si256(); CHUNKS];
        for ($chunk, code) in chunks.iter_mut().enumerate() {
            *code = $code;
        }
        chunks
    }};
}

// After the macro, which it uses.
mod unpack;

/// Sixteen rows times the tokens from `token` on, one for each element of `out`.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
pub(in crate::kernels) fn block(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    for_encoding!(block.encoding, tiles(block, input, token, out));
}

/// Cuts the tokens into tiles that share one unpacking of the weights.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
fn tiles<const NUMBER: u8>(
    block: &Block<'_>,
    input: &Activations<'_>,
    mut token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    let (tiles, rest) = out.as_chunks_mut::<TILE>();
    for out in tiles {
        for half in 0..2 {
            eight::<NUMBER, TILE>(block, half, input, token, out);
        }
        token += TILE;
    }
    for out in rest {
        for half in 0..2 {
            eight::<NUMBER, 1>(block, half, input, token, core::array::from_mut(out));
        }
        token += 1;
    }
}

/// Half a block.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
fn eight<const NUMBER: u8, const N: usize>(
    block: &Block<'_>,
    half: usize,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    let encoding = const { encoding_of(NUMBER) };
    let Tile {
        values,
        scales,
        totals,
    } = input.tile::<N>(token);
    let mut sums = [_mm256_setzero_ps(); N];
    let mut sparse = block.sparse_values();
    for (index, group) in block.groups() {
        let codes = unpack::<NUMBER>(&group, half, &mut sparse);
        let scale = group_scales::<NUMBER>(&group, half);
        for t in 0..N {
            let total = totals[t][index];
            let values = &values[t][index];
            let product = match encoding {
                Encoding::Twin(Twin::Q6K) => {
                    let first = _mm256_cvtepi32_ps(half_dot::<0>(&codes, values));
                    let second = _mm256_cvtepi32_ps(half_dot::<1>(&codes, values));
                    _mm256_add_ps(
                        _mm256_mul_ps(first, scale.first),
                        _mm256_mul_ps(second, scale.second),
                    )
                }
                Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => {
                    let dot = _mm256_cvtepi32_ps(dot::<NUMBER>(&codes, values));
                    let total = _mm256_cvtepi32_ps(_mm256_set1_epi32(total));
                    _mm256_add_ps(
                        _mm256_mul_ps(dot, scale.first),
                        _mm256_mul_ps(total, scale.second),
                    )
                }
                Encoding::F32
                | Encoding::F16
                | Encoding::Dense(_)
                | Encoding::Ternary
                | Encoding::OneOfFour
                | Encoding::Sparse(_)
                | Encoding::Twin(Twin::Q8_0) => {
                    let mut dot = dot::<NUMBER>(&codes, values);
                    if encoding.has_zero_point() {
                        // Sixteenths of a step.
                        dot = _mm256_slli_epi32::<4>(dot);
                    } else if let Encoding::Dense(Width::One) = encoding {
                        // Signs are twice the bit, less one.
                        dot = _mm256_slli_epi32::<1>(dot);
                    }
                    let offset = _mm256_mullo_epi32(scale.zeros, _mm256_set1_epi32(total));
                    // Below 2^24, so exact as a float, and scaled with a single rounding.
                    let dot = _mm256_cvtepi32_ps(_mm256_sub_epi32(dot, offset));
                    _mm256_mul_ps(dot, scale.first)
                }
            };
            let scaled = _mm256_mul_ps(product, _mm256_set1_ps(scales[t][index]));
            sums[t] = _mm256_add_ps(sums[t], scaled);
        }
    }
    if !block.row_scales().is_empty() {
        let unit = _mm256_set1_ps(crate::block::scale_unit(encoding));
        let row_scales = _mm256_mul_ps(halves(block.row_scales(), half), unit);
        for sum in &mut sums {
            *sum = _mm256_mul_ps(*sum, row_scales);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        out[half * HALF..][..HALF].copy_from_slice(&floats(sum));
    }
}

/// What turns the integer products of a group into floats.
struct GroupScales {
    /// The code that stands for zero.
    zeros: __m256i,
    first: __m256,
    /// The minimum, or the scale of the second half of the columns.
    second: __m256,
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn group_scales<const NUMBER: u8>(group: &Group<'_>, half: usize) -> GroupScales {
    let none = _mm256_setzero_ps();
    let mut scales = GroupScales {
        zeros: _mm256_set1_epi32(const { zero_code(encoding_of(NUMBER)) }.into()),
        first: none,
        second: none,
    };
    match const { encoding_of(NUMBER) } {
        Encoding::Ternary => {
            let less = widen8(nibbles(bytes(group.header, 0), half));
            scales.first = _mm256_cvtepi32_ps(_mm256_add_epi32(less, _mm256_set1_epi32(1)));
        }
        Encoding::Twin(Twin::Q8_0) => scales.first = halves(group.header, half),
        Encoding::Twin(Twin::Q4_1) => {
            scales.first = halves(group.header, half);
            scales.second = halves(&group.header[2 * BLOCK_ROWS..], half);
        }
        Encoding::Twin(Twin::Q4K) => {
            let low = widen8(bytes(group.bytes, half * HALF));
            let high = widen8(nibbles(bytes(group.bytes, BLOCK_ROWS), half));
            let (three, fifteen) = (_mm256_set1_epi32(3), _mm256_set1_epi32(15));
            let scale = _mm256_or_si256(
                _mm256_and_si256(low, fifteen),
                _mm256_slli_epi32::<4>(_mm256_and_si256(high, three)),
            );
            let minimum = _mm256_or_si256(
                _mm256_srli_epi32::<4>(low),
                _mm256_slli_epi32::<4>(_mm256_srli_epi32::<2>(high)),
            );
            let row_minimum = halves(&group.header[2 * BLOCK_ROWS..], half);
            let minimum = _mm256_mul_ps(row_minimum, _mm256_cvtepi32_ps(minimum));
            scales.first = _mm256_mul_ps(halves(group.header, half), _mm256_cvtepi32_ps(scale));
            // The sign bit alone: a minimum is taken away.
            scales.second = _mm256_xor_ps(minimum, _mm256_set1_ps(-0.0));
        }
        Encoding::Twin(Twin::Q6K) => {
            let row = halves(group.header, half);
            let first = signed8(bytes(group.bytes, half * HALF));
            let second = signed8(bytes(group.bytes, BLOCK_ROWS + half * HALF));
            scales.first = _mm256_mul_ps(row, _mm256_cvtepi32_ps(first));
            scales.second = _mm256_mul_ps(row, _mm256_cvtepi32_ps(second));
        }
        encoding @ (Encoding::Dense(_) | Encoding::OneOfFour | Encoding::Sparse(_)) => {
            scales.first = _mm256_cvtepi32_ps(widen8(bytes(group.header, half * HALF)));
            if encoding.has_zero_point() {
                scales.zeros = widen8(bytes(group.header, BLOCK_ROWS + half * HALF));
            }
        }
        Encoding::F32 | Encoding::F16 => {}
    }
    scales
}

/// Four activations for every lane.
#[target_feature(enable = "avx2")]
#[inline]
fn quad(values: &[i8; GROUP], chunk: usize) -> __m256i {
    let quads: &[[u8; 4]; CHUNKS] = bytemuck::cast_ref(values);
    _mm256_set1_epi32(i32::from_le_bytes(quads[chunk]))
}

/// Sums of products of 32 columns by eight rows; lane `r` is row `r`.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn dot<const NUMBER: u8>(codes: &Chunks, values: &[i8; GROUP]) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let mut sum = _mm256_setzero_si256();
    match const { encoding_of(NUMBER) } {
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(Width::One | Width::Two | Width::Three | Width::Four)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => {
            // 8 chunks x 2 products x 15 x 127 = 30,480: inside 16 bits, so widen once at the end.
            for (chunk, codes) in codes.iter().enumerate() {
                sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(*codes, quad(values, chunk)));
            }
            _mm256_madd_epi16(sum, ones)
        }
        Encoding::Dense(Width::Five | Width::Six)
        | Encoding::Twin(Twin::Q6K)
        | Encoding::Sparse(
            Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six,
        ) => {
            // 2 products x 127 x 127 = 32,258: inside 16 bits.
            for (chunk, codes) in codes.iter().enumerate() {
                let pairs = _mm256_maddubs_epi16(*codes, quad(values, chunk));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
            sum
        }
        Encoding::Dense(Width::Eight)
        | Encoding::Twin(Twin::Q8_0)
        | Encoding::Sparse(Width::Eight) => {
            // The eighth bit apart: its products are at most 8 chunks x 2 x 127 = 2,032 times 128.
            let mut top = _mm256_setzero_si256();
            let (seven, one) = (_mm256_set1_epi8(127), _mm256_set1_epi8(1));
            for (chunk, codes) in codes.iter().enumerate() {
                let quad = quad(values, chunk);
                let pairs = _mm256_maddubs_epi16(_mm256_and_si256(*codes, seven), quad);
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
                let bit = _mm256_and_si256(_mm256_srli_epi16::<7>(*codes), one);
                top = _mm256_add_epi16(top, _mm256_maddubs_epi16(bit, quad));
            }
            _mm256_add_epi32(sum, _mm256_madd_epi16(top, _mm256_set1_epi16(128)))
        }
    }
}

/// Sums of products of 16 of the 32 columns, with 32 taken from every code.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn half_dot<const SECOND: usize>(codes: &Chunks, values: &[i8; GROUP]) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let zero = _mm256_set1_epi8(32);
    let mut sum = _mm256_setzero_si256();
    for i in 0..CHUNKS / 2 {
        let chunk = CHUNKS / 2 * SECOND + i;
        let quad = quad(values, chunk);
        // 2 products x 63 x 127 = 16,002, less as much: inside 16 bits.
        let pairs = _mm256_sub_epi16(
            _mm256_maddubs_epi16(codes[chunk], quad),
            _mm256_maddubs_epi16(zero, quad),
        );
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    sum
}

/// Eight of sixteen nibbles: low ones first.
#[inline(always)]
fn nibbles(bytes: [u8; 8], half: usize) -> [u8; 8] {
    bytes.map(|byte| byte >> (4 * half) & 15)
}

/// Eight of sixteen 16-bit floats.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn halves(sixteen: &[u8], half: usize) -> __m256 {
    _mm256_cvtph_ps(load128(sixteen, half * 2 * HALF))
}

/// One row of halves times up to [`TILE`] tokens of floats.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
pub(in crate::kernels) fn half_row(
    row: &[u8],
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    let halves = row.as_chunks::<2>().0;
    if tile == TILE {
        let x: [&[f32]; TILE] = core::array::from_fn(|t| input.floats(token + t));
        let mut lanes = [(_mm256_setzero_ps(), _mm256_setzero_ps()); TILE];
        let whole = halves.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            let bytes = &row[2 * at..];
            let (low, high) = (
                _mm256_cvtph_ps(load16(bytes)),
                _mm256_cvtph_ps(load16(&bytes[16..])),
            );
            for (lanes, x) in lanes.iter_mut().zip(x) {
                lanes.0 = _mm256_add_ps(lanes.0, _mm256_mul_ps(low, load_floats(&x[at..])));
                lanes.1 = _mm256_add_ps(lanes.1, _mm256_mul_ps(high, load_floats(&x[at + 8..])));
            }
        }
        for ((sum, lanes), x) in sums.iter_mut().zip(lanes).zip(x) {
            *sum = finish(lanes, |i| half_at(row, i) * x[i], whole, halves.len());
        }
        return sums;
    }
    for (t, sum) in sums[..tile].iter_mut().enumerate() {
        *sum = dot_half_with(
            halves.len(),
            |at| load16(&row[2 * at..]),
            |i| half_at(row, i),
            input.floats(token + t),
        );
    }
    sums
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn dot_half_with(
    len: usize,
    load: impl Fn(usize) -> __m128i,
    half: impl Fn(usize) -> f32,
    x: &[f32],
) -> f32 {
    let mut lanes = (_mm256_setzero_ps(), _mm256_setzero_ps());
    let whole = len / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        lanes.0 = _mm256_add_ps(
            lanes.0,
            _mm256_mul_ps(_mm256_cvtph_ps(load(at)), load_floats(&x[at..])),
        );
        lanes.1 = _mm256_add_ps(
            lanes.1,
            _mm256_mul_ps(_mm256_cvtph_ps(load(at + 8)), load_floats(&x[at + 8..])),
        );
    }
    finish(lanes, |i| half(i) * x[i], whole, len)
}

/// Adds the products past the last whole 16 to their lanes, and folds.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn finish(
    (low, high): (__m256, __m256),
    product: impl Fn(usize) -> f32,
    whole: usize,
    len: usize,
) -> f32 {
    let mut lanes = [0.0; LANES];
    lanes[..8].copy_from_slice(&floats(low));
    lanes[8..].copy_from_slice(&floats(high));
    for i in whole..len {
        lanes[i % LANES] += product(i);
    }
    fold(lanes)
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn load16(bytes: &[u8]) -> __m128i {
    let bytes: &[u8; 16] = bytes.first_chunk().expect("half a register");
    // SAFETY: 16 readable bytes; the load takes any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn load_floats(x: &[f32]) -> __m256 {
    let x: &[f32; 8] = x.first_chunk().expect("a whole register");
    // SAFETY: eight readable floats; the load takes any alignment.
    unsafe { _mm256_loadu_ps(x.as_ptr()) }
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn floats(x: __m256) -> [f32; 8] {
    let mut out = [0.0; 8];
    // SAFETY: eight writable floats; the store takes any alignment.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), x) };
    out
}

/// Eight bytes as eight 32-bit integers.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn widen8(bytes: [u8; 8]) -> __m256i {
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}

/// Eight signed bytes as eight 32-bit integers.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn signed8(bytes: [u8; 8]) -> __m256i {
    _mm256_cvtepi8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}
