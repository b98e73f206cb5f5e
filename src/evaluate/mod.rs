//! Quality against the original: perplexity, KL divergence, agreement on the top token; and against
//! what is asked of a model: [`tasks`].
//!
//! [`evaluate`] compares one model with its reference, [`score_windows`] several on the same windows,
//! for as long as an [`Extent`] says; [`tensor_errors`] looks at the weights alone. A [`Basis`] says
//! what a result was computed from.
//!
//! As llama.cpp's `perplexity` does it: windows of 512 tokens that do not overlap, the second half
//! of each scored; where the model's context is shorter, windows are as long as that. The reference
//! is the source dequantized to 16 bits, on the engine's float path.
//!
//! What is no finite number is an error wherever it comes up: it is never a divergence of zero.

mod basis;
mod extent;
mod score;
mod summary;
pub mod tasks;
mod tensors;

pub use basis::{Basis, NamedText, stored_precision};
pub use extent::{Budget, Chosen, Extent};
pub use score::{NotADivergence, Score, ScoreError, divergence_from, log_sum_exp};
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

/// Tokens of a window, where the model's context is not shorter.
pub const WINDOW: usize = 512;
/// Tokens of the shortest window: one that has a scored position in its second half.
const SHORTEST_WINDOW: usize = 3;
/// Positions whose logits are held at a time.
const BATCH: usize = 64;

/// Tokens of a window of a model with such a context: no position is outside of what it was made for.
#[must_use]
pub fn window_tokens(context: u32) -> usize {
    WINDOW.min(context as usize)
}

/// Positions of a window of `window` tokens that are scored: those after its middle that have a next
/// token.
#[must_use]
pub const fn scored_positions(window: usize) -> usize {
    (window - window / 2).saturating_sub(1)
}

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The text is too short.
    #[error("needs {window} tokens of text for one window, the text has {found}")]
    ShortText {
        /// Tokens of a window.
        window: usize,
        /// Tokens of the text.
        found: usize,
    },
    /// A model's context is shorter than the windows.
    #[error("expected a context of at least {expected} tokens, as long as a window, found {found}")]
    Context {
        /// Tokens of a window.
        expected: usize,
        /// The context.
        found: usize,
    },
    /// A position of the text that cannot be scored.
    #[error("after {position} tokens of window {window}: {source}")]
    Score {
        /// The window, from 1.
        window: usize,
        /// Tokens of it that were read.
        position: usize,
        /// What is wrong there.
        source: ScoreError,
    },
    /// A figure of a whole text that is too large to be one.
    #[error("expected a finite {figure}, found {found}: the models have nothing in common")]
    NotFinite {
        /// Its name.
        figure: &'static str,
        /// What it is.
        found: f64,
    },
    /// A tensor with an error that is no number.
    #[error(
        "expected an error that is a number, found {found} for {tensor}: it has weights that are no numbers"
    )]
    TensorError {
        /// Its name.
        tensor: String,
        /// What it is.
        found: f64,
    },
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

/// The text as windows of [`window_tokens`] tokens, at most `tokens` of them in all (at least one
/// window).
///
/// # Errors
/// When the text has less than one window or cannot be encoded, or the model's context is too short to
/// score anything.
pub fn windows(model: &Model, text: &str, tokens: usize) -> Result<Vec<Vec<u32>>, EvaluateError> {
    let length = window_tokens(model.hyperparameters.context);
    if length < SHORTEST_WINDOW {
        return Err(EvaluateError::Context {
            expected: SHORTEST_WINDOW,
            found: length,
        });
    }
    let mut ids = model.tokenizer.encode(text, Specials::Plain)?;
    if ids.len() < length {
        return Err(EvaluateError::ShortText {
            window: length,
            found: ids.len(),
        });
    }
    ids.truncate(tokens.max(length));
    let bos = model.tokenizer.bos.filter(|_| model.tokenizer.adds_bos);
    let window = |w: &[u32]| {
        let mut window = w.to_vec();
        if let Some(bos) = bos {
            window[0] = bos;
        }
        window
    };
    Ok(ids.chunks_exact(length).map(window).collect())
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
    /// `[candidates]`, each `[windows * scored_positions(window_tokens)]` in the order of the text.
    pub scores: Vec<Vec<Score>>,
    /// Tokens of a window.
    pub window_tokens: usize,
    /// How many windows were taken and why, where the machine's speed decided.
    pub chosen: Option<Chosen>,
}

/// Compares `candidate`, with its keys and values kept at `cache`, with `reference`, whose are 16-bit
/// floats, on windows of tokens.
///
/// # Errors
/// As [`score_windows`], and when a figure of the whole is no finite number.
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
    Evaluation::new(&scored.scores[0], scored.window_tokens)
}

