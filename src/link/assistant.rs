//! A board as the assistant of a voice session.

use super::{BoardQuestion, BoardTurn, Client, TalkError, ask_board};
use crate::job::Job;
use crate::voice::{Assistant, AssistantError, SPOKEN_TOKENS};
use engine::sampler::Sampling;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

/// Lets a board answer what was heard, each question on its own: boards remember no conversation.
#[derive(Debug)]
pub struct BoardAssistant {
    client: Client,
    sampling: Sampling,
    /// Cancelled, it ends the board's answer too.
    job: Job<'static>,
    /// The latest answer, for whoever compares it; nothing while one comes.
    pub last: Arc<Mutex<Option<BoardTurn>>>,
}

impl BoardAssistant {
    /// Asks over `client`, until `job` is cancelled.
    #[must_use]
    pub fn new(client: Client, sampling: Sampling, job: &Job<'_>) -> Self {
        Self {
            client,
            sampling,
            job: job.quiet(),
            last: Arc::default(),
        }
    }

    fn remember(&self, turn: Option<BoardTurn>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }
}

impl Assistant for BoardAssistant {
    fn reply(
        &mut self,
        heard: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), AssistantError> {
        self.remember(None);
        let question = BoardQuestion::spoken(heard, self.sampling);
        match ask_board(&mut self.client, &question, &self.job, on_text) {
            Ok(turn) => self.remember(Some(turn)),
            // Whoever cancelled it says so.
            Err(TalkError::Cancelled(_)) => {}
            Err(error) => return Err(AssistantError(super::chain(&error))),
        }
        Ok(())
    }
}

impl<'a> BoardQuestion<'a> {
    /// What was heard, for an answer as short as one that is spoken.
    #[must_use]
    pub fn spoken(heard: &'a str, sampling: Sampling) -> Self {
        Self {
            prompt: heard,
            // 64 tokens.
            max_tokens: SPOKEN_TOKENS as u32,
            context: 0,
            sampling,
        }
    }
}
