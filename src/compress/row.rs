//! What one row is to be stored as: chosen by a method, not bytes yet.

use super::grid::{Grid, has_mask};
use super::scales::Scales;
use crate::lanes::{Work, widest};
use engine::encoding::{Encoding, GROUP};

/// The scales, codes and mask of one row of `cols` weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// One for each group of columns that shares one.
    pub(super) scales: Scales,
    /// `[cols]`; beside a mask those of kept columns count only.
    pub(super) codes: Vec<u8>,
    /// `[cols]`: whether a column is kept; the others are zero where the encoding has zeros.
    pub(super) kept: Vec<bool>,
}

impl Row {
    /// Rounds `weights` `[cols]` to the grids of `scales`; those that are not kept must be zero.
    pub(super) fn nearest(
        encoding: Encoding,
        scales: Scales,
        weights: &[f32],
        kept: Vec<bool>,
    ) -> Self {
        let mut codes = vec![0; weights.len()];
        widest(Codes {
            encoding,
            scales: &scales,
            weights,
            codes: &mut codes,
        });
        Self {
            scales,
            codes,
            kept,
        }
    }

    /// Writes the weights `[cols]` that the engine will read.
    #[inline(always)]
    pub(super) fn values(&self, encoding: Encoding, out: &mut [f32]) {
        let width = scaled_cols(encoding);
        let parts = out.chunks_mut(width).zip(self.codes.chunks(width));
        for ((out, codes), group) in parts.zip(&self.scales.groups) {
            let grid = Grid::new(encoding, &self.scales, *group);
            for (value, code) in out.iter_mut().zip(codes) {
                *value = grid.value(*code);
            }
        }
        if has_mask(encoding) {
            for (value, kept) in out.iter_mut().zip(&self.kept) {
                if !kept {
                    *value = 0.0;
                }
            }
        }
    }
}

/// Columns that share a scale.
pub(super) const fn scaled_cols(encoding: Encoding) -> usize {
    match encoding.record() {
        Some(record) => record.groups * GROUP,
        None => GROUP,
    }
}

/// The codes of [`Row::nearest`].
struct Codes<'a> {
    encoding: Encoding,
    scales: &'a Scales,
    weights: &'a [f32],
    codes: &'a mut [u8],
}

impl Work for Codes<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let width = scaled_cols(self.encoding);
        let parts = self.weights.chunks(width).zip(self.codes.chunks_mut(width));
        for ((weights, codes), group) in parts.zip(&self.scales.groups) {
            Grid::new(self.encoding, self.scales, *group).codes(weights, codes);
        }
    }
}
