//! An answer being generated: an iterator over its tokens.

use super::held::{Arrival, HeldText};
use super::{Answer, ChatError, Conversation, Question, StopReason, prompt};
use crate::job::Job;
use crate::packed::WeightSource;
use crate::packed::intent::AnswerParts;
use engine::format::Text;
use engine::sampler::{LogitsHash, Sampler};
use engine::session::SessionError;
use engine::workers::Host;
use std::time::{Duration, Instant};

/// One token that was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its number; a stop token comes too.
    pub token: u32,
    /// The text that can be shown since: often the token's own, sometimes none yet or more.
    pub text: String,
}

/// An answer being generated, token by token, each when it is asked for.
///
/// Whoever wants no more asks no more: the conversation can go on after any token, and remembers of
/// the answer what was shown. The job is asked before each token too.
#[derive(Debug)]
pub struct Generation<'a> {
    conversation: &'a mut Conversation,
    source: &'a dyn WeightSource,
    host: &'a Host<'a>,
    job: &'a Job<'a>,
    text: Text<'a>,
    max_tokens: usize,
    sampler: Sampler,
    held: HeldText<'a>,
    answer: Answer,
    /// Bytes of the answer's text after each token.
    ends: Vec<usize>,
    stop: Option<StopReason>,
}

impl Conversation {
    /// Computes the prompt of a question, and stands before the first token of its answer.
    ///
    /// The job reports each batch of the prompt and each token. Cancelled during the prompt, the
    /// conversation is as it was before the question, and the answer has no tokens. What was said
    /// before a command is forgotten.
    ///
    /// `source` may exchange its tensors meanwhile: each token takes them as they are when it starts.
    ///
    /// # Errors
    /// When the sampling is out of range, a stop string empty, or the prompt does not fit the
    /// context or cannot be encoded; then the conversation is as it was.
    pub fn generate<'a>(
        &'a mut self,
        source: &'a dyn WeightSource,
        host: &'a Host<'a>,
        question: &Question<'a>,
        job: &'a Job<'a>,
    ) -> Result<Generation<'a>, ChatError> {
        question.sampling.check()?;
        if question.stop.iter().any(String::is_empty) {
            return Err(ChatError::EmptyStop);
        }
        let text = source.text();
        self.forget_unshown(&text)?;
        let before = self.remembered(&text);
        let prompt = prompt(&text, question, before)?;
        let (needed, context) = (before + prompt.len(), self.limits.context);
        if needed > context {
            return Err(SessionError::ContextFull { needed, context }.into());
        }
        self.truncate(before);
        self.tokens.extend(prompt);
        self.take_prefix(source);
        let (start, first) = (Instant::now(), self.computed);
        let read = self.read(source, host, job);
        let prompt_tokens = self.computed - first;
        if !matches!(read, Ok(Read::Whole)) {
            self.truncate(before);
        }
        let stop = match read? {
            Read::Cancelled => Some(StopReason::Interrupted),
            Read::Whole if question.max_tokens == 0 => Some(StopReason::MaxTokens),
            Read::Whole => None,
        };
        Ok(Generation {
            conversation: self,
            source,
            host,
            job,
            text,
            max_tokens: question.max_tokens,
            sampler: Sampler::new(question.sampling),
            held: HeldText::new(question.stop),
            answer: Answer {
                text: String::new(),
                tokens: Vec::new(),
                logits_hash: LogitsHash::default(),
                prompt_tokens,
                has_computed_opening: first == 0,
                unspoken_tokens: 0,
                prefill: start.elapsed(),
                decode: Duration::ZERO,
                decode_steps: 0,
                stop: StopReason::Interrupted,
            },
            ends: Vec::new(),
            stop,
        })
    }

    /// Computes what is not computed yet, batch by batch.
    fn read(
        &mut self,
        source: &dyn WeightSource,
        host: &Host<'_>,
        job: &Job<'_>,
    ) -> Result<Read, SessionError> {
        let first = self.computed;
        loop {
            let (done, total) = (self.computed - first, self.tokens.len() - first);
            if job.report("Reading", done as u64, total as u64).is_err() {
                return Ok(Read::Cancelled);
            }
            self.compute_batch(source, host)?;
            if self.computed == self.tokens.len() {
                return Ok(Read::Whole);
            }
        }
    }
}

/// How far a prompt was computed.
enum Read {
    Whole,
    Cancelled,
}

impl Generation<'_> {
    /// The answer as far as it was asked for; interrupted unless it ended.
    #[must_use]
    pub fn finish(self) -> Answer {
        let reply = AnswerParts::of(&self.answer.text).reply;
        let line = self.answer.text.len() - reply.len();
        let is_line = |end: &&usize| **end <= line;
        Answer {
            unspoken_tokens: self.ends.iter().filter(is_line).count(),
            stop: self.stop.unwrap_or(StopReason::Interrupted),
            ..self.answer
        }
    }

    fn step(&mut self) -> Result<Option<Piece>, ChatError> {
        if self.stop.is_some() {
            return Ok(None);
        }
        let drawn = self.answer.tokens.len() as u64;
        if self.job.report("Answering", drawn, 0).is_err() {
            self.stop = Some(StopReason::Interrupted);
            return Ok(None);
        }
        let start = Instant::now();
        let has_step = drawn > 0;
        if has_step {
            // Nothing follows the last token of an answer, so its logits are computed only now.
            self.conversation.compute_batch(self.source, self.host)?;
            self.answer.decode_steps += 1;
        }
        let Conversation { logits, tokens, .. } = &mut *self.conversation;
        self.answer.logits_hash.update(logits);
        let tokens_before = self.answer.tokens.len();
        let token = self.sampler.sample(logits, tokens);
        let token = token.map_err(|source| ChatError::NotFinite {
            tokens: tokens_before,
            source,
        })?;
        let text = self.take(token);
        self.answer.text += &text;
        self.ends.push(self.answer.text.len());
        if has_step {
            self.answer.decode += start.elapsed();
        }
        Ok(Some(Piece { token, text }))
    }

    /// Takes a token into answer and conversation; returns what can be shown now.
    fn take(&mut self, token: u32) -> String {
        let conversation = &mut *self.conversation;
        if self.text.is_stop(token) {
            // The chat template has its own close of an answer.
            self.stop = Some(StopReason::StopToken);
            conversation.unshown = 0;
            return self.held.finish();
        }
        self.answer.tokens.push(token);
        conversation.tokens.push(token);
        let text = match self.held.push(self.text.tokenizer.bytes(token)) {
            Arrival::BeforeStop(text) => {
                self.stop = Some(StopReason::StopString);
                text
            }
            Arrival::Text(text) => {
                if self.answer.tokens.len() == self.max_tokens {
                    self.stop = Some(StopReason::MaxTokens);
                } else if conversation.tokens.len() > conversation.limits.context {
                    self.stop = Some(StopReason::ContextFull);
                }
                match self.stop {
                    Some(_) => text + &self.held.finish(),
                    None => text,
                }
            }
        };
        conversation.unshown = self.held.len();
        text
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Piece, ChatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.stop = Some(StopReason::Interrupted);
        }
        step.transpose()
    }
}
