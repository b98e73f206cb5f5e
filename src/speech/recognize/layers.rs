//! The arithmetic that encoder and decoder share: linear layers, norms, attention, GELU.
//!
//! Activations are `ndarray` matrices `[positions, width]`, row-major. Sums do not depend on the
//! number of threads: rayon only shares out whole blocks of fixed size.

use super::RecognizeError;
use super::container::Container;
use super::matrix::Matrix;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Width of one attention head in every Whisper model.
pub(super) const HEAD_WIDTH: usize = 64;

/// `y = x · weightᵀ + bias`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Matrix,
    bias: Option<Array1<f32>>,
}

impl Linear {
    /// Takes `name/weight` `[outputs, inputs]` and, when there is one, `name/bias` `[outputs]`.
    ///
    /// # Errors
    /// When the weight is missing or a shape differs.
    pub(super) fn take(
        container: &mut Container,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, RecognizeError> {
        let weight = container.matrix(&format!("{name}/weight"), outputs, inputs)?;
        let bias_name = format!("{name}/bias");
        let bias = if container.has(&bias_name) {
            Some(container.vector(&bias_name, outputs)?.into())
        } else {
            None
        };
        Ok(Self { weight, bias })
    }

    /// `[positions, inputs]` to `[positions, outputs]`.
    pub(super) fn apply(&self, x: &Array2<f32>) -> Array2<f32> {
        let mut y = self.weight.apply(x);
        if let Some(bias) = &self.bias {
            y += bias;
        }
        y
    }
}

/// Layer normalization with gain and offset, epsilon 1e-5.
#[derive(Debug)]
pub(super) struct LayerNorm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl LayerNorm {
    /// Takes `name/gamma` and `name/beta`, `[width]`.
    ///
    /// # Errors
    /// When one is missing or has another length.
    pub(super) fn take(
        container: &mut Container,
        name: &str,
        width: usize,
    ) -> Result<Self, RecognizeError> {
        Ok(Self {
            gamma: container.vector(&format!("{name}/gamma"), width)?,
            beta: container.vector(&format!("{name}/beta"), width)?,
        })
    }

    /// `[positions, width]` to the same shape.
    pub(super) fn apply(&self, x: &Array2<f32>) -> Array2<f32> {
        let mut y = x.clone();
        let width = self.gamma.len() as f32;
        for mut row in y.rows_mut() {
            let mean = row.sum() / width;
            let variance = row
                .iter()
                .map(|value| (value - mean) * (value - mean))
                .sum::<f32>()
                / width;
            let scale = 1.0 / (variance + 1e-5).sqrt();
            for ((value, gamma), beta) in row.iter_mut().zip(&self.gamma).zip(&self.beta) {
                *value = (*value - mean) * scale * gamma + beta;
            }
        }
        y
    }
}

/// What a position may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask {
    /// Every key.
    All,
    /// The keys up to its own position, given the position of the first query.
    Causal { first: usize },
}

/// Attention with heads of 64: queries `[m, width]`, keys and values `[n, width]`, to `[m, width]`.
pub(super) fn attend(
    q: ArrayView2<'_, f32>,
    k: ArrayView2<'_, f32>,
    v: ArrayView2<'_, f32>,
    mask: Mask,
) -> Array2<f32> {
    let mut out = Array2::zeros(q.raw_dim());
    let heads: Vec<_> = out
        .axis_chunks_iter_mut(Axis(1), HEAD_WIDTH)
        .enumerate()
        .collect();
    heads.into_par_iter().for_each(|(head, mut out)| {
        let columns = head * HEAD_WIDTH..(head + 1) * HEAD_WIDTH;
        let keys = k.slice(s![.., columns.clone()]);
        let mut scores = q.slice(s![.., columns.clone()]).dot(&keys.t());
        scores *= 1.0 / (HEAD_WIDTH as f32).sqrt();
        for (position, mut row) in scores.rows_mut().into_iter().enumerate() {
            let seen = match mask {
                Mask::All => row.len(),
                Mask::Causal { first } => (first + position + 1).min(row.len()),
            };
            softmax(row.as_slice_mut().expect("a product is row-major"), seen);
        }
        general_mat_mul(1.0, &scores, &v.slice(s![.., columns]), 0.0, &mut out);
    });
    out
}

/// Turns the first `seen` scores into probabilities and the rest into zeros.
fn softmax(scores: &mut [f32], seen: usize) {
    let (seen, hidden) = scores.split_at_mut(seen);
    let max = seen.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in seen.iter_mut() {
        *score = (*score - max).exp();
        sum += *score;
    }
    for score in seen {
        *score /= sum;
    }
    hidden.fill(0.0);
}

/// GELU by the error function, not its tanh approximation, in place.
///
/// erf is Abramowitz and Stegun 7.1.26, with an absolute error below 1.5e-7.
pub(super) fn gelu(x: &mut Array2<f32>) {
    let gelu = |x: f32| {
        let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.327_591_1 * z);
        let polynomial = ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_72)
            * t
            + 0.254_829_6)
            * t;
        let erf = (1.0 - polynomial * (-z * z).exp()).copysign(x);
        0.5 * x * (1.0 + erf)
    };
    let values = x.as_slice_mut().expect("activations are row-major");
    values
        .par_chunks_mut(1 << 14)
        .for_each(|chunk| chunk.iter_mut().for_each(|x| *x = gelu(*x)));
}

/// The two linear layers of a block with GELU between, four times as wide inside.
#[derive(Debug)]
pub(super) struct FeedForward {
    norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
}

impl FeedForward {
    /// Takes the variables under `name`.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub(super) fn take(
        container: &mut Container,
        name: &str,
        width: usize,
    ) -> Result<Self, RecognizeError> {
        Ok(Self {
            norm: LayerNorm::take(container, &format!("{name}/layer_norm"), width)?,
            wide: Linear::take(container, &format!("{name}/linear_0"), 4 * width, width)?,
            narrow: Linear::take(container, &format!("{name}/linear_1"), width, 4 * width)?,
        })
    }

    /// Adds the block's output to `x`, `[positions, width]`.
    pub(super) fn add_to(&self, x: &mut Array2<f32>) {
        let mut inner = self.wide.apply(&self.norm.apply(x));
        gelu(&mut inner);
        *x += &self.narrow.apply(&inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_matches_the_published_values() {
        let mut x = ndarray::arr2(&[[-1.0_f32, 0.0, 1.0, 3.0]]);
        gelu(&mut x);
        for (found, expected) in x.iter().zip([-0.158_655_25, 0.0, 0.841_344_8, 2.995_950_3]) {
            assert!(
                (found - expected).abs() < 1e-6,
                "expected {expected}, found {found}"
            );
        }
    }

    #[test]
    fn a_causal_mask_hides_later_keys() {
        let q = Array2::from_elem((1, HEAD_WIDTH), 0.1);
        let k = Array2::from_elem((3, HEAD_WIDTH), 0.1);
        let mut v = Array2::zeros((3, HEAD_WIDTH));
        v.row_mut(0).fill(1.0);
        v.row_mut(2).fill(100.0);
        let out = attend(q.view(), k.view(), v.view(), Mask::Causal { first: 1 });
        assert!(out.iter().all(|value| (value - 0.5).abs() < 1e-6), "{out}");
    }
}
