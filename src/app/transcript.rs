//! What was said: by the person, by the candidates and by the board.

use super::answerer::Answerer;
#[cfg(feature = "flash")]
use super::candidate::Candidate;
#[cfg(feature = "flash")]
use crate::link::BoardTurn;
use std::sync::mpsc::SyncSender;

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The person.
    Person,
    /// Whoever was asked.
    Model(Answerer),
}

/// How an answer of a candidate came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Tokens computed before the first of the answer, but those that a board reads from flash.
    pub prompt_tokens: usize,
    /// Tokens before the spoken reply.
    pub unspoken_tokens: usize,
    /// Tokens of the answer.
    pub tokens: usize,
    /// Answer tokens per second after the first.
    pub tokens_per_second: f64,
    /// Seconds until the first token.
    pub first_token_seconds: f64,
    /// Hash of the logits of every step.
    pub logits_hash: u64,
}

impl Facts {
    /// The hash as it is shown and copied.
    #[must_use]
    pub fn hash(&self) -> String {
        format!("{:016x}", self.logits_hash)
    }
}

/// How an answer of a board came about.
#[cfg(feature = "flash")]
#[derive(Debug, Clone, PartialEq)]
pub struct BoardFacts {
    /// What it answered; its times beside the estimate, its hash beside this computer's.
    pub turn: BoardTurn,
    /// Whose packed model it runs; nothing where that is neither A's nor B's.
    pub runs: Option<Candidate>,
}

/// One turn of the transcript, typed or spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Who said it.
    pub speaker: Speaker,
    /// What was said, as far as it was.
    pub text: String,
    /// For answers of candidates that are complete.
    pub facts: Option<Facts>,
    /// For answers of a board that are complete.
    #[cfg(feature = "flash")]
    pub board: Option<Box<BoardFacts>>,
}

impl Utterance {
    /// What somebody said, or is about to say.
    #[must_use]
    pub fn new(speaker: Speaker, text: impl Into<String>) -> Self {
        Self {
            speaker,
            text: text.into(),
            facts: None,
            #[cfg(feature = "flash")]
            board: None,
        }
    }
}

/// What an answer may remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The candidate's conversation so far; a board has none.
    Kept,
    /// Nothing, so that both candidates start alike.
    Fresh,
}

/// An utterance that waits for its answer.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who shall answer.
    pub answerer: Answerer,
    /// What was said.
    pub text: String,
    /// What the answer may remember.
    pub memory: Memory,
    /// Where the pieces of the answer go, if they are to be spoken; full of a few seconds' text, the
    /// answer waits.
    pub aloud: Option<SyncSender<String>>,
}
