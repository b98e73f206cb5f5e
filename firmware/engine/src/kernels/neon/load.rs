//! Loads that stay inside a slice, and small conversions.

use super::{PART, ROWS};
use core::arch::aarch64::*;

/// `N` bytes from `at` on.
#[inline(always)]
pub(super) fn bytes<const N: usize>(slice: &[u8], at: usize) -> [u8; N] {
    *slice[at..].first_chunk().expect("inside a group")
}

/// Four of eight nibbles and eight more: the low ones first.
#[inline(always)]
pub(super) fn nibbles(eight: &[u8], quarter: usize) -> [u8; ROWS] {
    bytes(eight, quarter % 2 * ROWS).map(|byte| byte >> (quarter / 2 * 4) & 15)
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn load(slice: &[u8], at: usize) -> uint8x16_t {
    let bytes: &[u8; PART] = slice[at..].first_chunk().expect("a whole register");
    // SAFETY: 16 readable bytes; the load takes any alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn load_floats(x: &[f32]) -> float32x4_t {
    let x: &[f32; 4] = x.first_chunk().expect("a whole register");
    // SAFETY: four readable floats; the load takes any alignment.
    unsafe { vld1q_f32(x.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn store(x: float32x4_t, out: &mut [f32; 4]) {
    // SAFETY: four writable floats; the store takes any alignment.
    unsafe { vst1q_f32(out.as_mut_ptr(), x) };
}

/// The four 16-bit floats of a quarter of sixteen.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn halves(sixteen: &[u8], quarter: usize) -> float32x4_t {
    let four = vcreate_u16(u64::from_le_bytes(bytes(sixteen, quarter * 2 * ROWS)));
    vcvt_f32_f16(vreinterpret_f16_u16(four))
}

/// Four bytes as 32-bit integers.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn widen(bytes: [u8; ROWS]) -> int32x4_t {
    let words = vmovl_u8(vcreate_u8(u64::from(u32::from_le_bytes(bytes))));
    vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words)))
}

/// Four signed bytes as 32-bit integers.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn widen_signed(bytes: [u8; ROWS]) -> int32x4_t {
    let words = vmovl_s8(vcreate_s8(u64::from(u32::from_le_bytes(bytes))));
    vmovl_s16(vget_low_s16(words))
}
