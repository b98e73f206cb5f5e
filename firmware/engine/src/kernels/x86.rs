//! AVX2 kernels, each equal to its namesake in `scalar.rs`.
//!
//! A lane of a 256-bit register is a row of the block, so every lane's sum runs in the scalar order.

use super::{Activations, LANES, TILE, fold};
use crate::encoding::{BLOCK_ROWS, Encoding, GROUP, Width};
use crate::matrix::{SparseRow, half_at, scale_unit};
use core::arch::x86_64::*;

/// Eight chunks of four columns by eight rows, as bytes.
type Chunks = [__m256i; 8];

/// Eight rows of a dense or ternary matrix times up to [`TILE`] tokens.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
pub(super) fn dense_block(
    encoding: Encoding,
    block: &[u8],
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [[f32; BLOCK_ROWS]; TILE] {
    match encoding {
        Encoding::Dense(Width::One) => dense::<1>(encoding, block, input, token, tile),
        Encoding::Dense(Width::Two) | Encoding::Ternary => {
            dense::<2>(encoding, block, input, token, tile)
        }
        Encoding::Dense(Width::Three) => dense::<3>(encoding, block, input, token, tile),
        Encoding::Dense(Width::Four) => dense::<4>(encoding, block, input, token, tile),
        Encoding::Dense(Width::Five) => dense::<5>(encoding, block, input, token, tile),
        Encoding::Dense(Width::Six) => dense::<6>(encoding, block, input, token, tile),
        Encoding::Dense(Width::Eight) => dense::<8>(encoding, block, input, token, tile),
        Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) => [[0.0; BLOCK_ROWS]; TILE],
    }
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
fn dense<const BITS: usize>(
    encoding: Encoding,
    block: &[u8],
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [[f32; BLOCK_ROWS]; TILE] {
    // A full tile, with its sums in registers, is the case that prefill lives on; one token is decode's.
    match tile {
        TILE => dense_tile::<BITS, TILE>(encoding, block, input, token),
        _ => {
            let mut sums = [[0.0; BLOCK_ROWS]; TILE];
            for (t, sums) in sums[..tile].iter_mut().enumerate() {
                *sums = dense_tile::<BITS, 1>(encoding, block, input, token + t)[0];
            }
            sums
        }
    }
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
fn dense_tile<const BITS: usize, const TOKENS: usize>(
    encoding: Encoding,
    block: &[u8],
    input: &Activations<'_>,
    token: usize,
) -> [[f32; BLOCK_ROWS]; TILE] {
    let (row_scales, records) = block.split_at(2 * BLOCK_ROWS);
    let has_zero_point = encoding.has_zero_point();
    let header = if has_zero_point {
        2 * BLOCK_ROWS
    } else {
        BLOCK_ROWS
    };
    let rows: [(&[i8], &[f32], &[i32]); TOKENS] = core::array::from_fn(|t| {
        (
            input.values(token + t),
            input.scales(token + t),
            input.sums(token + t),
        )
    });
    let fixed_zero = _mm256_set1_epi32(match encoding {
        Encoding::Dense(Width::One) | Encoding::Ternary => 1,
        Encoding::Dense(Width::Five) => 16,
        Encoding::Dense(Width::Six) => 32,
        _ => 0,
    });
    let mut sums = [_mm256_setzero_ps(); TOKENS];
    for (group, record) in records.chunks_exact(encoding.record_bytes()).enumerate() {
        let codes = unpack::<BITS>(&record[header..]);
        let group_scales = widen8(record);
        let zeros = if has_zero_point {
            widen8(&record[BLOCK_ROWS..])
        } else {
            fixed_zero
        };
        for t in 0..TOKENS {
            let (values, scales, value_sums) = rows[t];
            let dot = group_dot::<BITS>(&codes, &values[group * GROUP..][..GROUP]);
            // Signs are stored as 0 and 1: level = 2 x code - 1.
            let dot = if BITS == 1 {
                _mm256_slli_epi32::<1>(dot)
            } else {
                dot
            };
            // Zero points count sixteenths of a step.
            let dot = if has_zero_point {
                _mm256_slli_epi32::<4>(dot)
            } else {
                dot
            };
            let dot = if BITS == 8 {
                dot
            } else {
                _mm256_sub_epi32(
                    dot,
                    _mm256_mullo_epi32(zeros, _mm256_set1_epi32(value_sums[group])),
                )
            };
            let product = _mm256_cvtepi32_ps(_mm256_mullo_epi32(dot, group_scales));
            sums[t] = _mm256_add_ps(
                sums[t],
                _mm256_mul_ps(product, _mm256_set1_ps(scales[group])),
            );
        }
    }
    let row_scales = _mm256_mul_ps(
        _mm256_cvtph_ps(load16(row_scales)),
        _mm256_set1_ps(scale_unit(encoding)),
    );
    let mut out = [[0.0; BLOCK_ROWS]; TILE];
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = floats(_mm256_mul_ps(sum, row_scales));
    }
    out
}

/// Sums of products of 32 columns by eight rows; lane `r` is row `r`.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn group_dot<const BITS: usize>(codes: &Chunks, values: &[i8]) -> __m256i {
    let quads = values.as_chunks::<4>().0;
    let ones = _mm256_set1_epi16(1);
    if BITS <= 4 {
        // 8 chunks x 2 products x 15 x 127 = 30,480: inside 16 bits, so widen once at the end.
        let mut sum = _mm256_setzero_si256();
        for (codes, quad) in codes.iter().zip(quads) {
            let four = _mm256_set1_epi32(i32::from_le_bytes(quad.map(i8::cast_unsigned)));
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(*codes, four));
        }
        return _mm256_madd_epi16(sum, ones);
    }
    let mut sum = _mm256_setzero_si256();
    for (codes, quad) in codes.iter().zip(quads) {
        let four = _mm256_set1_epi32(i32::from_le_bytes(quad.map(i8::cast_unsigned)));
        // At 8 bits both are signed: move the sign of the activation to the weight.
        // 2 products x 127 x 127 = 32,258 and 2 x 63 x 127 = 16,002: neither saturates.
        let pairs = if BITS == 8 {
            _mm256_maddubs_epi16(_mm256_abs_epi8(four), _mm256_sign_epi8(*codes, four))
        } else {
            _mm256_maddubs_epi16(*codes, four)
        };
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    sum
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn unpack<const BITS: usize>(values: &[u8]) -> Chunks {
    let load = |at: usize| load32(&values[at * 32..]);
    match BITS {
        1 => plane1(load(0)),
        2 => plane2(load(0), load(1)),
        3 => join(plane2(load(0), load(1)), plane1(load(2)), 2),
        4 => plane4([load(0), load(1), load(2), load(3)]),
        5 => join(
            plane4([load(0), load(1), load(2), load(3)]),
            plane1(load(4)),
            4,
        ),
        6 => join(
            plane4([load(0), load(1), load(2), load(3)]),
            plane2(load(4), load(5)),
            4,
        ),
        _ => core::array::from_fn(load),
    }
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn plane1(a: __m256i) -> Chunks {
    let one = _mm256_set1_epi8(1);
    let shifted = [
        a,
        _mm256_srli_epi16::<1>(a),
        _mm256_srli_epi16::<2>(a),
        _mm256_srli_epi16::<3>(a),
        _mm256_srli_epi16::<4>(a),
        _mm256_srli_epi16::<5>(a),
        _mm256_srli_epi16::<6>(a),
        _mm256_srli_epi16::<7>(a),
    ];
    core::array::from_fn(|i| _mm256_and_si256(shifted[i], one))
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn plane2(a: __m256i, b: __m256i) -> Chunks {
    let three = _mm256_set1_epi8(3);
    let shifted = [
        a,
        b,
        _mm256_srli_epi16::<2>(a),
        _mm256_srli_epi16::<2>(b),
        _mm256_srli_epi16::<4>(a),
        _mm256_srli_epi16::<4>(b),
        _mm256_srli_epi16::<6>(a),
        _mm256_srli_epi16::<6>(b),
    ];
    core::array::from_fn(|i| _mm256_and_si256(shifted[i], three))
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn plane4(a: [__m256i; 4]) -> Chunks {
    let fifteen = _mm256_set1_epi8(15);
    core::array::from_fn(|i| {
        let nibbles = if i < 4 {
            a[i]
        } else {
            _mm256_srli_epi16::<4>(a[i - 4])
        };
        _mm256_and_si256(nibbles, fifteen)
    })
}

/// `low | high << shift`, for shifts that stay inside a byte.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn join(low: Chunks, high: Chunks, shift: i32) -> Chunks {
    let shift = _mm_cvtsi32_si128(shift);
    core::array::from_fn(|i| _mm256_or_si256(low[i], _mm256_sll_epi16(high[i], shift)))
}

/// One row of a sparse matrix times up to [`TILE`] tokens.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
pub(super) fn sparse_row(
    width: Width,
    row: &SparseRow<'_>,
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    let mut position = 0;
    for (group, group_scale) in row.group_scales.iter().enumerate() {
        let levels = expand(width, row.mask(group), row.values, &mut position);
        for (t, sum) in sums[..tile].iter_mut().enumerate() {
            let values = load32i(&input.values(token + t)[group * GROUP..]);
            let pairs =
                _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(levels, values));
            let dot = horizontal(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            #[expect(
                clippy::cast_precision_loss,
                reason = "rounded half to even, as in the scalar kernel"
            )]
            let product = (dot * i32::from(*group_scale)) as f32;
            *sum += product * input.scales(token + t)[group];
        }
    }
    sums[..tile].iter_mut().for_each(|sum| *sum *= row.scale);
    sums
}

/// The 32 levels of one group of a sparse row: bits are deposited under the mask.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn expand(width: Width, mask: u32, values: &[u8], position: &mut usize) -> __m256i {
    let bits = width as usize;
    let spread = u64::MAX / 255 * ((1 << bits) - 1);
    let mut codes = [0u64; 4];
    let mut kept = [0u64; 4];
    for (i, byte) in mask.to_le_bytes().into_iter().enumerate() {
        kept[i] = _pdep_u64(u64::from(byte), 0x0101_0101_0101_0101) * 255;
        codes[i] = _pdep_u64(_pdep_u64(window(values, *position), spread), kept[i]);
        *position += byte.count_ones() as usize * bits;
    }
    let lanes = |x: [u64; 4]| load32(bytemuck::cast_slice(&x));
    let (codes, kept) = (lanes(codes), lanes(kept));
    if bits == 8 {
        return codes;
    }
    let top = _mm256_set1_epi8((u8::MAX >> (8 - bits)).cast_signed());
    _mm256_and_si256(_mm256_sub_epi8(_mm256_add_epi8(codes, codes), top), kept)
}

/// At least 56 bits of `values` from bit `position` on, 64 when it is whole bytes; zeros past the end.
#[inline]
fn window(values: &[u8], position: usize) -> u64 {
    let rest = values.get(position / 8..).unwrap_or(&[]);
    let bytes = match rest.first_chunk::<8>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            bytes
        }
    };
    u64::from_le_bytes(bytes) >> (position % 8)
}

/// One row of halves times up to [`TILE`] tokens of floats.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
pub(super) fn half_row(
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
fn load32(bytes: &[u8]) -> __m256i {
    let bytes: &[u8; 32] = bytes.first_chunk().expect("a whole register");
    // SAFETY: 32 readable bytes; the load takes any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn load32i(bytes: &[i8]) -> __m256i {
    load32(bytemuck::cast_slice(bytes))
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
fn widen8(bytes: &[u8]) -> __m256i {
    let eight: &[u8; 8] = bytes.first_chunk().expect("one byte a row");
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(*eight)))
}

/// Sum of eight 32-bit integers.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
fn horizontal(x: __m256i) -> i32 {
    let x = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
    _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32::<0b10_11_00_01>(x)))
}
