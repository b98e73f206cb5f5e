//! The error of each tensor of a packed file against the model that it was made of.

use super::EvaluateError;
use crate::compress::squared_error;
use crate::job::Job;
use crate::model::{Model, Tensor};
use crate::packed::PackedModel;
use engine::matrix::Matrix;
use engine::shape::Role;
use rayon::prelude::*;
use serde::Serialize;

/// How far a packed tensor is from its source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorError {
    /// GGUF name.
    pub name: String,
    /// What it does.
    #[serde(skip)]
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Name of the encoding.
    pub encoding: &'static str,
    /// How the source has it.
    pub source: &'static str,
    /// Stored bits for each weight, scales and masks counted.
    pub bits_per_weight: f64,
    /// Bytes in the file.
    pub bytes: usize,
    /// Sum of squared errors of its weights.
    pub squared_error: f64,
    /// The same over the sum of squared weights; 0 is lossless.
    pub nmse: f64,
}

/// The error of every tensor that `packed` has of `model`, the largest relative one first.
///
/// # Errors
/// When a tensor is not the model's, in name or shape, or has weights there or here that are no finite
/// numbers, or the job is cancelled.
pub fn tensor_errors(
    packed: &PackedModel,
    model: &Model,
    job: &Job<'_>,
) -> Result<Vec<TensorError>, EvaluateError> {
    let view = packed.view();
    let mut errors = Vec::new();
    for entry in view.entries() {
        job.report(
            "Comparing tensors",
            errors.len() as u64,
            u64::from(view.tensors()),
        )?;
        // The model has them as numbers of its own, not as a tensor.
        if entry.role == Role::RopeFrequencies {
            continue;
        }
        let layer = entry.role.is_per_layer().then_some(entry.layer);
        let matrix = &entry.matrix;
        let same_shape = |t: &&Tensor| (t.rows, t.cols) == (matrix.rows(), matrix.cols());
        let source = model.tensor(entry.role, layer).filter(same_shape);
        let source = source.ok_or_else(|| EvaluateError::Tensor {
            tensor: entry.name.to_owned(),
            rows: matrix.rows(),
            cols: matrix.cols(),
        })?;
        let (squared_error, size) = squares(matrix, model, source);
        if !(squared_error.is_finite() && size.is_finite()) {
            return Err(EvaluateError::TensorError {
                tensor: source.name.clone(),
                found: squared_error,
            });
        }
        let weights = matrix.rows() * matrix.cols();
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let bits_per_weight = matrix.bytes().len() as f64 * 8.0 / weights.max(1) as f64;
        errors.push(TensorError {
            name: source.name.clone(),
            role: entry.role,
            layer,
            encoding: matrix.encoding().name(),
            source: source.source.name(),
            bits_per_weight,
            bytes: matrix.bytes().len(),
            squared_error,
            nmse: if size > 0.0 {
                squared_error / size
            } else {
                0.0
            },
        });
    }
    errors.sort_by(|a, b| b.nmse.total_cmp(&a.nmse));
    Ok(errors)
}

/// Sums of squared errors and of squared weights; row by row, the rows' in order, so that any number
/// of threads gives the same.
fn squares(matrix: &Matrix<'_>, model: &Model, source: &Tensor) -> (f64, f64) {
    let rows: Vec<(f64, f64)> = (0..matrix.rows())
        .into_par_iter()
        .map_init(
            || (vec![0.0; matrix.cols()], vec![0.0; matrix.cols()]),
            |(packed, weights), row| {
                matrix.dequantize_row(row, packed);
                model.row(source, row, weights);
                squared_error(weights, packed)
            },
        )
        .collect();
    rows.into_iter()
        .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
}
