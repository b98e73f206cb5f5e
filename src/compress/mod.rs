//! Quantizes and prunes a model as a recipe says, tensor by tensor.
//!
//! Pure: the same model and recipe give the same bytes on any number of threads. One tensor can be
//! compressed alone, so that one slider costs one tensor.

mod exact;
mod prune;
mod quantize;
mod scales;
mod twin;

pub use quantize::encode;

use crate::job::{Cancelled, Job};
use crate::model::{Model, Tensor};
use crate::recipe::{Recipe, Setting};
use engine::encoding::Encoding;
use engine::matrix::Matrix;
use engine::shape::Role;
use rayon::prelude::*;
use std::sync::Arc;

/// Weights that were to be packed as they are lie off the grid of their encoding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "expected weights that {encoding} holds exactly, found {tensor} changed by a relative squared error of {nmse:.1e}"
)]
#[non_exhaustive]
pub struct OffGrid {
    /// GGUF name of the first such tensor.
    pub tensor: String,
    /// Name of its encoding.
    pub encoding: &'static str,
    /// Sum of squared errors over sum of squared weights.
    pub nmse: f64,
}

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

/// A model compressed by a recipe; tensors are shared, so that two candidates differ only where
/// their recipes do.
#[derive(Debug, Clone)]
pub struct CompressedModel {
    /// The recipe.
    pub recipe: Recipe,
    /// Every tensor, the rotary frequencies included, in the model's order.
    pub tensors: Vec<Arc<CompressedTensor>>,
}

impl CompressedModel {
    /// Bytes of all tensors.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tensors.iter().map(|t| t.bytes.len()).sum()
    }

    /// Bits for each weight of the matrices: every scale, mask and table of theirs counted.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        let matrices = || self.tensors.iter().filter(|t| t.role.is_matrix());
        let bytes: usize = matrices().map(|t| t.bytes.len()).sum();
        let weights: usize = matrices().map(|t| t.rows * t.cols).sum();
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let bits = bytes as f64 * 8.0 / weights.max(1) as f64;
        bits
    }

    /// How many matrices are packed without error, and how many there are.
    #[must_use]
    pub fn exact_matrices(&self) -> (usize, usize) {
        let matrices = || self.tensors.iter().filter(|t| t.role.is_matrix());
        (
            matrices().filter(|t| t.is_exact()).count(),
            matrices().count(),
        )
    }

    /// Checks that every weight is what it was in the source: that weights which were trained for the
    /// grids of this recipe are on them.
    ///
    /// # Errors
    /// Names the first tensor of which packing changed a weight.
    pub fn require_exact(&self) -> Result<(), OffGrid> {
        match self.tensors.iter().find(|t| !t.is_exact()) {
            None => Ok(()),
            Some(tensor) => Err(OffGrid {
                tensor: tensor.name.clone(),
                encoding: tensor.encoding.name(),
                nmse: tensor.nmse,
            }),
        }
    }

    /// The tensor with this role and layer.
    #[must_use]
    pub fn tensor(&self, role: Role, layer: Option<u32>) -> Option<&Arc<CompressedTensor>> {
        self.tensors
            .iter()
            .find(|t| t.role == role && t.layer == layer)
    }
}

/// Compresses every tensor as `recipe` says.
///
/// # Errors
/// [`Cancelled`] between two tensors.
pub fn compress(
    model: &Model,
    recipe: &Recipe,
    job: &Job<'_>,
) -> Result<CompressedModel, Cancelled> {
    recompress(model, recipe, &[], job)
}

/// Compresses as `recipe` says, taking over from `ready` what has the same setting already.
///
/// # Errors
/// [`Cancelled`] between two tensors.
pub fn recompress(
    model: &Model,
    recipe: &Recipe,
    ready: &[Arc<CompressedTensor>],
    job: &Job<'_>,
) -> Result<CompressedModel, Cancelled> {
    let weights = |t: &Tensor| (t.rows * t.cols) as u64;
    let total = model.tensors.iter().map(weights).sum();
    let mut done = 0;
    let mut tensors = Vec::with_capacity(model.tensors.len() + 1);
    for tensor in &model.tensors {
        job.report("Compressing", done, total)?;
        let setting = recipe.setting(tensor.role, tensor.layer, model.hyperparameters.layers);
        let same = |t: &&Arc<CompressedTensor>| t.name == tensor.name && t.setting == setting;
        tensors.push(match ready.iter().find(same) {
            Some(tensor) => Arc::clone(tensor),
            None => Arc::new(compress_tensor(model, tensor, setting)),
        });
        done += weights(tensor);
    }
    tensors.push(Arc::new(frequencies(model)));
    job.report("Compressing", total, total)?;
    Ok(CompressedModel {
        recipe: recipe.clone(),
        tensors,
    })
}

/// Compresses one tensor; what is not a matrix stays in 32-bit floats.
#[must_use]
pub fn compress_tensor(model: &Model, tensor: &Tensor, setting: Setting) -> CompressedTensor {
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
    let kept = setting.kept(cols);
    let weights = model.values(tensor);
    let bytes = match encoding {
        Encoding::Twin(twin) => twin::repack(twin, cols, model.source_bytes(tensor)),
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Sparse(_) => encode(encoding, cols, kept, &weights),
    };
    let mut compressed = CompressedTensor {
        name: tensor.name.clone(),
        role,
        layer,
        rows,
        cols,
        setting,
        encoding,
        kept,
        bytes,
        nmse: 0.0,
    };
    compressed.nmse = nmse(&compressed.matrix(), &weights);
    compressed
}

/// The rotary frequencies: a table that the engine reads like any other tensor.
fn frequencies(model: &Model) -> CompressedTensor {
    let cols = model.rope_frequencies.len();
    CompressedTensor {
        name: Role::RopeFrequencies.gguf_name().into(),
        role: Role::RopeFrequencies,
        layer: None,
        rows: 1,
        cols,
        setting: Setting::REFERENCE,
        encoding: Encoding::F32,
        kept: cols,
        bytes: encode(Encoding::F32, cols, cols, &model.rope_frequencies),
        nmse: 0.0,
    }
}

/// Squared error of the packed weights over the squared weights; sums run row by row, in order.
fn nmse(matrix: &Matrix<'_>, weights: &[f32]) -> f64 {
    let rows: Vec<(f64, f64)> = weights
        .par_chunks_exact(matrix.cols())
        .enumerate()
        .map_init(
            || vec![0.0; matrix.cols()],
            |row, (i, weights)| {
                matrix.dequantize_row(i, row);
                weights
                    .iter()
                    .zip(&*row)
                    .fold((0.0, 0.0), |(error, size), (w, q)| {
                        (
                            error + f64::from(w - q).powi(2),
                            size + f64::from(*w).powi(2),
                        )
                    })
            },
        )
        .collect();
    let (error, size) = rows
        .into_iter()
        .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    if size > 0.0 { error / size } else { 0.0 }
}
