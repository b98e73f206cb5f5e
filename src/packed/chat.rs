//! A conversation with a running model: text in, text out, token by token.
//!
//! A model that is to be asked in commands ([`Dialogue::Commands`]) gets the user's text as one, however
//! it was typed or heard, and remembers nothing of the turn before.

mod generation;
mod held;

pub use generation::{Generation, Piece};

use super::WeightSource;
use crate::job::Job;
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::dialogue::Dialogue;
use engine::format::{Text, tokens};
use engine::sampler::{LogitsHash, NotFinite, Sampling, SamplingError};
use engine::session::{Session, SessionError};
use engine::workers::Host;
use std::ops::ControlFlow;
use std::time::Duration;

/// Tokens computed together in a prefill.
const BATCH: usize = 64;

/// What is asked, and how the answer is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// System text; counts in the first question of a conversation only.
    pub system: Option<&'a str>,
    /// The user's text, as it was typed or heard.
    pub user: &'a str,
    /// Longest answer in tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer before them; none may be empty.
    pub stop: &'a [String],
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended it.
    StopToken,
    /// A text came that was to end it.
    StopString,
    /// It is as long as was asked.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The listener wanted no more.
    Interrupted,
}

impl StopReason {
    /// As scripts read it: `stop_token`, `stop_string`, `max_tokens`, `context_full`, `interrupted`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StopToken => "stop_token",
            Self::StopString => "stop_string",
            Self::MaxTokens => "max_tokens",
            Self::ContextFull => "context_full",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text, up to a stop string.
    pub text: String,
    /// The tokens drawn: those of a stop string are among them, a stop token is not.
    pub tokens: Vec<u32>,
    /// Hash of the logits of every generated step.
    pub logits_hash: LogitsHash,
    /// Tokens that were computed before the first of the answer.
    pub prompt_tokens: usize,
    /// Whether the text that opens the conversation was among them; a packed prefix is not computed.
    pub has_computed_opening: bool,
    /// Tokens of the intent line, its end included: what comes before the spoken reply.
    pub unspoken_tokens: usize,
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
    /// A number of the sampling.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A stop string that would end every answer.
    #[error("a stop string is empty")]
    EmptyStop,
    /// A system text for a model whose chat template has no place for one.
    #[error("this model's chat template has no system role")]
    NoSystemRole,
    /// A word that is too long to encode.
    #[error("the text has a word of {0} bytes, longest that can be encoded is {MAX_WORD_BYTES}")]
    LongWord(usize),
    /// The model computed what is no finite number, from which no token can be chosen.
    #[error("the answer ends after {tokens} tokens: {source}")]
    NotFinite {
        /// Tokens of the answer before.
        tokens: usize,
        /// The logit.
        source: NotFinite,
    },
}

/// Longest word, or text without spaces for SentencePiece models, that is encoded.
const MAX_WORD_BYTES: usize = 1 << 16;

/// Most memory of a conversation, keys and values first: a file may claim any context.
const MAX_ARENA_BYTES: usize = 2 << 30;

/// A conversation: the memory of a session, and where it stands.
#[derive(Debug)]
pub struct Conversation {
    limits: Limits,
    arena: Vec<u32>,
    /// Prompts and answers, in order.
    tokens: Vec<u32>,
    /// Tokens from the start that are in the KV cache: the last of an answer need not be.
    computed: usize,
    /// How many of these lie in the packed file.
    prefix: usize,
    /// Bytes at the end of `tokens` that were never shown; the next question forgets them.
    unshown: usize,
    /// After the last computed token.
    logits: Vec<f32>,
}

impl Conversation {
    /// An empty conversation of at most `context` tokens with models of the shape of `source`, its
    /// keys and values as the model was made for. The context is no longer than the model's, nor than
    /// what two gigabytes hold.
    #[must_use]
    pub fn new(source: &dyn WeightSource, context: usize) -> Self {
        Self::with_cache(source, context, source.cache())
    }

    /// An empty conversation whose keys and values are kept at `cache`.
    #[must_use]
    pub fn with_cache(source: &dyn WeightSource, context: usize, cache: CachePrecision) -> Self {
        let shape = source.shape();
        let mut limits = Limits {
            context: context.min(shape.context as usize),
            batch: BATCH,
            cache,
        };
        let prefix = source.prefix().map_or(0, |p| p.positions());
        // With the prefix and without it: a conversation may begin with other tokens.
        let words = |limits| {
            let with = ArenaLayout::after(prefix, shape, limits).words();
            ArenaLayout::new(shape, limits).words().max(with)
        };
        while limits.context > 1 && words(limits) > MAX_ARENA_BYTES / size_of::<u32>() {
            limits.context /= 2;
        }
        let arena = vec![0; words(limits)];
        Self {
            limits,
            arena,
            tokens: Vec::new(),
            computed: 0,
            prefix: 0,
            unshown: 0,
            logits: vec![0.0; shape.vocab as usize],
        }
    }

    /// Bits of an element of its keys and values.
    #[must_use]
    pub const fn cache(&self) -> CachePrecision {
        self.limits.cache
    }

