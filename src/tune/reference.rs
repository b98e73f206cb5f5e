//! The original model on the windows that a tune measures with: what comes out, and the residual stream
//! before every block, so that a changed tensor costs only what comes after it.

use super::TuneError;
use crate::evaluate::divergence_from;
use crate::forward::{Block, Frame, Head, Values, divergence, log_softmax_rows};
use crate::job::Job;
use crate::model::Model;
use engine::shape::Role;
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;
use std::borrow::Cow;

/// Tokens of a window: short ones measure the same for less attention.
pub(super) const WINDOW: usize = 256;
/// Positions at the start of a window that are not scored: they know too little.
const UNSCORED: usize = 64;
/// Rows whose logits are held at a time.
const ROWS: usize = 128;
/// How far below zero rounding may leave a mean divergence, in nats: log-probabilities here are 32-bit
/// floats, of which those around -20 are off by 1e-6.
const ROUNDING: f64 = 1e-5;
/// Bytes of blocks in floats that are kept; a larger model's are read anew each time.
const KEPT_BLOCKS: u64 = 3 << 30;

/// The original on some windows.
pub(super) struct Reference<'a> {
    model: &'a Model,
    pub(super) frame: Frame,
    tokens: Vec<u32>,
    /// `[tokens, hidden]` before each block, and after the last.
    streams: Vec<Array2<f32>>,
    /// Rows of a stream that are scored.
    scored: Vec<usize>,
    /// `[scored, vocab]`.
    log_probs: Array2<f32>,
    head: Head,
    /// All of them, or none.
    blocks: Vec<Block>,
}

/// A changed tensor of one block, or of the embedding.
pub(super) struct Change {
    pub(super) role: Role,
    pub(super) values: Array2<f32>,
}

impl<'a> Reference<'a> {
    /// Runs the original over `tokens`, whole windows of `window`.
    ///
    /// # Errors
    /// When the original computes what is no finite number, or the job is cancelled.
    pub(super) fn compute(
        model: &'a Model,
        tokens: Vec<u32>,
        window: usize,
        job: &Job<'_>,
    ) -> Result<Self, TuneError> {
        let frame = Frame::new(model, window);
        let layers = model.hyperparameters.layers;
        let is_kept = model.parameters() * 4 <= KEPT_BLOCKS;
        let mut blocks = Vec::new();
        let mut streams = vec![model.embed(&tokens)];
        for layer in 0..layers {
            job.report("Running the original", u64::from(layer), u64::from(layers))?;
            let block = Block::load(model, layer);
            let mut x = streams[layer as usize].clone();
            block.forward(&frame, &mut x, &mut |_| ());
            streams.push(x);
            if is_kept {
                blocks.push(block);
            }
        }
        let unscored = UNSCORED.min(frame.window() / 4);
        let mut reference = Self {
            model,
            scored: (0..tokens.len())
                .filter(|row| row % frame.window() >= unscored)
                .collect(),
            frame,
            tokens,
            head: Head::load(model),
            log_probs: Array2::zeros((0, 0)),
            streams,
            blocks,
        };
        let last = reference.scored_rows(&reference.streams[layers as usize]);
        let mut log_probs = reference.head.logits(&reference.frame, &last);
        log_softmax_rows(&mut log_probs);
        if let Some(found) = log_probs.iter().find(|x| !x.is_finite()) {
            return Err(TuneError::NotFinite {
                of: "a log-probability of the original".to_owned(),
                found: f64::from(*found),
            });
        }
        reference.log_probs = log_probs;
        Ok(reference)
    }

    /// The same without what only changes of single tensors need.
    pub(super) fn for_whole_models(mut self) -> Self {
        self.streams = Vec::new();
        self.blocks = Vec::new();
        self
    }

    /// Positions that are scored.
    pub(super) fn positions(&self) -> usize {
        self.scored.len()
    }

    fn scored_rows(&self, x: &Array2<f32>) -> Array2<f32> {
        x.select(Axis(0), &self.scored)
    }

