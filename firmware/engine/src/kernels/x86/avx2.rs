//! Products in 256 bits: eight rows in the lanes of one register, four columns in each lane.
//!
//! A block of sixteen rows is walked twice, once for each half of it. Every encoding is unpacked to
//! unsigned codes of eight bits, a zero point and scales. Products go through 16 bits, and every
//! place where they could saturate says why they do not.

use super::load::{bytes, load128, load256};
use super::{PICKS, fixed_zero, kind};
use crate::block::{Block, CHUNK, CHUNKS, Group, half_at};
use crate::codes::{SparseValues, chunk_mask, planes};
use crate::encoding::{BLOCK_ROWS, Encoding, GROUP, GROUP_WEIGHTS, Twin, Width};
use crate::kernels::{Activations, LANES, TILE, fold};
use core::arch::x86_64::*;

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

/// Sixteen rows times the tokens from `token` on, one for each element of `out`.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
pub(in crate::kernels) fn block(
    block: &Block<'_>,
    input: &Activations<'_>,
    mut token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    let (tiles, rest) = out.as_chunks_mut::<TILE>();
    for out in tiles {
        tile::<TILE>(block, input, token, out);
        token += TILE;
    }
    for out in rest {
        tile::<1>(block, input, token, core::array::from_mut(out));
        token += 1;
    }
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
fn tile<const N: usize>(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    for half in 0..2 {
        match block.encoding {
            Encoding::F32 | Encoding::F16 => {}
            Encoding::Dense(Width::One) => eight::<1, N>(block, half, input, token, out),
            Encoding::Dense(Width::Two) => eight::<2, N>(block, half, input, token, out),
            Encoding::Dense(Width::Three) => eight::<3, N>(block, half, input, token, out),
            Encoding::Dense(Width::Four) => eight::<4, N>(block, half, input, token, out),
            Encoding::Dense(Width::Five) => eight::<5, N>(block, half, input, token, out),
            Encoding::Dense(Width::Six) => eight::<6, N>(block, half, input, token, out),
            Encoding::Dense(Width::Eight) => eight::<8, N>(block, half, input, token, out),
            Encoding::Ternary => eight::<{ kind::TERNARY }, N>(block, half, input, token, out),
            Encoding::OneOfFour => {
                eight::<{ kind::ONE_OF_FOUR }, N>(block, half, input, token, out);
            }
            Encoding::Sparse(Width::Eight) => {
                eight::<{ kind::SPARSE + 8 }, N>(block, half, input, token, out);
            }
            Encoding::Sparse(
                Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six,
            ) => eight::<{ kind::SPARSE }, N>(block, half, input, token, out),
            Encoding::Twin(Twin::Q8_0) => {
                eight::<{ kind::Q8_0 }, N>(block, half, input, token, out)
            }
            Encoding::Twin(Twin::Q4_1) => {
                eight::<{ kind::Q4_1 }, N>(block, half, input, token, out)
            }
            Encoding::Twin(Twin::Q4K) => eight::<{ kind::Q4_K }, N>(block, half, input, token, out),
            Encoding::Twin(Twin::Q6K) => eight::<{ kind::Q6_K }, N>(block, half, input, token, out),
        }
    }
}

/// Half a block.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
fn eight<const KIND: u8, const N: usize>(
    block: &Block<'_>,
    half: usize,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    let values: [&[[i8; GROUP]]; N] =
        core::array::from_fn(|t| input.values(token + t).as_chunks().0);
    let scales: [&[f32]; N] = core::array::from_fn(|t| input.scales(token + t));
    let totals: [&[i32]; N] = core::array::from_fn(|t| input.sums(token + t));
    let mut sums = [_mm256_setzero_ps(); N];
    let mut sparse = SparseValues::new(block);
    for (index, group) in block.groups() {
        let codes = unpack::<KIND>(block.encoding, &group, half, &mut sparse);
        let scale = group_scales::<KIND>(&group, half);
        for t in 0..N {
            let total = totals[t][index];
            let values = &values[t][index];
            let product = match KIND {
                kind::Q6_K => {
                    let first = _mm256_cvtepi32_ps(half_dot::<0>(&codes, values));
                    let second = _mm256_cvtepi32_ps(half_dot::<1>(&codes, values));
                    _mm256_add_ps(
                        _mm256_mul_ps(first, scale.first),
                        _mm256_mul_ps(second, scale.second),
                    )
                }
                kind::Q4_1 | kind::Q4_K => {
                    let dot = _mm256_cvtepi32_ps(dot::<KIND>(&codes, values));
                    let total = _mm256_cvtepi32_ps(_mm256_set1_epi32(total));
                    _mm256_add_ps(
                        _mm256_mul_ps(dot, scale.first),
                        _mm256_mul_ps(total, scale.second),
                    )
                }
                _ => {
                    let dot = dot::<KIND>(&codes, values);
                    let (dot, offset) = match KIND {
                        // Sixteenths of a step.
                        2..=4 => (
                            _mm256_slli_epi32::<4>(dot),
                            _mm256_mullo_epi32(scale.zeros, _mm256_set1_epi32(total)),
                        ),
                        // Signs are twice the bit, less one.
                        1 => (_mm256_slli_epi32::<1>(dot), _mm256_set1_epi32(total)),
                        kind::SPARSE => {
                            let zero = unkept(block.encoding);
                            (dot, _mm256_set1_epi32(zero * total))
                        }
                        _ => {
                            let zero = const { fixed_zero(KIND) };
                            (dot, _mm256_set1_epi32(zero * total))
                        }
                    };
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
        let unit = _mm256_set1_ps(crate::block::scale_unit(block.encoding));
        let row_scales = _mm256_mul_ps(halves(block.row_scales(), half), unit);
        for sum in &mut sums {
            *sum = _mm256_mul_ps(*sum, row_scales);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        out[half * HALF..][..HALF].copy_from_slice(&floats(sum));
    }
}

/// The code of a weight that a sparse tensor of up to six bits does not keep.
const fn unkept(encoding: Encoding) -> i32 {
    match encoding {
        Encoding::Sparse(width) => (1 << width.bits()) - 1,
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Twin(_) => 0,
    }
}

/// What turns the integer products of a group into floats.
struct GroupScales {
    /// The code that stands for zero, where groups have their own.
    zeros: __m256i,
    first: __m256,
    /// The minimum, or the scale of the second half of the columns.
    second: __m256,
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn group_scales<const KIND: u8>(group: &Group<'_>, half: usize) -> GroupScales {
    let none = _mm256_setzero_ps();
    let mut scales = GroupScales {
        zeros: _mm256_setzero_si256(),
        first: none,
        second: none,
    };
    match KIND {
        kind::TERNARY => {
            let less = widen8(nibbles(bytes(group.header, 0), half));
            scales.first = _mm256_cvtepi32_ps(_mm256_add_epi32(less, _mm256_set1_epi32(1)));
        }
        kind::Q8_0 => scales.first = halves(group.header, half),
        kind::Q4_1 => {
            scales.first = halves(group.header, half);
            scales.second = halves(&group.header[2 * BLOCK_ROWS..], half);
        }
        kind::Q4_K => {
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
        kind::Q6_K => {
            let row = halves(group.header, half);
            let first = signed8(bytes(group.bytes, half * HALF));
            let second = signed8(bytes(group.bytes, BLOCK_ROWS + half * HALF));
            scales.first = _mm256_mul_ps(row, _mm256_cvtepi32_ps(first));
            scales.second = _mm256_mul_ps(row, _mm256_cvtepi32_ps(second));
        }
        _ => {
            scales.first = _mm256_cvtepi32_ps(widen8(bytes(group.header, half * HALF)));
            if let 2..=4 = KIND {
                scales.zeros = widen8(bytes(group.header, BLOCK_ROWS + half * HALF));
            }
        }
    }
    scales
}

/// Four activations for every lane.
#[target_feature(enable = "avx2")]
#[inline]
fn quad(values: &[i8; GROUP], chunk: usize) -> __m256i {
    let (quads, _) = values.as_chunks::<4>();
    _mm256_set1_epi32(i32::from_le_bytes(quads[chunk].map(i8::cast_unsigned)))
}

/// Sums of products of 32 columns by eight rows; lane `r` is row `r`.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn dot<const KIND: u8>(codes: &Chunks, values: &[i8; GROUP]) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let mut sum = _mm256_setzero_si256();
    match KIND {
        1..=4 | kind::TERNARY | kind::ONE_OF_FOUR | kind::Q4_1 | kind::Q4_K => {
            // 8 chunks x 2 products x 15 x 127 = 30,480: inside 16 bits, so widen once at the end.
            for (chunk, codes) in codes.iter().enumerate() {
                sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(*codes, quad(values, chunk)));
            }
            _mm256_madd_epi16(sum, ones)
        }
        5 | 6 | kind::SPARSE => {
            // 2 products x 127 x 127 = 32,258: inside 16 bits.
            for (chunk, codes) in codes.iter().enumerate() {
                let pairs = _mm256_maddubs_epi16(*codes, quad(values, chunk));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
            sum
        }
        _ => {
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

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn unpack<const KIND: u8>(
    encoding: Encoding,
    group: &Group<'_>,
    half: usize,
    sparse: &mut SparseValues<'_>,
) -> Chunks {
    // A half of every chunk of 64 bytes.
    let codes = &group.codes(encoding)[half * CHUNK / 2..];
    match KIND {
        1 => plane1(codes, 0),
        2 => plane2(codes, 0),
        3 => join::<2>(plane2(codes, 0), plane1(codes, GROUP_WEIGHTS / 4)),
        4 | kind::Q4_1 | kind::Q4_K => plane4(codes),
        5 => join::<4>(plane4(codes), plane1(codes, GROUP_WEIGHTS / 2)),
        6 | kind::Q6_K => join::<4>(plane4(codes), plane2(codes, GROUP_WEIGHTS / 2)),
        8 | kind::Q8_0 => chunks!(|i| load256(codes, i * CHUNK)),
        kind::TERNARY => ternary(group.bytes, half),
        kind::ONE_OF_FOUR => one_of_four(group.bytes, half),
        _ => match encoding {
            Encoding::Sparse(Width::One) => sparse_chunks::<1>(group.bytes, half, sparse),
            Encoding::Sparse(Width::Two) => sparse_chunks::<2>(group.bytes, half, sparse),
            Encoding::Sparse(Width::Three) => sparse_chunks::<3>(group.bytes, half, sparse),
            Encoding::Sparse(Width::Four) => sparse_chunks::<4>(group.bytes, half, sparse),
            Encoding::Sparse(Width::Five) => sparse_chunks::<5>(group.bytes, half, sparse),
            Encoding::Sparse(Width::Six) => sparse_chunks::<6>(group.bytes, half, sparse),
            Encoding::Sparse(Width::Eight) => sparse_chunks::<8>(group.bytes, half, sparse),
            Encoding::F32
            | Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Twin(_) => [_mm256_setzero_si256(); CHUNKS],
        },
    }
}

/// `x` shifted down by `bits`, less than eight; what comes into a byte from above is rubbish.
#[target_feature(enable = "avx2")]
#[inline]
fn down(x: __m256i, bits: usize) -> __m256i {
    // Constants after inlining.
    _mm256_srl_epi16(x, _mm_cvtsi64_si128(bits as i64))
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn plane1(codes: &[u8], at: usize) -> Chunks {
    let (bits, mask) = (load256(codes, at), _mm256_set1_epi8(1));
    chunks!(|i| _mm256_and_si256(down(bits, i), mask))
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn plane2(codes: &[u8], at: usize) -> Chunks {
    let pairs = [load256(codes, at), load256(codes, at + CHUNK)];
    let mask = _mm256_set1_epi8(3);
    chunks!(|i| _mm256_and_si256(down(pairs[i % 2], i / 2 * 2), mask))
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn plane4(codes: &[u8]) -> Chunks {
    let nibbles = [
        load256(codes, 0),
        load256(codes, CHUNK),
        load256(codes, 2 * CHUNK),
        load256(codes, 3 * CHUNK),
    ];
    let mask = _mm256_set1_epi8(15);
    chunks!(|i| _mm256_and_si256(down(nibbles[i % 4], i / 4 * 4), mask))
}

/// `low | high << SHIFT`, for shifts that stay inside a byte.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn join<const SHIFT: i32>(low: Chunks, high: Chunks) -> Chunks {
    chunks!(|i| _mm256_or_si256(low[i], _mm256_slli_epi16::<SHIFT>(high[i])))
}

/// Trits, as [`crate::codes::write_trits`] packs them.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn ternary(codes: &[u8], half: usize) -> Chunks {
    let low_bytes = _mm256_set1_epi16(255);
    // Fractions of even and of odd bytes in 16 bits each; times three, the carry is the next trit.
    let fives = load256(codes, half * CHUNK / 2);
    let mut even = _mm256_and_si256(fives, low_bytes);
    let mut odd = _mm256_srli_epi16::<8>(fives);
    let times3 = |x: __m256i| _mm256_add_epi16(x, _mm256_add_epi16(x, x));
    let mut next = || {
        let (e, o) = (times3(even), times3(odd));
        (even, odd) = (
            _mm256_and_si256(e, low_bytes),
            _mm256_and_si256(o, low_bytes),
        );
        _mm256_or_si256(_mm256_srli_epi16::<8>(e), _mm256_andnot_si256(low_bytes, o))
    };
    let five = [next(), next(), next(), next(), next()];
    // Numbers below 27: nibbles of all 64 places, this half's in the low or the high ones.
    let low = down(load256(codes, CHUNK), 4 * half);
    let low = _mm256_and_si256(low, _mm256_set1_epi8(15));
    let bits: [u8; 4] = bytes(codes, CHUNK + 32 + 4 * half);
    let spread: [u64; 4] = bits.map(|byte| _pdep_u64(u64::from(byte), 0x0101_0101_0101_0101) * 255);
    let is_high = load256(bytemuck::cast_slice(&spread), 0);
    // The three trits of a number, two bits each: of 0 to 15, and of 16 to 31.
    let table = |numbers: [u8; 16]| {
        let trits = numbers.map(|n| (n % 3) | ((n / 3 % 3) << 2) | ((n / 9 % 3) << 4));
        _mm256_broadcastsi128_si256(load128(&trits, 0))
    };
    let first = table(core::array::from_fn(|n| n.to_le_bytes()[0]));
    let second = table(core::array::from_fn(|n| (n + 16).to_le_bytes()[0]));
    let three = _mm256_blendv_epi8(
        _mm256_shuffle_epi8(first, low),
        _mm256_shuffle_epi8(second, low),
        is_high,
    );
    let mask = _mm256_set1_epi8(3);
    chunks!(|i| match i {
        0..5 => five[i],
        _ => _mm256_and_si256(down(three, 2 * (i - 5)), mask),
    })
}

/// One of four, as [`crate::codes::write_pick`] packs it.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn one_of_four(codes: &[u8], half: usize) -> Chunks {
    // Three bytes a row to the low three bytes of its lane.
    let codes: [u8; 24] = bytes(codes, half * 24);
    let rows: [[u8; 4]; 8] =
        core::array::from_fn(|row| [codes[3 * row], codes[3 * row + 1], codes[3 * row + 2], 0]);
    let rows = load256(rows.as_flattened(), 0);
    let table = load256(PICKS.as_flattened(), 0);
    chunks!(|i| {
        let shifted = _mm256_srl_epi32(rows, _mm_cvtsi64_si128(3 * i as i64));
        _mm256_permutevar8x32_epi32(table, shifted)
    })
}

/// This half's chunks of the next group of a sparse block.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn sparse_chunks<const BITS: usize>(
    bitmap: &[u8],
    half: usize,
    kept: &mut SparseValues<'_>,
) -> Chunks {
    let masks: [u64; CHUNKS] = core::array::from_fn(|chunk| chunk_mask(bitmap, chunk));
    let count: u32 = masks.iter().map(|mask| mask.count_ones()).sum();
    // Planes are read from the last whole byte of all of them.
    let first = kept.before & !7;
    let mut at = kept.before - first;
    let end = at + count as usize;
    let mut values = [0; GROUP_WEIGHTS + CHUNK];
    for (i, values) in values.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        if i * 8 >= end {
            break;
        }
        *values = sparse_values::<BITS>(kept, first + i * 8);
    }
    kept.before += count as usize;
    let unkept = u64::from_le_bytes(
        [if BITS == 8 {
            128
        } else {
            u8::MAX >> (8 - BITS)
        }; 8],
    );
    chunks!(|chunk| {
        let mask = masks[chunk].to_le_bytes();
        let mut codes = [0u64; 4];
        for (i, byte) in mask.into_iter().enumerate() {
            if i / 4 == half {
                let is_kept = _pdep_u64(u64::from(byte), 0x0101_0101_0101_0101) * 255;
                let next = u64::from_le_bytes(bytes(&values, at));
                codes[i % 4] = _pdep_u64(next, is_kept) | unkept & !is_kept;
            }
            at += byte.count_ones() as usize;
        }
        load256(bytemuck::cast_slice(&codes), 0)
    })
}

/// Eight values of a sparse block from `first` on, a multiple of 8: twice their codes, or the codes
/// of eight bits.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn sparse_values<const BITS: usize>(kept: &SparseValues<'_>, first: usize) -> [u8; 8] {
    // Values of a block are a multiple of 16.
    if first >= kept.count {
        return [0; 8];
    }
    let width = match BITS {
        1 => Width::One,
        2 => Width::Two,
        3 => Width::Three,
        4 => Width::Four,
        5 => Width::Five,
        6 => Width::Six,
        _ => Width::Eight,
    };
    let mut codes = 0;
    let (mut start, mut below) = (0, if BITS == 8 { 0 } else { 1 });
    for bits in planes(width) {
        if bits > 0 {
            let plane = u64::from_le_bytes(bytes(kept.bytes(), start + first * bits / 8));
            let spread = u64::MAX / 255 * u64::from(u8::MAX >> (8 - bits));
            codes |= _pdep_u64(plane, spread) << below;
        }
        start += kept.plane_bytes(bits);
        below += bits;
    }
    codes.to_le_bytes()
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
