//! Activations as floats, and as int8 with one scale for each group of 32.

use super::lanes::{Lanes, leveled};
use super::{Shared, groups};
use crate::encoding::GROUP;
use crate::float::round_half_even;
use crate::workers::{Host, Serial, Workers as _};

/// Elements below which handing work to another thread takes longer than doing it.
const WORTH_SHARING: usize = 1 << 15;
/// Tokens of one task.
const TASK_TOKENS: usize = 4;

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

/// The int8 form of `N` tokens, each cut into groups.
pub(super) struct Tile<'a, const N: usize> {
    pub(super) values: [&'a [[i8; GROUP]]; N],
    pub(super) scales: [&'a [f32]; N],
    /// Sums of each group's values.
    pub(super) totals: [&'a [i32]; N],
}

impl<'a> Activations<'a> {
    /// [`Self::quantize_on`] one thread and any processor.
    ///
    /// # Panics
    /// As that.
    pub fn quantize(
        cols: usize,
        floats: &'a [f32],
        scratch: &'a mut ActivationScratch<'_>,
    ) -> Self {
        Self::quantize_on(&Host::serial(), cols, floats, scratch)
    }

    /// Binds floats `[tokens, cols]` and makes their int8 form in `scratch`.
    ///
    /// Each group's largest magnitude becomes 127; the rest is rounded half to even.
    ///
    /// # Panics
    /// When `floats` is not whole rows or `scratch` is too small.
    pub fn quantize_on(
        host: &Host<'_>,
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
        {
            let (values, scales, sums) = (
                Shared::new(&mut *values),
                Shared::new(&mut *scales),
                Shared::new(&mut *sums),
            );
            let task = |task: usize| {
                for token in task * TASK_TOKENS..tokens.min((task + 1) * TASK_TOKENS) {
                    let first = token * per_token;
                    // SAFETY: a token belongs to one task.
                    let (values, scales, sums) = unsafe {
                        (
                            values.slice(first * GROUP, per_token * GROUP),
                            scales.slice(first, per_token),
                            sums.slice(first, per_token),
                        )
                    };
                    let row = &floats[token * cols..][..cols];
                    quantize_row(host.level.0, row, values, scales, sums);
                }
            };
            let tasks = tokens.div_ceil(TASK_TOKENS);
            if floats.len() < WORTH_SHARING {
                Serial.run(tasks, &task);
            } else {
                host.workers.run(tasks, &task);
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

    /// The int8 form of the tokens from `token` on; values are zero past the last column.
    #[inline(always)]
    pub(super) fn tile<const N: usize>(&self, token: usize) -> Tile<'a, N> {
        let groups = groups(self.cols);
        let (values, _) = self.values.as_chunks();
        let mut tile = Tile {
            values: [&[]; N],
            scales: [&[]; N],
            totals: [&[]; N],
        };
        for t in 0..N {
            let at = (token + t) * groups;
            tile.values[t] = &values[at..][..groups];
            tile.scales[t] = &self.scales[at..][..groups];
            tile.totals[t] = &self.sums[at..][..groups];
        }
        tile
    }
}

leveled! {
    /// Quantizes a row; what its last group lacks becomes 0.
    fn quantize_row<V>(row: &[f32], values: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
        let (whole, rest) = row.as_chunks::<GROUP>();
        let values = values.as_chunks_mut::<GROUP>().0;
        let meta = scales.iter_mut().zip(sums);
        let mut places = values.iter_mut().zip(meta);
        for (group, (values, (scale, sum))) in whole.iter().zip(&mut places) {
            (*scale, *sum) = quantize_group::<V>(group, values);
        }
        if let Some((values, (scale, sum))) = places.next() {
            let mut group = [0.0; GROUP];
            group[..rest.len()].copy_from_slice(rest);
            (*scale, *sum) = quantize_group::<V>(&group, values);
        }
    }
}

/// Quantizes 32 floats; returns their scale and the sum of their int8 values.
#[inline(always)]
fn quantize_group<V: Lanes>(group: &[f32; GROUP], values: &mut [i8; GROUP]) -> (f32, i32) {
    let halves = group.as_chunks().0;
    let (low, high) = (V::load(&halves[0]), V::load(&halves[1]));
    let largest = f32::from_bits(low.largest_bits(high));
    let inverse = 127.0 / largest;
    if !(largest < f32::INFINITY && inverse < f32::INFINITY) {
        return quantize_strange(group, values);
    }
    let (factor, values) = (V::splat(inverse), values.as_chunks_mut().0);
    let sum = low.to_bytes(factor, &mut values[0]) + high.to_bytes(factor, &mut values[1]);
    (largest / 127.0, sum)
}

/// [`quantize_group`] where all are 0, or something is no number, infinite, or so small that 127 over
/// it is.
///
/// A group with something that is not finite gets a scale that is no number: int8 has no such value, and
/// what comes of it shall not look like one.
#[cold]
#[inline(never)]
fn quantize_strange(group: &[f32; GROUP], values: &mut [i8; GROUP]) -> (f32, i32) {
    values.fill(0);
    if group.iter().any(|x| !x.is_finite()) {
        return (f32::NAN, 0);
    }
    let largest = group.iter().fold(0.0f32, |m, x| x.abs().max(m));
    if largest == 0.0 {
        return (0.0, 0);
    }
    let inverse = 127.0 / largest;
    let mut sum = 0;
    for (value, x) in values.iter_mut().zip(group) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded; a conversion keeps to the range"
        )]
        let rounded = round_half_even(x * inverse) as i8;
        *value = rounded.max(-127);
        sum += i32::from(*value);
    }
    (largest / 127.0, sum)
}

#[cfg(test)]
mod tests;
