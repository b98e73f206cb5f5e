//! Quality against the original: perplexity, KL divergence, agreement on the top token; and against
//! what is asked of a model: [`tasks`].
//!
//! [`evaluate`] compares one model with its reference, [`score_windows`] several on the same windows,
//! for as long as an [`Extent`] says; [`tensor_errors`] looks at the weights alone. A [`Basis`] says
//! what a result was computed from.
//!
//! As llama.cpp's `perplexity` does it: windows of 512 tokens that do not overlap, the second half
//! of each scored. The reference is the source dequantized to 16 bits, on the engine's float path.

mod basis;
mod extent;
mod score;
mod summary;
pub mod tasks;
mod tensors;

pub use basis::{Basis, NamedText, stored_precision};
pub use extent::{Budget, Chosen, Extent};
pub use score::{Score, log_sum_exp};
pub use summary::{Evaluation, Independent, Mean, kl_difference};
pub use tensors::{TensorError, tensor_errors};

use crate::job::{Cancelled, Job};
use crate::model::{Model, ModelError, Specials};
use crate::packed::WeightSource;
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::session::{Session, SessionError};
use engine::workers::Host;
use rayon::prelude::*;
use std::time::Instant;

/// Tokens of a window.
pub const WINDOW: usize = 512;
/// Positions of a window that are scored: those after its middle that have a next token.
pub const SCORED: usize = WINDOW - WINDOW / 2 - 1;
/// Positions whose logits are held at a time.
const BATCH: usize = 64;

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The text is too short.
    #[error("needs {WINDOW} tokens of text for one window, the text has {0}")]
    ShortText(usize),
    /// The two models are not of the same shape.
    #[error("the file has another vocabulary than the reference: {found} tokens, not {expected}")]
    Vocabulary {
        /// Tokens of the reference.
        expected: u32,
        /// Tokens of the file.
        found: u32,
    },
    /// A packed tensor is not the model's.
    #[error("expected a model that has {tensor} in the shape [{rows}, {cols}], found none")]
    Tensor {
        /// Its name in the packed file.
        tensor: String,
        /// Its rows there.
        rows: usize,
        /// Its columns there.
        cols: usize,
    },
    /// The engine refused.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The text cannot be encoded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// The text as windows of [`WINDOW`] tokens, at most `tokens` of them in all (at least one window).
///
/// # Errors
/// When the text has less than one window or cannot be encoded.
pub fn windows(model: &Model, text: &str, tokens: usize) -> Result<Vec<Vec<u32>>, EvaluateError> {
    let mut ids = model.tokenizer.encode(text, Specials::Plain)?;
    if ids.len() < WINDOW {
        return Err(EvaluateError::ShortText(ids.len()));
    }
    ids.truncate(tokens.max(WINDOW));
    let bos = model.tokenizer.bos.filter(|_| model.tokenizer.adds_bos);
    let window = |w: &[u32]| {
        let mut window = w.to_vec();
        if let Some(bos) = bos {
            window[0] = bos;
        }
        window
    };
    Ok(ids.chunks_exact(WINDOW).map(window).collect())
}

/// A model that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its weights.
    pub source: &'a dyn WeightSource,
    /// How its keys and values are kept.
    pub cache: CachePrecision,
}

/// What several candidates scored on the same windows.
#[derive(Debug)]
pub struct Scored {
    /// `[candidates]`, each `[windows * SCORED]` in the order of the text.
    pub scores: Vec<Vec<Score>>,
    /// How many windows were taken and why, where the machine's speed decided.
    pub chosen: Option<Chosen>,
}

/// Compares `candidate`, with its keys and values kept at `cache`, with `reference`, whose are 16-bit
/// floats, on windows of tokens.
///
/// # Errors
/// When the models differ in vocabulary, or the job is cancelled.
pub fn evaluate(
    candidate: &dyn WeightSource,
    cache: CachePrecision,
    reference: &dyn WeightSource,
    windows: &[Vec<u32>],
    host: &Host<'_>,
    job: &Job<'_>,
) -> Result<Evaluation, EvaluateError> {
    let candidate = Candidate {
        source: candidate,
        cache,
    };
    let scored = score_windows(&[candidate], reference, windows, Extent::All, host, job)?;
    Ok(Evaluation::new(&scored.scores[0], SCORED))
}

