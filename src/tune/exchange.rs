//! Exchanges: one tensor gets more bytes, others give them up, and the change stays if the whole model
//! diverges less.

use super::candidate::Candidate;
use super::probe::dequantize;
use super::reference::Reference;
use super::{TuneError, Tuner};
use crate::compress::{CompressedModel, CompressedTensor, Feedback, compress_tensor_with};
use crate::estimate::SECTOR_BYTES;
use crate::forward::Values;
use crate::job::Job;
use crate::model::Model;
use engine::shape::{Hyperparameters, Role};
use ndarray::Array2;
use std::sync::Arc;

/// A compressed model in floats.
struct Played<'a> {
    model: &'a Model,
    compressed: &'a CompressedModel,
}

impl Values for Played<'_> {
    fn shape(&self) -> &Hyperparameters {
        &self.model.hyperparameters
    }

    fn rope_frequencies(&self) -> &[f32] {
        &self.model.rope_frequencies
    }

    fn values(&self, role: Role, layer: Option<u32>) -> Option<Array2<f32>> {
        Some(dequantize(self.compressed.tensor(role, layer)?))
    }

    fn embed(&self, tokens: &[u32]) -> Array2<f32> {
        let mut x = Array2::zeros((tokens.len(), self.model.hyperparameters.hidden as usize));
        if let Some(embedding) = self.compressed.tensor(Role::Embedding, None) {
            let matrix = embedding.matrix();
            for (token, mut out) in tokens.iter().zip(x.rows_mut()) {
                if let Some(out) = out.as_slice_mut() {
                    matrix.dequantize_row(*token as usize, out);
                }
            }
        }
        x
    }
}

/// The search: the best choice so far and its measured divergence.
pub(super) struct Exchanges<'t, 'a> {
    tuner: &'t Tuner<'a>,
    chosen: Vec<usize>,
    compressed: CompressedModel,
    /// Bytes that all matrices may take.
    room: u64,
    divergence: f64,
}

/// Numbers in an order that the seed decides (`SplitMix64`, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

impl<'t, 'a> Exchanges<'t, 'a> {
    /// Begins with what the knapsack chose.
    pub(super) fn start(
        tuner: &'t Tuner<'a>,
        chosen: Vec<usize>,
        compressed: CompressedModel,
        room: u64,
        job: &Job<'_>,
    ) -> Result<Self, TuneError> {
        let divergence = measured(tuner.model, &tuner.reference, &compressed, job)?;
        Ok(Self {
            tuner,
            chosen,
            compressed,
            room,
            divergence,
        })
    }

    /// Mean divergence of the best so far.
    pub(super) fn divergence(&self) -> f64 {
        self.divergence
    }

    /// The best so far, and the model that it makes.
    pub(super) fn finish(self) -> (Vec<usize>, CompressedModel) {
        (self.chosen, self.compressed)
    }

    /// Takes another choice if the model that it makes diverges less; whether it did.
    pub(super) fn consider(&mut self, other: Vec<usize>, job: &Job<'_>) -> Result<bool, TuneError> {
        let compressed = self.recompress(&other, job)?;
        let divergence = measured(self.tuner.model, &self.tuner.reference, &compressed, job)?;
        let is_better = divergence < self.divergence;
        if is_better {
            self.divergence = divergence;
            self.chosen = other;
            self.compressed = compressed;
        }
        Ok(is_better)
    }

    /// Tries `count` exchanges; how many were kept.
    pub(super) fn run(
        &mut self,
        count: usize,
        seed: u64,
        job: &Job<'_>,
    ) -> Result<usize, TuneError> {
        let mut random = Random(seed);
        let mut kept = 0;
        for tried in 0..count {
            job.report("Exchanging", tried as u64, count as u64)?;
            if let Some(other) = self.proposal(&mut random) {
                kept += usize::from(self.consider(other, job)?);
            }
        }
        job.report("Exchanging", count as u64, count as u64)?;
        Ok(kept)
    }

    /// One random tensor in its next larger setting, and others smaller until all fit: those that lose
    /// least for a byte as far as is known, one of the best four at random.
    fn proposal(&self, random: &mut Random) -> Option<Vec<usize>> {
        let tensors = &self.tuner.tensors;
        let raised = random.below(tensors.len());
        let mut chosen = self.chosen.clone();
        chosen[raised] = self.step(raised, chosen[raised], |old, new| {
            new.bytes > old.bytes && new.error < old.error
        })?;
        while self.matrix_bytes(&chosen) > self.room {
            let mut losses: Vec<(f64, usize, usize)> = (0..tensors.len())
                .filter(|t| *t != raised)
                .filter_map(|t| {
                    let smaller = self.step(t, chosen[t], |old, new| new.bytes < old.bytes)?;
                    let (old, new) = (tensors[t].options[chosen[t]], tensors[t].options[smaller]);
                    let cost = tensors[t].sensitivity * (new.error - old.error);
                    Some((cost / (old.bytes - new.bytes) as f64, t, smaller))
                })
                .collect();
            losses.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let (_, tensor, smaller) = *losses.get(random.below(losses.len().min(4)))?;
            chosen[tensor] = smaller;
        }
        (chosen != self.chosen).then_some(chosen)
    }

    /// The nearest option in bytes for which `is_next` holds against the present one.
    fn step(
        &self,
        tensor: usize,
        present: usize,
        is_next: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Option<usize> {
        let options = &self.tuner.tensors[tensor].options;
        let old = options[present];
        let next = options.iter().enumerate().filter(|(_, o)| is_next(&old, o));
        next.min_by_key(|(_, o)| o.bytes.abs_diff(old.bytes))
            .map(|(index, _)| index)
    }

    fn matrix_bytes(&self, chosen: &[usize]) -> u64 {
        let options = self.tuner.tensors.iter().zip(chosen);
        options
            .map(|(t, o)| t.options[*o].bytes.next_multiple_of(SECTOR_BYTES))
            .sum()
    }

    /// The compressed model with what `chosen` changes.
    fn recompress(&self, chosen: &[usize], job: &Job<'_>) -> Result<CompressedModel, TuneError> {
        let mut compressed = self.compressed.clone();
        let changed = self
            .tuner
            .tensors
            .iter()
            .zip(self.chosen.iter().zip(chosen));
        for (candidates, (old, new)) in changed {
            if old == new {
                continue;
            }
            let (role, layer) = (candidates.role, candidates.layer);
            let Some(tensor) = self.tuner.model.tensor(role, layer) else {
                continue;
            };
            let hessian = self.tuner.calibration.hessian(role, layer)?;
            let setting = candidates.options[*new].setting;
            let feedback = hessian.as_ref().map(Feedback::new);
            let feedback = feedback.as_ref();
            let fresh = compress_tensor_with(self.tuner.model, tensor, setting, feedback, job)?;
            replace(&mut compressed, fresh);
        }
        Ok(compressed)
    }
}

fn replace(compressed: &mut CompressedModel, fresh: CompressedTensor) {
    let mut tensors = compressed.tensors.iter_mut();
    if let Some(old) = tensors.find(|t| t.name == fresh.name) {
        *old = Arc::new(fresh);
    }
}

/// Mean divergence of a compressed model.
///
/// # Errors
/// When it computes what is no finite number, or the job is cancelled.
pub(super) fn measured(
    model: &Model,
    reference: &Reference<'_>,
    compressed: &CompressedModel,
    job: &Job<'_>,
) -> Result<f64, TuneError> {
    reference.kl_of_model(&Played { model, compressed }, job)
}
