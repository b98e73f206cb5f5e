//! The products that take the time, for every level of SIMD.
//!
//! `scalar.rs` is safe, plain, and the definition of right; every other file equals it to the bit.
//! Boards without vectors take `paired.rs`.
//! Sums of floats have one written order: over groups one after the other; within rows of floats
//! 16 strided lanes, folded in halves.
#![expect(
    unsafe_code,
    reason = "SIMD intrinsics, and threads that write disjoint parts of one output"
)]

mod activations;
mod attention;
mod elementwise;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod encodings;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod paired;
mod rows;
mod scalar;
#[cfg(any(test, soft_float))]
mod soft_float;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use activations::{ActivationScratch, Activations};
pub use attention::{
    CachePrecision, CacheShape, CachedAttention, LayerCache, LayerView, attend_cached,
    score_floats, score_floats_after,
};
pub use elementwise::{Angles, add, add_bias, rms_norm, rms_norm_heads, silu_times};

use crate::block::Block;
use crate::encoding::{BLOCK_ROWS, Encoding, GROUP};
use crate::matrix::Matrix;
use crate::workers::{Host, Level, SimdLevel};
use core::marker::PhantomData;

/// Strided lanes of a sum of floats.
pub(crate) const LANES: usize = 16;
/// Tokens that share one reading of a row of floats.
pub(crate) const TILE: usize = 4;
/// Tokens that are handed to a block at once.
const TOKENS: usize = 16;
/// Rows of one task: enough to be worth a thread's while, few enough to share out evenly.
const TASK_ROWS: usize = 2 * BLOCK_ROWS;

impl SimdLevel {
    /// Every level that this processor has, plainest first. For hosts: boards know what they are.
    #[cfg(any(feature = "std", test))]
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let faster = {
            let avx2 = std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("bmi2")
                && std::is_x86_feature_detected!("f16c")
                && std::is_x86_feature_detected!("popcnt");
            let avx512 = avx2
                && std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512vl")
                && std::is_x86_feature_detected!("avx512vnni")
                && std::is_x86_feature_detected!("avx512vbmi")
                && std::is_x86_feature_detected!("avx512vbmi2");
            // SAFETY: just detected.
            let avx2 = avx2.then(|| unsafe { Self::avx2() });
            // SAFETY: just detected.
            let avx512 = avx512.then(|| unsafe { Self::avx512() });
            [avx2, avx512]
        };
        #[cfg(target_arch = "aarch64")]
        let faster = {
            let neon = std::arch::is_aarch64_feature_detected!("neon");
            // SAFETY: just detected.
            [neon.then(|| unsafe { Self::neon() })]
        };
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let faster = [None];
        [Self::scalar(), Self::paired()]
            .into_iter()
            .chain(faster.into_iter().flatten())
    }

    /// 256-bit integer kernels.
    ///
    /// # Safety
    /// The processor must have AVX2, BMI2, F16C and POPCNT.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub const unsafe fn avx2() -> Self {
        Self(Level::Avx2)
    }

    /// 512-bit integer kernels.
    ///
    /// # Safety
    /// The processor must have what [`Self::avx2`] needs and AVX-512 F, BW, DQ, VL, VNNI, VBMI, VBMI2.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub const unsafe fn avx512() -> Self {
        Self(Level::Avx512)
    }

    /// 128-bit kernels.
    ///
    /// # Safety
    /// The processor must have NEON.
    #[cfg(target_arch = "aarch64")]
    #[must_use]
    pub const unsafe fn neon() -> Self {
        Self(Level::Neon)
    }
}

/// Adds lanes pairwise: 8 apart, 4, 2, 1.
#[inline(always)]
pub(crate) fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// An output that several tasks write, each to places of its own.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: tasks only go through `write` and `slice`, whose callers promise disjoint places.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            borrow: PhantomData,
        }
    }

    /// Writes one element.
    ///
    /// # Safety
    /// No other task may touch this element.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, index: usize, value: T) {
        assert!(index < self.len);
        // SAFETY: inside the slice; the caller promises that nobody else touches it.
        unsafe { self.start.add(index).write(value) }
    }

    /// Borrows a part.
    ///
    /// # Safety
    /// No other task may touch this part.
    #[expect(clippy::mut_from_ref, reason = "the caller promises disjoint parts")]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: inside the slice; the caller promises that nobody else touches it.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// `out[t, r] = sum over c of matrix[r, c] * input[t, c]` for all tokens `t`.
///
/// Integer encodings take the int8 form of the activations, 16 bits the floats. `out` is
/// `[tokens, rows]`, row-major.
///
/// # Panics
/// When the lengths of `input` and `out` do not fit the matrix.
pub fn multiply(host: &Host<'_>, matrix: &Matrix<'_>, input: &Activations<'_>, out: &mut [f32]) {
    multiply_all(host, [(matrix, out)], input);
}

