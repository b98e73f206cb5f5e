//! Talking to the candidates through microphone and loudspeaker.
//!
//! What is heard goes the way of what is typed: into the transcript, to the active candidate, with
//! its memory. The pieces of the answer go back to the voice, which speaks them while they come.

use super::jobs::{Ended, JobKind};
use super::state::Talking;
use super::studio::Studio;
use super::transcript::Memory;
use super::voices::{Heard, Talk, ThroughWindow, Voices, load_voices};
use crate::job::Job;
use crate::voice::audio::LiveAudio;
use crate::voice::live::{LiveEvent, LiveVoice};
use crate::voice::{BargeIn, VoiceState};
use eframe::egui::Context;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How often the level meter moves while somebody may speak.
const METER_INTERVAL: Duration = Duration::from_millis(50);

impl Studio {
    /// Starts to listen, or stops.
    pub(super) fn toggle_talk(&mut self, ctx: &Context) {
        if self.talk.is_some() {
            self.close_talk();
            return;
        }
        match &self.voices {
            Some(voices) => self.open_talk(voices.clone(), ctx),
            None => {
                let load = |job: &Job<'_>| Ok(Ended::Voices(load_voices(job)?));
                self.state.jobs.start(JobKind::Voices, "Voice", ctx, load);
            }
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
            let answerer = self.state.answerer();
            self.ask(&text, &[answerer], Memory::Kept, Some(pieces));
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
