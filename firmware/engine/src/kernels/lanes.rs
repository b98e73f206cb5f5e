//! Sixteen floats at a time, at every level.
//!
//! [`leveled!`] compiles one plain body for each level and leaves it to the compiler to use that
//! level's registers. [`Lanes`] spells out the instructions where the compiler does not find them.
//! Either way no product is fused into a sum and no sum reordered: every level has the same bits.

use super::LANES;
use crate::float::{ROUND, f16_from_f32, f32_from_f16};

/// Defines a function that takes the level first and runs a copy of its body compiled for it.
///
/// What the body calls must be `#[inline(always)]`, or it stays as plain as it was. Written
/// `fn name<V>(…)`, the body may name the level's [`Lanes`] as `V`.
macro_rules! leveled {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident<$lanes:ident>(
        $($argument:ident: $type:ty),* $(,)?
    ) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        $vis fn $name(level: $crate::workers::Level, $($argument: $type),*) $(-> $result)? {
            use $crate::kernels::lanes;
            use $crate::workers::Level;
            #[inline(always)]
            fn body<$lanes: lanes::Lanes>($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                body::<lanes::Avx2>($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                body::<lanes::Avx512>($($argument),*)
            }
            match level {
                Level::Scalar | Level::Paired => body::<lanes::Plain>($($argument),*),
                // SAFETY: this level is made only where the processor has AVX2.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: this level is made only where the processor has AVX-512.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => unsafe { avx512($($argument),*) },
                // Every aarch64 target of the host has NEON in its baseline.
                #[cfg(target_arch = "aarch64")]
                Level::Neon => body::<lanes::Plain>($($argument),*),
            }
        }
    };
    ($(#[$attribute:meta])* $vis:vis fn $name:ident(
        $($argument:ident: $type:ty),* $(,)?
    ) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        $vis fn $name(level: $crate::workers::Level, $($argument: $type),*) $(-> $result)? {
            use $crate::workers::Level;
            #[inline(always)]
            fn plain($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                plain($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                plain($($argument),*)
            }
            match level {
                Level::Scalar | Level::Paired => plain($($argument),*),
                // SAFETY: this level is made only where the processor has AVX2.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: this level is made only where the processor has AVX-512.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => unsafe { avx512($($argument),*) },
                // Every aarch64 target of the host has NEON in its baseline.
                #[cfg(target_arch = "aarch64")]
                Level::Neon => plain($($argument),*),
            }
        }
    };
}
pub(super) use leveled;

/// Sixteen floats in registers.
pub(super) trait Lanes: Copy {
    /// The same float in every lane.
    fn splat(x: f32) -> Self;
    fn load(x: &[f32; LANES]) -> Self;
    fn store(self, out: &mut [f32; LANES]);
    /// `self * x`, rounded.
    fn times(self, x: Self) -> Self;
    /// `self + x * y`, the product rounded before the sum.
    fn plus_product(self, x: Self, y: Self) -> Self;
    /// Widens 16-bit floats.
    fn from_halves(x: &[u16; LANES]) -> Self;
    /// Narrows to 16-bit floats, half to even; what is no number stays none.
    fn to_halves(self, out: &mut [u16; LANES]);
    /// Converts small integers.
    fn from_bytes(x: &[i8; LANES]) -> Self;
    /// The low (`SHIFT` 0) or high (4) half of each byte, less 8.
    fn from_nibbles<const SHIFT: u32>(x: &[u8; LANES]) -> Self;
    /// Both halves of eight bytes, low before high, less 8.
    fn from_packed(x: &[u8; LANES / 2]) -> Self;
    /// The bits of the largest magnitude among both, compared as integers: infinity is past every
    /// number, and what is no number past infinity.
    fn largest_bits(self, other: Self) -> u32;
    /// `self * factor` rounded half to even, of magnitudes up to 127, and the sum of these integers.
    fn to_bytes(self, factor: Self, out: &mut [i8; LANES]) -> i32;
}

/// What the compiler makes of an array: the scalar level, and NEON for now.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; LANES]);

impl Lanes for Plain {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; LANES])
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        Self(*x)
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        *out = self.0;
    }

    #[inline(always)]
    fn times(mut self, x: Self) -> Self {
        self.0.iter_mut().zip(x.0).for_each(|(a, x)| *a *= x);
        self
    }

    #[inline(always)]
    fn plus_product(mut self, x: Self, y: Self) -> Self {
        for ((a, x), y) in self.0.iter_mut().zip(x.0).zip(y.0) {
            *a += x * y;
        }
        self
    }

    #[inline(always)]
    fn from_halves(x: &[u16; LANES]) -> Self {
        Self(x.map(f32_from_f16))
    }

    #[inline(always)]
    fn to_halves(self, out: &mut [u16; LANES]) {
        *out = self.0.map(f16_from_f32);
    }

    #[inline(always)]
    fn from_bytes(x: &[i8; LANES]) -> Self {
        Self(x.map(f32::from))
    }

    #[inline(always)]
    fn from_nibbles<const SHIFT: u32>(x: &[u8; LANES]) -> Self {
        Self(x.map(|x| f32::from(i16::from(x >> SHIFT & 15) - 8)))
    }

    #[inline(always)]
    fn from_packed(x: &[u8; LANES / 2]) -> Self {
        Self(core::array::from_fn(|i| {
            f32::from(i16::from(x[i / 2] >> (4 * (i % 2)) & 15) - 8)
        }))
    }

    #[inline(always)]
    fn largest_bits(self, other: Self) -> u32 {
        let both = self.0.iter().chain(&other.0);
        both.fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff))
    }

    #[inline(always)]
    fn to_bytes(self, factor: Self, out: &mut [i8; LANES]) -> i32 {
        let mut sum = 0;
        for ((out, x), factor) in out.iter_mut().zip(self.0).zip(factor.0) {
            // The low byte of the shifted float is the product, rounded half to even.
            let [byte, ..] = (x * factor + ROUND).to_bits().to_le_bytes();
            *out = byte.cast_signed();
            sum += i32::from(*out);
        }
        sum
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Lanes, ROUND};
    use core::arch::x86_64::*;

    /// Two 256-bit registers. Named only by functions that are compiled for AVX2 and F16C.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256, __m256);

    impl Avx2 {
        #[inline(always)]
        fn from_i8(x: __m128i) -> Self {
            // SAFETY: named only where the processor has AVX2.
            unsafe {
                Self(
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)),
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(x))),
                )
            }
        }
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: named only where the processor has AVX2.
            unsafe { Self(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }

        #[inline(always)]
        fn load(x: &[f32; LANES]) -> Self {
            // SAFETY: 16 readable floats, any alignment; named only where the processor has AVX2.
            unsafe {
                Self(
                    _mm256_loadu_ps(x.as_ptr()),
                    _mm256_loadu_ps(x.as_ptr().add(8)),
                )
            }
        }

        #[inline(always)]
        fn store(self, out: &mut [f32; LANES]) {
            // SAFETY: 16 writable floats, any alignment; named only where the processor has AVX2.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), self.0);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), self.1);
            }
        }

        #[inline(always)]
        fn times(self, x: Self) -> Self {
            // SAFETY: named only where the processor has AVX2.
            unsafe { Self(_mm256_mul_ps(self.0, x.0), _mm256_mul_ps(self.1, x.1)) }
        }

        #[inline(always)]
        fn plus_product(self, x: Self, y: Self) -> Self {
            // SAFETY: named only where the processor has AVX2.
            unsafe {
                Self(
                    _mm256_add_ps(self.0, _mm256_mul_ps(x.0, y.0)),
                    _mm256_add_ps(self.1, _mm256_mul_ps(x.1, y.1)),
                )
            }
        }

        #[inline(always)]
        fn from_halves(x: &[u16; LANES]) -> Self {
            // SAFETY: 16 readable halves, any alignment; named only where the processor has F16C.
            unsafe {
                let start: *const __m128i = x.as_ptr().cast();
                Self(
                    _mm256_cvtph_ps(_mm_loadu_si128(start)),
                    _mm256_cvtph_ps(_mm_loadu_si128(start.add(1))),
                )
            }
        }

        #[inline(always)]
        fn to_halves(self, out: &mut [u16; LANES]) {
            // SAFETY: 16 writable halves, any alignment; named only where the processor has F16C.
            unsafe {
                let start: *mut __m128i = out.as_mut_ptr().cast();
                let half = |x| _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
                _mm_storeu_si128(start, half(self.0));
                _mm_storeu_si128(start.add(1), half(self.1));
            }
        }

        #[inline(always)]
        fn from_bytes(x: &[i8; LANES]) -> Self {
            // SAFETY: 16 readable bytes, any alignment.
            Self::from_i8(unsafe { _mm_loadu_si128(x.as_ptr().cast()) })
        }

        #[inline(always)]
        fn from_nibbles<const SHIFT: u32>(x: &[u8; LANES]) -> Self {
            Self::from_i8(nibbles::<SHIFT>(x))
        }

        #[inline(always)]
        fn from_packed(x: &[u8; LANES / 2]) -> Self {
            Self::from_i8(packed(x))
        }

        #[inline(always)]
        fn largest_bits(self, other: Self) -> u32 {
            // SAFETY: named only where the processor has AVX2.
            unsafe {
                let sign = _mm256_set1_epi32(i32::MAX);
                let bits = |x| _mm256_and_si256(_mm256_castps_si256(x), sign);
                let most = _mm256_max_epu32(
                    _mm256_max_epu32(bits(self.0), bits(self.1)),
                    _mm256_max_epu32(bits(other.0), bits(other.1)),
                );
                let most = _mm_max_epu32(
                    _mm256_castsi256_si128(most),
                    _mm256_extracti128_si256::<1>(most),
                );
                let most = _mm_max_epu32(most, _mm_shuffle_epi32::<0b01_00_11_10>(most));
                let most = _mm_max_epu32(most, _mm_shuffle_epi32::<0b10_11_00_01>(most));
                _mm_cvtsi128_si32(most).cast_unsigned()
            }
        }

        #[inline(always)]
        fn to_bytes(self, factor: Self, out: &mut [i8; LANES]) -> i32 {
            // SAFETY: 16 writable bytes, any alignment; named only where the processor has AVX2.
            unsafe {
                let round = _mm256_set1_ps(ROUND);
                let zero = _mm256_castps_si256(round);
                let shift = |x, factor| {
                    let shifted = _mm256_add_ps(_mm256_mul_ps(x, factor), round);
                    _mm256_sub_epi32(_mm256_castps_si256(shifted), zero)
                };
                let words = _mm256_packs_epi32(shift(self.0, factor.0), shift(self.1, factor.1));
                // Packed within halves: 0..4, 8..12, 4..8, 12..16.
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
                let bytes = _mm_packs_epi16(
                    _mm256_castsi256_si128(words),
                    _mm256_extracti128_si256::<1>(words),
                );
                _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
                sum_bytes(bytes)
            }
        }
    }

    /// One 512-bit register. Named only by functions that are compiled for AVX-512.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    impl Avx512 {
        #[inline(always)]
        fn from_i8(x: __m128i) -> Self {
            // SAFETY: named only where the processor has AVX-512.
            unsafe { Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x))) }
        }
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: named only where the processor has AVX-512.
            unsafe { Self(_mm512_set1_ps(x)) }
        }

        #[inline(always)]
        fn load(x: &[f32; LANES]) -> Self {
            // SAFETY: 16 readable floats, any alignment; named only where there is AVX-512.
            unsafe { Self(_mm512_loadu_ps(x.as_ptr())) }
        }

        #[inline(always)]
        fn store(self, out: &mut [f32; LANES]) {
            // SAFETY: 16 writable floats, any alignment; named only where there is AVX-512.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn times(self, x: Self) -> Self {
            // SAFETY: named only where the processor has AVX-512.
            unsafe { Self(_mm512_mul_ps(self.0, x.0)) }
        }

        #[inline(always)]
        fn plus_product(self, x: Self, y: Self) -> Self {
            // SAFETY: named only where the processor has AVX-512.
            unsafe { Self(_mm512_add_ps(self.0, _mm512_mul_ps(x.0, y.0))) }
        }

        #[inline(always)]
        fn from_halves(x: &[u16; LANES]) -> Self {
            // SAFETY: 16 readable halves, any alignment; named only where there is AVX-512.
            unsafe { Self(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast()))) }
        }

        #[inline(always)]
        fn to_halves(self, out: &mut [u16; LANES]) {
            // SAFETY: 16 writable halves, any alignment; named only where there is AVX-512.
            unsafe {
                let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
                _mm256_storeu_si256(out.as_mut_ptr().cast(), halves);
            }
        }

        #[inline(always)]
        fn from_bytes(x: &[i8; LANES]) -> Self {
            // SAFETY: 16 readable bytes, any alignment.
            Self::from_i8(unsafe { _mm_loadu_si128(x.as_ptr().cast()) })
        }

        #[inline(always)]
        fn from_nibbles<const SHIFT: u32>(x: &[u8; LANES]) -> Self {
            Self::from_i8(nibbles::<SHIFT>(x))
        }

        #[inline(always)]
        fn from_packed(x: &[u8; LANES / 2]) -> Self {
            Self::from_i8(packed(x))
        }

        #[inline(always)]
        fn largest_bits(self, other: Self) -> u32 {
            // SAFETY: named only where the processor has AVX-512.
            unsafe {
                let sign = _mm512_set1_epi32(i32::MAX);
                let bits = |x| _mm512_and_si512(_mm512_castps_si512(x), sign);
                _mm512_reduce_max_epu32(_mm512_max_epu32(bits(self.0), bits(other.0)))
            }
        }

        #[inline(always)]
        fn to_bytes(self, factor: Self, out: &mut [i8; LANES]) -> i32 {
            // SAFETY: 16 writable bytes, any alignment; named only where there is AVX-512.
            unsafe {
                let product = _mm512_mul_ps(self.0, factor.0);
                let shifted = _mm512_add_ps(product, _mm512_set1_ps(ROUND));
                // The low byte of the shifted float is the product, rounded half to even.
                let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(shifted));
                _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
                sum_bytes(bytes)
            }
        }
    }

    /// The sum of 16 signed bytes.
    #[inline(always)]
    fn sum_bytes(bytes: __m128i) -> i32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            // Made unsigned by adding 128 to each.
            let unsigned = _mm_xor_si128(bytes, _mm_set1_epi8(i8::MIN));
            let halves = _mm_sad_epu8(unsigned, _mm_setzero_si128());
            let sum = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b01_00_11_10>(halves));
            _mm_cvtsi128_si32(sum) - 16 * 128
        }
    }

    /// One half of each byte, less 8.
    #[inline(always)]
    fn nibbles<const SHIFT: u32>(x: &[u8; LANES]) -> __m128i {
        // SAFETY: 16 readable bytes, any alignment; every x86-64 has SSE2.
        unsafe {
            let bytes = _mm_loadu_si128(x.as_ptr().cast());
            let bytes = if SHIFT == 0 {
                bytes
            } else {
                _mm_srli_epi16::<4>(bytes)
            };
            _mm_sub_epi8(_mm_and_si128(bytes, _mm_set1_epi8(15)), _mm_set1_epi8(8))
        }
    }

    /// Both halves of eight bytes in turn, less 8.
    #[inline(always)]
    fn packed(x: &[u8; LANES / 2]) -> __m128i {
        // SAFETY: eight readable bytes, any alignment; every x86-64 has SSE2.
        unsafe {
            let bytes = _mm_loadl_epi64(x.as_ptr().cast());
            let halves = _mm_unpacklo_epi8(bytes, _mm_srli_epi16::<4>(bytes));
            _mm_sub_epi8(_mm_and_si128(halves, _mm_set1_epi8(15)), _mm_set1_epi8(8))
        }
    }
}
