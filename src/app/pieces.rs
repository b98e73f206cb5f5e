//! An answer while it comes: shown piece by piece, and spoken.

use super::running::lock;
use crate::packed::intent::SpokenText;
use eframe::egui::Context;
use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a streamed answer may ask for a new frame.
const STREAM_INTERVAL: Duration = Duration::from_millis(30);

/// Where the pieces of an answer go.
pub(super) struct Pieces {
    /// The answer so far.
    heard: Arc<Mutex<String>>,
    /// Where they are spoken.
    aloud: Option<SyncSender<String>>,
    /// The voice takes all answers to a question as one, so each loses its intent line here.
    spoken: SpokenText,
    window: Context,
}

impl Pieces {
    /// Pieces that `window` shows as they come in `heard`, and that are spoken `aloud`.
    pub(super) fn new(
        heard: Arc<Mutex<String>>,
        aloud: Option<SyncSender<String>>,
        window: &Context,
    ) -> Self {
        Self {
            heard,
            aloud,
            spoken: SpokenText::new(),
            window: window.clone(),
        }
    }

    /// The next piece; says to stop where nobody listens any more.
    pub(super) fn push(&mut self, piece: &str) -> ControlFlow<()> {
        lock(&self.heard).push_str(piece);
        self.window.request_repaint_after(STREAM_INTERVAL);
        let piece = self.spoken.push(piece);
        let is_heard = |aloud: &SyncSender<String>| aloud.send(piece.clone()).is_ok();
        if piece.is_empty() || self.aloud.as_ref().is_none_or(is_heard) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// Ends the last sentence: another answer to the same question may follow.
    pub(super) fn finish(&mut self) {
        let rest = self.spoken.finish() + "\n";
        if let Some(aloud) = &self.aloud {
            // Nobody may listen.
            drop(aloud.send(rest));
        }
    }
}
