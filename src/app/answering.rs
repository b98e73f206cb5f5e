//! Conversations in the window: who is asked, the answer that is generated, what becomes of it.

use super::answerer::Answerer;
use super::candidate::Candidate;
use super::jobs::{Ended, JobKind};
use super::pieces::Pieces;
use super::running::lock;
use super::studio::{Answering, Studio};
use super::transcript::{Ask, Facts, Memory, Speaker, Utterance};
use crate::job::Job;
use crate::packed::{Answer, ChatError, Conversation, LiveModel, Question};
use crate::workers::Processor;
use eframe::egui::Context;
use engine::sampler::Sampling;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

/// Longest conversation in tokens.
const CONTEXT: usize = 2048;
/// Longest answer in tokens.
const MAX_TOKENS: usize = 256;

/// All that an answer is generated from.
struct Turn {
    conversation: Conversation,
    live: Arc<LiveModel>,
    system: Option<String>,
    text: String,
    sampling: Sampling,
    pieces: Pieces,
}

impl Studio {
    /// Adds what the person said to the transcript, and queues who shall answer.
    ///
    /// Typed and spoken utterances come in here alike; the pieces of all answers go to `aloud`, if
    /// somebody speaks them.
    pub(super) fn ask(
        &mut self,
        text: &str,
        answerers: &[Answerer],
        memory: Memory,
        aloud: Option<SyncSender<String>>,
    ) {
        let text = text.trim();
        if text.is_empty() || self.state.loaded().is_none() {
            return;
        }
        let said = Utterance::new(Speaker::Person, text);
        self.state.view.transcript.push(said);
        let ask = |answerer: &Answerer| Ask {
            answerer: *answerer,
            text: text.to_owned(),
            memory,
            aloud: aloud.clone(),
        };
        self.state.view.asks.extend(answerers.iter().map(ask));
    }

    /// Says the last utterance to both candidates, each from an empty memory, and to the board where that answers.
    pub(super) fn replay(&mut self) {
        let Some(text) = self.state.last_said().map(str::to_owned) else {
            return;
        };
        #[cfg(feature = "voice")]
        let aloud = self.talk.as_ref().map(|talk| talk.say(&text));
        #[cfg(not(feature = "voice"))]
        let aloud = None;
        let answerers = self.state.answerers();
        self.ask(&text, &answerers, Memory::Fresh, aloud);
    }

    /// Stops the answer, and forgets utterances that wait.
    pub(super) fn stop_answers(&mut self) {
        self.state.view.asks.clear();
        self.stop_board();
        if let Some(answer) = self.state.jobs.get(JobKind::Answer) {
            answer.cancel();
        }
        #[cfg(feature = "voice")]
        if let Some(talk) = &self.talk {
            talk.interrupt();
        }
    }

    /// Ends the board's answer: the board looks after each token, and its port is in use until it has.
    fn stop_board(&self) {
        #[cfg(feature = "flash")]
        if let Some(answer) = self.state.jobs.get(JobKind::BoardAnswer) {
            answer.cancel();
        }
    }

    /// Forgets what was said.
    pub(super) fn new_conversation(&mut self) {
        self.state.view.asks.clear();
        self.stop_board();
        // What it remembers goes with it.
        self.state.jobs.forget(JobKind::Answer);
        self.state.view.transcript.clear();
        for candidate in Candidate::ALL {
            let bench = self.state.derived.bench_mut(candidate);
            bench.conversation = None;
        }
    }

    /// Starts the answer to the utterance that waits longest, once whoever was asked is ready.
    pub(super) fn answer_next(&mut self, ctx: &Context) {
        let Some(ask) = self.state.view.asks.front().cloned() else {
            return;
        };
        let may_start = |kind| self.state.jobs.may_start(kind);
        match ask.answerer {
            Answerer::Candidate(candidate) if may_start(JobKind::Answer) => {
                self.answer_by(candidate, ask, ctx);
            }
            #[cfg(feature = "flash")]
            Answerer::Board if may_start(JobKind::BoardAnswer) => self.answer_by_board(ask, ctx),
            Answerer::Candidate(_) => {}
            #[cfg(feature = "flash")]
            Answerer::Board => {}
        }
    }

