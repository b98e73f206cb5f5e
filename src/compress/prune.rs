//! Which weights of a row become zero, where they are chosen before they are rounded.

use super::Plan;
use super::feedback::Feedback;
use crate::recipe::{NOfM, Pruner};
use std::borrow::Cow;

/// A row without the weights that are not kept, and which columns are: as [`prune`], without a copy where
/// all are.
pub(super) fn pruned<'a>(
    plan: &Plan,
    feedback: Option<&Feedback<'_>>,
    row: &'a [f32],
) -> (Cow<'a, [f32]>, Vec<bool>) {
    if plan.pattern.is_none() && plan.kept >= row.len() {
        return (Cow::Borrowed(row), vec![true; row.len()]);
    }
    let mut pruned = row.to_vec();
    let mask = prune(plan, feedback, &mut pruned);
    (Cow::Owned(pruned), mask)
}

/// Zeroes the weights of a row that are not kept; tells which columns are.
///
/// The largest stay; with Wanda (Sun et al. 2023, arXiv:2306.11695) the largest times the root of the
/// mean square of their inputs. Each row is its own group of comparison.
pub(super) fn prune(plan: &Plan, feedback: Option<&Feedback<'_>>, row: &mut [f32]) -> Vec<bool> {
    let importance = match (plan.pruner, feedback) {
        (Pruner::Wanda | Pruner::SparseGpt, Some(feedback)) => Some(feedback.importance()),
        (Pruner::Magnitude, _) | (Pruner::Wanda | Pruner::SparseGpt, None) => None,
    };
    let score = |col: usize, weight: f32| match importance {
        Some(importance) => weight.abs() * importance[col].sqrt(),
        None => weight.abs(),
    };
    match plan.pattern {
        Some(pattern) => by_pattern(pattern, score, row),
        None => by_score(plan.kept, score, row),
    }
}

/// Keeps the `kept` largest scores of a row; of equals the first stay.
fn by_score(kept: usize, score: impl Fn(usize, f32) -> f32, row: &mut [f32]) -> Vec<bool> {
    if kept >= row.len() {
        return vec![true; row.len()];
    }
    let full = row.iter().filter(|w| **w != 0.0).count();
    if full <= kept {
        // Pruned already: zeros are equals, and there is nothing to compare.
        let mut spare = kept - full;
        return row
            .iter()
            .map(|w| {
                let is_spare = *w == 0.0 && spare > 0;
                spare -= usize::from(is_spare);
                *w != 0.0 || is_spare
            })
            .collect();
    }
    let scores: Vec<f32> = row.iter().enumerate().map(|(i, w)| score(i, *w)).collect();
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.select_nth_unstable_by(kept, |a, b| {
        scores[*b].total_cmp(&scores[*a]).then(a.cmp(b))
    });
    let mut mask = vec![false; row.len()];
    for (place, col) in order.into_iter().enumerate() {
        mask[col] = place < kept;
        if !mask[col] {
            row[col] = 0.0;
        }
    }
    mask
}

/// Keeps the largest scores of every few columns; of equals the first stay.
fn by_pattern(pattern: NOfM, score: impl Fn(usize, f32) -> f32, row: &mut [f32]) -> Vec<bool> {
    let mut mask = vec![false; row.len()];
    let parts = row.chunks_mut(pattern.columns());
    for (index, (part, mask)) in parts.zip(mask.chunks_mut(pattern.columns())).enumerate() {
        let first = index * pattern.columns();
        for _ in 0..pattern.kept() {
            let open = (0..part.len()).rev().filter(|i| !mask[*i]);
            let score = |i: &usize| score(first + i, part[*i]);
            let best = open.max_by(|a, b| score(a).total_cmp(&score(b)));
            if let Some(best) = best {
                mask[best] = true;
            }
        }
        for (weight, mask) in part.iter_mut().zip(mask) {
            if !*mask {
                *weight = 0.0;
            }
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_magnitudes_stay_and_equals_are_decided_by_place() {
        let check = |row: &[f32], kept, expected: &[f32]| {
            let mut pruned = row.to_vec();
            let mask = by_score(kept, |_, w| w.abs(), &mut pruned);
            assert_eq!(pruned, expected);
            assert_eq!(mask.iter().filter(|m| **m).count(), kept.min(row.len()));
            let stays = |(i, kept): (usize, &bool)| !kept || pruned[i] == row[i];
            assert!(mask.iter().enumerate().all(stays));
        };
        check(&[1.0, -3.0, 2.0, 0.5], 2, &[0.0, -3.0, 2.0, 0.0]);
        check(&[1.0, 1.0, 1.0], 1, &[1.0, 0.0, 0.0]);
        check(&[1.0, 2.0], 2, &[1.0, 2.0]);
        check(&[f32::NAN, 2.0], 0, &[0.0, 0.0]);
        check(&[0.0, 1.0, 0.0, -0.0, 2.0], 3, &[0.0, 1.0, 0.0, 0.0, 2.0]);
    }

    #[test]
    fn so_many_of_every_few_stay() {
        let mut row = [1.0, -2.0, 0.5, 2.0, -0.1, 0.0];
        let mask = by_pattern(NOfM::new(1, 4).unwrap(), |_, w| w.abs(), &mut row);
        assert_eq!(mask, [false, true, false, false, true, false]);
        assert_eq!(row, [0.0, -2.0, 0.0, 0.0, -0.1, 0.0]);
        let mut row = [1.0, -2.0, 0.5, 2.0, -0.1, 0.0];
        by_pattern(
            NOfM::new(2, 3).unwrap(),
            |col, w| w.abs() * (1 + col) as f32,
            &mut row,
        );
        assert_eq!(row, [0.0, -2.0, 0.5, 2.0, -0.1, 0.0]);
    }
}
