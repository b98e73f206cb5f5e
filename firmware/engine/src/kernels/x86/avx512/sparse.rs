//! Products of sparse blocks: kept values are spread to the places that the bitmap gives them.
//!
//! Values are unpacked to bytes ahead of the groups that take them, into a ring, since loads of what
//! was just stored wait until it has left the store buffer.

use super::{add_scaled, dot, finish, less_zeros, quad, shift};
use crate::block::Block;
use crate::codes::{SparseValues, planes};
use crate::encoding::{BLOCK_ROWS, CHUNK, CHUNKS, GROUP, GROUP_WEIGHTS, Width};
use crate::kernels::Activations;
use crate::kernels::activations::Tile;
use crate::kernels::encodings::{encoding_of, width_of, zero_code};
use crate::kernels::x86::load::{bytes, load128, load256, load512};
use core::arch::x86_64::*;

/// The bitmap of one group.
type Bitmap = [[u8; 8]; CHUNKS];

/// Values that are unpacked together.
const BATCH: usize = 256;
/// Values that are unpacked before a group takes up to [`GROUP_WEIGHTS`] of them.
const LEAD: usize = 1024;
/// Bytes between what is read and what is asked of the memory: two streams, and neither is fast
/// enough for the processor to run far ahead by itself.
const AHEAD: usize = 4096;
/// Values that stand in the ring.
const RING: usize = 2048;
const _: () = assert!(LEAD >= GROUP_WEIGHTS && LEAD + BATCH <= RING && RING.is_multiple_of(BATCH));

/// As [`super::tile`].
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
#[inline(never)]
pub(super) fn tile<const NUMBER: u8, const N: usize>(
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
    let mut sums = [_mm512_setzero_ps(); N];
    let zeros = _mm512_set1_epi32(const { zero_code(encoding_of(NUMBER)) }.into());
    let bits = const { width_of(NUMBER) as usize };
    let kept = block.sparse_values();
    let mut ring = Ring([0; RING + CHUNK]);
    // Values before the next group, and values that have been unpacked.
    let (mut at, mut filled) = (0, 0);
    for (record, bytes) in block.records().enumerate() {
        let (header, bitmaps) = bytes.split_at(BLOCK_ROWS);
        let scale = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load128(header, 0)));
        let bitmaps = bitmaps.as_chunks().0.as_chunks().0;
        let first = record * block.record.groups;
        prefetch(bytes.as_ptr());
        for (bitmap, index) in bitmaps.iter().zip(first..values[0].len()) {
            while filled < at + LEAD {
                refill::<NUMBER>(&kept, filled, &mut ring);
                filled += BATCH;
                prefetch(kept.bytes().as_ptr().wrapping_add(filled * bits / 8));
            }
            let dots = dots::<NUMBER, N>(bitmap, &ring, &mut at, values, index);
            for t in 0..N {
                let dot = less_zeros(dots[t], zeros, totals[t][index]);
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale);
                sums[t] = add_scaled(sums[t], product, scales[t][index]);
            }
        }
    }
    finish(block, sums, out);
}

/// A byte for each value, value `i` at `i % RING`; the first bytes again past the end.
#[repr(align(64))]
struct Ring([u8; RING + CHUNK]);

impl Ring {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn put(&mut self, index: usize, codes: __m512i) {
        let place = index % RING;
        let values = self.0[place..].first_chunk_mut::<CHUNK>();
        let values = values.expect("a chunk follows the ring");
        // SAFETY: 64 writable bytes; the store takes any alignment.
        unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), codes) };
        if place == 0 {
            self.0.copy_within(..CHUNK, RING);
        }
    }
}

/// Sums of products of the next group with each token, of codes: [`zero_code`] above the levels.
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
#[inline]
fn dots<const NUMBER: u8, const N: usize>(
    bitmap: &Bitmap,
    ring: &Ring,
    at: &mut usize,
    values: [&[[i8; GROUP]]; N],
    index: usize,
) -> [__m512i; N] {
    let mut dots = [_mm512_setzero_si512(); N];
    if N == 1 {
        // Each chunk is taken as soon as it is made.
        let mut pair = [_mm512_setzero_si512(); 2];
        for chunk in 0..CHUNKS {
            let codes = spread::<NUMBER>(bitmap[chunk], ring, at);
            let quad = quad(&values[0][index], chunk);
            pair[chunk % 2] = _mm512_dpbusd_epi32(pair[chunk % 2], codes, quad);
        }
        dots[0] = _mm512_add_epi32(pair[0], pair[1]);
    } else {
        let codes = chunks!(|chunk| spread::<NUMBER>(bitmap[chunk], ring, at));
        for t in 0..N {
            dots[t] = dot(&codes, &values[t][index]);
        }
    }
    dots
}

