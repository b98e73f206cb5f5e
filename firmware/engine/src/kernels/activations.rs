//! Activations as floats, and as int8 with one scale for each group of 32.

use super::groups;
use crate::encoding::GROUP;
use crate::float::round_half_even;

/// Room for the int8 form of `[tokens, cols]` activations.
#[derive(Debug)]
pub struct ActivationScratch<'a> {
    /// `[tokens, groups * 32]`.
    pub values: &'a mut [i8],
    /// `[tokens, groups]`.
    pub scales: &'a mut [f32],
    /// `[tokens, groups]`: sums of the int8 values of each group.
    pub sums: &'a mut [i32],
}

/// Activations `[tokens, cols]`, row-major, in both forms that kernels read.
#[derive(Debug, Clone, Copy)]
pub struct Activations<'a> {
    cols: usize,
    floats: &'a [f32],
    values: &'a [i8],
    scales: &'a [f32],
    sums: &'a [i32],
}

impl<'a> Activations<'a> {
    /// Binds floats `[tokens, cols]` and makes their int8 form in `scratch`.
    ///
    /// Each group's largest magnitude becomes 127; the rest is rounded half to even.
    ///
    /// # Panics
    /// When `floats` is not whole rows or `scratch` is too small.
    pub fn quantize(
        cols: usize,
        floats: &'a [f32],
        scratch: &'a mut ActivationScratch<'_>,
    ) -> Self {
        let tokens = floats.len() / cols;
        let per_token = groups(cols);
        assert!(floats.len() == tokens * cols);
        let values = &mut scratch.values[..tokens * per_token * GROUP];
        let scales = &mut scratch.scales[..tokens * per_token];
        let sums = &mut scratch.sums[..tokens * per_token];
        let rows = values.chunks_exact_mut(per_token * GROUP);
        let meta = scales
            .chunks_exact_mut(per_token)
            .zip(sums.chunks_exact_mut(per_token));
        for ((row, values), (scales, sums)) in floats.chunks_exact(cols).zip(rows).zip(meta) {
            let groups = row.chunks(GROUP).zip(values.chunks_exact_mut(GROUP));
            for ((group, values), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
                (*scale, *sum) = quantize_group(group, values);
            }
        }
        Self {
            cols,
            floats,
            values,
            scales,
            sums,
        }
    }

    /// Binds floats alone, for matrices that take no int8.
    #[must_use]
    pub fn floats_only(cols: usize, floats: &'a [f32]) -> Self {
        Self {
            cols,
            floats,
            values: &[],
            scales: &[],
            sums: &[],
        }
    }

    /// Rows.
    #[must_use]
    pub const fn tokens(&self) -> usize {
        self.floats.len() / self.cols
    }

    /// Width of a row.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    pub(super) fn floats(&self, token: usize) -> &'a [f32] {
        &self.floats[token * self.cols..][..self.cols]
    }

    /// int8 values of one token `[groups * 32]`, zero past the last column.
    pub(super) fn values(&self, token: usize) -> &'a [i8] {
        let padded = groups(self.cols) * GROUP;
        &self.values[token * padded..][..padded]
    }

    pub(super) fn scales(&self, token: usize) -> &'a [f32] {
        &self.scales[token * groups(self.cols)..][..groups(self.cols)]
    }

    pub(super) fn sums(&self, token: usize) -> &'a [i32] {
        &self.sums[token * groups(self.cols)..][..groups(self.cols)]
    }
}

/// Quantizes up to 32 floats; returns their scale and the sum of their int8 values.
fn quantize_group(group: &[f32], values: &mut [i8]) -> (f32, i32) {
    let largest = group
        .iter()
        .fold(0.0f32, |m, x| if x.abs() > m { x.abs() } else { m });
    values.fill(0);
    if largest == 0.0 {
        return (0.0, 0);
    }
    let inverse = 127.0 / largest;
    let mut sum = 0;
    for (value, x) in values.iter_mut().zip(group) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded, and at most 127 by the choice of the scale"
        )]
        let rounded = round_half_even(x * inverse) as i8;
        *value = rounded.max(-127);
        sum += i32::from(*value);
    }
    (largest / 127.0, sum)
}
