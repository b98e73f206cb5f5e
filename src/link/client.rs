//! A board that runs Whittle's firmware, asked over its serial line (`firmware/protocol`).

use super::{Firmware, Reset, chain};
use crate::job::{Cancelled, Job};
use engine::sampler::{LogitsHash, Sampling};
use protocol::{Ask, Event, FRAME_BYTES, Received, Receiver, Request, decode, encode};
use serde::Serialize;
use serialport::FlowControl;
use std::io::{ErrorKind, Read as _, Write as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Line rate of the firmware's console.
const BAUD: u32 = 115_200;
/// How long a read waits: how soon a cancel takes effect.
const POLL: Duration = Duration::from_millis(50);
/// How often a board that does not answer is asked again: it may have been starting.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long a board may take to say who it is: 1.6 MB of model are checked within 2 s.
pub const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// How long a board may say nothing while it answers: a prompt of 250 tokens takes an ESP32-C3 half a minute.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);
/// How long a board may take to end an answer that is cancelled: it looks after each token.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);
/// Lines that are kept of what a board says to people.
const KEPT_LINES: usize = 20;

/// An open line to a board.
pub struct Client {
    port: Box<dyn serialport::SerialPort>,
    name: String,
    receiver: Receiver,
    /// What it said to people, the newest last.
    lines: Vec<String>,
    /// Bytes that have come.
    bytes: u64,
    asked: u32,
    pub(super) clock: Clock,
}

/// What a board's times are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Those of a chip.
    Board,
    /// Those of an emulated one, which takes a cycle an instruction and waits for no flash: a real one is slower.
    Emulated,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Board => "by its clock",
            Self::Emulated => "if an instruction took a cycle",
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a board says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Greeting {
    /// The firmware's family.
    pub board: String,
    /// The chip's revision, as `0.3`; unknown where the firmware does not read it.
    pub chip_revision: Option<String>,
    /// What its firmware says of its engine.
    pub firmware: Firmware,
    /// Memory for a conversation.
    pub memory_bytes: u32,
    /// Longest prompt.
    pub prompt_bytes: u32,
    /// The model in its flash.
    pub model: Option<BoardModel>,
    /// Why it has none that it can run.
    pub refusal: Option<String>,
    /// Ticks in a second; 0 where it counts instructions.
    #[serde(skip)]
    ticks_per_second: u32,
}

/// The model in a board's flash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoardModel {
    /// Its name.
    pub name: String,
    /// Bytes of the packed file.
    pub bytes: u32,
    /// CRC-32 of all of them.
    pub crc: u32,
    /// Bits of keys and values.
    pub kv_bits: u8,
    /// The longest conversation in tokens.
    pub context_tokens: u32,
}

/// An answer of a board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BoardAnswer {
    /// All of it.
    pub text: String,
    /// Its first line, where that says what to do.
    pub intent: Option<String>,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Of the logits of every token that was drawn.
    #[serde(serialize_with = "hexadecimal")]
    pub logits_hash: LogitsHash,
    /// Why it ended.
    pub stop: &'static str,
    /// Tokens of the prompt that were computed.
    pub prompt_tokens: u32,
    /// What they took, in seconds by the board's clock; unknown where it counts instructions.
    pub prompt_secs: Option<f64>,
    /// From the request to the first token.
    pub first_token_secs: Option<f64>,
    /// Tokens computed after the prompt.
    pub decoded: u32,
    /// How many a second.
    pub decode_tokens_per_second: Option<f64>,
}

fn hexadecimal<S: serde::Serializer>(hash: &LogitsHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{:016x}", hash.0))
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct BoardQuestion<'a> {
    /// What a person typed or said.
    pub prompt: &'a str,
    /// Longest answer in tokens; 0 for as long as the board allows.
    pub max_tokens: u32,
    /// Tokens of the conversation at most; 0 for as many as its memory holds.
    pub context: u32,
    /// How tokens are drawn.
    pub sampling: Sampling,
}