    fn block(&self, layer: u32) -> Cow<'_, Block> {
        match self.blocks.get(layer as usize) {
            Some(block) => Cow::Borrowed(block),
            None => Cow::Owned(Block::load(self.model, layer)),
        }
    }

    /// Mean KL from the original of each model that differs from it by one tensor of block `layer`.
    ///
    /// # Errors
    /// When the job is cancelled.
    pub(super) fn kl_of_changes(
        &self,
        layer: u32,
        changes: Vec<Change>,
        job: &Job<'_>,
    ) -> Result<Vec<f64>, TuneError> {
        let mut block = self.block(layer).into_owned();
        let mut streams = Vec::with_capacity(changes.len());
        for mut change in changes {
            job.check()?;
            let mut x = self.streams[layer as usize].clone();
            if let Some(matrix) = block.matrix_mut(change.role) {
                std::mem::swap(matrix, &mut change.values);
            }
            block.forward(&self.frame, &mut x, &mut |_| ());
            if let Some(matrix) = block.matrix_mut(change.role) {
                std::mem::swap(matrix, &mut change.values);
            }
            streams.push(x);
        }
        // One pass over the weights that follow serves all of them.
        let views: Vec<ArrayView2<'_, f32>> = streams.iter().map(|x| x.view()).collect();
        let mut x = concatenate(Axis(0), &views).expect("streams of one shape");
        for layer in layer + 1..self.model.hyperparameters.layers {
            job.check()?;
            self.block(layer).forward(&self.frame, &mut x, &mut |_| ());
        }
        let parts = x.axis_chunks_iter(Axis(0), self.tokens.len());
        parts
            .map(|part| self.kl(&self.head, &part.to_owned(), job))
            .collect()
    }

    /// Mean KL of the model whose embedding, or output head, is `values`.
    ///
    /// # Errors
    /// When the job is cancelled.
    pub(super) fn kl_of_ends(
        &self,
        embedding: Option<&Array2<f32>>,
        head: Option<&Array2<f32>>,
        job: &Job<'_>,
    ) -> Result<f64, TuneError> {
        let layers = self.model.hyperparameters.layers;
        let changed = match embedding {
            None => None,
            Some(values) => {
                let rows: Vec<usize> = self.tokens.iter().map(|t| *t as usize).collect();
                let mut x = values.select(Axis(0), &rows);
                for layer in 0..layers {
                    job.check()?;
                    self.block(layer).forward(&self.frame, &mut x, &mut |_| ());
                }
                Some(x)
            }
        };
        let x = changed.as_ref().unwrap_or(&self.streams[layers as usize]);
        match head {
            Some(head) => self.kl(&self.head.with_matrix(head.clone()), x, job),
            None => self.kl(&self.head, x, job),
        }
    }

    /// Mean KL of a whole other model.
    ///
    /// # Errors
    /// When the job is cancelled.
    pub(super) fn kl_of_model(&self, values: &dyn Values, job: &Job<'_>) -> Result<f64, TuneError> {
        let mut x = values.embed(&self.tokens);
        for layer in 0..self.model.hyperparameters.layers {
            job.check()?;
            Block::load(values, layer).forward(&self.frame, &mut x, &mut |_| ());
        }
        self.kl(&Head::load(values), &x, job)
    }

    /// Mean KL of what `head` makes of the residual stream `x` `[tokens, hidden]` after the last block.
    fn kl(&self, head: &Head, x: &Array2<f32>, job: &Job<'_>) -> Result<f64, TuneError> {
        let x = self.scored_rows(x);
        let mut sum = 0.0;
        for (index, part) in x.axis_chunks_iter(Axis(0), ROWS).enumerate() {
            job.check()?;
            let mut found = head.logits(&self.frame, &part.to_owned());
            log_softmax_rows(&mut found);
            let first = index * ROWS;
            let expected = self.log_probs.slice(s![first..first + part.nrows(), ..]);
            let rows: Vec<f64> = (0..part.nrows())
                .into_par_iter()
                .map(|row| {
                    let (expected, found) = (expected.row(row), found.row(row));
                    let rows = expected.as_slice().zip(found.as_slice());
                    let (expected, found) = rows.expect("row-major");
                    divergence(expected, found)
                })
                .collect();
            sum += rows.iter().sum::<f64>();
        }
        let mean = sum / self.scored.len().max(1) as f64;
        // Any log-probability that is no finite number makes the sum of its row one too.
        if !mean.is_finite() {
            return Err(TuneError::NotFinite {
                of: "the mean divergence of a changed model".to_owned(),
                found: mean,
            });
        }
        Ok(divergence_from(mean, ROUNDING)?)
    }
}
