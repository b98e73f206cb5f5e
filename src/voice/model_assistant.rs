//! A running model as the assistant of a voice session.

use super::{Assistant, AssistantError};
use crate::packed::{Answer, Conversation, Question, WeightSource};
use crate::workers::Processor;
use engine::arena::CachePrecision;
use engine::dialogue::Dialogue;
use engine::format::Text;
use engine::sampler::Sampling;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What the model is told before the first question, so that answers can be spoken.
pub const SPOKEN_SYSTEM: &str =
    "You are a helpful voice assistant. Answer in one or two short sentences of plain text.";
/// What a model is told before a spoken conversation when nobody says otherwise; nothing where its chat
/// template has no place for it, nor where a model of commands has a text of its own.
#[must_use]
pub fn spoken_system(text: &Text<'_>) -> Option<&'static str> {
    match text.chat.dialogue {
        Dialogue::Conversation => text.chat.system.map(|_| SPOKEN_SYSTEM),
        Dialogue::Commands => None,
    }
}

/// Longest spoken answer in tokens: about 20 seconds.
pub const SPOKEN_TOKENS: usize = 64;
/// Tokens that a spoken conversation remembers.
const CONTEXT: usize = 2048;

/// Answers with a packed or live model; remembers the conversation until its context is full.
#[derive(Debug)]
pub struct ModelAssistant {
    source: Arc<dyn WeightSource>,
    processor: Arc<Processor>,
    conversation: Conversation,
    system: Option<String>,
    sampling: Sampling,
    /// The latest answer, with its speed and the hash of its logits.
    pub last: Option<Answer>,
}

impl ModelAssistant {
    /// An assistant that answers with `source`. Without `system` it is told [`spoken_system`]; for
    /// models without a system role both fall away.
    #[must_use]
    pub fn new(
        source: Arc<dyn WeightSource>,
        processor: Arc<Processor>,
        system: Option<&str>,
        sampling: Sampling,
    ) -> Self {
        let text = source.text();
        let conversation = Conversation::new(&*source, CONTEXT);
        let system = match system {
            Some(system) => text.chat.system.map(|_| system),
            None => spoken_system(&text),
        };
        let system = system.map(str::to_owned);
        Self {
            source,
            processor,
            conversation,
            system,
            sampling,
            last: None,
        }
    }

    /// The same with a new conversation, whose keys and values are kept at `cache`.
    #[must_use]
    pub fn with_cache(self, cache: CachePrecision) -> Self {
        Self {
            conversation: Conversation::with_cache(&*self.source, CONTEXT, cache),
            ..self
        }
    }
}

impl Assistant for ModelAssistant {
    fn reply(
        &mut self,
        heard: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), AssistantError> {
        let question = Question {
            system: self.system.as_deref(),
            user: heard,
            max_tokens: SPOKEN_TOKENS,
            sampling: self.sampling,
            stop: &[],
        };
        // When the conversation has filled the context, it starts over rather than ending.
        if !self.conversation.has_room(SPOKEN_TOKENS + heard.len()) {
            self.conversation.reset();
        }
        let host = self.processor.host();
        let answer = self
            .conversation
            .ask(&*self.source, &host, &question, on_text)
            .map_err(|e| AssistantError(e.to_string()))?;
        self.last = Some(answer);
        Ok(())
    }
}