/// Why there is no answer from a board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TalkError {
    /// The person who asked stopped it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The port could not be opened.
    #[error("cannot open {port}: {reason}")]
    Port {
        /// The port.
        port: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Nothing came.
    #[error(
        "the board on {port} said nothing within {} s: is it the right port, and is Whittle's firmware on it (whittle flash)?",
        waited.as_secs()
    )]
    Silent {
        /// The port.
        port: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Something came, and it was not this protocol.
    #[error(
        "the board on {port} speaks, but not as Whittle's firmware does{}",
        said(last)
    )]
    Babble {
        /// The port.
        port: String,
        /// The last line that could be read.
        last: Option<String>,
    },
    /// It said no.
    #[error("the board refused: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// What it said is no message of this version.
    #[error("the board on {port} sent {error}")]
    Protocol {
        /// The port.
        port: String,
        /// What it was.
        error: protocol::FrameError,
    },
    /// The line broke.
    #[error("the board on {port} went away: {reason}")]
    Gone {
        /// The port.
        port: String,
        /// The system's words.
        reason: String,
    },
    /// It began to answer and then said nothing more.
    #[error(
        "the board on {port} stopped in the middle of its answer{}",
        said(last)
    )]
    Stalled {
        /// The port.
        port: String,
        /// The last line that it said.
        last: Option<String>,
    },
}

fn said(last: &Option<String>) -> String {
    last.as_ref()
        .map_or_else(String::new, |line| format!("; its last line: {line}"))
}

impl Client {
    /// Opens the line to a board.
    ///
    /// # Errors
    /// When the port cannot be opened.
    pub fn open(port: &str, reset: Reset) -> Result<Self, TalkError> {
        let failed = |error: serialport::Error| TalkError::Port {
            port: port.to_owned(),
            reason: super::cure(port, &error),
        };
        let serial = serialport::new(port, BAUD)
            .flow_control(FlowControl::None)
            .timeout(POLL)
            // A pseudo-terminal would stay locked after we close it, for its other side is open.
            .exclusive(reset == Reset::Board)
            .open_native()
            .map_err(failed)?;
        Ok(Self {
            port: Box::new(serial),
            name: port.to_owned(),
            receiver: Receiver::new(),
            lines: Vec::new(),
            bytes: 0,
            asked: 0,
            clock: Clock::Board,
        })
    }

    /// What the board said to people since the line was opened, the newest last.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Asks who the board is, until it answers or `patience` is over: it may have been starting.
    ///
    /// # Errors
    /// When it does not answer, or not in this protocol; when `job` is cancelled.
    pub fn hello(&mut self, patience: Duration, job: &Job<'_>) -> Result<Greeting, TalkError> {
        let start = Instant::now();
        let mut asked: Option<Instant> = None;
        let mut refusal = None;
        while start.elapsed() < patience {
            job.report("Waiting for the board", 0, 0)?;
            if asked.is_none_or(|asked| asked.elapsed() > ASK_AGAIN) {
                self.send(&Request::Hello)?;
                asked = Some(Instant::now());
            }
            let answer = self.next(|event| match event {
                Event::Hello(hello) => Some(Ok(greeting(&hello))),
                Event::Refused { why, .. } => Some(Err(why.to_owned())),
                Event::Prompt { .. }
                | Event::Token { .. }
                | Event::Intent { .. }
                | Event::Done(_) => None,
            })?;
            match answer {
                Some(Ok(greeting)) => return Ok(greeting),
                // Busy with an answer that somebody else asked for: it will end.
                Some(Err(why)) => {
                    self.send(&Request::Cancel)?;
                    refusal = Some(why);
                }
                None => {}
            }
        }
        Err(match (refusal, self.bytes) {
            (Some(why), _) => TalkError::Refused { why },
            (None, 0) => TalkError::Silent {
                port: self.name.clone(),
                waited: patience,
            },
            (None, _) => TalkError::Babble {
                port: self.name.clone(),
                last: self.lines.last().cloned(),
            },
        })
    }

