//! The float path on the desktop, one block at a time over many windows of tokens at once.
//!
//! What calibration and tuning need and the engine does not give: the inputs of each linear map, and a
//! forward pass that starts at any block. Everything is 32-bit floats; what users hear and what an
//! [`crate::evaluate`] reports is computed by the engine.

mod attention;
mod block;
mod head;

pub use block::{Block, Input, Seen};
pub use head::{Head, divergence, log_softmax_rows};

use crate::lanes::{sum_of_pairs, widest};
use crate::model::Model;
use engine::shape::{Hyperparameters, Role};
use ndarray::Array2;
use rayon::prelude::*;

/// Values of a model's tensors, as its file has them or after compression.
pub trait Values: Sync {
    /// The numbers that every shape follows from.
    fn shape(&self) -> &Hyperparameters;
    /// Radians per position of each of the `head_dim / 2` rotary pairs.
    fn rope_frequencies(&self) -> &[f32];
    /// The tensor `[rows, cols]` of this role and layer, if there is one.
    fn values(&self, role: Role, layer: Option<u32>) -> Option<Array2<f32>>;
    /// The rows of the embedding for `tokens`, `[tokens, hidden]`.
    fn embed(&self, tokens: &[u32]) -> Array2<f32>;
}

impl Values for Model {
    fn shape(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    fn rope_frequencies(&self) -> &[f32] {
        &self.rope_frequencies
    }

    fn values(&self, role: Role, layer: Option<u32>) -> Option<Array2<f32>> {
        let tensor = self.tensor(role, layer)?;
        let mut values = Array2::zeros((tensor.rows, tensor.cols));
        let rows = values.as_slice_mut()?.par_chunks_mut(tensor.cols);
        rows.enumerate()
            .for_each(|(row, out)| self.row(tensor, row, out));
        Some(values)
    }

    fn embed(&self, tokens: &[u32]) -> Array2<f32> {
        let mut x = Array2::zeros((tokens.len(), self.hyperparameters.hidden as usize));
        if let Some(embedding) = self.tensor(Role::Embedding, None) {
            for (token, mut out) in tokens.iter().zip(x.rows_mut()) {
                if let Some(out) = out.as_slice_mut() {
                    self.row(embedding, *token as usize, out);
                }
            }
        }
        x
    }
}

/// What all blocks of a pass share: the shape, the length of a window, and the angles of its positions.
#[derive(Debug, Clone)]
pub struct Frame {
    shape: Hyperparameters,
    window: usize,
    /// `[window, head_dim / 2]`.
    cosines: Array2<f32>,
    sines: Array2<f32>,
}

impl Frame {
    /// A frame for windows of `window` tokens, each of which starts at position 0.
    #[must_use]
    pub fn new(values: &dyn Values, window: usize) -> Self {
        let frequencies = values.rope_frequencies();
        let angle = |(position, pair): (usize, usize)| position as f32 * frequencies[pair];
        let of = |f: fn(f32) -> f32| {
            Array2::from_shape_fn((window, frequencies.len()), |at| f(angle(at)))
        };
        Self {
            shape: *values.shape(),
            window,
            cosines: of(f32::cos),
            sines: of(f32::sin),
        }
    }

    /// Tokens of a window.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// The numbers that every shape follows from.
    #[must_use]
    pub fn shape(&self) -> &Hyperparameters {
        &self.shape
    }
}

/// RMS norm of each row, times `gain`: `[tokens, n]`.
fn rms_norm(x: &Array2<f32>, gain: &[f32], epsilon: f32) -> Array2<f32> {
    let mut out = x.clone();
    if let Some(slice) = out.as_slice_mut() {
        normalize_rows(slice, gain, epsilon);
    }
    out
}

/// RMS norm of each run of `gain.len()` floats.
fn normalize_rows(values: &mut [f32], gain: &[f32], epsilon: f32) {
    values.par_chunks_mut(gain.len()).for_each(|row| {
        widest(|| {
            let squares = sum_of_pairs(row, row, |x, _| f64::from(x).powi(2));
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounding to 32 bits is meant"
            )]
            let scale = (1.0 / (squares / row.len() as f64 + f64::from(epsilon)).sqrt()) as f32;
            for (x, gain) in row.iter_mut().zip(gain) {
                *x *= scale * gain;
            }
        });
    });
}
