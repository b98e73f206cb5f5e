//! Rounding column by column, each making up for the errors of those before it.
//!
//! LDLQ (Chee et al. 2023, arXiv:2307.13304), which is GPTQ (Frantar et al. 2022, arXiv:2210.17323)
//! without inverting the Hessian; columns with the largest inputs first, against scales that are fixed
//! before. Where weights are pruned in the same pass it is SparseGPT (Frantar and Alistarh 2023,
//! arXiv:2301.00774), except that every row prunes its own share of each block: the share that
//! Wanda's ranking of the whole row has there.

use super::feedback::{BLOCK, Factor};
use super::part::{inverse, whole};
use crate::lanes::{Work, widest};
use crate::linear::add_transposed_times;
use crate::recipe::NOfM;
use engine::float::{f16_from_f32, f32_from_f16};
use ndarray::Array2;

/// Rows that are worked on together: the innermost loops run over them.
pub(super) const TILE: usize = 64;

/// One number for each row of a tile.
pub(super) type Lane = [f32; TILE];

/// Rows of a matrix, column after column; rows that a last tile lacks are zero.
#[derive(Debug)]
pub(super) struct Tile {
    /// `[cols]`: the weights before.
    pub(super) weights: Vec<Lane>,
    /// `[cols]`: the codes, whole numbers.
    pub(super) codes: Vec<Lane>,
    /// `[cols]`: what the codes stand for.
    pub(super) values: Vec<Lane>,
    /// `[cols]`: 1 for a weight that is kept, 0 for one that is zero.
    pub(super) kept: Vec<Lane>,
    /// How kept weights are rounded.
    pub(super) rounding: Rounding,
}

/// The values that kept weights can take.
#[derive(Debug)]
pub(super) enum Rounding {
    /// Those of a grid for each group of columns.
    Grids(Grids),
    /// 16-bit floats.
    Half,
}

/// The grids of a tile.
#[derive(Debug)]
pub(super) struct Grids {
    /// Columns of a group.
    pub(super) width: usize,
    /// The smallest code.
    pub(super) low: f32,
    /// The largest.
    pub(super) top: f32,
    /// `[groups]`: step and zero.
    pub(super) groups: Vec<(Lane, Lane)>,
}

impl Rounding {
    /// The code and the value nearest to each of `wanted`, in this column.
    #[inline(always)]
    pub(super) fn nearest(&self, col: usize, wanted: &Lane, codes: &mut Lane, values: &mut Lane) {
        match self {
            Self::Grids(grids) => {
                let (step, zero) = &grids.groups[col / grids.width];
                for r in 0..TILE {
                    let place = wanted[r] * inverse(step[r]) + zero[r];
                    codes[r] = whole(place.clamp(grids.low, grids.top));
                    values[r] = step[r] * (codes[r] - zero[r]);
                }
            }
            Self::Half => {
                for r in 0..TILE {
                    values[r] = f32_from_f16(f16_from_f32(wanted[r].clamp(-65_504.0, 65_504.0)));
                }
            }
        }
    }
}

/// How the pass chooses what is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice<'a> {
    /// As the tile says.
    Given,
    /// So many of each [`BLOCK`] that is visited, `[blocks]` by rows: those that cost most.
    Counts(&'a [[usize; TILE]]),
    /// Those of every few neighbours that cost most; only where columns are visited as they stand.
    Pattern(NOfM),
}

/// Rounds every weight of the tile.
pub(super) fn pass(factor: &Factor, choice: Choice<'_>, tile: &mut Tile) {
    let cols = factor.order.len();
    let mut errors: Vec<Lane> = vec![[0.0; TILE]; cols];
    let mut wanted: Vec<Lane> = Vec::with_capacity(BLOCK);
    for (index, feed) in factor.blocks.iter().enumerate() {
        let start = index * BLOCK;
        let end = start + feed.ncols();
        wanted.clear();
        wanted.extend(
            factor.order[start..end]
                .iter()
                .map(|col| tile.weights[*col]),
        );
        add_transposed_times(
            feed.slice(ndarray::s![..start, ..]),
            errors[..start].as_flattened(),
            wanted.as_flattened_mut(),
        );
        if let Choice::Counts(counts) = choice {
            choose(factor, start, &wanted, &counts[index], tile);
        }
        widest(Turns {
            factor,
            choice,
            feed,
            start,
            wanted: &mut wanted,
            errors: &mut errors,
            tile,
        });
    }
}

