//! A conversation through microphone and loudspeaker.
//!
//! [`LiveVoice`] runs two threads. The listener reads the microphone into a [`VoiceSession`]; the
//! answerer recognizes, asks the assistant and plays. The listener hands over utterances and, when
//! somebody speaks into an answer, silences the loudspeaker and cancels the turn. What happens comes
//! out of a bounded channel.

use super::audio::{LiveAudio, Microphone, Monitor, Speaker};
use super::recognize::Recognizer;
use super::session::{BargeIn, Heard, VoiceSession, VoiceState};
use super::synthesize::Synthesizer;
use super::turn::{Assistant, Turn, TurnEvent, VoiceError, answer};
use super::vad::Utterance;
use crate::job::{CancelToken, Job};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that may wait for the window to take them.
const MOST_WAITING_EVENTS: usize = 1024;
/// How often the microphone is read: half a device block.
const READ_EVERY: Duration = Duration::from_millis(10);

/// What happens in a live conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum LiveEvent {
    /// The conversation is somewhere else now.
    State(VoiceState),
    /// Something of the present turn; audio arrives when it is made, before it is played.
    Turn(TurnEvent),
    /// The turn is over and was played.
    Finished(Turn),
    /// There was no answer, with the reason in words.
    NoAnswer(String),
    /// A device failed and the conversation is over, with the reason in words.
    Failed(String),
}

/// A running conversation; dropping it stops it.
#[derive(Debug)]
pub struct LiveVoice {
    /// What happens, in order. Must be taken from time to time: an answer waits when it is full.
    pub events: Receiver<LiveEvent>,
    /// Levels and faults of the devices.
    pub monitor: Monitor,
    stop: CancelToken,
    threads: Vec<JoinHandle<()>>,
}

/// An utterance on its way to be answered.
struct Request {
    turn: u64,
    utterance: Utterance,
    cancel: CancelToken,
}

/// How far the answerer is with a turn.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Answering(u64),
    Answered(u64),
}

impl LiveVoice {
    /// Starts to listen.
    #[must_use]
    pub fn start(
        recognizer: Arc<Recognizer>,
        synthesizer: Arc<Synthesizer>,
        mut assistant: Box<dyn Assistant + Send>,
        audio: LiveAudio,
        barge_in: BargeIn,
    ) -> Self {
        let LiveAudio {
            microphone,
            speaker,
            monitor,
            streams,
        } = audio;
        let (events, taken) = sync_channel(MOST_WAITING_EVENTS);
        let (requests, requested) = sync_channel::<Request>(1);
        let (phases, phase) = sync_channel(64);
        let stop = CancelToken::new();

        let answer_events = events.clone();
        let answerer = std::thread::spawn(move || {
            let speaker = Mutex::new(speaker);
            // Ends when the listener goes away and drops its end.
            for request in requested {
                let turn = request.turn;
                answer_request(
                    &recognizer,
                    &synthesizer,
                    &mut *assistant,
                    &request,
                    &speaker,
                    &answer_events,
                    &phases,
                );
                if phases.send(Phase::Answered(turn)).is_err() {
                    break;
                }
            }
        });
        let listener = Listener {
            microphone,
            session: VoiceSession::new(barge_in),
            monitor: monitor.clone(),
            events,
            requests,
            stop: stop.clone(),
            turn: 0,
            present: None,
        };
        let listener = std::thread::spawn(move || {
            listener.run(&phase);
            // The devices close when nobody listens any more.
            drop(streams);
        });
        Self {
            events: taken,
            monitor,
            stop,
            threads: vec![listener, answerer],
        }
    }

    /// Stops at once and waits for the threads.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for LiveVoice {
    fn drop(&mut self) {
        self.stop.cancel();
        self.monitor.silence();
        // Makes room, so that no thread waits to tell something that nobody will take.
        let (_, nobody) = sync_channel(0);
        drop(std::mem::replace(&mut self.events, nobody));
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on standard error.
            drop(thread.join());
        }
    }
}

