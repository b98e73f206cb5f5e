//! One matrix through the methods of its setting, whether it is a model's or stands alone.

use super::feedback::Feedback;
use super::plan::Plan;
use super::quantize::{Guide, encode_as};
use super::twin;
use crate::calibrate::Hessian;
use crate::linear::add_transposed_times;
use crate::model::{Model, Tensor};
use crate::recipe::{Pruner, Quantizer, Setting};
use engine::encoding::{BLOCK_ROWS, Encoding};
use engine::matrix::Matrix;
use engine::shape::Role;
use rayon::prelude::*;

/// One tensor in the engine's bytes, with the error that it suffered.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressedTensor {
    /// GGUF name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
    /// What the recipe asked.
    pub setting: Setting,
    /// How it is stored.
    pub encoding: Encoding,
    /// Weights kept in each row.
    pub kept: usize,
    /// Its bytes: scales, masks and padding included.
    pub bytes: Vec<u8>,
    /// Sum of squared errors over sum of squared weights, against the source; 0 is lossless.
    pub nmse: f64,
    /// Mean squared error of the outputs over their mean square, on the text of the Hessian if there was
    /// one.
    pub output_error: Option<f64>,
    /// What was really done.
    pub methods: Methods,
}

/// How a matrix was rounded and pruned: not as its setting asks where there was no Hessian to do it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods {
    /// How kept weights were rounded.
    pub quantizer: Quantizer,
    /// How the others were chosen; magnitude where all are kept.
    pub pruner: Pruner,
}

/// A matrix in the engine's bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressedWeights {
    /// How it is stored.
    pub encoding: Encoding,
    /// Weights kept in each row.
    pub kept: usize,
    /// Its bytes: scales, masks and padding included.
    pub bytes: Vec<u8>,
    /// Sum of squared errors over sum of squared weights.
    pub nmse: f64,
    /// `tr(E H Eᵀ) / tr(W H Wᵀ)` with the errors `E`, where there was a Hessian `H`.
    pub output_error: Option<f64>,
    /// What was really done.
    pub methods: Methods,
}

impl CompressedTensor {
    /// The tensor as the engine reads it.
    #[must_use]
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.encoding, self.rows, self.cols, self.kept, &self.bytes)
            .expect("encoded to this very length")
    }

    /// Whether every weight is what it was in the source.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        // A sum of squares of differences, none of which is so small that its square is 0.
        self.nmse == 0.0
    }
}

/// Compresses one tensor; what is not a matrix stays in 32-bit floats.
///
/// # Panics
/// When the Hessian is not `[cols, cols]`.
#[must_use]
pub fn compress_tensor(
    model: &Model,
    tensor: &Tensor,
    setting: Setting,
    hessian: Option<&Hessian>,
) -> CompressedTensor {
    let feedback = hessian.map(Feedback::new);
    compress_tensor_with(model, tensor, setting, feedback.as_ref())
}

/// Compresses one tensor with a Hessian that other tensors may share.
///
/// # Panics
/// When the Hessian is not `[cols, cols]`.
#[must_use]
pub fn compress_tensor_with(
    model: &Model,
    tensor: &Tensor,
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
) -> CompressedTensor {
    let Tensor {
        rows,
        cols,
        role,
        layer,
        ..
    } = *tensor;
    let (setting, encoding) = if role.is_matrix() {
        (setting, setting.encoding(rows, cols, Some(tensor.source)))
    } else {
        (Setting::REFERENCE, Encoding::F32)
    };
    let weights = model.values(tensor);
    let compressed = match encoding {
        Encoding::Twin(kind) => CompressedWeights {
            encoding,
            kept: cols,
            bytes: twin::repack(kind, cols, model.source_bytes(tensor)),
            nmse: 0.0,
            output_error: feedback.map(|_| 0.0),
            methods: Methods::default(),
        },
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Sparse(_) => compress_as(encoding, &weights, cols, setting, feedback),
    };
    let CompressedWeights {
        kept,
        bytes,
        nmse,
        output_error,
        methods,
        ..
    } = compressed;
    CompressedTensor {
        name: tensor.name.clone(),
        role,
        layer,
        rows,
        cols,
        setting,
        encoding,
        kept,
        bytes,
        nmse,
        output_error,
        methods,
    }
}

