//! The arithmetic that encoder and decoder share: linear layers, norms, attention, GELU.
//!
//! Activations are `ndarray` matrices `[positions, width]`, row-major. Weights stay as the file
//! stores them and are widened block by block into a small buffer just before they are multiplied,
//! so that a model needs the memory of its file and not twice that. The products are ndarray's
//! (the `matrixmultiply` crate). Sums do not depend on the number of threads: rayon only shares out
//! whole blocks of fixed size.

use super::RecognizeError;
use super::container::Container;
use ndarray::linalg::{general_mat_mul, general_mat_vec_mul};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a weight that are widened at once when a single position is multiplied: with 384 columns
/// the buffer is 192 kB and stays in the second-level cache.
const ROWS_AT_ONCE: usize = 128;
/// Positions that one task multiplies.
const POSITIONS_AT_ONCE: usize = 128;
/// Width of one attention head in every Whisper model.
pub(super) const HEAD_WIDTH: usize = 64;

/// Weights as the file stores them.
#[derive(Debug)]
pub(super) enum Values {
    /// IEEE half precision, finite.
    Half(Vec<u16>),
    /// Single precision, finite.
    Single(Vec<f32>),
}

impl Values {
    /// Whether no value is infinite or not a number.
    pub(super) fn all_finite(&self) -> bool {
        match self {
            // An exponent of all ones is an infinity or not a number.
            Self::Half(bits) => bits.iter().all(|bits| bits & 0x7c00 != 0x7c00),
            Self::Single(values) => values.iter().all(|value| value.is_finite()),
        }
    }

    /// Copies a range into `out`, of the same length, as f32.
    pub(super) fn widen(&self, range: Range<usize>, out: &mut [f32]) {
        match self {
            Self::Half(bits) => {
                for (wide, &half) in out.iter_mut().zip(&bits[range]) {
                    *wide = f32_from_f16(half);
                }
            }
            Self::Single(values) => out.copy_from_slice(&values[range]),
        }
    }
}

/// A finite IEEE half, exactly.
fn f32_from_f16(bits: u16) -> f32 {
    /// Moves the exponent's bias from 15 to 127.
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * REBIAS;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// A weight matrix `[rows, cols]`, row-major: `rows` outputs of `cols` inputs.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Values,
}

impl Matrix {
    /// Copies one row into `out`, `[cols]`.
    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        self.values
            .widen(row * self.cols..(row + 1) * self.cols, out);
    }

    /// `x · selfᵀ`: `[positions, cols]` to `[positions, rows]`.
    pub(super) fn apply(&self, x: &Array2<f32>) -> Array2<f32> {
        let mut y = Array2::zeros((x.nrows(), self.rows));
        if x.nrows() == 1 {
            let out = y.as_slice_mut().expect("a new array is contiguous");
            self.apply_to_one(x.row(0), out);
            return y;
        }
        let mut wide = Array2::zeros((self.rows, self.cols));
        self.values.widen(
            0..self.rows * self.cols,
            wide.as_slice_mut().expect("a new array is contiguous"),
        );
        let transposed = wide.t();
        let inputs = x.axis_chunks_iter(Axis(0), POSITIONS_AT_ONCE);
        let blocks: Vec<_> = y
            .axis_chunks_iter_mut(Axis(0), POSITIONS_AT_ONCE)
            .zip(inputs)
            .collect();
        blocks
            .into_par_iter()
            .for_each(|(mut y, x)| general_mat_mul(1.0, &x, &transposed, 0.0, &mut y));
        y
    }

    fn apply_to_one(&self, x: ArrayView1<'_, f32>, out: &mut [f32]) {
        out.par_chunks_mut(ROWS_AT_ONCE).enumerate().for_each_init(
            || vec![0.0; ROWS_AT_ONCE * self.cols],
            |buffer, (chunk, out)| {
                let first = chunk * ROWS_AT_ONCE * self.cols;
                let wide = &mut buffer[..out.len() * self.cols];
                self.values.widen(first..first + wide.len(), wide);
                let wide = ArrayView2::from_shape((out.len(), self.cols), wide)
                    .expect("the buffer was cut to this size");
                let mut y = ndarray::ArrayViewMut1::from(out);
                general_mat_vec_mul(1.0, &wide, &x, 0.0, &mut y);
            },
        );
    }
}

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
    fn halves_widen_exactly() {
        let check =
            |bits: u16, value: f32| assert_eq!(f32_from_f16(bits).to_bits(), value.to_bits());
        check(0x3c00, 1.0);
        check(0xc000, -2.0);
        check(0x0001, 2.0_f32.powi(-24));
        check(0x03ff, 1023.0 * 2.0_f32.powi(-24));
        check(0x7bff, 65504.0);
        check(0x8000, -0.0);
    }

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

    #[test]
    fn one_position_equals_the_same_position_among_many() {
        let values = (0..300 * 8)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
            .collect();
        let matrix = Matrix {
            rows: 300,
            cols: 8,
            values: Values::Single(values),
        };
        let x = Array2::from_shape_fn((5, 8), |(row, col)| (row * 8 + col) as f32 / 40.0 - 0.5);
        let many = matrix.apply(&x);
        let one = matrix.apply(&x.slice(s![3..4, ..]).to_owned());
        assert!(
            many.row(3)
                .iter()
                .zip(&one)
                .all(|(a, b)| (a - b).abs() < 1e-5)
        );
    }
}