/// The thread that reads the microphone.
struct Listener {
    microphone: Microphone,
    session: VoiceSession,
    monitor: Monitor,
    events: SyncSender<LiveEvent>,
    requests: SyncSender<Request>,
    stop: CancelToken,
    turn: u64,
    /// Cancels the present turn.
    present: Option<CancelToken>,
}

impl Listener {
    fn run(mut self, phases: &Receiver<Phase>) {
        let mut state = self.session.state();
        self.tell(LiveEvent::State(state));
        let mut block = Vec::new();
        while !self.stop.is_cancelled() {
            match phases.recv_timeout(READ_EVERY) {
                Ok(Phase::Answering(turn)) if turn == self.turn => self.session.answering(),
                Ok(Phase::Answered(turn)) if turn == self.turn => self.session.answered(),
                // Of a turn that was interrupted.
                Ok(Phase::Answering(_) | Phase::Answered(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(fault) = self.monitor.take_fault() {
                let fault = fault.to_owned();
                self.tell(LiveEvent::Failed(fault));
                break;
            }
            block.clear();
            if let Err(error) = self.microphone.read(&mut block) {
                self.tell(LiveEvent::Failed(error.to_string()));
                break;
            }
            for heard in self.session.push(&block) {
                self.act(heard);
            }
            if self.session.state() != state {
                state = self.session.state();
                self.tell(LiveEvent::State(state));
            }
        }
        self.interrupt();
    }

    fn act(&mut self, heard: Heard) {
        match heard {
            Heard::SpeechBegan | Heard::Dismissed => {}
            Heard::Interrupted => self.interrupt(),
            Heard::Utterance(utterance) => {
                self.turn += 1;
                let cancel = CancelToken::new();
                self.present = Some(cancel.clone());
                match self.requests.try_send(Request {
                    turn: self.turn,
                    utterance,
                    cancel,
                }) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                        // The interrupted answer has not ended yet and another already waits.
                        self.session.answered();
                        self.tell(LiveEvent::NoAnswer(
                            "the assistant is still busy".to_owned(),
                        ));
                    }
                }
            }
        }
    }

    fn interrupt(&mut self) {
        if let Some(present) = self.present.take() {
            present.cancel();
            self.monitor.silence();
        }
    }

    /// The listener never waits: audio would be lost.
    fn tell(&self, event: LiveEvent) {
        match self.events.try_send(event) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => self.stop.cancel(),
        }
    }
}

fn answer_request(
    recognizer: &Recognizer,
    synthesizer: &Synthesizer,
    assistant: &mut dyn Assistant,
    request: &Request,
    speaker: &Mutex<Speaker>,
    events: &SyncSender<LiveEvent>,
    phases: &SyncSender<Phase>,
) {
    let cancel = &request.cancel;
    let speaker = || speaker.lock().unwrap_or_else(PoisonError::into_inner);
    // A conversation that nobody follows any more stops.
    let tell = |event: LiveEvent| {
        if events.send(event).is_err() {
            cancel.cancel();
        }
    };
    speaker().begin();
    let on_event = |event: TurnEvent| {
        tell(LiveEvent::Turn(event.clone()));
        match event {
            TurnEvent::Heard(_) => {
                if phases.send(Phase::Answering(request.turn)).is_err() {
                    cancel.cancel();
                }
            }
            TurnEvent::Text(_) => {}
            TurnEvent::Spoken { audio_24k, .. } => {
                if let Err(error) = speaker().write(&audio_24k, cancel) {
                    tell(LiveEvent::NoAnswer(error.to_string()));
                    cancel.cancel();
                }
            }
        }
    };
    let job = Job::new(&|_| {}, cancel.clone());
    match answer(
        recognizer,
        synthesizer,
        assistant,
        &request.utterance,
        &job,
        &on_event,
    ) {
        Ok(turn) => {
            speaker().drain(cancel);
            if !cancel.is_cancelled() {
                tell(LiveEvent::Finished(turn));
            }
        }
        Err(VoiceError::Cancelled(_)) => {}
        Err(error) => tell(LiveEvent::NoAnswer(error.to_string())),
    }
}
