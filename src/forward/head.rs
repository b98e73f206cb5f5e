//! The final norm and the output head.

use super::{Frame, Values, rms_norm};
use crate::lanes::{largest, sum, sum_of_pairs, widest};
use crate::linear::times_transposed;
use engine::float::exp;
use engine::shape::Role;
use ndarray::Array2;
use rayon::prelude::*;

/// The weights behind the last block.
#[derive(Debug, Clone)]
pub struct Head {
    norm: Vec<f32>,
    matrix: Array2<f32>,
}

impl Head {
    /// The output head, or the embedding where they are tied.
    ///
    /// # Panics
    /// When `values` lacks the final norm or the embedding.
    #[must_use]
    pub fn load(values: &dyn Values) -> Self {
        let norm = values.values(Role::OutputNorm, None);
        let matrix = values
            .values(Role::Output, None)
            .or_else(|| values.values(Role::Embedding, None));
        Self {
            norm: norm
                .expect("a loaded model has it")
                .into_raw_vec_and_offset()
                .0,
            matrix: matrix.expect("a loaded model has it"),
        }
    }

    /// The same with another matrix `[vocab, hidden]`.
    #[must_use]
    pub fn with_matrix(&self, matrix: Array2<f32>) -> Self {
        Self {
            norm: self.norm.clone(),
            matrix,
        }
    }

    /// What the head's matrix reads `[tokens, hidden]`.
    #[must_use]
    pub fn input(&self, frame: &Frame, x: &Array2<f32>) -> Array2<f32> {
        rms_norm(x, &self.norm, frame.shape.norm_epsilon)
    }

    /// Logits `[tokens, vocab]` of a residual stream `[tokens, hidden]`.
    #[must_use]
    pub fn logits(&self, frame: &Frame, x: &Array2<f32>) -> Array2<f32> {
        times_transposed(self.input(frame, x).view(), self.matrix.view())
    }
}

/// Turns each row of logits `[tokens, vocab]` into log-probabilities.
pub fn log_softmax_rows(logits: &mut Array2<f32>) {
    let vocab = logits.ncols().max(1);
    let Some(slice) = logits.as_slice_mut() else {
        return;
    };
    slice.par_chunks_mut(vocab).for_each(|row| {
        widest(|| {
            let top = largest(row);
            let sum = sum(row, |x| exp(x - top));
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounding to 32 bits is meant"
            )]
            let total = top + sum.ln() as f32;
            row.iter_mut().for_each(|x| *x -= total);
        });
    });
}

/// KL divergence of one distribution from another in nats, both log-probabilities `[vocab]`.
#[must_use]
pub fn divergence(expected: &[f32], found: &[f32]) -> f64 {
    widest(|| sum_of_pairs(expected, found, |p, q| f64::from(exp(p)) * f64::from(p - q)))
}
