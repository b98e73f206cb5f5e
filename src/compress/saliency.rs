//! The weights of one matrix in the order of what they matter: sorted once, so that another sparsity is
//! another place in a list.

use super::CompressError;
use super::feedback::Feedback;
use super::tensor::{CompressedTensor, compress_values};
use crate::model::{Model, Tensor};
use crate::recipe::Setting;
use rayon::prelude::*;

/// The columns of each row of a matrix, those that matter most first.
///
/// What a weight matters is its magnitude, or with a calibration its magnitude times the root of the mean
/// square of its input (Wanda, Sun et al. 2023, arXiv:2306.11695); of equals the first comes first, as
/// pruning without a stored order has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saliency {
    /// `[rows, cols]`.
    order: Vec<u32>,
    cols: usize,
}

impl Saliency {
    /// Sorts the weights of a matrix of `model`.
    ///
    /// # Panics
    /// When the Hessian is not of the matrix's inputs.
    #[must_use]
    pub fn of(model: &Model, tensor: &Tensor, feedback: Option<&Feedback<'_>>) -> Self {
        Self::of_weights(&model.values(tensor), tensor.cols, feedback)
    }

    fn of_weights(weights: &[f32], cols: usize, feedback: Option<&Feedback<'_>>) -> Self {
        let roots = feedback.map(|feedback| {
            let importance = feedback.importance();
            assert_eq!(importance.len(), cols, "inputs of the Hessian");
            importance.iter().map(|x| x.sqrt()).collect::<Vec<f32>>()
        });
        let mut order = vec![0; weights.len()];
        let rows = order
            .par_chunks_mut(cols.max(1))
            .zip(weights.par_chunks(cols.max(1)));
        rows.for_each(|(order, row)| {
            let score = |col: usize| match &roots {
                Some(roots) => row[col].abs() * roots[col],
                None => row[col].abs(),
            };
            let scores: Vec<f32> = (0..row.len()).map(score).collect();
            for (place, col) in order.iter_mut().zip(0u32..) {
                *place = col;
            }
            order.sort_unstable_by(|a, b| {
                let of = |col: &u32| scores[*col as usize];
                of(b).total_cmp(&of(a)).then(a.cmp(b))
            });
        });
        Self { order, cols }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.order.len() * size_of::<u32>()
    }

    /// Zeroes all but the `kept` weights of each row that matter most; returns the sum of the squares of
    /// the others, and of all.
    fn keep(&self, kept: usize, weights: &mut [f32]) -> (f64, f64) {
        let rows = weights
            .par_chunks_mut(self.cols.max(1))
            .zip(self.order.par_chunks(self.cols.max(1)));
        let sums: Vec<(f64, f64)> = rows
            .map(|(row, order)| {
                let all = row.iter().map(|w| f64::from(*w).powi(2)).sum();
                let mut pruned = 0.0;
                for col in &order[kept.min(order.len())..] {
                    let weight = std::mem::take(&mut row[*col as usize]);
                    pruned += f64::from(weight).powi(2);
                }
                (pruned, all)
            })
            .collect();
        sums.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}

/// Compresses one matrix rounded to nearest, pruned by a stored order: the same bytes as without it,
/// where it is of magnitudes, and no sort.
///
/// # Errors
/// When weights cannot be stored.
///
/// # Panics
/// When the order is of another matrix.
pub fn compress_tensor_sorted(
    model: &Model,
    tensor: &Tensor,
    setting: Setting,
    saliency: &Saliency,
) -> Result<CompressedTensor, CompressError> {
    let mut weights = model.values(tensor);
    assert_eq!(weights.len(), saliency.order.len(), "weights of the order");
    let (pruned, all) = saliency.keep(setting.kept(tensor.cols), &mut weights);
    let mut compressed = compress_values(model, tensor, setting, &weights)?;
    if all > 0.0 {
        // The rounding was measured against what was kept.
        compressed.nmse = (compressed.nmse * (all - pruned).max(0.0) + pruned) / all;
    }
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::testing::{hessian, weights};
    use crate::compress::{compress_weights, encode};
    use crate::recipe::Precision;

    #[test]
    fn a_threshold_over_the_order_prunes_as_a_sort_of_every_row_does() {
        let (rows, cols) = (8, 96);
        let weights = weights(rows, cols, 5);
        let saliency = Saliency::of_weights(&weights, cols, None);
        assert_eq!(saliency.bytes(), rows * cols * 4);
        for percent in [0, 1, 25, 50, 75, 95] {
            let setting = Setting::sparse(Precision::Four, f64::from(percent) / 100.0);
            let expected = compress_weights(&weights, cols, setting, None).unwrap();
            let mut kept = weights.clone();
            let (pruned, all) = saliency.keep(setting.kept(cols), &mut kept);
            let bytes = encode(expected.encoding, cols, expected.kept, &kept).unwrap();
            assert_eq!(bytes, expected.bytes, "{percent} %");
            assert!(pruned <= all);
        }
    }

    #[test]
    fn with_a_calibration_large_inputs_matter_more() {
        let cols = 8;
        let weights = vec![1.0; cols];
        let hessian = hessian(cols, 64, 3);
        let feedback = Feedback::new(&hessian);
        let saliency = Saliency::of_weights(&weights, cols, Some(&feedback));
        let squares = feedback.importance();
        let found: Vec<f32> = saliency
            .order
            .iter()
            .map(|c| squares[*c as usize])
            .collect();
        assert!(found.is_sorted_by(|a, b| a >= b), "{found:?}");
    }
}
