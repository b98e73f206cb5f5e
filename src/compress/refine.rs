//! Better codes and scales for a tile that has been rounded already: descent on the true error.
//!
//! Cyclic coordinate descent over codes on `E H Eᵀ` (QuantEase, Behdin et al. 2023, arXiv:2309.01885;
//! CDQuant, Nair and Suggala 2024, arXiv:2406.17542), group after group, and before the codes of a
//! group its scale and zero point are fitted in closed form, as far as they can be stored. Columns of a
//! group are visited several times before the other groups hear of it in one product of matrices.

use super::columns::{Grids, Lane, Rounding, TILE, Tile};
use super::feedback::Feedback;
use crate::lanes::{Work, widest};
use crate::linear::add_transposed_times;
use ndarray::{ArrayView2, s};

/// Columns that are visited again and again before the others hear of it.
const SPAN: usize = 64;

/// Visits of a span's columns.
const VISITS: usize = 2;

/// Rows whose slope is in registers at a time.
const LANES: usize = 16;

/// What can be stored of the scales of a tile.
#[derive(Debug)]
pub(super) struct Stored {
    /// For each row: the step of an integer scale of 1.
    pub(super) unit: Lane,
    /// The smallest integer scale.
    pub(super) least: f32,
    /// The largest.
    pub(super) largest: f32,
    /// Whether groups store a zero point, in sixteenths of a step, that may be changed.
    pub(super) zero_points: ZeroPoints,
}

/// Whether zero points are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZeroPoints {
    /// There are none, or they must stay for the sake of pruned weights.
    Fixed,
    /// They are fitted.
    Fitted,
}

/// Goes `sweeps` times over all columns.
pub(super) fn sweep(
    feedback: &Feedback<'_>,
    stored: Option<&Stored>,
    sweeps: usize,
    tile: &mut Tile,
) {
    let moments = feedback.hessian().moments().view();
    let cols = tile.weights.len();
    let mut errors: Vec<Lane> = tile.weights.clone();
    for (error, value) in errors.iter_mut().zip(&tile.values) {
        for r in 0..TILE {
            error[r] -= value[r];
        }
    }
    // The damped Hessian times the errors.
    let mut slopes: Vec<Lane> = vec![[0.0; TILE]; cols];
    add_transposed_times(moments, errors.as_flattened(), slopes.as_flattened_mut());
    add_scaled(feedback.damping(), &errors, &mut slopes);
    let mut changes: Vec<Lane> = vec![[0.0; TILE]; SPAN];
    let mut local: Vec<Lane> = vec![[0.0; TILE]; SPAN];
    let mut log = Vec::new();
    for _ in 0..sweeps {
        for start in (0..cols).step_by(SPAN) {
            let end = cols.min(start + SPAN);
            let len = end - start;
            let mut span = Span {
                start,
                hessian: moments.slice(s![start..end, start..end]),
                damping: feedback.damping(),
                slopes: &mut local[..len],
                known: [0; SPAN],
                changes: &mut changes[..len],
                log: &mut log,
            };
            span.slopes.copy_from_slice(&slopes[start..end]);
            span.changes.fill([0.0; TILE]);
            span.log.clear();
            widest(Visits {
                span: &mut span,
                stored,
                tile,
            });
            let rows = moments.slice(s![start..end, ..]);
            add_transposed_times(
                rows,
                changes[..len].as_flattened(),
                slopes.as_flattened_mut(),
            );
            add_scaled(feedback.damping(), &changes[..len], &mut slopes[start..end]);
        }
    }
}

fn add_scaled(factor: f32, x: &[Lane], sum: &mut [Lane]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        for r in 0..TILE {
            sum[r] += factor * x[r];
        }
    }
}

/// Some neighbouring columns.
struct Span<'a> {
    start: usize,
    /// Without damping.
    hessian: ArrayView2<'a, f32>,
    damping: f32,
    /// `[columns]`: the damped Hessian times the errors, as far as each knows of their changes.
    slopes: &'a mut [Lane],
    /// Changes that each slope knows of.
    known: [usize; SPAN],
    /// `[columns]`: by how much the errors have changed.
    changes: &'a mut [Lane],
    /// Each change with its column, one after the other.
    log: &'a mut Vec<(usize, Lane)>,
}

/// Everything that happens in a span before the other columns hear of it.
struct Visits<'v, 'a> {
    span: &'v mut Span<'a>,
    stored: Option<&'v Stored>,
    tile: &'v mut Tile,
}

impl Work for Visits<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { span, stored, tile } = self;
        if let (Some(stored), Rounding::Grids(_)) = (stored, &tile.rounding) {
            span.refit(stored, tile);
        }
        for _ in 0..VISITS {
            span.visit(tile);
        }
    }
}

