//! What another form of a model costs on a text: how many tokens it takes, and how well they are expected.

use super::RewriteError;
use crate::forward::{Block, Frame, Head, Values as _, log_softmax_rows};
use crate::job::Job;
use crate::model::{Model, Specials};
use ndarray::s;

/// Tokens of a window, where the model's context allows it.
const WINDOW: usize = 512;

/// Two forms of a model on one text.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Cost {
    /// Tokens of the whole text before.
    pub text_tokens_before: usize,
    /// Tokens of the whole text after.
    pub text_tokens_after: usize,
    /// Bytes of the beginning of the text on which both were run.
    pub measured_bytes: usize,
    /// Bits for each of these bytes before.
    pub bits_per_byte_before: f64,
    /// Bits for each of these bytes after.
    pub bits_per_byte_after: f64,
}

impl Cost {
    /// Runs both on the float path over the first `tokens` tokens (of the model before) of a text.
    ///
    /// # Errors
    /// When the text has fewer than two tokens, a model computes what is no finite number, or the job is
    /// cancelled.
    pub fn measure(
        before: &Model,
        after: &Model,
        (name, text): (&str, &str),
        tokens: usize,
        job: &Job<'_>,
    ) -> Result<Self, RewriteError> {
        let of = |model: &Model, text: &str| model.tokenizer.encode(text, Specials::Plain);
        let all = of(before, text)?;
        let start = before.tokenizer.decode(&all[..tokens.min(all.len())]);
        let start = &text[..text.floor_char_boundary(start.len())];
        let (old, new) = (of(before, start)?, of(after, start)?);
        if old.len() < 2 || new.len() < 2 {
            return Err(RewriteError::EmptyText {
                name: name.to_owned(),
            });
        }
        Ok(Self {
            text_tokens_before: all.len(),
            text_tokens_after: of(after, text)?.len(),
            measured_bytes: start.len(),
            bits_per_byte_before: bits_per_byte(before, &old, ("Measuring before", job))?,
            bits_per_byte_after: bits_per_byte(after, &new, ("Measuring after", job))?,
        })
    }
}

/// Bits that each byte of these tokens takes but the first token's, from windows that overlap by one token.
fn bits_per_byte(
    model: &Model,
    tokens: &[u32],
    (stage, job): (&str, &Job<'_>),
) -> Result<f64, RewriteError> {
    let h = &model.hyperparameters;
    let window = WINDOW.min(h.context as usize).min(tokens.len()).max(2);
    // Each token but the first is expected once. What fills up the last window comes after all that is read.
    let starts = (0..tokens.len() - 1).step_by(window - 1);
    let last = tokens[tokens.len() - 1];
    let windows = starts.clone().flat_map(|start| {
        (start..start + window).map(|at| tokens.get(at).copied().unwrap_or(last))
    });
    let windows: Vec<u32> = windows.collect();
    let frame = Frame::new(model, window);
    let mut x = model.embed(&windows);
    for layer in 0..h.layers {
        job.report(stage, layer.into(), h.layers.into())?;
        Block::load(model, layer).forward(&frame, &mut x, &mut |_| ());
    }
    let head = Head::load(model);
    let mut nats = 0.0;
    for (index, start) in starts.enumerate() {
        job.report(stage, h.layers.into(), h.layers.into())?;
        let end = tokens.len().min(start + window);
        let rows = index * window..index * window + end - start - 1;
        let x = x.slice(s![rows, ..]).to_owned();
        let mut logits = head.logits(&frame, &x);
        log_softmax_rows(&mut logits);
        for (row, token) in logits.rows().into_iter().zip(&tokens[start + 1..end]) {
            nats -= f64::from(row[*token as usize]);
        }
    }
    let bytes: usize = tokens[1..]
        .iter()
        .map(|t| model.tokenizer.token_bytes(*t).len())
        .sum();
    if !nats.is_finite() {
        return Err(RewriteError::NotFinite {
            model: model.name.clone(),
            found: nats,
        });
    }
    Ok(nats / std::f64::consts::LN_2 / bytes.max(1) as f64)
}
