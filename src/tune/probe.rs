//! Each tensor probed: what its settings cost in bytes and in error, and what an error of it costs the
//! model: one measured divergence a tensor.

use super::TuneError;
use super::candidate::{Candidate, Candidates};
use super::journal::{Journal, Record};
use super::reference::{Change, Reference};
use crate::calibrate::Calibration;
use crate::compress::{CompressedTensor, Feedback, compress_tensor_with, compress_weights};
use crate::forward::Input;
use crate::job::Job;
use crate::model::{Model, Tensor};
use crate::recipe::Setting;
use engine::encoding::{BLOCK_ROWS, Encoding};
use engine::shape::Role;
use ndarray::Array2;
use rayon::prelude::*;

/// Compresses each tensor in every setting, and measures what one of them costs the model.
///
/// # Errors
/// When the calibration cannot be read, the journal not be written, or the job is cancelled.
pub(super) fn measure(
    model: &Model,
    calibration: &Calibration,
    reference: &Reference<'_>,
    settings: &[Setting],
    probe: Setting,
    journal: &mut Journal,
    job: &Job<'_>,
) -> Result<Vec<Candidates>, TuneError> {
    let layers = model.hyperparameters.layers;
    let groups = std::iter::once(None).chain((0..layers).map(Some));
    let mut found = Vec::new();
    for layer in groups {
        let tensors: Vec<&Tensor> = model
            .tensors
            .iter()
            .filter(|t| t.role.is_matrix() && t.layer == layer)
            .collect();
        let done = layer.map_or(0, |layer| u64::from(layer) + 1);
        job.report("Probing", done, u64::from(layers) + 1)?;
        let is_known = |t: &&Tensor| journal.candidates(t, settings, probe).is_some();
        let hessians = if tensors.iter().all(is_known) {
            Vec::new()
        } else {
            calibration.hessians(layer)?
        };
        let feedbacks: Vec<(Input, Feedback<'_>)> = hessians
            .iter()
            .map(|(input, hessian)| (*input, Feedback::new(hessian)))
            .collect();
        feedbacks.par_iter().for_each(|(_, f)| f.prepare());
        let mut changes = Vec::new();
        let mut tried = Vec::new();
        for tensor in tensors {
            if let Some(candidates) = journal.candidates(tensor, settings, probe) {
                found.push(candidates);
                continue;
            }
            let input = calibration.input_of(tensor.role);
            let feedback = feedbacks.iter().find(|(i, _)| Some(*i) == input);
            let feedback = feedback.map(|(_, feedback)| feedback);
            let (options, change, error) =
                try_settings(model, tensor, settings, probe, feedback, job)?;
            changes.push(change);
            tried.push((tensor, options, error));
        }
        let divergences = divergences(model, reference, layer, changes, job)?;
        for ((tensor, options, error), divergence) in tried.into_iter().zip(divergences) {
            let candidates = Candidates {
                name: tensor.name.clone(),
                role: tensor.role,
                layer: tensor.layer,
                sensitivity: divergence / error.max(f64::MIN_POSITIVE),
                options,
            };
            journal.keep(&Record::of(&candidates, probe))?;
            found.push(candidates);
        }
    }
    Ok(found)
}

/// What a tensor costs in each setting, what the probed one makes of it, and the error of that.
fn try_settings(
    model: &Model,
    tensor: &Tensor,
    settings: &[Setting],
    probe: Setting,
    feedback: Option<&Feedback<'_>>,
    job: &Job<'_>,
) -> Result<(Vec<Candidate>, Change, f64), TuneError> {
    let sample = sampled_rows(model, tensor);
    let probed = settings.iter().position(|s| *s == probe).unwrap_or(0);
    // The whole tensor first: what is wrong with it is told with its place there.
    let compressed = compress_tensor_with(model, tensor, settings[probed], feedback, job)?;
    let options: Vec<Candidate> = settings
        .par_iter()
        .map(|setting| candidate(tensor, &sample, *setting, feedback))
        .collect::<Result<_, TuneError>>()?;
    job.check()?;
    let change = Change {
        role: tensor.role,
        values: dequantize(&compressed),
    };
    let error = compressed.output_error.unwrap_or(compressed.nmse);
    require_finite(error, &tensor.name)?;
    Ok((options, change, error))
}

/// What each change alone costs the model: changes of one layer, or of what stands outside of all.
fn divergences(
    model: &Model,
    reference: &Reference<'_>,
    layer: Option<u32>,
    changes: Vec<Change>,
    job: &Job<'_>,
) -> Result<Vec<f64>, TuneError> {
    match layer {
        Some(layer) if !changes.is_empty() => reference.kl_of_changes(layer, changes, job),
        Some(_) => Ok(Vec::new()),
        None => {
            let is_tied = model.tensor(Role::Output, None).is_none();
            let of = |change: &Change| match change.role {
                Role::Output => reference.kl_of_ends(None, Some(&change.values), job),
                _ if is_tied => {
                    reference.kl_of_ends(Some(&change.values), Some(&change.values), job)
                }
                _ => reference.kl_of_ends(Some(&change.values), None, job),
            };
            changes.iter().map(of).collect()
        }
    }
}

/// Rows that the error of a setting is measured on.
const SAMPLED_ROWS: usize = 128;

/// Whole blocks of rows from all over a tensor, `[rows, cols]`; all of a small one.
fn sampled_rows(model: &Model, tensor: &Tensor) -> Vec<f32> {
    let blocks = tensor.rows.div_ceil(BLOCK_ROWS);
    let taken = blocks.min(SAMPLED_ROWS / BLOCK_ROWS);
    let rows = (0..taken).flat_map(|index| {
        let first = index * blocks / taken * BLOCK_ROWS;
        first..tensor.rows.min(first + BLOCK_ROWS)
    });
    let rows: Vec<usize> = rows.collect();
    let mut weights = vec![0.0; rows.len() * tensor.cols];
    for (row, out) in rows.into_iter().zip(weights.chunks_exact_mut(tensor.cols)) {
        model.row(tensor, row, out);
    }
    weights
}

/// Checks what was measured of a tensor.
fn require_finite(found: f64, tensor: &str) -> Result<(), TuneError> {
    if found.is_finite() {
        return Ok(());
    }
    Err(TuneError::NotFinite {
        of: format!("an error of {tensor}"),
        found,
    })
}

/// The bytes of a setting, and its error on a sample of the rows.
///
/// # Errors
/// When weights cannot be stored so, or the error is no number.
fn candidate(
    tensor: &Tensor,
    sample: &[f32],
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
) -> Result<Candidate, TuneError> {
    let encoding = setting.encoding(tensor.rows, tensor.cols, Some(tensor.source));
    let kept = setting.kept(tensor.cols);
    let error = match encoding {
        // As the source has it.
        Encoding::Twin(_) => 0.0,
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Sparse(_) => {
            let found = compress_weights(sample, tensor.cols, setting, feedback)?;
            found.output_error.unwrap_or(found.nmse)
        }
    };
    require_finite(error, &tensor.name)?;
    Ok(Candidate {
        setting,
        bytes: encoding.bytes(tensor.rows, tensor.cols, kept) as u64,
        error,
    })
}

/// The values of a compressed tensor `[rows, cols]`.
pub(super) fn dequantize(tensor: &CompressedTensor) -> Array2<f32> {
    let matrix = tensor.matrix();
    let mut values = Array2::zeros((tensor.rows, tensor.cols));
    if let Some(slice) = values.as_slice_mut() {
        let rows = slice.par_chunks_mut(tensor.cols).enumerate();
        rows.for_each(|(row, out)| matrix.dequantize_row(row, out));
    }
    values
}