    /// Asks a question; `show` is given the text of each token as it comes, and may end the answer.
    ///
    /// # Errors
    /// When the board refuses, or falls silent; when `job` is cancelled, which ends the board's answer too.
    pub fn ask(
        &mut self,
        greeting: &Greeting,
        question: &BoardQuestion<'_>,
        job: &Job<'_>,
        show: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<BoardAnswer, TalkError> {
        self.asked += 1;
        let id = self.asked;
        self.send(&Request::Ask(Ask {
            id,
            prompt: question.prompt,
            max_tokens: question.max_tokens,
            context: question.context,
            sampling: question.sampling.into(),
        }))?;
        let mut taken = Taken::new(greeting.ticks_per_second);
        let mut heard = Instant::now();
        let mut cancelling = Cancelling::No;
        loop {
            if job.check().is_err() {
                self.cancel(&mut cancelling)?;
            }
            let Some(step) = self.next(|event| Some(Step::of(&event, id)))? else {
                let patience = match cancelling {
                    Cancelling::No => ANSWER_PATIENCE,
                    Cancelling::Asked => CANCEL_PATIENCE,
                };
                if heard.elapsed() > patience {
                    job.check()?;
                    return Err(TalkError::Stalled {
                        port: self.name.clone(),
                        last: self.lines.last().cloned(),
                    });
                }
                continue;
            };
            heard = Instant::now();
            match taken.take(step) {
                Took::Nothing => {}
                Took::Text(piece) => {
                    if show(&piece).is_break() {
                        self.cancel(&mut cancelling)?;
                    }
                }
                Took::Refusal(why) => return Err(TalkError::Refused { why }),
                Took::Answer(answer) => {
                    job.check()?;
                    return Ok(*answer);
                }
            }
        }
    }

    /// Asks the board to end its answer, once.
    fn cancel(&mut self, cancelling: &mut Cancelling) -> Result<(), TalkError> {
        match std::mem::replace(cancelling, Cancelling::Asked) {
            Cancelling::No => self.send(&Request::Cancel),
            Cancelling::Asked => Ok(()),
        }
    }

    fn send(&mut self, request: &Request<'_>) -> Result<(), TalkError> {
        let mut frame = [0; FRAME_BYTES];
        let protocol = |error| TalkError::Protocol {
            port: self.name.clone(),
            error,
        };
        let frame = encode(request, &mut frame).map_err(protocol)?;
        self.port
            .write_all(frame)
            .map_err(|error| self.gone(&error))
    }

    fn gone(&self, error: &std::io::Error) -> TalkError {
        TalkError::Gone {
            port: self.name.clone(),
            reason: chain(error),
        }
    }

    /// Reads until `take` takes an event, for a moment at most.
    fn next<T>(
        &mut self,
        mut take: impl FnMut(Event<'_>) -> Option<T>,
    ) -> Result<Option<T>, TalkError> {
        let mut byte = [0];
        let start = Instant::now();
        // A port that never falls silent must not hold up whoever waits.
        while start.elapsed() < POLL {
            match self.port.read(&mut byte) {
                Ok(0) => return Err(self.gone(&ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(self.gone(&error)),
            }
            self.bytes += 1;
            match self.receiver.push(byte[0]) {
                Some(Received::Frame(frame)) => match decode::<Event<'_>>(frame) {
                    Ok(event) => {
                        if let Some(taken) = take(event) {
                            return Ok(Some(taken));
                        }
                    }
                    Err(error) => {
                        let port = self.name.clone();
                        return Err(TalkError::Protocol { port, error });
                    }
                },
                Some(Received::Line(line)) => {
                    if self.lines.len() == KEPT_LINES {
                        self.lines.remove(0);
                    }
                    self.lines.push(line.trim_end().to_owned());
                }
                None => {}
            }
        }
        Ok(None)
    }
}

/// An event of an answer, kept beyond its frame.
enum Step {
    /// Of another answer, or a greeting.
    Other,
    Prompt(u32, u64),
    Token(u32, Vec<u8>, u64),
    Intent(String),
    Done(protocol::Done),
    Refused(String),
}

impl Step {
    fn of(event: &Event<'_>, asked: u32) -> Self {
        match *event {
            Event::Prompt { id, tokens, ticks } if id == asked => Self::Prompt(tokens, ticks),
            Event::Token {
                id,
                token,
                bytes,
                ticks,
            } if id == asked => Self::Token(token, bytes.to_vec(), ticks),
            Event::Intent { id, line } if id == asked => Self::Intent(line.to_owned()),
            Event::Done(done) if done.id == asked => Self::Done(done),
            // What names no request is about this one: there is no other.
            Event::Refused { id, why } if id == asked || id == 0 => Self::Refused(why.to_owned()),
            Event::Hello(_)
            | Event::Prompt { .. }
            | Event::Token { .. }
            | Event::Intent { .. }
            | Event::Done(_)
            | Event::Refused { .. } => Self::Other,
        }
    }
}

/// Whether a board was asked to end its answer.
enum Cancelling {
    No,
    Asked,
}

/// What has come of an answer.
struct Taken {
    answer: BoardAnswer,
    text: Text,
    ticks_per_second: u32,
}

/// What a step brought.
enum Took {
    Nothing,
    /// More of its text.
    Text(String),
    Refusal(String),
    Answer(Box<BoardAnswer>),
}

impl Taken {
    fn new(ticks_per_second: u32) -> Self {
        Self {
            answer: BoardAnswer {
                text: String::new(),
                intent: None,
                tokens: Vec::new(),
                logits_hash: LogitsHash::default(),
                stop: "",
                prompt_tokens: 0,
                prompt_secs: None,
                first_token_secs: None,
                decoded: 0,
                decode_tokens_per_second: None,
            },
            text: Text::default(),
            ticks_per_second,
        }
    }

    /// Ticks as seconds, where they are time.
    fn secs(&self, ticks: u64) -> Option<f64> {
        let rate = f64::from(self.ticks_per_second);
        (rate > 0.0).then(|| ticks as f64 / rate)
    }

    fn take(&mut self, step: Step) -> Took {
        match step {
            Step::Other => Took::Nothing,
            Step::Refused(why) => Took::Refusal(why),
            Step::Prompt(tokens, ticks) => {
                self.answer.prompt_tokens = tokens;
                self.answer.prompt_secs = self.secs(ticks);
                Took::Nothing
            }
            Step::Token(token, bytes, ticks) => {
                if self.answer.tokens.is_empty() {
                    self.answer.first_token_secs = self.secs(ticks);
                }
                self.answer.tokens.push(token);
                let piece = self.text.push(&bytes);
                self.answer.text += &piece;
                Took::Text(piece)
            }
            Step::Intent(line) => {
                self.answer.intent = Some(line);
                Took::Nothing
            }
            Step::Done(done) => {
                let took = self.secs(done.ticks).filter(|secs| *secs > 0.0);
                let mut answer = self.answer.clone();
                answer.text += &self.text.finish();
                answer.logits_hash = LogitsHash(done.hash);
                answer.stop = stop(done.stop);
                answer.decoded = done.decoded;
                answer.decode_tokens_per_second = took.map(|secs| f64::from(done.decoded) / secs);
                Took::Answer(Box::new(answer))
            }
        }
    }
}

/// Text that comes in pieces which may end within a letter.
#[derive(Default)]
struct Text {
    held: Vec<u8>,
}

impl Text {
    /// All that is whole.
    fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend(bytes);
        let whole = match std::str::from_utf8(&self.held) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.held.len(),
        };
        let whole: Vec<u8> = self.held.drain(..whole).collect();
        String::from_utf8_lossy(&whole).into_owned()
    }

    fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

fn greeting(hello: &protocol::Hello<'_>) -> Greeting {
    let revision = hello.chip_revision;
    let model = hello.model.map(|model| BoardModel {
        name: model.name.to_owned(),
        bytes: model.bytes,
        crc: model.crc,
        kv_bits: model.kv_bits,
        context_tokens: model.context,
    });
    Greeting {
        board: hello.firmware.to_owned(),
        chip_revision: (revision > 0).then(|| format!("{}.{}", revision / 100, revision % 100)),
        firmware: Firmware::stamped(Some(hello.stamp.into())),
        memory_bytes: hello.memory_bytes,
        prompt_bytes: hello.prompt_bytes,
        refusal: model.as_ref().err().map(|why| (*why).to_owned()),
        model: model.ok(),
        ticks_per_second: hello.ticks_per_second,
    }
}

/// As JSON of `whittle chat` has it.
const fn stop(stop: protocol::Stop) -> &'static str {
    match stop {
        protocol::Stop::StopToken => "stop_token",
        protocol::Stop::Length => "max_tokens",
        protocol::Stop::Context => "context_full",
        protocol::Stop::Cancelled => "cancelled",
    }
}