/// Codes of the next chunk, whose bitmap is given.
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
#[inline]
fn spread<const NUMBER: u8>(bitmap: [u8; 8], ring: &Ring, at: &mut usize) -> __m512i {
    let mask = u64::from_le_bytes(bitmap);
    let codes = load512(&ring.0, *at % RING);
    *at += mask.count_ones() as usize;
    // Something must happen between load and expansion: expanding from memory is slow.
    let codes = match const { width_of(NUMBER) } {
        Width::Eight => _mm512_xor_si512(codes, _mm512_set1_epi8(-128)),
        Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => {
            _mm512_add_epi8(codes, codes)
        }
    };
    let unkept = const { zero_code(encoding_of(NUMBER)).cast_signed() };
    let unkept = _mm512_set1_epi8(unkept);
    _mm512_mask_expand_epi8(unkept, mask, codes)
}

/// Asks for two cache lines [`AHEAD`] of `bytes`, wherever that leads.
#[target_feature(enable = "sse")]
#[inline]
fn prefetch(bytes: *const u8) {
    let ahead = bytes.wrapping_add(AHEAD);
    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(CHUNK).cast());
}

/// Unpacks [`BATCH`] values from `first` on into their places in the ring.
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
#[inline]
fn refill<const NUMBER: u8>(kept: &SparseValues<'_>, first: usize, ring: &mut Ring) {
    if first + BATCH > kept.count {
        return last_refill::<NUMBER>(kept, first, ring);
    }
    for first in (first..first + BATCH).step_by(CHUNK) {
        ring.put(first, sparse_values::<NUMBER>(kept, first));
    }
}

/// As [`refill`], where values end: past the end are zeros, whatever stands there.
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
#[cold]
#[inline(never)]
fn last_refill<const NUMBER: u8>(kept: &SparseValues<'_>, first: usize, ring: &mut Ring) {
    let zero = _mm512_set1_epi8(match const { width_of(NUMBER) } {
        Width::Eight => -128,
        Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => 0,
    });
    for first in (first..first + BATCH).step_by(CHUNK) {
        let codes = match kept.count.saturating_sub(first) {
            0 => zero,
            count => {
                let real = u64::MAX >> CHUNK.saturating_sub(count);
                _mm512_mask_mov_epi8(zero, real, sparse_values::<NUMBER>(kept, first))
            }
        };
        ring.put(first, codes);
    }
}

/// 64 values of a sparse block from `first` on, a multiple of 8; at eight bits as signed numbers.
#[target_feature(
    enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2"
)]
#[inline]
fn sparse_values<const NUMBER: u8>(kept: &SparseValues<'_>, first: usize) -> __m512i {
    let mut codes = _mm512_setzero_si512();
    let (mut start, mut below) = (0, 0);
    for bits in planes(const { width_of(NUMBER) }) {
        let at = start + first * bits / 8;
        let plane = match bits {
            1 => {
                let mask = u64::from_le_bytes(bytes(kept.bytes(), at));
                _mm512_maskz_set1_epi8(mask, 1)
            }
            2 => {
                let spread = _mm512_cvtepu8_epi32(load128(kept.bytes(), at));
                let from = _mm512_set1_epi64(0x2624_2220_0604_0200);
                let pairs = _mm512_multishift_epi64_epi8(from, spread);
                _mm512_and_si512(pairs, _mm512_set1_epi8(3))
            }
            4 => {
                let spread = _mm512_cvtepu8_epi16(load256(kept.bytes(), at));
                let from = _mm512_set1_epi64(0x3430_2420_1410_0400);
                let nibbles = _mm512_multishift_epi64_epi8(from, spread);
                _mm512_and_si512(nibbles, _mm512_set1_epi8(15))
            }
            8 => _mm512_xor_si512(load512(kept.bytes(), at), _mm512_set1_epi8(-128)),
            _ => _mm512_setzero_si512(),
        };
        codes = _mm512_or_si512(codes, shift(plane, 0, below));
        start += kept.plane_bytes(bits);
        below += bits;
    }
    codes
}