impl Span<'_> {
    #[inline(always)]
    fn curvature(&self, row: usize, col: usize) -> f32 {
        self.hessian[[row, col]] + if row == col { self.damping } else { 0.0 }
    }

    /// One error changes: slopes follow when they are next asked for.
    #[inline(always)]
    fn change(&mut self, col: usize, by: Lane) {
        for (sum, by) in self.changes[col].iter_mut().zip(by) {
            *sum += by;
        }
        self.log.push((col, by));
    }

    /// Brings the slope of a column up to date.
    #[inline(always)]
    fn follow(&mut self, col: usize) {
        let news = &self.log[self.known[col]..];
        for (part, slope) in self.slopes[col]
            .as_chunks_mut::<LANES>()
            .0
            .iter_mut()
            .enumerate()
        {
            let mut sums = *slope;
            for (other, by) in news {
                let curvature =
                    self.hessian[[col, *other]] + if *other == col { self.damping } else { 0.0 };
                let by = &by.as_chunks::<LANES>().0[part];
                for lane in 0..LANES {
                    sums[lane] += curvature * by[lane];
                }
            }
            *slope = sums;
        }
        self.known[col] = self.log.len();
    }

    /// Moves every column to the value that is best while the others stay.
    #[inline(always)]
    fn visit(&mut self, tile: &mut Tile) {
        for col in 0..self.slopes.len() {
            let at = self.start + col;
            self.follow(col);
            let curvature = self.curvature(col, col);
            let mut wanted = [0.0; TILE];
            let slope = &self.slopes[col];
            for r in 0..TILE {
                wanted[r] = tile.values[at][r] + slope[r] / curvature;
            }
            let (mut codes, mut values, mut by) = ([0.0; TILE], [0.0; TILE], [0.0; TILE]);
            tile.rounding.nearest(at, &wanted, &mut codes, &mut values);
            for r in 0..TILE {
                values[r] *= tile.kept[at][r];
                by[r] = tile.values[at][r] - values[r];
            }
            tile.codes[at] = codes;
            tile.values[at] = values;
            if by.iter().any(|x| *x != 0.0) {
                self.change(col, by);
            }
        }
    }

    /// Fits the scales and zero points of the groups in the span to their codes.
    #[inline(always)]
    fn refit(&mut self, stored: &Stored, tile: &mut Tile) {
        let Rounding::Grids(Grids { width, .. }) = tile.rounding else {
            return;
        };
        for first in (0..self.slopes.len()).step_by(width) {
            let end = self.slopes.len().min(first + width);
            self.refit_scale(stored, first..end, tile);
            if stored.zero_points == ZeroPoints::Fitted {
                self.refit_zero(first..end, tile);
            }
        }
    }

    /// The best step along `direction` `[columns]` of the group: slope over curvature.
    #[inline(always)]
    fn best(&mut self, columns: std::ops::Range<usize>, direction: &[Lane]) -> (Lane, Lane) {
        for col in columns.clone() {
            self.follow(col);
        }
        let (mut slope, mut curvature) = ([0.0; TILE], [0.0; TILE]);
        for (a, i) in columns.clone().enumerate() {
            let mut sum = [0.0; TILE];
            for (b, j) in columns.clone().enumerate() {
                let h = self.curvature(i, j);
                for r in 0..TILE {
                    sum[r] += h * direction[b][r];
                }
            }
            for r in 0..TILE {
                slope[r] += direction[a][r] * self.slopes[i][r];
                curvature[r] += direction[a][r] * sum[r];
            }
        }
        (slope, curvature)
    }

    #[inline(always)]
    fn refit_scale(&mut self, stored: &Stored, columns: std::ops::Range<usize>, tile: &mut Tile) {
        let Rounding::Grids(grids) = &mut tile.rounding else {
            return;
        };
        let (step, zero) = &mut grids.groups[(self.start + columns.start) / grids.width];
        let mut places = vec![[0.0; TILE]; columns.len()];
        for (place, col) in places.iter_mut().zip(columns.clone()) {
            let at = self.start + col;
            for r in 0..TILE {
                place[r] = (tile.codes[at][r] - zero[r]) * tile.kept[at][r];
            }
        }
        let (slope, curvature) = self.best(columns.clone(), &places);
        let mut by = [0.0; TILE];
        for r in 0..TILE {
            let unit = stored.unit[r];
            if curvature[r] > 0.0 && unit > 0.0 {
                let scale = (step[r] + slope[r] / curvature[r]) / unit;
                let new = scale.round().clamp(stored.least.max(1.0), stored.largest) * unit;
                let change = new - step[r];
                let gain = change * (2.0 * slope[r] - change * curvature[r]);
                if gain > 0.0 {
                    by[r] = change;
                    step[r] = new;
                }
            }
        }
        self.move_values(columns, &by, &places, tile);
    }

    #[inline(always)]
    fn refit_zero(&mut self, columns: std::ops::Range<usize>, tile: &mut Tile) {
        let Rounding::Grids(grids) = &mut tile.rounding else {
            return;
        };
        let (step, zero) = &mut grids.groups[(self.start + columns.start) / grids.width];
        let ones = vec![[1.0; TILE]; columns.len()];
        let (slope, curvature) = self.best(columns.clone(), &ones);
        let mut by = [0.0; TILE];
        for r in 0..TILE {
            if curvature[r] > 0.0 && step[r] > 0.0 {
                let wanted = zero[r] - slope[r] / curvature[r] / step[r];
                let new = (wanted * 16.0).round().clamp(0.0, 255.0) / 16.0;
                let change = (zero[r] - new) * step[r];
                let gain = change * (2.0 * slope[r] - change * curvature[r]);
                if gain > 0.0 {
                    by[r] = change;
                    zero[r] = new;
                }
            }
        }
        self.move_values(columns, &by, &ones, tile);
    }

    /// Adds `by` times the direction to the values of a group.
    #[inline(always)]
    fn move_values(
        &mut self,
        columns: std::ops::Range<usize>,
        by: &Lane,
        direction: &[Lane],
        tile: &mut Tile,
    ) {
        if by.iter().all(|x| *x == 0.0) {
            return;
        }
        for (col, direction) in columns.zip(direction) {
            let at = self.start + col;
            let mut lower = [0.0; TILE];
            for r in 0..TILE {
                let change = by[r] * direction[r];
                tile.values[at][r] += change;
                lower[r] = -change;
            }
            self.change(col, lower);
        }
    }
}