/// Compresses a matrix `[rows, cols]`, row-major, of no model.
///
/// # Panics
/// When `weights` is not whole rows, or the Hessian is not `[cols, cols]`.
#[must_use]
pub fn compress_weights(
    weights: &[f32],
    cols: usize,
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
) -> CompressedWeights {
    let encoding = setting.encoding(weights.len() / cols, cols, None);
    compress_as(encoding, weights, cols, setting, feedback)
}

fn compress_as(
    encoding: Encoding,
    weights: &[f32],
    cols: usize,
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
) -> CompressedWeights {
    assert!(weights.len().is_multiple_of(cols), "whole rows of {cols}");
    if let Some(feedback) = feedback {
        let inputs = feedback.hessian().moments().nrows();
        assert_eq!(inputs, cols, "inputs of the Hessian");
    }
    let (plan, factor) = Plan::new(&setting, encoding, cols, feedback);
    let guide = feedback.map(|feedback| Guide { feedback, factor });
    let encoded = encode_as(&plan, guide, weights);
    let matrix = Matrix::new(
        encoding,
        weights.len() / cols,
        cols,
        plan.kept,
        &encoded.bytes,
    )
    .expect("encoded to this very length");
    CompressedWeights {
        encoding,
        kept: plan.kept,
        nmse: encoded.nmse,
        output_error: feedback.map(|f| output_error(&matrix, weights, f.hessian())),
        methods: Methods {
            quantizer: plan.quantizer,
            pruner: plan.pruner,
        },
        bytes: encoded.bytes,
    }
}

/// `tr(E H Eᵀ) / tr(W H Wᵀ)`; 0 where both are.
fn output_error(matrix: &Matrix<'_>, weights: &[f32], hessian: &Hessian) -> f64 {
    let cols = matrix.cols();
    let moments = hessian.moments().view();
    let tiles: Vec<(f64, f64)> = weights
        .par_chunks(4 * BLOCK_ROWS * cols)
        .enumerate()
        .map(|(index, weights)| {
            let rows = weights.len() / cols;
            // Errors in the first half of the columns, weights in the second.
            let width = 2 * rows;
            let mut both = vec![0.0; cols * width];
            let mut values = vec![0.0; cols];
            for (r, weights) in weights.chunks_exact(cols).enumerate() {
                matrix.dequantize_row(index * 4 * BLOCK_ROWS + r, &mut values);
                for (col, (w, q)) in weights.iter().zip(&values).enumerate() {
                    both[col * width + r] = w - q;
                    both[col * width + rows + r] = *w;
                }
            }
            let mut products = vec![0.0; cols * width];
            add_transposed_times(moments, &both, &mut products);
            let (mut error, mut size) = (0.0, 0.0);
            let pairs = both.chunks_exact(width).zip(products.chunks_exact(width));
            for (both, products) in pairs {
                let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                let sums = both.iter().zip(products).map(product);
                for (r, product) in sums.enumerate() {
                    if r < rows {
                        error += product;
                    } else {
                        size += product;
                    }
                }
            }
            (error, size)
        })
        .collect();
    let sum = |a: (f64, f64), b: (f64, f64)| (a.0 + b.0, a.1 + b.1);
    let (error, size) = tiles.into_iter().fold((0.0, 0.0), sum);
    if size > 0.0 {
        error.max(0.0) / size
    } else {
        0.0
    }
}

/// The rotary frequencies: a table that the engine reads like any other tensor.
pub(super) fn frequencies(model: &Model) -> CompressedTensor {
    let cols = model.rope_frequencies.len();
    let plan = Plan::nearest(Encoding::F32, cols, cols);
    CompressedTensor {
        name: Role::RopeFrequencies.gguf_name().into(),
        role: Role::RopeFrequencies,
        layer: None,
        rows: 1,
        cols,
        setting: Setting::REFERENCE,
        encoding: Encoding::F32,
        kept: cols,
        bytes: encode_as(&plan, None, &model.rope_frequencies).bytes,
        nmse: 0.0,
        output_error: None,
        methods: Methods::default(),
    }
}