/// The columns of one block, each after the other.
struct Turns<'a> {
    factor: &'a Factor,
    choice: Choice<'a>,
    /// Columns of the factor `[end, columns]`.
    feed: &'a Array2<f32>,
    start: usize,
    /// `[columns]`: what each column should be for the errors of the blocks before.
    wanted: &'a mut [Lane],
    /// `[cols]`, in the order of turns.
    errors: &'a mut [Lane],
    tile: &'a mut Tile,
}

impl Work for Turns<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            factor,
            choice,
            feed,
            start,
            wanted,
            errors,
            tile,
        } = self;
        for turn in start..start + wanted.len() {
            let col = factor.order[turn];
            if let Choice::Pattern(pattern) = choice
                && (col.is_multiple_of(pattern.columns()) || turn == start)
            {
                choose_pattern(factor, pattern, col, &wanted[turn - start..], tile);
            }
            let now = wanted[turn - start];
            let (codes, values) = (&mut tile.codes[col], &mut tile.values[col]);
            tile.rounding.nearest(col, &now, codes, values);
            let (kept, weights) = (&tile.kept[col], &tile.weights[col]);
            let error = &mut errors[turn];
            for r in 0..TILE {
                values[r] *= kept[r];
                error[r] = weights[r] - values[r];
            }
            let factors = feed.row(turn);
            let factors = factors.as_slice().expect("row-major");
            for (wanted, factor) in wanted.iter_mut().zip(factors).skip(turn + 1 - start) {
                for r in 0..TILE {
                    wanted[r] += factor * error[r];
                }
            }
        }
    }
}

/// Keeps in every row those of a block whose loss costs most.
fn choose(factor: &Factor, start: usize, wanted: &[Lane], counts: &[usize; TILE], tile: &mut Tile) {
    let mut order: Vec<usize> = Vec::with_capacity(BLOCK);
    for r in 0..TILE {
        let cost = |i: &usize| (wanted[*i][r] * factor.diagonal[start + i]).abs();
        order.clear();
        order.extend(0..wanted.len());
        let count = counts[r].min(order.len());
        if count > 0 && count < order.len() {
            order.select_nth_unstable_by(count - 1, |a, b| {
                cost(b).total_cmp(&cost(a)).then(a.cmp(b))
            });
        }
        for (place, i) in order.iter().enumerate() {
            tile.kept[factor.order[start + i]][r] = f32::from(u8::from(place < count));
        }
    }
}

