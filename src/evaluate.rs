//! Quality against the original: perplexity, KL divergence, agreement on the top token; and against
//! what is asked of a model: [`tasks`].
//!
//! As llama.cpp's `perplexity` does it: windows of 512 tokens that do not overlap, the second half
//! of each scored. The reference is the source dequantized to 16 bits, on the engine's float path.

pub mod tasks;

use crate::job::{Cancelled, Job};
use crate::model::{Model, ModelError, Specials};
use crate::packed::WeightSource;
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::sampler::argmax;
use engine::session::{Session, SessionError};
use engine::workers::Host;
use rayon::prelude::*;

/// Tokens of a window.
pub const WINDOW: usize = 512;
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

/// Quality of a model against its reference.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// Positions scored.
    pub tokens: usize,
    /// e to the mean negative log-likelihood of the text.
    pub perplexity: f64,
    /// The reference's.
    pub reference_perplexity: f64,
    /// Mean of KL(reference || model) over positions, in nats.
    pub kl_mean: f64,
    /// Standard error of `kl_mean`.
    pub kl_mean_standard_error: f64,
    /// 99th percentile of KL.
    pub kl_p99: f64,
    /// Share of positions where both have the same most likely token.
    pub same_top: f64,
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
    let (expected, found) = (reference.shape().vocab, candidate.shape().vocab);
    if expected != found {
        return Err(EvaluateError::Vocabulary { expected, found });
    }
    let mut scores = Vec::new();
    let mut models = [
        Runner::new(reference, CachePrecision::Sixteen),
        Runner::new(candidate, cache),
    ];
    let total = windows.len() as u64 * WINDOW as u64;
    for (index, window) in windows.iter().enumerate() {
        models.iter_mut().for_each(|m| m.position = 0);
        let first = WINDOW / 2;
        for start in (0..WINDOW - 1).step_by(BATCH) {
            job.report(
                "Evaluating",
                index as u64 * WINDOW as u64 + start as u64,
                total,
            )?;
            let batch = &window[start..(start + BATCH).min(WINDOW - 1)];
            let scored = start >= first;
            for model in &mut models {
                model.forward(host, batch, scored)?;
            }
            if scored {
                let [reference, candidate] = &models;
                let next = &window[start + 1..];
                let rows = reference
                    .rows(batch.len())
                    .zip(candidate.rows(batch.len()))
                    .zip(next);
                let rows: Vec<_> = rows.collect();
                scores.par_extend(
                    rows.into_par_iter()
                        .map(|((r, c), next)| score(r, c, *next as usize)),
                );
            }
        }
    }
    job.report("Evaluating", total, total)?;
    Ok(summary(scores))
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

/// One position.
#[derive(Debug, Clone, Copy)]
struct Score {
    kl: f64,
    reference_nll: f64,
    nll: f64,
    same_top: bool,
}

/// Compares two rows of logits `[vocab]`; sums run in 64 bits over the vocabulary in order.
fn score(reference: &[f32], candidate: &[f32], next: usize) -> Score {
    let (r, c) = (log_sum_exp(reference), log_sum_exp(candidate));
    let kl = reference.iter().zip(candidate).map(|(a, b)| {
        let log_p = f64::from(*a) - r;
        log_p.exp() * (log_p - (f64::from(*b) - c))
    });
    Score {
        kl: kl.sum::<f64>().max(0.0),
        reference_nll: r - f64::from(reference[next]),
        nll: c - f64::from(candidate[next]),
        same_top: argmax(reference) == argmax(candidate),
    }
}

/// Logarithm of the sum of the exponentials of `logits` `[vocab]`, in 64 bits.
#[must_use]
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + logits
        .iter()
        .map(|x| (f64::from(*x) - top).exp())
        .sum::<f64>()
        .ln()
}

fn summary(scores: Vec<Score>) -> Evaluation {
    let tokens = scores.len();
    #[expect(
        clippy::cast_precision_loss,
        reason = "token counts are far below 2^52"
    )]
    let n = tokens as f64;
    let mean = |f: &dyn Fn(&Score) -> f64| scores.iter().map(f).sum::<f64>() / n;
    let kl_mean = mean(&|s| s.kl);
    let variance = mean(&|s| (s.kl - kl_mean).powi(2)) * n / (n - 1.0).max(1.0);
    let mut kls: Vec<f64> = scores.iter().map(|s| s.kl).collect();
    kls.sort_unstable_by(f64::total_cmp);
    Evaluation {
        tokens,
        perplexity: mean(&|s| s.nll).exp(),
        reference_perplexity: mean(&|s| s.reference_nll).exp(),
        kl_mean,
        kl_mean_standard_error: (variance / n).sqrt(),
        kl_p99: kls[(tokens * 99 / 100).min(tokens - 1)],
        same_top: mean(&|s| f64::from(u8::from(s.same_top))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kl_is_that_of_the_two_distributions() {
        // P = (1/2, 1/2), Q = (1/4, 3/4): KL = ln 2 - ln 3 / 2.
        let score = score(&[0.0, 0.0], &[0.0, 3f32.ln()], 1);
        assert!((score.kl - (2f64.ln() - 0.5 * 3f64.ln())).abs() < 1e-7);
        assert!((score.nll - (4.0f64 / 3.0).ln()).abs() < 1e-7);
        assert!((score.reference_nll - 2f64.ln()).abs() < 1e-7);
        assert!(!score.same_top);
    }

    #[test]
    fn a_summary_has_the_mean_its_error_and_the_tail() {
        let scores = (0..100).map(|i| Score {
            kl: f64::from(i),
            reference_nll: 1.0,
            nll: 2.0,
            same_top: i % 4 == 0,
        });
        let e = summary(scores.collect());
        assert_eq!(
            (e.tokens, e.kl_mean, e.kl_p99, e.same_top),
            (100, 49.5, 99.0, 0.25)
        );
        assert!((e.kl_mean_standard_error - 2.901_149).abs() < 1e-5);
        assert!((e.perplexity - 2f64.exp()).abs() < 1e-12);
    }
}