/// Scores every candidate on every window against `reference`, whose keys and values are 16-bit
/// floats and which runs once for all; with a budget of time, on as many windows as fit in it. All
/// windows have the length of the first.
///
/// # Errors
/// When the models differ in vocabulary, one has a context that is shorter than a window or computes what
/// is no finite number, there is no window, or the job is cancelled.
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
    let length = windows.first().map_or(0, Vec::len);
    if length < SHORTEST_WINDOW || windows.iter().any(|w| w.len() != length) {
        return Err(EvaluateError::ShortText {
            window: length.max(SHORTEST_WINDOW),
            found: windows.iter().map(Vec::len).min().unwrap_or(0),
        });
    }
    let contexts = candidates.iter().map(|c| c.source.shape().context);
    for context in contexts.chain([reference.shape().context]) {
        let (expected, found) = (length, context as usize);
        if found < expected {
            return Err(EvaluateError::Context { expected, found });
        }
    }
    let mut reference = Runner::new(reference, CachePrecision::Sixteen, length);
    let mut runners: Vec<_> = candidates
        .iter()
        .map(|c| (Runner::new(c.source, c.cache, length), Vec::new()))
        .collect();
    let begun = Instant::now();
    let mut total = windows.len();
    let mut chosen = None;
    for (index, window) in windows.iter().enumerate() {
        if index >= total {
            break;
        }
        let numbered = (index + 1, &window[..]);
        score_window(&mut reference, &mut runners, numbered, host, &|done| {
            let done = (index * length + done) as u64;
            job.report("Evaluating", done, (total * length) as u64)
        })?;
        if let (0, Extent::Within(budget)) = (index, extent) {
            let seconds = begun.elapsed().as_secs_f64();
            let choice = Chosen::after(budget, seconds, (windows.len(), length));
            total = choice.windows;
            chosen = Some(choice);
        }
    }
    let total_tokens = (total * length) as u64;
    job.report("Evaluating", total_tokens, total_tokens)?;
    Ok(Scored {
        window_tokens: length,
        scores: runners.into_iter().map(|(_, scores)| scores).collect(),
        chosen,
    })
}

/// Scores one window, batch by batch: all models take turns, so that they meet the same machine.
fn score_window(
    reference: &mut Runner<'_>,
    candidates: &mut [(Runner<'_>, Vec<Score>)],
    (number, window): (usize, &[u32]),
    host: &Host<'_>,
    progress: &dyn Fn(usize) -> Result<(), Cancelled>,
) -> Result<(), EvaluateError> {
    reference.position = 0;
    candidates.iter_mut().for_each(|(c, _)| c.position = 0);
    for (start, end) in batches(window.len()) {
        progress(start)?;
        let batch = &window[start..end];
        let scored = start >= window.len() / 2;
        reference.forward(host, batch, scored)?;
        for (candidate, scores) in &mut *candidates {
            candidate.forward(host, batch, scored)?;
            if scored {
                let rows: Vec<_> = reference
                    .rows(batch.len())
                    .zip(candidate.rows(batch.len()))
                    .zip(&window[start + 1..])
                    .collect();
                // Not collected into one result: of several errors that would be any.
                let found: Vec<Result<Score, EvaluateError>> = rows
                    .into_par_iter()
                    .enumerate()
                    .map(|(row, ((r, c), next))| {
                        score::score(r, c, *next as usize).map_err(|source| EvaluateError::Score {
                            window: number,
                            position: start + row + 1,
                            source,
                        })
                    })
                    .collect();
                for score in found {
                    scores.push(score?);
                }
            }
        }
    }
    Ok(())
}

/// The batches of a window, each from one position to before another: no batch goes over the middle,
/// from which on positions are scored, and the last token, which has no next one, is in none.
fn batches(window: usize) -> impl Iterator<Item = (usize, usize)> {
    let (middle, last) = (window / 2, window.saturating_sub(1));
    let part = |from: usize, to: usize| {
        let starts = (from..to).step_by(BATCH);
        starts.map(move |start| (start, to.min(start + BATCH)))
    };
    part(0, middle).chain(part(middle, last))
}

struct Runner<'a> {
    source: &'a dyn WeightSource,
    limits: Limits,
    arena: Vec<u32>,
    logits: Vec<f32>,
    position: usize,
}

impl<'a> Runner<'a> {
    fn new(source: &'a dyn WeightSource, cache: CachePrecision, window: usize) -> Self {
        let shape = source.shape();
        let limits = Limits {
            context: window,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_long_as_the_context_where_that_is_shorter() {
        assert_eq!([256, 512, 8192].map(window_tokens), [256, 512, 512]);
        assert_eq!([512, 256, 3].map(scored_positions), [255, 127, 1]);
        assert_eq!([0, 1, 2].map(scored_positions), [0, 0, 0]);
    }

    #[test]
    fn batches_cover_each_half_of_a_window_and_leave_out_its_last_token() {
        for window in [3, 4, 63, 64, 65, 100, 128, 129, 255, 256, 512] {
            let all: Vec<_> = batches(window).collect();
            assert!(all.iter().all(|(a, b)| a < b && b - a <= BATCH), "{all:?}");
            assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0), "{all:?}");
            assert_eq!((all[0].0, all[all.len() - 1].1), (0, window - 1));
            let scored = all.iter().filter(|(start, _)| *start >= window / 2);
            let scored: usize = scored.map(|(a, b)| b - a).sum();
            assert_eq!(scored, scored_positions(window), "{window}");
        }
        // As before, so that figures of models with a long context stay what they are.
        let starts: Vec<_> = batches(512).map(|(start, _)| start).collect();
        assert_eq!(starts, [0, 64, 128, 192, 256, 320, 384, 448]);
    }
}
