//! A whole model by a recipe, with the Hessians of a calibration.

use super::{
    CompressError, CompressedModel, CompressedTensor, Feedback, compress_tensor_with, tensor,
};
use crate::calibrate::{Calibration, Origin};
use crate::forward::Input;
use crate::job::{Cancelled, Job};
use crate::model::{Model, Tensor};
use crate::recipe::Recipe;
use rayon::prelude::*;
use std::sync::Arc;

/// What is done with each tensor as soon as it is compressed, by the thread that did it.
pub type Finished<'a> = dyn Fn(&Arc<CompressedTensor>) -> Result<(), Cancelled> + Sync + 'a;

/// Compresses as `recipe` says, taking over from `ready` what has the same setting already; methods that
/// weigh errors find the Hessians in `calibration`, and without one do what each
/// [`CompressedTensor::methods`] says.
///
/// # Errors
/// When the calibration cannot be read, weights cannot be stored, or the job is cancelled.
pub fn compress_calibrated(
    model: &Model,
    recipe: &Recipe,
    calibration: Option<&Calibration>,
    ready: &[Arc<CompressedTensor>],
    job: &Job<'_>,
) -> Result<CompressedModel, CompressError> {
    compress_each(model, recipe, calibration, ready, &|_| Ok(()), job)
}

/// As [`compress_calibrated`], with `finished` called for each tensor that is compressed, not for those
/// taken over.
///
/// # Errors
/// As there, and when `finished` wants it to stop.
pub fn compress_each(
    model: &Model,
    recipe: &Recipe,
    calibration: Option<&Calibration>,
    ready: &[Arc<CompressedTensor>],
    finished: &Finished<'_>,
    job: &Job<'_>,
) -> Result<CompressedModel, CompressError> {
    let layers = model.hyperparameters.layers;
    let total = model.tensors.iter().map(Tensor::parameters).sum();
    let mut done = 0;
    let mut found: Vec<Option<Arc<CompressedTensor>>> = vec![None; model.tensors.len()];
    for layer in std::iter::once(None).chain((0..layers).map(Some)) {
        job.report("Compressing", done, total)?;
        let mut work = Vec::new();
        let tensors = model.tensors.iter().enumerate();
        for (place, tensor) in tensors.filter(|(_, t)| t.layer == layer) {
            let setting = recipe.setting(tensor.role, layer, layers);
            let same = |t: &&Arc<CompressedTensor>| t.name == tensor.name && t.setting == setting;
            match ready.iter().find(same) {
                Some(tensor) => found[place] = Some(Arc::clone(tensor)),
                None => work.push((place, tensor, setting)),
            }
            done += tensor.parameters();
        }
        // One layer's Hessians are in memory at a time.
        let is_weighed = work
            .iter()
            .any(|(_, t, s)| t.role.is_matrix() && s.is_calibrated());
        let hessians = match calibration.filter(|_| is_weighed) {
            Some(calibration) => calibration.hessians(layer)?,
            None => Vec::new(),
        };
        let feedbacks: Vec<(Input, Feedback<'_>)> = hessians
            .iter()
            .map(|(input, hessian)| (*input, Feedback::new(hessian)))
            .collect();
        let compressed: Vec<_> = work
            .into_par_iter()
            .map(|(place, tensor, setting)| {
                let input = calibration.and_then(|c| c.input_of(tensor.role));
                let feedback = feedbacks.iter().find(|(i, _)| Some(*i) == input);
                let feedback = feedback.map(|(_, f)| f).filter(|_| setting.is_calibrated());
                let tensor = compress_tensor_with(model, tensor, setting, feedback, job)?;
                let tensor = Arc::new(tensor);
                finished(&tensor)?;
                Ok((place, tensor))
            })
            .collect::<Result<_, CompressError>>()?;
        for (place, tensor) in compressed {
            found[place] = Some(tensor);
        }
    }
    let mut tensors: Vec<_> = found.into_iter().flatten().collect();
    tensors.push(Arc::new(tensor::frequencies(model)?));
    job.report("Compressing", total, total)?;
    Ok(CompressedModel {
        recipe: recipe.clone(),
        calibration: fitted_to(recipe, calibration).cloned(),
        tensors,
    })
}

/// What the weights of a recipe are fitted to, if a rule asks for it and it is at hand.
pub(crate) fn fitted_to<'a>(
    recipe: &Recipe,
    calibration: Option<&'a Calibration>,
) -> Option<&'a Origin> {
    let fitted = calibration.filter(|_| recipe.is_calibrated());
    fitted.map(|calibration| &calibration.origin)
}
