//! How the cache keeps an element: a 16-bit float, or an integer of 8 or 4 bits and a scale.

use crate::float::{f16_from_f32, f32_from_f16, round_half_even};
use crate::kernels::LANES;
use crate::kernels::lanes::{Lanes, leveled};
use crate::workers::Level;

/// One precision of the cache.
///
/// Keys lie in blocks of 16 positions, `[head_dim, 16]`, so that 16 scores grow side by side;
/// values lie in rows, `[head_dim]`. At 4 bits two elements that follow each other in a head share
/// a byte, the even one below.
pub(super) trait Codec {
    /// What holds [`Self::PACKED`] elements.
    type Code: bytemuck::Pod + Send + Sync;
    const PACKED: usize;
    /// Whether there are scales.
    const SCALED: bool;
    /// Elements of a head that are summed together, and share a scale where there are scales.
    fn group(head_dim: usize) -> usize;

    /// Element `d` of the key at place `lane` of a block.
    fn key(block: &[Self::Code], d: usize, lane: usize) -> f32;
    /// Element `d` of a value.
    fn value(row: &[Self::Code], d: usize) -> f32;
    /// Element `d` of the 16 keys of a block.
    fn keys<V: Lanes>(block: &[Self::Code], d: usize) -> V;
    /// Elements `16 column..` of a value.
    fn values<V: Lanes>(row: &[Self::Code], column: usize) -> V;

    /// The scale of a group, as a 16-bit float.
    fn scale(group: &[f32]) -> u16;
    /// The codes of 16 elements of a group, given 1 / scale.
    fn codes(level: Level, x: &[f32; LANES], inverse: f32) -> [Self::Code; LANES];
    /// Puts the codes of [`Self::PACKED`] elements together.
    fn pack(codes: &[Self::Code]) -> Self::Code;
}

/// 16-bit floats.
#[derive(Debug)]
pub(super) struct Sixteen;
/// Integers from -127 to 127, one scale a head.
#[derive(Debug)]
pub(super) struct Eight;
/// Integers from -8 to 7, one scale for each [`FOUR_GROUP`] elements.
#[derive(Debug)]
pub(super) struct Four;

/// Elements that share a scale at 4 bits.
pub(super) const FOUR_GROUP: usize = 32;

/// Largest 16-bit float: the scale of a group whose own would be past it.
const LARGEST_SCALE: u16 = 0x7bff;
/// A 16-bit float that is no number: codes times it are none either, so that nothing is lost in silence.
const NO_NUMBER: u16 = 0x7e00;

/// `bound` as the scale of a group; of one with an element that is not finite, what is no number.
#[inline(always)]
fn scale_of(bound: f32) -> u16 {
    if !bound.is_finite() {
        return NO_NUMBER;
    }
    match f16_from_f32(bound) {
        half if half & 0x7fff >= 0x7c00 => half & 0x8000 | LARGEST_SCALE,
        half => half,
    }
}

/// The element of largest magnitude, 0 if all are 0; what is no number if one is.
#[inline(always)]
fn largest(group: &[f32]) -> f32 {
    let larger = |m: f32, x: &f32| {
        if x.abs() > m.abs() || x.is_nan() {
            *x
        } else {
            m
        }
    };
    group.iter().fold(0.0, larger)
}

leveled! {
    fn halves<V>(x: &[f32; LANES]) -> [u16; LANES] {
        let mut out = [0; LANES];
        V::load(x).to_halves(&mut out);
        out
    }
}

leveled! {
    /// `x * inverse`, rounded half to even, between `least` and `most`.
    fn integers(x: &[f32; LANES], inverse: f32, least: f32, most: f32) -> [i8; LANES] {
        let mut codes = [0; LANES];
        for (code, x) in codes.iter_mut().zip(x) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounded and clamped; what is not a number becomes 0"
            )]
            let rounded = round_half_even((x * inverse).clamp(least, most)) as i8;
            *code = rounded;
        }
        codes
    }
}

impl Codec for Sixteen {
    type Code = u16;
    const PACKED: usize = 1;
    const SCALED: bool = false;

