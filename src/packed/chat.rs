//! A conversation with a running model: text in, text out, token by token.

use super::WeightSource;
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::format::{Text, tokens};
use engine::sampler::{LogitsHash, Sampler, Sampling};
use engine::session::{Session, SessionError};
use engine::workers::Host;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Tokens computed together in a prefill.
const BATCH: usize = 64;

/// What is asked, and how the answer is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// System text; counts in the first question of a conversation only.
    pub system: Option<&'a str>,
    /// The user's text.
    pub user: &'a str,
    /// Longest answer in tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended it.
    StopToken,
    /// It is as long as was asked.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The listener wanted no more.
    Interrupted,
}

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Its tokens, the stop token not among them.
    pub tokens: Vec<u32>,
    /// Hash of the logits of every generated step.
    pub logits_hash: LogitsHash,
    /// Tokens of the prompt that were computed.
    pub prompt_tokens: usize,
    /// Time until the logits of the first token were there.
    pub prefill: Duration,
    /// Time for the steps after the first token.
    pub decode: Duration,
    /// Steps that `decode` covers.
    pub decode_steps: usize,
    /// Why it ended.
    pub stop: StopReason,
}

impl Answer {
    /// Prompt tokens per second.
    #[must_use]
    pub fn prefill_tokens_per_second(&self) -> f64 {
        rate(self.prompt_tokens, self.prefill)
    }

    /// Answer tokens per second after the first; 0 when there was only one.
    #[must_use]
    pub fn decode_tokens_per_second(&self) -> f64 {
        rate(self.decode_steps, self.decode)
    }
}

fn rate(count: usize, time: Duration) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "token counts are far below 2^52"
    )]
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The engine refused.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A system text for a model whose chat template has no place for one.
    #[error("this model's chat template has no system role")]
    NoSystemRole,
    /// A word that is too long to encode.
    #[error("the text has a word of {0} bytes, longest that can be encoded is {MAX_WORD_BYTES}")]
    LongWord(usize),
}

/// Longest word, or text without spaces for SentencePiece models, that is encoded.
const MAX_WORD_BYTES: usize = 1 << 16;

/// A conversation: the memory of a session, and where it stands.
#[derive(Debug)]
pub struct Conversation {
    limits: Limits,
    arena: Vec<u32>,
    position: usize,
    logits: Vec<f32>,
}

impl Conversation {
    /// An empty conversation of at most `context` tokens with models of the shape of `source`, its
    /// keys and values as 16-bit floats.
    #[must_use]
    pub fn new(source: &dyn WeightSource, context: usize) -> Self {
        Self::with_cache(source, context, CachePrecision::Sixteen)
    }

