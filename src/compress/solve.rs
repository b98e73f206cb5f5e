//! Rounds and prunes sixty-four rows together, with feedback from column to column.

use super::Plan;
use super::columns::{Choice, Grids, Lane, Rounding, TILE, Tile, pass};
use super::feedback::{BLOCK, Factor, Feedback};
use super::grid::{Grid, Kind, has_mask};
use super::refine::{Stored, ZeroPoints, sweep};
use super::rounding;
use super::row::{Row, scaled_cols};
use super::scales::{GroupScale, Scales, code_unit, largest_scale};
use crate::recipe::{Pruner, Quantizer};
use engine::encoding::Encoding;
use engine::float::f32_from_f16;

/// Sweeps over the codes after the pass.
const SWEEPS: usize = 4;

/// What a tile of rows becomes.
pub(super) enum Solved {
    /// Rows of a block encoding.
    Rows(Vec<Row>),
    /// Weights `[rows, cols]` that are 16-bit floats.
    Halves(Vec<f32>),
}

/// Solves up to [`TILE`] rows `[rows, cols]`.
pub(super) fn tile(
    plan: &Plan,
    feedback: &Feedback<'_>,
    factor: &Factor,
    weights: &[f32],
) -> Solved {
    let cols = plan.cols;
    let rows = weights.len() / cols;
    let rough: Vec<Row> = weights
        .chunks_exact(cols)
        .map(|weights| rounding::row(plan, Some(feedback), weights))
        .collect();
    let mut tile = Tile::new(plan, &rough, weights);
    let counts;
    let choice = match (plan.pruner, plan.pattern) {
        (Pruner::Magnitude | Pruner::Wanda, _) => Choice::Given,
        (Pruner::SparseGpt, _) if plan.kept >= cols => Choice::Given,
        (Pruner::SparseGpt, Some(pattern)) => Choice::Pattern(pattern),
        (Pruner::SparseGpt, None) => {
            counts = kept_of_blocks(factor, &tile);
            Choice::Counts(&counts)
        }
    };
    pass(factor, choice, &mut tile);
    let stored = tile.stored(plan, &rough);
    if plan.quantizer == Quantizer::Gptq {
        sweep(feedback, stored.as_ref(), SWEEPS, &mut tile);
    }
    match stored {
        None => {
            let mut halves = vec![0.0; rows * cols];
            for (r, row) in halves.chunks_exact_mut(cols).enumerate() {
                for (half, values) in row.iter_mut().zip(&tile.values) {
                    *half = values[r];
                }
            }
            Solved::Halves(halves)
        }
        Some(stored) => {
            let mut solved = Vec::with_capacity(rows);
            for (r, rough) in rough.into_iter().enumerate() {
                let weights = &weights[r * cols..][..cols];
                let is_exact = rounding::is_exact(plan, &rough, weights);
                solved.push(if is_exact {
                    rough
                } else {
                    tile.row(plan, &stored, rough.scales.row, r)
                });
            }
            Solved::Rows(solved)
        }
    }
}

/// How many weights of each block of the pass are kept at first, row by row.
fn kept_of_blocks(factor: &Factor, tile: &Tile) -> Vec<[usize; TILE]> {
    let blocks = factor.order.chunks(BLOCK);
    let count = |columns: &[usize]| {
        let kept = |r: usize| {
            columns
                .iter()
                .filter(|col| tile.kept[**col][r] > 0.0)
                .count()
        };
        std::array::from_fn(kept)
    };
    blocks.map(count).collect()
}

impl Tile {
    /// The rows with the scales and masks of `rough`, their codes not yet chosen.
    fn new(plan: &Plan, rough: &[Row], weights: &[f32]) -> Self {
        let cols = plan.cols;
        let lanes = |value: &dyn Fn(usize, usize) -> f32| -> Vec<Lane> {
            let lane =
                |col| std::array::from_fn(|r| if r < rough.len() { value(r, col) } else { 0.0 });
            (0..cols).map(lane).collect()
        };
        let finite = |r: usize, col: usize| {
            let weight = weights[r * cols + col];
            if weight.is_finite() { weight } else { 0.0 }
        };
        let kind = Kind::of(plan.encoding);
        let width = scaled_cols(plan.encoding);
        let grids = |index: usize| {
            let grid = |r: usize| {
                let row: &Row = rough.get(r)?;
                Some(Grid::new(
                    plan.encoding,
                    &row.scales,
                    row.scales.groups[index],
                ))
            };
            let step = |r| grid(r).map_or(0.0, |g| g.step);
            let zero = |r| grid(r).map_or(kind.zero.unwrap_or(0.0), |g| g.zero);
            (std::array::from_fn(step), std::array::from_fn(zero))
        };
        Self {
            weights: lanes(&finite),
            codes: vec![[0.0; TILE]; cols],
            values: vec![[0.0; TILE]; cols],
            kept: lanes(&|r, col| f32::from(u8::from(rough[r].kept[col]))),
            rounding: match plan.encoding.record() {
                Some(_) => Rounding::Grids(Grids {
                    width,
                    low: kind.low,
                    top: kind.top,
                    groups: (0..cols.div_ceil(width)).map(grids).collect(),
                }),
                None => Rounding::Half,
            },
        }
    }

    /// What of the scales may be changed; nothing for floats.
    fn stored(&self, plan: &Plan, rough: &[Row]) -> Option<Stored> {
        let encoding = plan.encoding;
        encoding.record()?;
        let unit = |r: usize| {
            rough.get(r).map_or(0.0, |row| {
                f32_from_f16(row.scales.row) * code_unit(encoding) * Kind::of(encoding).stride
            })
        };
        Some(Stored {
            unit: std::array::from_fn(unit),
            least: f32::from(u8::from(encoding == Encoding::Ternary)),
            largest: f32::from(largest_scale(encoding)),
            zero_points: if encoding.has_zero_point() && plan.kept >= plan.cols {
                ZeroPoints::Fitted
            } else {
                ZeroPoints::Fixed
            },
        })
    }

    /// One row as it is stored.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "codes, scales and zero points are whole and at most 255"
    )]
    fn row(&self, plan: &Plan, stored: &Stored, row_scale: u16, r: usize) -> Row {
        let Rounding::Grids(grids) = &self.rounding else {
            unreachable!("only block encodings have rows")
        };
        let unit = stored.unit[r];
        let groups = grids.groups.iter().map(|(step, zero)| GroupScale {
            scale: if unit > 0.0 {
                (step[r] / unit).round() as u8
            } else {
                stored.least as u8
            },
            zero_point: if plan.encoding.has_zero_point() {
                (zero[r] * 16.0).round() as u8
            } else {
                0
            },
        });
        let code = |col: usize| {
            let is_zero = self.kept[col][r] == 0.0 && !has_mask(plan.encoding);
            if is_zero {
                grids.groups[col / grids.width].1[r].round() as u8
            } else {
                self.codes[col][r] as u8
            }
        };
        Row {
            scales: Scales {
                row: row_scale,
                groups: groups.collect(),
            },
            codes: (0..plan.cols).map(code).collect(),
            kept: (0..plan.cols).map(|col| self.kept[col][r] > 0.0).collect(),
        }
    }
}
