//! A conversation through microphone and loudspeaker.
//!
//! [`LiveVoice`] runs two threads. The listener reads the microphone into a [`VoiceSession`]; the
//! answerer recognizes, asks the assistant and plays. The listener hands over utterances and, when
//! somebody speaks into an answer, silences the loudspeaker and cancels the turn. What happens comes
//! out of a bounded channel.

use super::audio::{LiveAudio, Microphone, Monitor, Speaker};
use super::session::{BargeIn, Heard, VoiceSession, VoiceState};
use super::turn::{Assistant, AssistantError, Turn, TurnEvent, VoiceError, answer, speak_reply};
use super::vad::Utterance;
use crate::job::{CancelToken, Job};
use crate::speech::recognize::Recognizer;
use crate::speech::synthesize::Synthesizer;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that may wait for the window to take them.
const MOST_WAITING_EVENTS: usize = 1024;
/// Orders that may wait for the listener to take them.
const MOST_WAITING_ORDERS: usize = 16;
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
    orders: SyncSender<Order>,
    stop: CancelToken,
    threads: Vec<JoinHandle<()>>,
}

/// What the owner of a conversation wants besides what is heard.
enum Order {
    Say(Written),
    Interrupt,
}

/// An answer that others write, piece by piece.
struct Written {
    question: String,
    pieces: Receiver<String>,
}

impl Assistant for Written {
    fn reply(
        &mut self,
        _question: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), AssistantError> {
        // Ends when the answer is complete or was stopped, and its last sender is gone.
        for piece in &self.pieces {
            if on_text(&piece).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What is to be spoken next.
enum Topic {
    Heard(Utterance),
    Written(Written),
}

/// A turn on its way to be answered.
struct Request {
    turn: u64,
    topic: Topic,
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
        let (orders, ordered) = sync_channel(MOST_WAITING_ORDERS);
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
                    request,
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
            orders: ordered,
            stop: stop.clone(),
            turn: 0,
            present: Vec::new(),
        };
        let listener = std::thread::spawn(move || {
            listener.run(&phase);
            // The devices close when nobody listens any more.
            drop(streams);
        });
        Self {
            events: taken,
            monitor,
            orders,
            stop,
            threads: vec![listener, answerer],
        }
    }

    /// Speaks an answer to `question` that comes in `pieces` until their last sender is gone; nothing
    /// is listened to meanwhile. A present answer is finished first.
    ///
    /// When too much waits already, `pieces` is dropped, and an event tells it.
    pub fn say(&self, question: String, pieces: Receiver<String>) {
        self.order(Order::Say(Written { question, pieces }));
    }

    /// Stops the present answer and what waits behind it; listening goes on.
    pub fn interrupt(&self) {
        self.order(Order::Interrupt);
    }

    /// A full queue has not moved for many reads of the microphone: the conversation is at its end.
    fn order(&self, order: Order) {
        drop(self.orders.try_send(order));
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
    orders: Receiver<Order>,
    stop: CancelToken,
    turn: u64,
    /// Cancel the present turn and the one behind it.
    present: Vec<CancelToken>,
}

impl Listener {
    fn run(mut self, phases: &Receiver<Phase>) {
        let mut state = self.session.state();
        self.tell(LiveEvent::State(state));
        let mut block = Vec::new();
        while !self.stop.is_cancelled() {
            match phases.recv_timeout(READ_EVERY) {
                Ok(Phase::Answering(turn)) if turn == self.turn => self.session.answering(),
                Ok(Phase::Answered(turn)) if turn == self.turn => {
                    self.present.clear();
                    self.session.answered();
                }
                // Of a turn that was interrupted.
                Ok(Phase::Answering(_) | Phase::Answered(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Say(written) => {
                        self.session.speaking();
                        self.request(Topic::Written(written));
                    }
                    Order::Interrupt => self.interrupt(),
                }
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
            Heard::Utterance(utterance) => self.request(Topic::Heard(utterance)),
        }
    }

    fn request(&mut self, topic: Topic) {
        self.turn += 1;
        let cancel = CancelToken::new();
        let request = Request {
            turn: self.turn,
            topic,
            cancel: cancel.clone(),
        };
        match self.requests.try_send(request) {
            Ok(()) => self.present.push(cancel),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                // The interrupted answer has not ended yet and another already waits.
                self.session.answered();
                self.tell(LiveEvent::NoAnswer(
                    "the assistant is still busy".to_owned(),
                ));
            }
        }
    }

    fn interrupt(&mut self) {
        if self.present.is_empty() {
            return;
        }
        self.present.drain(..).for_each(|turn| turn.cancel());
        self.monitor.silence();
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
    request: Request,
    speaker: &Mutex<Speaker>,
    events: &SyncSender<LiveEvent>,
    phases: &SyncSender<Phase>,
) {
    let Request {
        turn,
        topic,
        ref cancel,
    } = request;
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
                if phases.send(Phase::Answering(turn)).is_err() {
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
    let spoken = match topic {
        Topic::Heard(utterance) => answer(
            recognizer,
            synthesizer,
            assistant,
            &utterance,
            &job,
            &on_event,
        ),
        Topic::Written(mut written) => {
            let question = std::mem::take(&mut written.question);
            speak_reply(synthesizer, &mut written, question, &job, &on_event)
        }
    };
    match spoken {
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