/// The same for the pattern of neighbours that begins at `col`.
fn choose_pattern(factor: &Factor, pattern: NOfM, col: usize, wanted: &[Lane], tile: &mut Tile) {
    let first = col / pattern.columns() * pattern.columns();
    let before = col - first;
    let count = (pattern.columns() - before).min(wanted.len());
    for r in 0..TILE {
        let taken = tile.kept[first..col].iter().filter(|k| k[r] > 0.0).count();
        let left = pattern.kept().saturating_sub(taken);
        let cost = |i: usize| (wanted[i][r] * factor.diagonal[col + i]).abs();
        for i in 0..count {
            let is_ahead = |j: &usize| cost(*j).total_cmp(&cost(i)).then(i.cmp(j)).is_gt();
            let ahead = (0..count).filter(is_ahead);
            tile.kept[col + i][r] = f32::from(u8::from(ahead.count() < left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Hessian;
    use crate::compress::feedback::{Feedback, Order};
    use crate::compress::testing::{Noise, hessian};
    use ndarray::Array2;

    /// The inverse of a positive definite matrix, by elimination.
    fn inverse_of(matrix: &Array2<f64>) -> Array2<f64> {
        let n = matrix.nrows();
        let (mut a, mut inverse) = (matrix.clone(), Array2::eye(n));
        for k in 0..n {
            let pivot = a[[k, k]];
            for matrix in [&mut a, &mut inverse] {
                matrix.row_mut(k).mapv_inplace(|x| x / pivot);
            }
            for row in (0..n).filter(|row| *row != k) {
                let factor = a[[row, k]];
                for matrix in [&mut a, &mut inverse] {
                    let above = matrix.row(k).to_owned();
                    matrix.row_mut(row).scaled_add(-factor, &above);
                }
            }
        }
        inverse
    }

    /// The inverses of the Hessians of the columns that are left at each turn.
    fn inverses(factor: &Factor, hessian: &Array2<f64>) -> Vec<Array2<f64>> {
        let order = &factor.order;
        let left = |k: usize| {
            let n = order.len() - k;
            Array2::from_shape_fn((n, n), |(r, c)| hessian[[order[k + r], order[k + c]]])
        };
        (0..order.len()).map(|k| inverse_of(&left(k))).collect()
    }

    /// Whether the column of a turn is kept, by what columns cost at that time.
    type Keep<'a> = dyn FnMut(usize, &dyn Fn(usize) -> f64) -> bool + 'a;

    /// GPTQ and SparseGPT as their papers write them: the inverse of the Hessian of the columns that are
    /// left, one column after the other, one row, no blocks. `kept` chooses, when a column is reached,
    /// what is kept of it and of others by their costs `w² / [H⁻¹]` at that time.
    fn slow(
        factor: &Factor,
        inverses: &[Array2<f64>],
        weights: &[f32],
        nearest: &dyn Fn(usize, f32) -> f32,
        kept: &mut Keep<'_>,
    ) -> Vec<f32> {
        let n = weights.len();
        let order = &factor.order;
        let mut left: Vec<f64> = order.iter().map(|c| f64::from(weights[*c])).collect();
        let mut values = vec![0.0; n];
        for k in 0..n {
            let cost = |turn: usize| left[turn].powi(2) / inverses[turn][[0, 0]];
            if kept(k, &cost) {
                values[order[k]] = nearest(order[k], left[k] as f32);
            }
            let error = (left[k] - f64::from(values[order[k]])) / inverses[k][[0, 0]];
            for j in k..n {
                left[j] -= error * inverses[k][[0, j - k]];
            }
        }
        values
    }

    fn case(cols: usize) -> (Hessian, Array2<f64>, Tile) {
        let hessian = hessian(cols, 3 * cols, 5);
        let damping = Feedback::new(&hessian).damping();
        let mut damped = hessian.moments().mapv(f64::from);
        damped.diag_mut().mapv_inplace(|x| x + f64::from(damping));
        let mut noise = Noise::new(9);
        let mut lanes = |scale: f32| -> Vec<Lane> {
            (0..cols)
                .map(|_| std::array::from_fn(|_| scale * noise.next()))
                .collect()
        };
        let weights = lanes(1.0);
        let grids = Grids {
            width: 32,
            low: 0.0,
            top: 7.0,
            groups: vec![([0.3; TILE], [3.5; TILE]); cols.div_ceil(32)],
        };
        let tile = Tile {
            weights,
            codes: vec![[0.0; TILE]; cols],
            values: vec![[0.0; TILE]; cols],
            kept: vec![[1.0; TILE]; cols],
            rounding: Rounding::Grids(grids),
        };
        (hessian, damped, tile)
    }

    fn nearest(_: usize, weight: f32) -> f32 {
        0.3 * ((weight / 0.3 + 3.5).clamp(0.0, 7.0).round() - 3.5)
    }

    fn row(lanes: &[Lane], r: usize) -> Vec<f32> {
        lanes.iter().map(|lane| lane[r]).collect()
    }

    fn error(hessian: &Array2<f64>, weights: &[f32], values: &[f32]) -> f64 {
        let pairs = weights.iter().zip(values);
        let e: ndarray::Array1<f64> = pairs.map(|(w, q)| f64::from(w - q)).collect();
        e.dot(&hessian.dot(&e))
    }

    /// Two ways that differ only by rounding errors, which may tip a column over and all after it.
    fn assert_alike(hessian: &Array2<f64>, tile: &Tile, r: usize, slow: &[f32]) {
        let (weights, fast) = (row(&tile.weights, r), row(&tile.values, r));
        let pairs = fast.iter().zip(slow);
        let differences = pairs.filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
        assert!(differences <= slow.len() / 10, "row {r}: {differences}");
        let (a, b) = (
            error(hessian, &weights, &fast),
            error(hessian, &weights, slow),
        );
        assert!((a / b - 1.0).abs() < 0.05, "row {r}: {a} and {b}");
    }

    #[test]
    fn columns_make_up_for_each_other_as_in_gptq() {
        for cols in [40, 140] {
            let (hessian, damped, mut tile) = case(cols);
            let feedback = Feedback::new(&hessian);
            let factor = feedback.factor(Order::Descending).unwrap();
            let squares = hessian.mean_squares();
            assert!(factor.order.is_sorted_by(|a, b| squares[*a] >= squares[*b]));
            let inverses = inverses(factor, &damped);
            pass(factor, Choice::Given, &mut tile);
            for r in [0, 17] {
                let weights = row(&tile.weights, r);
                let slow = slow(factor, &inverses, &weights, &nearest, &mut |_, _| true);
                assert_alike(&damped, &tile, r, &slow);
                let rounded: Vec<f32> = weights.iter().map(|w| nearest(0, *w)).collect();
                assert!(error(&damped, &weights, &slow) < 0.7 * error(&damped, &weights, &rounded));
            }
        }
    }

    #[test]
    fn pruned_weights_are_made_up_for_as_in_sparsegpt() {
        let (hessian, damped, mut tile) = case(140);
        let feedback = Feedback::new(&hessian);
        let factor = feedback.factor(Order::Descending).unwrap();
        let counts = [[70; TILE], [5; TILE]];
        let inverses = inverses(factor, &damped);
        pass(factor, Choice::Counts(&counts), &mut tile);
        for r in [0, 17] {
            let weights = row(&tile.weights, r);
            let mut chosen = Vec::new();
            let mut kept = |turn: usize, cost: &dyn Fn(usize) -> f64| {
                if turn.is_multiple_of(BLOCK) {
                    let mut block: Vec<usize> = (turn..140.min(turn + BLOCK)).collect();
                    block.sort_by(|a, b| cost(*b).total_cmp(&cost(*a)));
                    chosen = block[..counts[turn / BLOCK][r]].to_vec();
                }
                chosen.contains(&turn)
            };
            let slow = slow(factor, &inverses, &weights, &nearest, &mut kept);
            assert_alike(&damped, &tile, r, &slow);
            assert_eq!(row(&tile.kept, r).iter().sum::<f32>(), 75.0);
        }
    }

    #[test]
    fn patterns_are_chosen_when_they_are_reached_and_hold_across_blocks() {
        // Five columns to a pattern: one lies across the border of two blocks.
        for (pattern, is_whole) in [((2, 4), true), ((2, 5), false)] {
            let pattern = NOfM::new(pattern.0, pattern.1).unwrap();
            let (hessian, damped, mut tile) = case(140);
            let feedback = Feedback::new(&hessian);
            let factor = feedback.factor(Order::Natural).unwrap();
            let inverses = if is_whole {
                inverses(factor, &damped)
            } else {
                Vec::new()
            };
            pass(factor, Choice::Pattern(pattern), &mut tile);
            let (mut fast, mut exact) = (0.0, 0.0);
            for r in 0..6 {
                let mask = row(&tile.kept, r);
                let held = |few: &[f32]| few.iter().sum::<f32>() == pattern.kept() as f32;
                assert!(mask.chunks(pattern.columns()).all(held), "{pattern}");
                let weights = row(&tile.weights, r);
                let mut chosen = Vec::new();
                let mut kept = |turn: usize, cost: &dyn Fn(usize) -> f64| {
                    if turn.is_multiple_of(pattern.columns()) {
                        let mut few: Vec<usize> = (turn..turn + pattern.columns()).collect();
                        few.sort_by(|a, b| cost(*b).total_cmp(&cost(*a)));
                        chosen = few[..pattern.kept()].to_vec();
                    }
                    chosen.contains(&turn)
                };
                if is_whole {
                    let slow = slow(factor, &inverses, &weights, &nearest, &mut kept);
                    fast += error(&damped, &weights, &row(&tile.values, r));
                    exact += error(&damped, &weights, &slow);
                }
            }
            // Two costs that are nearly the same may tip either way, and all columns after them.
            assert!(
                fast <= 1.05 * exact && exact <= 1.05 * fast,
                "{fast} {exact}"
            );
        }
    }
}
