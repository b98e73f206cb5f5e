//! Quantizes and prunes a model as a recipe says, tensor by tensor.
//!
//! Pure: the same model and recipe give the same bytes on any number of threads. One tensor can be
//! compressed alone, so that one slider costs one tensor.

mod calibrated;
mod columns;
mod error;
mod exact;
mod feedback;
mod grid;
mod outputs;
mod part;
mod plan;
mod prune;
mod quantize;
mod refine;
mod rounding;
mod row;
mod rows;
mod saliency;
mod scales;
mod search;
mod solve;
mod tensor;
#[cfg(test)]
mod testing;
mod twin;
mod unstorable;
mod write;

use plan::Plan;

pub(crate) use calibrated::fitted_to;
pub use calibrated::{Finished, compress_calibrated, compress_each};
pub use error::CompressError;
pub use feedback::Feedback;
pub use quantize::{encode, squared_error};
pub use saliency::{Saliency, compress_tensor_sorted};
pub use tensor::{
    CompressedTensor, CompressedWeights, Methods, compress_tensor, compress_tensor_with,
    compress_weights, packed_bytes,
};
pub use unstorable::Unstorable;

use crate::calibrate::Origin;
use crate::job::Job;
use crate::model::Model;
use crate::recipe::Recipe;
use engine::shape::Role;
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

/// A model compressed by a recipe; tensors are shared, so that two candidates differ only where
/// their recipes do.
#[derive(Debug, Clone)]
pub struct CompressedModel {
    /// The recipe.
    pub recipe: Recipe,
    /// What its weights were fitted to, if a rule asked for it and it was at hand.
    pub calibration: Option<Origin>,
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
/// When weights cannot be stored, or the job is cancelled, which it is between two tensors.
pub fn compress(
    model: &Model,
    recipe: &Recipe,
    job: &Job<'_>,
) -> Result<CompressedModel, CompressError> {
    compress_calibrated(model, recipe, None, &[], job)
}
