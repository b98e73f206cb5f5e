//! The sorted weights of the matrices whose sparsity was changed of late: a slider that moves again costs
//! a threshold and no sort.

use super::loaded::Loaded;
use super::request::Request;
use crate::calibrate::CalibrateError;
use crate::compress::{
    CompressError, CompressedTensor, Feedback, Saliency, compress_tensor_sorted,
};
use crate::recipe::{Precision, Pruner, Setting};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most bytes that all orders take: three of a feed-forward matrix of a model with a thousand million
/// weights.
const MOST_BYTES: usize = 192 << 20;

/// What weights are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Magnitude,
    /// And by how large their inputs are.
    Inputs,
}

/// Sorted weights, the newest first.
#[derive(Debug, Default)]
pub(super) struct Saliencies {
    kept: VecDeque<(Arc<Loaded>, usize, By, Saliency)>,
}

/// How the weights of a request are to be sorted; nothing where no order prunes as its setting asks.
fn by(setting: &Setting) -> Option<By> {
    let is_plain = match setting.precision {
        Precision::Sixteen | Precision::Source => false,
        Precision::One => (setting.sparsity - 0.75).abs() > 1e-9,
        Precision::Ternary
        | Precision::Two
        | Precision::Three
        | Precision::Four
        | Precision::Five
        | Precision::Six
        | Precision::Eight => true,
    };
    if !is_plain || setting.sparsity <= 0.0 || setting.pattern.is_some() {
        return None;
    }
    Some(match setting.pruner {
        Pruner::Magnitude => By::Magnitude,
        Pruner::Wanda | Pruner::SparseGpt => By::Inputs,
    })
}

impl Saliencies {
    fn find(&self, request: &Request, by: By) -> Option<&Saliency> {
        self.kept
            .iter()
            .find(|(loaded, matrix, how, _)| {
                Arc::ptr_eq(loaded, &request.loaded) && (*matrix, *how) == (request.matrix, by)
            })
            .map(|(_, _, _, saliency)| saliency)
    }

    /// The matrix pruned by its stored order; nothing when it has none yet.
    pub(super) fn compress(
        &self,
        request: &Request,
    ) -> Option<Result<CompressedTensor, CompressError>> {
        let saliency = self.find(request, by(&request.setting)?)?;
        let Loaded {
            model, matrices, ..
        } = &*request.loaded;
        let tensor = &model.tensors[matrices[request.matrix].tensor];
        Some(compress_tensor_sorted(
            model,
            tensor,
            request.setting,
            saliency,
        ))
    }

    /// Sorts the weights that a slider moves over, unless they are sorted.
    pub(super) fn sort(&mut self, request: &Request) -> Result<(), CalibrateError> {
        let Some(by) = by(&request.setting) else {
            return Ok(());
        };
        if self.find(request, by).is_some() {
            return Ok(());
        }
        let Loaded {
            model, matrices, ..
        } = &*request.loaded;
        let matrix = &matrices[request.matrix];
        let hessian = match (by, &request.calibration) {
            (By::Magnitude, _) => None,
            (By::Inputs, Some(calibration)) => calibration.hessian(matrix.role, matrix.layer)?,
            // Nothing says how large they are: magnitudes serve until it does.
            (By::Inputs, None) => return Ok(()),
        };
        let feedback = hessian.as_ref().map(Feedback::new);
        let tensor = &model.tensors[matrix.tensor];
        let saliency = Saliency::of(model, tensor, feedback.as_ref());
        self.kept
            .retain(|(loaded, ..)| Arc::ptr_eq(loaded, &request.loaded));
        let loaded = Arc::clone(&request.loaded);
        self.kept.push_front((loaded, request.matrix, by, saliency));
        while self.kept.len() > 1 && self.bytes() > MOST_BYTES {
            self.kept.pop_back();
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.kept.iter().map(|(_, _, _, order)| order.bytes()).sum()
    }
}
