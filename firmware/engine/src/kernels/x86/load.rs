//! Loads that never read past the end of a slice.

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_loadu_si512,
};

/// `N` bytes from `at` on; zeros past the end, where only the last bytes of a tensor lead.
#[inline(always)]
pub(super) fn bytes<const N: usize>(slice: &[u8], at: usize) -> [u8; N] {
    let rest = slice.get(at..).unwrap_or(&[]);
    match rest.first_chunk::<N>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; N];
            bytes[..rest.len()].copy_from_slice(rest);
            bytes
        }
    }
}

/// As [`bytes`], out of the way of the loads that do not need it.
#[cold]
#[inline(never)]
fn last_bytes<const N: usize>(slice: &[u8], at: usize) -> [u8; N] {
    bytes(slice, at)
}

#[target_feature(enable = "sse2")]
#[inline]
pub(super) fn load128(slice: &[u8], at: usize) -> __m128i {
    match slice.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        // SAFETY: 16 readable bytes; the load takes any alignment.
        Some(bytes) => unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) },
        None => {
            let bytes = last_bytes::<16>(slice, at);
            // SAFETY: as above.
            unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn load256(slice: &[u8], at: usize) -> __m256i {
    match slice.get(at..).and_then(<[u8]>::first_chunk::<32>) {
        // SAFETY: 32 readable bytes; the load takes any alignment.
        Some(bytes) => unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) },
        None => {
            let bytes = last_bytes::<32>(slice, at);
            // SAFETY: as above.
            unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load512(slice: &[u8], at: usize) -> __m512i {
    match slice.get(at..).and_then(<[u8]>::first_chunk::<64>) {
        // SAFETY: 64 readable bytes; the load takes any alignment.
        Some(bytes) => unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) },
        None => {
            let bytes = last_bytes::<64>(slice, at);
            // SAFETY: as above.
            unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
        }
    }
}
