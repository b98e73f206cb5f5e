//! Talking to the candidates through microphone and loudspeaker.
//!
//! What is heard goes the way of what is typed: into the transcript, to the active candidate, with
//! its memory. The pieces of the answer go back to the voice, which speaks them while they come.

use super::jobs::Failure;
use super::state::{Memory, Talking};
use super::{Running, Studio};
use crate::catalog::{Cache, Catalog, fetch};
use crate::job::Job;
use crate::speech::recognize::Recognizer;
use crate::speech::synthesize::Synthesizer;
use crate::speech::{RECOGNIZER, SYNTHESIZER};
use crate::voice::audio::LiveAudio;
use crate::voice::live::{LiveEvent, LiveVoice};
use crate::voice::{Assistant, AssistantError, BargeIn, VoiceState};
use eframe::egui::Context;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How often the level meter moves while somebody may speak.
const METER_INTERVAL: Duration = Duration::from_millis(50);
/// Pieces of an answer that may wait for the voice.
const MOST_WAITING_PIECES: usize = 1024;

/// Recognizer and synthesizer, loaded once.
pub(super) type Voices = (Arc<Recognizer>, Arc<Synthesizer>);

/// An open conversation; dropping it closes the devices.
#[derive(Debug)]
pub(super) struct Talk {
    // Goes before the voice does: an utterance in it would keep the voice's thread waiting.
    heard: Receiver<Heard>,
    voice: LiveVoice,
}

impl Talk {
    /// Where the pieces of answers to `question` go to be spoken, one after the other.
    pub(super) fn say(&self, question: &str) -> SyncSender<String> {
        let (pieces, answers) = sync_channel(MOST_WAITING_PIECES);
        self.voice.say(question.to_owned(), answers);
        pieces
    }

    /// Falls silent; goes on listening.
    pub(super) fn interrupt(&self) {
        self.voice.interrupt();
    }
}

/// What was said, and where the pieces of the answer go.
#[derive(Debug)]
struct Heard {
    text: String,
    pieces: SyncSender<String>,
}

/// The window as the assistant of a voice session.
struct ThroughWindow {
    heard: SyncSender<Heard>,
    ctx: Context,
}

impl Assistant for ThroughWindow {
    fn reply(
        &mut self,
        heard: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), AssistantError> {
        let (pieces, answer) = sync_channel(MOST_WAITING_PIECES);
        let closed = |_| AssistantError("the window is closed".into());
        self.heard
            .send(Heard {
                text: heard.to_owned(),
                pieces,
            })
            .map_err(closed)?;
        self.ctx.request_repaint();
        // Ends when the answer is complete or was stopped, and its sender is gone.
        for piece in answer {
            if on_text(&piece).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Brings what voice needs, as the button said that it would, and loads it.
pub(super) fn load_voices(job: &Job<'_>) -> Result<Voices, Failure> {
    let recognizer = Recognizer::load(&folder(RECOGNIZER, job)?, job)?;
    let synthesizer = Synthesizer::load(&folder(SYNTHESIZER, job)?, job)?;
    Ok((Arc::new(recognizer), Arc::new(synthesizer)))
}

/// The folder of a model of the catalog, fetched if it is not here.
fn folder(name: &str, job: &Job<'_>) -> Result<PathBuf, Failure> {
    let catalog = Catalog::builtin();
    let entry = catalog
        .entry(name)
        .ok_or_else(|| format!("the catalog has no model named {name}"))?;
    let cache = Cache::from_environment()?;
    match cache.installed(entry) {
        Some(folder) => Ok(folder),
        None => Ok(fetch(entry, &cache, job)?.folder),
    }
}

impl Studio {
    /// Starts to listen, or stops.
    pub(super) fn toggle_talk(&mut self, ctx: &Context) {
        if self.talk.is_some() {
            self.close_talk();
            return;
        }
        match &self.voices {
            Some(voices) => self.open_talk(voices.clone(), ctx),
            None => self.state.jobs.voices = Some(Running::start("Voice", ctx, load_voices)),
        }
    }

    /// Closes the devices; answers that wait are given in writing.
    fn close_talk(&mut self) {
        // The voice's thread ends with the last sender, and this one waits for it.
        for ask in &mut self.state.view.asks {
            ask.aloud = None;
        }
        if let Some(talk) = self.talk.take() {
            // Devices close slowly, and the voice waits for the model's next token.
            std::thread::spawn(|| drop(talk));
        }
        self.state.view.talking = None;
    }

    /// Opens microphone and loudspeaker.
    pub(super) fn open_talk(&mut self, voices: Voices, ctx: &Context) {
        self.voices = Some(voices.clone());
        let (recognizer, synthesizer) = voices;
        match LiveAudio::open(None, None) {
            Err(error) => self.state.fail(format!("Cannot listen: {error}")),
            Ok(audio) => {
                let (sender, heard) = sync_channel(1);
                let assistant = Box::new(ThroughWindow {
                    heard: sender,
                    ctx: ctx.clone(),
                });
                let voice =
                    LiveVoice::start(recognizer, synthesizer, assistant, audio, BargeIn::Ignored);
                self.talk = Some(Talk { heard, voice });
                self.state.view.talking = Some(Talking {
                    state: VoiceState::Listening,
                    input_level: 0.0,
                });
            }
        }
    }

    /// Takes what was heard and what happened since the last frame.
    pub(super) fn follow_talk(&mut self, ctx: &Context) {
        let Some(talk) = &self.talk else { return };
        let mut failed = None;
        let mut notices = Vec::new();
        for event in talk.voice.events.try_iter() {
            match event {
                LiveEvent::State(state) => {
                    if let Some(talking) = &mut self.state.view.talking {
                        talking.state = state;
                    }
                }
                LiveEvent::NoAnswer(reason) => notices.push(reason),
                LiveEvent::Failed(reason) => failed = Some(reason),
                // The transcript has these already: the window itself gave the answer.
                LiveEvent::Turn(_) | LiveEvent::Finished(_) => {}
            }
        }
        if let Some(talking) = &mut self.state.view.talking {
            talking.input_level = talk.voice.monitor.input_level();
        }
        let heard: Vec<Heard> = talk.heard.try_iter().collect();
        for Heard { text, pieces } in heard {
            let active = self.state.view.active;
            self.ask(&text, &[active], Memory::Kept, Some(pieces));
        }
        notices
            .into_iter()
            .for_each(|reason| self.state.inform(reason));
        if let Some(reason) = failed {
            self.close_talk();
            self.state.fail(reason);
        }
        ctx.request_repaint_after(METER_INTERVAL);
    }
}