    fn answer_by(&mut self, candidate: Candidate, ask: Ask, ctx: &Context) {
        let bench = self.state.derived.bench_mut(candidate);
        let Some(live) = bench.live.clone() else {
            self.ensure_built(candidate, ctx);
            return;
        };
        let mut conversation = bench
            .conversation
            .take()
            .unwrap_or_else(|| Conversation::new(&*live, CONTEXT))
            .at_cache(&*live, self.state.project.cache);
        match ask.memory {
            Memory::Kept => {}
            Memory::Fresh => conversation.reset(),
        }
        let turn = Turn {
            conversation,
            system: self.system(&live, ask.aloud.as_ref()),
            live,
            text: ask.text,
            sampling: self.state.project.sampling.sampling(),
            pieces: self.begin_answer(ask.answerer, ask.aloud, ctx),
        };
        let processor = Arc::clone(&self.processor);
        let title = format!("Answer {}", candidate.name());
        self.state
            .jobs
            .start(JobKind::Answer, title, ctx, move |job| {
                let (conversation, answer) = turn.answer(&processor, job);
                Ok(Ended::Answered(candidate, Box::new(conversation), answer))
            });
    }

    /// The utterance that waited longest waits no more: its answer stands in the transcript while it comes.
    pub(super) fn begin_answer(
        &mut self,
        answerer: Answerer,
        aloud: Option<SyncSender<String>>,
        ctx: &Context,
    ) -> Pieces {
        self.state.view.asks.pop_front();
        let answer = Utterance::new(Speaker::Model(answerer), "");
        self.state.view.transcript.push(answer);
        let heard = Arc::new(Mutex::new(String::new()));
        let pieces = Pieces::new(Arc::clone(&heard), aloud, ctx);
        self.answering = Some(Answering { answerer, heard });
        pieces
    }

    /// The system text of the project, or else one that keeps an answer short that is spoken.
    fn system(&self, live: &LiveModel, aloud: Option<&SyncSender<String>>) -> Option<String> {
        let system = self.state.project.system.trim();
        if !system.is_empty() {
            return Some(system.to_owned());
        }
        #[cfg(feature = "voice")]
        if aloud.is_some() {
            // What is spoken should be short and plain, unless the person says otherwise.
            let text = crate::packed::WeightSource::text(live);
            return crate::voice::spoken_system(&text).map(str::to_owned);
        }
        #[cfg(not(feature = "voice"))]
        let (_, _) = (live, aloud);
        None
    }

    /// Shows what an answer has said so far.
    pub(super) fn follow_answer(&mut self) {
        if !self.state.is_answering() {
            self.answering = None;
        }
        let (Some(answering), Some(utterance)) =
            (&self.answering, self.state.view.transcript.last_mut())
        else {
            return;
        };
        let heard = lock(&answering.heard);
        if utterance.speaker == Speaker::Model(answering.answerer) && utterance.text != *heard {
            utterance.text.clone_from(&heard);
        }
    }

    pub(super) fn on_answer(
        &mut self,
        candidate: Candidate,
        conversation: Conversation,
        answer: Result<Answer, ChatError>,
    ) {
        // A board has the template's own opening in flash, where this computer computes it.
        let in_flash = match (&answer, self.state.loaded()) {
            (Ok(answer), Some(loaded))
                if answer.has_computed_opening && self.state.project.system.trim().is_empty() =>
            {
                loaded.shape.prefix_tokens
            }
            _ => 0,
        };
        self.state.derived.bench_mut(candidate).conversation = Some(conversation);
        let said = self.state.view.transcript.last_mut();
        let speaker = Speaker::Model(Answerer::Candidate(candidate));
        let utterance = said.filter(|u| u.speaker == speaker);
        match (answer, utterance) {
            (Ok(answer), Some(utterance)) => {
                utterance.facts = Some(Facts {
                    prompt_tokens: answer.prompt_tokens.saturating_sub(in_flash),
                    unspoken_tokens: answer.unspoken_tokens,
                    tokens: answer.tokens.len(),
                    tokens_per_second: answer.decode_tokens_per_second(),
                    first_token_seconds: answer.prefill.as_secs_f64(),
                    logits_hash: answer.logits_hash.0,
                });
                utterance.text = answer.text;
            }
            // A new conversation has begun: the answer belongs to none.
            (Ok(_), None) => {}
            (Err(error), _) => self.state.fail(format!(
                "{} cannot answer: {error}; a new conversation starts with an empty memory",
                candidate.name()
            )),
        }
    }
}

impl Turn {
    /// Generates the answer, and gives the conversation back.
    fn answer(
        mut self,
        processor: &Processor,
        job: &Job<'_>,
    ) -> (Conversation, Result<Answer, ChatError>) {
        let question = Question {
            system: self.system.as_deref(),
            user: &self.text,
            max_tokens: MAX_TOKENS,
            sampling: self.sampling,
            stop: &[],
        };
        let host = processor.host();
        let answer = self
            .conversation
            .generate(&*self.live, &host, &question, job)
            .and_then(|mut generation| {
                for piece in &mut generation {
                    let text = piece?.text;
                    if !text.is_empty() && self.pieces.push(&text).is_break() {
                        break;
                    }
                }
                Ok(generation.finish())
            });
        self.pieces.finish();
        (self.conversation, answer)
    }
}
