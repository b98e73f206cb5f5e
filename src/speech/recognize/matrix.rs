//! A weight matrix as the file stores it, and its products with activations.
//!
//! Weights are widened block by block into a small buffer just before they are multiplied, so that a
//! model needs the memory of its file and not twice that. The products are ndarray's (the
//! `matrixmultiply` crate).

use ndarray::linalg::{general_mat_mul, general_mat_vec_mul};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a weight that are widened at once when a single position is multiplied: with 384 columns
/// the buffer is 192 kB and stays in the second-level cache.
const ROWS_AT_ONCE: usize = 128;
/// Positions that one task multiplies.
const POSITIONS_AT_ONCE: usize = 128;
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

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
