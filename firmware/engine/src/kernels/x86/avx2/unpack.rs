//! Every encoding to codes of eight bits, half a group at a time.

use super::Chunks;
use crate::block::Group;
use crate::codes::{SparseValues, chunk_mask, planes};
use crate::encoding::{CHUNK, CHUNKS, Encoding, GROUP_WEIGHTS, Twin, Width};
use crate::kernels::encodings::{encoding_of, width_of, zero_code};
use crate::kernels::x86::PICKS;
use crate::kernels::x86::load::{bytes, load128, load256};
use core::arch::x86_64::*;

/// Half a group's codes; of a sparse one those that its bitmap has next.
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
#[inline]
pub(super) fn unpack<const NUMBER: u8>(
    group: &Group<'_>,
    half: usize,
    sparse: &mut SparseValues<'_>,
) -> Chunks {
    let encoding = const { encoding_of(NUMBER) };
    // A half of every chunk of 64 bytes.
    let codes = &group.codes(encoding)[half * CHUNK / 2..];
    match encoding {
        Encoding::F32 | Encoding::F16 => [_mm256_setzero_si256(); CHUNKS],
        Encoding::Dense(Width::One) => plane1(codes, 0),
        Encoding::Dense(Width::Two) => plane2(codes, 0),
        Encoding::Dense(Width::Three) => {
            join::<2>(plane2(codes, 0), plane1(codes, GROUP_WEIGHTS / 4))
        }
        Encoding::Dense(Width::Four) | Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => plane4(codes),
        Encoding::Dense(Width::Five) => join::<4>(plane4(codes), plane1(codes, GROUP_WEIGHTS / 2)),
        Encoding::Dense(Width::Six) | Encoding::Twin(Twin::Q6K) => {
            join::<4>(plane4(codes), plane2(codes, GROUP_WEIGHTS / 2))
        }
        Encoding::Dense(Width::Eight) | Encoding::Twin(Twin::Q8_0) => {
            chunks!(|i| load256(codes, i * CHUNK))
        }
        Encoding::Ternary => ternary(group.bytes, half),
        Encoding::OneOfFour => one_of_four(group.bytes, half),
        Encoding::Sparse(_) => sparse_chunks::<NUMBER>(group.bytes, half, sparse),
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
fn sparse_chunks<const NUMBER: u8>(
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
        *values = sparse_values::<NUMBER>(kept, first + i * 8);
    }
    kept.before += count as usize;
    let unkept = u64::from_le_bytes([const { zero_code(encoding_of(NUMBER)) }; 8]);
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
fn sparse_values<const NUMBER: u8>(kept: &SparseValues<'_>, first: usize) -> [u8; 8] {
    // Values of a block are a multiple of 16.
    if first >= kept.count {
        return [0; 8];
    }
    let mut codes = 0;
    let (mut start, mut below) = match const { width_of(NUMBER) } {
        Width::Eight => (0, 0),
        Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => (0, 1),
    };
    for bits in planes(const { width_of(NUMBER) }) {
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