/// As [`multiply`], for several matrices that share an input, in one go of the workers.
///
/// # Panics
/// As [`multiply`].
pub fn multiply_all<const N: usize>(
    host: &Host<'_>,
    products: [(&Matrix<'_>, &mut [f32]); N],
    input: &Activations<'_>,
) {
    let level = host.level.0;
    let products = products.map(|(matrix, out)| {
        assert!(
            input.cols() == matrix.cols() && out.len() == input.tokens() * matrix.rows(),
            "a matrix [{}, {}] with {} inputs and {} outputs",
            matrix.rows(),
            matrix.cols(),
            input.cols(),
            out.len()
        );
        (matrix, Shared::new(out))
    });
    let tasks = |matrix: &Matrix<'_>| matrix.rows().div_ceil(TASK_ROWS);
    let total = products.iter().map(|(matrix, _)| tasks(matrix)).sum();
    host.workers.run(total, &|task| {
        let mut first = 0;
        for (matrix, out) in &products {
            let end = first + tasks(matrix);
            if (first..end).contains(&task) {
                rows(level, matrix, (task - first) * TASK_ROWS, input, out);
            }
            first = end;
        }
    });
}

/// The rows of one task, from `first` on.
fn rows(
    level: Level,
    matrix: &Matrix<'_>,
    first: usize,
    input: &Activations<'_>,
    out: &Shared<'_, f32>,
) {
    let rows = matrix.rows();
    let end = rows.min(first + TASK_ROWS);
    let tokens = input.tokens();
    let write = |row: usize, token: usize, value: f32| {
        // SAFETY: a row belongs to exactly one task.
        unsafe { out.write(token * rows + row, value) }
    };
    if !matrix.takes_int8() {
        for row in first..end {
            for token in (0..tokens).step_by(TILE) {
                let tile = TILE.min(tokens - token);
                let sums = float_row(level, matrix, row, input, token, tile);
                (0..tile).for_each(|t| write(row, token + t, sums[t]));
            }
        }
        return;
    }
    let mut sums = [[0.0; BLOCK_ROWS]; TOKENS];
    for index in first / BLOCK_ROWS..end.div_ceil(BLOCK_ROWS) {
        let Some(block) = matrix.block(index) else {
            return;
        };
        for token in (0..tokens).step_by(TOKENS) {
            let sums = &mut sums[..TOKENS.min(tokens - token)];
            block_product(level, &block, input, token, sums);
            let first = index * BLOCK_ROWS;
            for (t, sums) in sums.iter().enumerate() {
                let real = first..rows.min(first + BLOCK_ROWS);
                real.zip(sums)
                    .for_each(|(row, sum)| write(row, token + t, *sum));
            }
        }
    }
}

/// Sixteen rows times the tokens from `token` on, one for each element of `out`.
fn block_product(
    level: Level,
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    match level {
        Level::Scalar => scalar::block(block, input, token, out),
        Level::Paired => paired::block(block, input, token, out),
        // SAFETY: this level is made only where the processor has AVX2.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::avx2::block(block, input, token, out) },
        // SAFETY: this level is made only where the processor has these parts of AVX-512.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::avx512::block(block, input, token, out) },
        // SAFETY: this level is made only where the processor has NEON.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => unsafe { neon::block(block, input, token, out) },
    }
}

fn float_row(
    level: Level,
    matrix: &Matrix<'_>,
    row: usize,
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    match (matrix.encoding(), level) {
        (Encoding::F16, Level::Scalar | Level::Paired) => {
            for (t, sum) in sums[..tile].iter_mut().enumerate() {
                *sum = scalar::dot_half_bytes(matrix.half_row(row), input.floats(token + t));
            }
        }
        #[cfg(target_arch = "x86_64")]
        (Encoding::F16, Level::Avx2 | Level::Avx512) => {
            // SAFETY: this level is made only where the processor has AVX2 and F16C.
            sums = unsafe { x86::avx2::half_row(matrix.half_row(row), input, token, tile) };
        }
        #[cfg(target_arch = "aarch64")]
        (Encoding::F16, Level::Neon) => {
            // SAFETY: this level is made only where the processor has NEON.
            sums = unsafe { neon::half_row(matrix.half_row(row), input, token, tile) };
        }
        _ => {
            let bytes = matrix.float_row(row);
            for (t, sum) in sums[..tile].iter_mut().enumerate() {
                *sum = scalar::dot_float_bytes(bytes, input.floats(token + t));
            }
        }
    }
    sums
}

/// Groups of a row of `cols`.
pub(crate) const fn groups(cols: usize) -> usize {
    cols.div_ceil(GROUP)
}

#[cfg(test)]
mod tests;