    /// The same conversation with keys and values at `cache`, which are computed anew with the next
    /// question.
    #[must_use]
    pub fn at_cache(self, source: &dyn WeightSource, cache: CachePrecision) -> Self {
        if self.cache() == cache {
            return self;
        }
        Self {
            tokens: self.tokens,
            unshown: self.unshown,
            ..Self::with_cache(source, self.limits.context, cache)
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.truncate(0);
        self.unshown = 0;
    }

    /// Whether so many tokens more fit into the context.
    #[must_use]
    pub const fn has_room(&self, tokens: usize) -> bool {
        self.tokens.len() + tokens <= self.limits.context
    }

    /// Tokens that are remembered, of prompts and answers.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.tokens.len()
    }

    /// Asks, and calls `on_text` with each new part of the answer until it breaks.
    ///
    /// This is [`Self::generate`] as a loop, for whoever wants the text only.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn ask(
        &mut self,
        source: &dyn WeightSource,
        host: &Host<'_>,
        question: &Question<'_>,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer, ChatError> {
        let job = Job::silent();
        let mut generation = self.generate(source, host, question, &job)?;
        for piece in &mut generation {
            let text = piece?.text;
            if !text.is_empty() && on_text(&text).is_break() {
                break;
            }
        }
        Ok(generation.finish())
    }

    /// Forgets every token from `count` on.
    fn truncate(&mut self, count: usize) {
        self.tokens.truncate(count);
        self.computed = self.computed.min(count);
        if self.computed < self.prefix {
            (self.computed, self.prefix) = (0, 0);
        }
    }

    /// Takes the first tokens from the packed file where that has them, if none is computed yet; and
    /// computes anew what the file no longer has.
    fn take_prefix(&mut self, source: &dyn WeightSource) {
        let found = source
            .prefix()
            .filter(|p| p.begins(&self.tokens, self.limits.cache))
            .filter(|p| p.positions() < self.limits.context)
            .map_or(0, |p| p.positions());
        if self.computed == 0 || self.prefix > 0 && self.prefix != found {
            (self.computed, self.prefix) = (found, found);
        }
    }

    /// Forgets the end of the answer that was not shown: a stop string, or what was held back when
    /// the answer was interrupted. Of a token that was shown in part, that part stays.
    fn forget_unshown(&mut self, text: &Text<'_>) -> Result<(), ChatError> {
        while self.unshown > 0
            && let Some(token) = self.tokens.last()
        {
            let bytes = text.tokenizer.bytes(*token);
            self.truncate(self.tokens.len() - 1);
            let shown = bytes.len().saturating_sub(self.unshown);
            self.unshown -= bytes.len() - shown;
            let mut part = Vec::new();
            if let Ok(words) = std::str::from_utf8(&bytes[..shown]) {
                encode(text, words, &mut part)?;
            }
            // Some tokenizers put a space in front of every text: such a part is forgotten too.
            let spelled: Vec<u8> = part
                .iter()
                .flat_map(|token| text.tokenizer.bytes(*token))
                .copied()
                .collect();
            if spelled == bytes[..shown] {
                self.tokens.extend(part);
            }
        }
        Ok(())
    }

    /// Computes the next tokens that are not computed yet, a batch at most; after the last of them,
    /// its logits are left in `self.logits`.
    fn compute_batch(
        &mut self,
        source: &dyn WeightSource,
        host: &Host<'_>,
    ) -> Result<(), SessionError> {
        let (limits, from) = (self.limits, self.computed);
        let to = self.tokens.len().min(from + limits.batch);
        let (arena, tokens) = (&mut self.arena, &self.tokens[from..to]);
        let logits = if to == self.tokens.len() {
            &mut self.logits[..]
        } else {
            &mut []
        };
        let mut result = Ok(());
        let prefix = source.prefix().filter(|_| self.prefix > 0);
        source.lend(&mut |weights| {
            result = Session::resume(prefix, weights.shape(), limits, arena, from)
                .and_then(|mut session| session.forward(weights, host, tokens, logits));
        });
        if result.is_ok() {
            self.computed = to;
        }
        result
    }

    /// Tokens that the next question goes on from.
    fn remembered(&self, text: &Text<'_>) -> usize {
        match text.chat.dialogue {
            Dialogue::Conversation => self.tokens.len(),
            Dialogue::Commands => 0,
        }
    }
}

/// The tokens of a question that goes on from `remembered` tokens.
fn prompt(
    text: &Text<'_>,
    question: &Question<'_>,
    remembered: usize,
) -> Result<Vec<u32>, ChatError> {
    let mut prompt = Vec::new();
    if remembered > 0 {
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
    let dialogue = text.chat.dialogue;
    let mut room = vec![0; dialogue.room(question.user.len())];
    let said = dialogue.said(question.user, &mut room);
    encode(text, said.expect("room for every byte"), &mut prompt)?;
    prompt.extend(tokens(text.chat.user_close));
    Ok(prompt)
}

pub(super) fn encode(text: &Text<'_>, words: &str, out: &mut Vec<u32>) -> Result<(), ChatError> {
    let mut room = vec![0; (words.len() + 1).min(MAX_WORD_BYTES)];
    text.tokenizer
        .encode(words, &mut room, &mut |token| out.push(token))
        .map_err(ChatError::LongWord)
}
