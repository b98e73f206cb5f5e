//! The two models that hear and speak, and a conversation through them.

use super::running::Failure;
use crate::catalog::{Cache, Catalog, fetch};
use crate::job::Job;
use crate::speech::recognize::Recognizer;
use crate::speech::synthesize::Synthesizer;
use crate::speech::{RECOGNIZER, SYNTHESIZER};
use crate::voice::live::LiveVoice;
use crate::voice::{Assistant, AssistantError};
use eframe::egui::Context;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Pieces of an answer that may wait for the voice.
const MOST_WAITING_PIECES: usize = 1024;

/// Recognizer and synthesizer, loaded once.
pub(super) type Voices = (Arc<Recognizer>, Arc<Synthesizer>);

/// An open conversation; dropping it closes the devices.
#[derive(Debug)]
pub(super) struct Talk {
    // Goes before the voice does: an utterance in it would keep the voice's thread waiting.
    pub(super) heard: Receiver<Heard>,
    pub(super) voice: LiveVoice,
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
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) pieces: SyncSender<String>,
}

/// The window as the assistant of a voice session.
pub(super) struct ThroughWindow {
    pub(super) heard: SyncSender<Heard>,
    pub(super) ctx: Context,
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