    #[inline(always)]
    fn group(head_dim: usize) -> usize {
        head_dim
    }

    #[inline(always)]
    fn key(block: &[u16], d: usize, lane: usize) -> f32 {
        f32_from_f16(block[d * LANES + lane])
    }

    #[inline(always)]
    fn value(row: &[u16], d: usize) -> f32 {
        f32_from_f16(row[d])
    }

    #[inline(always)]
    fn keys<V: Lanes>(block: &[u16], d: usize) -> V {
        V::from_halves(&block.as_chunks().0[d])
    }

    #[inline(always)]
    fn values<V: Lanes>(row: &[u16], column: usize) -> V {
        V::from_halves(&row.as_chunks().0[column])
    }

    #[inline(always)]
    fn scale(_: &[f32]) -> u16 {
        0x3c00
    }

    #[inline(always)]
    fn codes(level: Level, x: &[f32; LANES], _: f32) -> [u16; LANES] {
        halves(level, x)
    }

    #[inline(always)]
    fn pack(codes: &[u16]) -> u16 {
        codes[0]
    }
}

impl Codec for Eight {
    type Code = i8;
    const PACKED: usize = 1;
    const SCALED: bool = true;

    #[inline(always)]
    fn group(head_dim: usize) -> usize {
        head_dim
    }

    #[inline(always)]
    fn key(block: &[i8], d: usize, lane: usize) -> f32 {
        f32::from(block[d * LANES + lane])
    }

    #[inline(always)]
    fn value(row: &[i8], d: usize) -> f32 {
        f32::from(row[d])
    }

    #[inline(always)]
    fn keys<V: Lanes>(block: &[i8], d: usize) -> V {
        V::from_bytes(&block.as_chunks().0[d])
    }

    #[inline(always)]
    fn values<V: Lanes>(row: &[i8], column: usize) -> V {
        V::from_bytes(&row.as_chunks().0[column])
    }

    #[inline(always)]
    fn scale(group: &[f32]) -> u16 {
        scale_of(largest(group).abs() / 127.0)
    }

    #[inline(always)]
    fn codes(level: Level, x: &[f32; LANES], inverse: f32) -> [i8; LANES] {
        integers(level, x, inverse, -127.0, 127.0)
    }

    #[inline(always)]
    fn pack(codes: &[i8]) -> i8 {
        codes[0]
    }
}

impl Four {
    #[inline(always)]
    fn half(byte: u8, d: usize) -> f32 {
        f32::from(i16::from(byte >> (4 * (d % 2)) & 15) - 8)
    }
}

impl Codec for Four {
    type Code = u8;
    const PACKED: usize = 2;
    const SCALED: bool = true;

    #[inline(always)]
    fn group(_: usize) -> usize {
        FOUR_GROUP
    }

    #[inline(always)]
    fn key(block: &[u8], d: usize, lane: usize) -> f32 {
        Self::half(block[d / 2 * LANES + lane], d)
    }

    #[inline(always)]
    fn value(row: &[u8], d: usize) -> f32 {
        Self::half(row[d / 2], d)
    }

    #[inline(always)]
    fn keys<V: Lanes>(block: &[u8], d: usize) -> V {
        let bytes = &block.as_chunks().0[d / 2];
        if d.is_multiple_of(2) {
            V::from_nibbles::<0>(bytes)
        } else {
            V::from_nibbles::<4>(bytes)
        }
    }

    #[inline(always)]
    fn values<V: Lanes>(row: &[u8], column: usize) -> V {
        V::from_packed(&row.as_chunks().0[column])
    }

    /// The element of largest magnitude becomes -8, so that all 16 codes serve (as in ggml's `Q4_0`).
    #[inline(always)]
    fn scale(group: &[f32]) -> u16 {
        scale_of(largest(group) / -8.0)
    }

    #[inline(always)]
    fn codes(level: Level, x: &[f32; LANES], inverse: f32) -> [u8; LANES] {
        integers(level, x, inverse, -8.0, 7.0).map(|code| (code + 8).cast_unsigned())
    }

    #[inline(always)]
    fn pack(codes: &[u8]) -> u8 {
        codes[0] | codes[1] << 4
    }
}