/// Scores every candidate on every window against `reference`, whose keys and values are 16-bit
/// floats and which runs once for all; with a budget of time, on as many windows as fit in it.
///
/// # Errors
/// When the models differ in vocabulary, there is no window, or the job is cancelled.
pub fn score_windows(
    candidates: &[Candidate<'_>],
    reference: &dyn WeightSource,
    windows: &[Vec<u32>],
    extent: Extent,
    host: &Host<'_>,
    job: &Job<'_>,
) -> Result<Scored, EvaluateError> {
    let expected = reference.shape().vocab;
    for candidate in candidates {
        let found = candidate.source.shape().vocab;
        if expected != found {
            return Err(EvaluateError::Vocabulary { expected, found });
        }
    }
    let mut reference = Runner::new(reference, CachePrecision::Sixteen);
    let mut runners: Vec<_> = candidates
        .iter()
        .map(|c| (Runner::new(c.source, c.cache), Vec::new()))
        .collect();
    if windows.is_empty() {
        return Err(EvaluateError::ShortText(0));
    }
    let begun = Instant::now();
    let mut total = windows.len();
    let mut chosen = None;
    for (index, window) in windows.iter().enumerate() {
        if index >= total {
            break;
        }
        score_window(&mut reference, &mut runners, window, host, &|done| {
            let done = (index * WINDOW + done) as u64;
            job.report("Evaluating", done, (total * WINDOW) as u64)
        })?;
        if let (0, Extent::Within(budget)) = (index, extent) {
            let choice = Chosen::after(budget, begun.elapsed().as_secs_f64(), windows.len());
            total = choice.windows;
            chosen = Some(choice);
        }
    }
    let total_tokens = (total * WINDOW) as u64;
    job.report("Evaluating", total_tokens, total_tokens)?;
    Ok(Scored {
        scores: runners.into_iter().map(|(_, scores)| scores).collect(),
        chosen,
    })
}

/// Scores one window, batch by batch: all models take turns, so that they meet the same machine.
fn score_window(
    reference: &mut Runner<'_>,
    candidates: &mut [(Runner<'_>, Vec<Score>)],
    window: &[u32],
    host: &Host<'_>,
    progress: &dyn Fn(usize) -> Result<(), Cancelled>,
) -> Result<(), EvaluateError> {
    reference.position = 0;
    candidates.iter_mut().for_each(|(c, _)| c.position = 0);
    for start in (0..WINDOW - 1).step_by(BATCH) {
        progress(start)?;
        let batch = &window[start..(start + BATCH).min(WINDOW - 1)];
        let scored = start >= WINDOW / 2;
        reference.forward(host, batch, scored)?;
        for (candidate, scores) in &mut *candidates {
            candidate.forward(host, batch, scored)?;
            if scored {
                let rows: Vec<_> = reference
                    .rows(batch.len())
                    .zip(candidate.rows(batch.len()))
                    .zip(&window[start + 1..])
                    .collect();
                scores.par_extend(
                    rows.into_par_iter()
                        .map(|((r, c), next)| score::score(r, c, *next as usize)),
                );
            }
        }
    }
    Ok(())
}

struct Runner<'a> {
    source: &'a dyn WeightSource,
    limits: Limits,
    arena: Vec<u32>,
    logits: Vec<f32>,
    position: usize,
}

impl<'a> Runner<'a> {
    fn new(source: &'a dyn WeightSource, cache: CachePrecision) -> Self {
        let shape = source.shape();
        let limits = Limits {
            context: WINDOW,
            batch: BATCH,
            cache,
        };
        let arena = vec![0; ArenaLayout::new(shape, limits).words()];
        Self {
            source,
            limits,
            arena,
            logits: vec![0.0; BATCH * shape.vocab as usize],
            position: 0,
        }
    }

    fn forward(
        &mut self,
        host: &Host<'_>,
        tokens: &[u32],
        scored: bool,
    ) -> Result<(), SessionError> {
        let vocab = self.source.shape().vocab as usize;
        let logits = &mut self.logits[..if scored { tokens.len() * vocab } else { 0 }];
        let (limits, arena, position) = (self.limits, &mut self.arena, self.position);
        let mut result = Ok(());
        self.source.lend(&mut |weights| {
            result = Session::resume(None, weights.shape(), limits, arena, position)
                .and_then(|mut session| session.forward(weights, host, tokens, logits));
        });
        self.position += tokens.len();
        result
    }

    fn rows(&self, count: usize) -> impl Iterator<Item = &[f32]> {
        self.logits
            .chunks_exact(self.source.shape().vocab as usize)
            .take(count)
    }
}