    /// An empty conversation whose keys and values are kept at `cache`.
    #[must_use]
    pub fn with_cache(source: &dyn WeightSource, context: usize, cache: CachePrecision) -> Self {
        let shape = source.shape();
        let limits = Limits {
            context: context.min(shape.context as usize),
            batch: BATCH,
            cache,
        };
        let arena = vec![0; ArenaLayout::new(shape, limits).words()];
        Self {
            limits,
            arena,
            position: 0,
            logits: vec![0.0; shape.vocab as usize],
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.position = 0;
    }

    /// Whether so many tokens more fit into the context.
    #[must_use]
    pub const fn has_room(&self, tokens: usize) -> bool {
        self.position + tokens <= self.limits.context
    }

    /// Tokens in the KV cache.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Asks, and calls `on_text` with each new part of the answer until it breaks.
    ///
    /// `source` may exchange its tensors meanwhile: each token takes them as they are when it starts.
    ///
    /// # Errors
    /// When the prompt does not fit the context or cannot be encoded.
    pub fn ask(
        &mut self,
        source: &dyn WeightSource,
        host: &Host<'_>,
        question: &Question<'_>,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer, ChatError> {
        let text = source.text();
        let prompt = self.prompt(&text, question)?;
        let mut sampler = Sampler::new(question.sampling);
        let mut hash = LogitsHash::default();
        let start = Instant::now();
        self.forward(source, host, &prompt)?;
        let prefill = start.elapsed();
        let start = Instant::now();
        let (mut answer, mut decoder) = (Vec::new(), Utf8::default());
        let mut steps = 0;
        let stop = loop {
            if answer.len() == question.max_tokens {
                break StopReason::MaxTokens;
            }
            hash.update(&self.logits);
            let token = sampler.sample(&mut self.logits);
            if text.is_stop(token) {
                break StopReason::StopToken;
            }
            answer.push(token);
            if decoder
                .push(text.tokenizer.bytes(token), on_text)
                .is_break()
            {
                break StopReason::Interrupted;
            }
            if self.position == self.limits.context {
                break StopReason::ContextFull;
            }
            self.forward(source, host, &[token])?;
            steps += 1;
        };
        decoder.finish(on_text);
        Ok(Answer {
            text: decoder.text,
            tokens: answer,
            logits_hash: hash,
            prompt_tokens: prompt.len(),
            prefill,
            decode: start.elapsed(),
            decode_steps: steps,
            stop,
        })
    }

    /// Computes `tokens`; the logits of the last are left in `self.logits`.
    fn forward(
        &mut self,
        source: &dyn WeightSource,
        host: &Host<'_>,
        tokens: &[u32],
    ) -> Result<(), SessionError> {
        let (limits, position) = (self.limits, self.position);
        let (arena, logits) = (&mut self.arena, &mut self.logits);
        let mut result = Ok(());
        source.lend(&mut |weights| {
            result = Session::resume(weights.shape(), limits, arena, position)
                .and_then(|mut session| session.forward(weights, host, tokens, logits));
        });
        if result.is_ok() {
            self.position += tokens.len();
        }
        result
    }

    fn prompt(&self, text: &Text<'_>, question: &Question<'_>) -> Result<Vec<u32>, ChatError> {
        let mut prompt = Vec::new();
        if self.position > 0 {
            prompt.extend(tokens(text.chat.assistant_close));
        } else {
            match (question.system, text.chat.system) {
                (None, _) => prompt.extend(tokens(text.chat.first_user_open)),
                (Some(_), None) => return Err(ChatError::NoSystemRole),
                (Some(system), Some((open, close))) => {
                    prompt.extend(tokens(open));
                    encode(text, system, &mut prompt)?;
                    prompt.extend(tokens(close));
                }
            }
        }
        encode(text, question.user, &mut prompt)?;
        prompt.extend(tokens(text.chat.user_close));
        Ok(prompt)
    }
}

fn encode(text: &Text<'_>, words: &str, out: &mut Vec<u32>) -> Result<(), ChatError> {
    let mut room = vec![0; (words.len() + 1).min(MAX_WORD_BYTES)];
    text.tokenizer
        .encode(words, &mut room, &mut |token| out.push(token))
        .map_err(ChatError::LongWord)
}

/// Puts together characters that are split over tokens.
#[derive(Debug, Default)]
struct Utf8 {
    text: String,
    pending: Vec<u8>,
}

impl Utf8 {
    fn push(
        &mut self,
        bytes: &[u8],
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.pending.extend_from_slice(bytes);
        let start = self.text.len();
        while !self.pending.is_empty() {
            match std::str::from_utf8(&self.pending) {
                Ok(whole) => {
                    self.text.push_str(whole);
                    self.pending.clear();
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    self.text
                        .push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    let skip = error.error_len().unwrap_or(0);
                    if skip > 0 {
                        self.text.push(char::REPLACEMENT_CHARACTER);
                    }
                    self.pending.drain(..valid + skip);
                    if skip == 0 {
                        // The rest is the beginning of a character.
                        break;
                    }
                }
            }
        }
        if self.text.len() == start {
            ControlFlow::Continue(())
        } else {
            on_text(&self.text[start..])
        }
    }

    /// What is left of a character that never came whole.
    fn finish(&mut self, on_text: &mut dyn FnMut(&str) -> ControlFlow<()>) {
        if !self.pending.is_empty() {
            self.pending.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
            // The answer has ended: there is nothing left to break off.
            let _ended = on_text("\u{fffd}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_split_over_tokens_come_whole() {
        let mut parts = Vec::new();
        let mut decoder = Utf8::default();
        let mut on_text = |part: &str| {
            parts.push(part.to_owned());
            ControlFlow::Continue(())
        };
        for bytes in [
            &b"caf"[..],
            &[0xc3],
            &[0xa9, b'!'],
            &[0xff, b'x'],
            &[0xe2, 0x82],
        ] {
            assert!(decoder.push(bytes, &mut on_text).is_continue());
        }
        decoder.finish(&mut on_text);
        assert_eq!(decoder.text, "café!\u{fffd}x\u{fffd}");
        assert_eq!(parts, ["caf", "é!", "\u{fffd}x", "\u{fffd}"]);
    }
}
