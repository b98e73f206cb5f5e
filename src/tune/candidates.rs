//! The settings that each tensor may have, what each costs in bytes and in error, and what an error of
//! each tensor costs the model: one measured divergence a tensor.

use super::TuneError;
use super::journal::{Journal, Record};
use super::reference::{Change, Reference};
use crate::calibrate::Calibration;
use crate::compress::{CompressedTensor, Feedback, compress_tensor_with, compress_weights};
use crate::forward::Input;
use crate::job::Job;
use crate::model::{Model, Tensor};
use crate::recipe::{NOfM, Precision, Pruner, Quantizer, Setting};
use engine::encoding::{BLOCK_ROWS, Encoding};
use engine::shape::Role;
use ndarray::Array2;
use rayon::prelude::*;

/// What was found out about one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// GGUF name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// The settings in the order in which they were given, without those that store it as another does.
    pub options: Vec<Candidate>,
    /// Divergence in nats that a relative output error of one would cost, if it grew evenly.
    pub sensitivity: f64,
}

/// One setting of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The setting.
    pub setting: Setting,
    /// Bytes of the tensor.
    pub bytes: u64,
    /// Squared error of its outputs over their square, on the calibration text; of its weights where it
    /// is no linear map.
    pub error: f64,
}

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
        let mut group = Vec::new();
        for tensor in tensors {
            if let Some(candidates) = journal.candidates(tensor, settings, probe) {
                found.push(candidates);
                continue;
            }
            let input = calibration.input_of(tensor.role);
            let feedback = feedbacks.iter().find(|(i, _)| Some(*i) == input);
            let feedback = feedback.map(|(_, feedback)| feedback);
            let sample = sampled_rows(model, tensor);
            let options: Vec<Candidate> = settings
                .par_iter()
                .map(|setting| candidate(tensor, &sample, *setting, feedback))
                .collect();
            job.check()?;
            let probed = settings.iter().position(|s| *s == probe).unwrap_or(0);
            let setting = settings[probed];
            let compressed = compress_tensor_with(model, tensor, setting, feedback, job)?;
            let values = dequantize(&compressed);
            let error = compressed.output_error.unwrap_or(compressed.nmse);
            group.push((tensor, options, error));
            changes.push(Change {
                role: tensor.role,
                values,
            });
        }
        let divergences = match layer {
            Some(layer) if !changes.is_empty() => reference.kl_of_changes(layer, changes, job)?,
            Some(_) => Vec::new(),
            None => {
                let is_tied = model.tensor(Role::Output, None).is_none();
                let of = |change: &Change| match change.role {
                    Role::Output => reference.kl_of_ends(None, Some(&change.values), job),
                    _ if is_tied => {
                        reference.kl_of_ends(Some(&change.values), Some(&change.values), job)
                    }
                    _ => reference.kl_of_ends(Some(&change.values), None, job),
                };
                changes.iter().map(of).collect::<Result<_, _>>()?
            }
        };
        for ((tensor, options, error), divergence) in group.into_iter().zip(divergences) {
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

/// The bytes of a setting, and its error on a sample of the rows.
fn candidate(
    tensor: &Tensor,
    sample: &[f32],
    setting: Setting,
    feedback: Option<&Feedback<'_>>,
) -> Candidate {
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
            let found = compress_weights(sample, tensor.cols, setting, feedback);
            found.output_error.unwrap_or(found.nmse)
        }
    };
    Candidate {
        setting,
        bytes: encoding.bytes(tensor.rows, tensor.cols, kept) as u64,
        error,
    }
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

/// The settings that a tune tries if none are named: every width, calibrated, and a sign in one of four.
///
/// Other sparse settings mostly lose to narrower dense ones of the same bytes, once masks are counted:
/// [`sparse_settings`] has them.
#[must_use]
pub fn default_settings() -> Vec<Setting> {
    let one_of_four = NOfM::new(1, 4).map(|pattern| Setting {
        pruner: Pruner::SparseGpt,
        ..Setting::calibrated(Precision::One).with_pattern(pattern)
    });
    let dense = [
        Precision::One,
        Precision::Ternary,
        Precision::Two,
        Precision::Three,
        Precision::Four,
        Precision::Five,
        Precision::Six,
        Precision::Eight,
        Precision::Source,
    ]
    .map(Setting::calibrated);
    one_of_four.into_iter().chain(dense).collect()
}

/// Pruned settings, for a tune that spreads sparsity over the model too: two to four bits with shares
/// that take from 1.4 to 3 bits a weight, masks counted.
#[must_use]
pub fn sparse_settings() -> Vec<Setting> {
    let widths = [Precision::Two, Precision::Three, Precision::Four];
    let pruned = |precision| {
        [0.5, 0.65, 0.8].map(|sparsity| Setting {
            method: Quantizer::Gptq,
            pruner: Pruner::SparseGpt,
            ..Setting::sparse(precision, sparsity)
        })
    };
    widths.into_iter().flat_map(pruned).collect()
}

/// Shares of pruned weights that [`preview_settings`] tries.
const PREVIEWED_SPARSITIES: [f64; 4] = [0.25, 0.5, 0.75, 0.9];

/// The settings that a tune tries when every slider is to be previewed from it: those of
/// [`default_settings`], each width by the other methods, and four bits with four sparsities.
#[must_use]
pub fn preview_settings() -> Vec<Setting> {
    let mut settings = default_settings();
    let widths: Vec<Precision> = settings
        .iter()
        .filter(|setting| setting.pattern.is_none())
        .map(|setting| setting.precision)
        .filter(|precision| *precision != Precision::Source)
        .collect();
    for method in [Quantizer::Nearest, Quantizer::Search] {
        settings.extend(widths.iter().map(|precision| Setting {
            method,
            ..Setting::bits(*precision)
        }));
    }
    for (method, pruner) in [
        (Quantizer::Nearest, Pruner::Magnitude),
        (Quantizer::Gptq, Pruner::SparseGpt),
    ] {
        settings.extend(PREVIEWED_SPARSITIES.map(|sparsity| Setting {
            method,
            pruner,
            ..Setting::sparse(Precision::Four, sparsity)
        }));
    }
    settings
}
