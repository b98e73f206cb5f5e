//! A board that runs Whittle's firmware, asked over its serial line (`firmware/protocol`).

mod answer;
mod error;
mod line;
mod store;

pub use answer::{BoardAnswer, Costs, Measurement};
pub use error::TalkError;

use super::{Firmware, Reset, chain};
use crate::job::Job;
use crate::measured::Clock;
use answer::{Step, Taken, Took, plain_line};
use engine::sampler::Sampling;
use line::{Line, POLL};
use protocol::{
    Ask, Event, FRAME_BYTES, MAX_TOKENS, Received, Receiver, Request, SELF_TEST, decode, encode,
};
use serde::Serialize;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How often a board that does not answer is asked again: it may have been starting.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long a board may take to say who it is: 1.6 MB of model are checked within 2 s.
pub const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// How long a board may say nothing while it answers: a prompt of 250 tokens takes an ESP32-C3 half a minute.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);
/// How long a board may take to end an answer that is cancelled: it looks after each token.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);
/// What firmware says to people when it starts.
const STARTS: &str = "whittle: firmware: ";
/// How much longer an emulated board may take.
const EMULATED_PATIENCE: u32 = 6;
/// Lines that are kept of what a board says to people.
const KEPT_LINES: usize = 20;

/// An open line to a board.
pub struct Client {
    line: Line,
    name: String,
    receiver: Receiver,
    /// What came and was not looked at yet.
    buffer: Vec<u8>,
    /// What it said to people, the newest last.
    lines: Vec<String>,
    /// Bytes that have come.
    bytes: u64,
    asked: u32,
    /// How often it has started since.
    starts: u32,
    pub(super) clock: Clock,
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
    /// The chip, where the firmware knows it.
    pub chip: Option<String>,
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
    /// Clock of the core that computes; unknown where the firmware does not say.
    pub clock_hz: Option<u32>,
    /// The longest packed file that it takes over this line; 0 where it takes none.
    pub store_bytes: u32,
    /// Ticks in a second; 0 where it counts instructions.
    #[serde(skip)]
    ticks_per_second: u32,
}

impl Greeting {
    /// What it is and runs, in one line.
    #[must_use]
    pub fn title(&self) -> String {
        let revision = self.chip_revision.as_ref();
        let revision = revision.map_or_else(String::new, |found| format!(" revision {found}"));
        let model = match (&self.model, &self.refusal) {
            (Some(model), _) => format!(
                "{} of {} bytes with checksum {:08x}, {} KV bits",
                model.name, model.bytes, model.crc, model.kv_bits
            ),
            (None, Some(why)) => format!("no model: {why}"),
            (None, None) => "no model".to_owned(),
        };
        format!("{}{revision} with {model}", self.board)
    }

    /// Whether its times are seconds, and not instructions.
    #[must_use]
    pub const fn counts_time(&self) -> bool {
        self.ticks_per_second > 0
    }
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

impl Client {
    /// Opens the line to a board.
    ///
    /// # Errors
    /// When the port cannot be opened.
    pub fn open(port: &str, reset: Reset) -> Result<Self, TalkError> {
        Ok(Self {
            line: Line::open(port, reset)?,
            name: port.to_owned(),
            receiver: Receiver::new(),
            buffer: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            asked: 0,
            starts: 0,
            clock: Clock::Board,
        })
    }

    /// What the port is called in sentences, where that is not its own name.
    pub(super) fn called(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
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
        // An emulated chip is as fast as this computer is free.
        let patience = match self.clock {
            Clock::Board => patience,
            Clock::Emulated => patience * EMULATED_PATIENCE,
        };
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
                Event::Refused { why, .. } => Some(Err(plain_line(why))),
                Event::Prompt { .. }
                | Event::Token { .. }
                | Event::Intent { .. }
                | Event::Done(_)
                | Event::Cost { .. }
                | Event::Memory { .. }
                | Event::Measured(_)
                | Event::Stored { .. } => None,
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
        let own = |line: &&String| line.starts_with("whittle: ");
        Err(match (refusal, self.bytes) {
            (Some(why), _) => TalkError::Refused { why },
            (None, _) if self.lines.last().as_ref().is_some_and(own) => TalkError::Slow {
                port: self.name.clone(),
                waited: patience,
                last: self.lines.last().cloned().unwrap_or_default(),
            },
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
        question.require_room(greeting)?;
        let id = self.number();
        self.send(&Request::Ask(question.ask(id)))?;
        let most = question.most_tokens();
        Ok(self.take(greeting, (id, most), job, show)?.answer)
    }

    /// Asks for the answer that every board gives to show what it computes ([`protocol::SELF_TEST`]).
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn self_test(
        &mut self,
        greeting: &Greeting,
        job: &Job<'_>,
    ) -> Result<BoardAnswer, TalkError> {
        let id = self.number();
        self.send(&Request::SelfTest { id })?;
        let most = BoardQuestion::self_test().most_tokens();
        let mut go_on = |_: &str| ControlFlow::Continue(());
        let taken = self.take(greeting, (id, most), job, &mut go_on)?;
        Ok(taken.answer)
    }

    /// Asks a question and what its answer costs.
    ///
    /// # Errors
    /// As [`Self::ask`], and when the board says less than it should.
    pub fn measure(
        &mut self,
        greeting: &Greeting,
        question: &BoardQuestion<'_>,
        job: &Job<'_>,
        show: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Measurement, TalkError> {
        question.require_room(greeting)?;
        let id = self.number();
        self.send(&Request::Measure(question.ask(id)))?;
        self.take(greeting, (id, question.most_tokens()), job, show)
    }

    /// Lets the board start again; it does not answer.
    ///
    /// # Errors
    /// When the line breaks.
    pub fn reboot(&mut self) -> Result<(), TalkError> {
        self.send(&Request::Reboot)
    }

    fn number(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    /// Waits for an answer to its end.
    fn take(
        &mut self,
        greeting: &Greeting,
        (id, most): (u32, usize),
        job: &Job<'_>,
        show: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Measurement, TalkError> {
        let mut taken = Taken::new(greeting.ticks_per_second);
        let mut heard = Instant::now();
        let mut cancelling = Cancelling::No;
        // Its hello came after what it said when it started.
        let starts = self.starts;
        loop {
            if job.check().is_err() {
                self.cancel(&mut cancelling)?;
            }
            let step = self.next(|event| Some(Step::of(&event, id)))?;
            if self.starts != starts {
                let port = self.name.clone();
                return Err(TalkError::Restarted { port });
            }
            let Some(step) = step else {
                let patience = match cancelling {
                    Cancelling::No => ANSWER_PATIENCE,
                    Cancelling::Asked => CANCEL_PATIENCE,
                };
                if heard.elapsed() > patience {
                    job.check()?;
                    return Err(self.stalled());
                }
                continue;
            };
            heard = Instant::now();
            match taken.take(step) {
                Took::Nothing => {}
                Took::Text(_) if taken.tokens() > most => {
                    self.cancel(&mut cancelling)?;
                    let port = self.name.clone();
                    return Err(TalkError::Endless { port, most });
                }
                Took::Text(piece) => {
                    if show(&piece).is_break() {
                        self.cancel(&mut cancelling)?;
                    }
                }
                Took::Refusal(why) => return Err(TalkError::Refused { why }),
                Took::Answer(answer, rest) => {
                    job.check()?;
                    let (came, sent) = answer.answer.counted();
                    if came != sent {
                        let port = self.name.clone();
                        return Err(TalkError::Lost { port, came, sent });
                    }
                    // The end of a letter that was cut; who does not want more has all of it.
                    if !rest.is_empty() {
                        let _enough = show(&rest);
                    }
                    return Ok(*answer);
                }
            }
        }
    }

    fn stalled(&self) -> TalkError {
        TalkError::Stalled {
            port: self.name.clone(),
            last: self.lines.last().cloned(),
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
        self.line
            .write_all(frame)
            .map_err(|error| self.gone(&error))
    }

    fn gone(&self, error: &io::Error) -> TalkError {
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
        let start = Instant::now();
        loop {
            let mut used = 0;
            let taken = self.look(&mut used, &mut take);
            self.buffer.drain(..used);
            if let Some(taken) = taken.transpose() {
                return taken.map(Some);
            }
            // A port that never falls silent must not hold up whoever waits.
            if start.elapsed() >= POLL {
                return Ok(None);
            }
            let mut bytes = [0; 512];
            let read = self.line.read(&mut bytes);
            match read.map_err(|error| self.gone(&error))? {
                0 => return Ok(None),
                read => {
                    self.bytes += read as u64;
                    self.buffer.extend_from_slice(&bytes[..read]);
                }
            }
        }
    }

    /// Looks through the buffer until `take` takes an event; `used` counts the bytes that were looked at.
    fn look<T>(
        &mut self,
        used: &mut usize,
        take: &mut impl FnMut(Event<'_>) -> Option<T>,
    ) -> Result<Option<T>, TalkError> {
        for byte in &self.buffer {
            *used += 1;
            match self.receiver.push(*byte) {
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
                    self.starts += u32::from(line.starts_with(STARTS));
                    if self.lines.len() == KEPT_LINES {
                        self.lines.remove(0);
                    }
                    self.lines.push(plain_line(line.trim_end()));
                }
                None => {}
            }
        }
        Ok(None)
    }
}

impl<'a> BoardQuestion<'a> {
    fn ask(&self, id: u32) -> Ask<'a> {
        Ask {
            id,
            prompt: self.prompt,
            max_tokens: self.max_tokens,
            context: self.context,
            sampling: self.sampling.into(),
        }
    }

    /// Tokens of its answer at most.
    fn most_tokens(&self) -> usize {
        match self.max_tokens {
            0 => MAX_TOKENS as usize,
            asked => asked as usize,
        }
    }

    fn require_room(&self, greeting: &Greeting) -> Result<(), TalkError> {
        let (found, most) = (self.prompt.len(), greeting.prompt_bytes as usize);
        if found > most {
            return Err(TalkError::LongPrompt { found, most });
        }
        Ok(())
    }

    /// What every board answers to show what it computes.
    #[must_use]
    pub fn self_test() -> BoardQuestion<'static> {
        BoardQuestion {
            prompt: SELF_TEST.prompt,
            max_tokens: SELF_TEST.max_tokens,
            context: SELF_TEST.context,
            sampling: SELF_TEST.sampling.into(),
        }
    }
}

/// Whether a board was asked to end its answer.
enum Cancelling {
    No,
    Asked,
}

fn greeting(hello: &protocol::Hello<'_>) -> Greeting {
    let revision = hello.chip_revision;
    let model = hello.model.map(|model| BoardModel {
        name: plain_line(model.name),
        bytes: model.bytes,
        crc: model.crc,
        kv_bits: model.kv_bits,
        context_tokens: model.context,
    });
    Greeting {
        board: plain_line(hello.firmware),
        chip: Some(plain_line(hello.chip)).filter(|chip| !chip.is_empty()),
        chip_revision: (revision > 0).then(|| format!("{}.{}", revision / 100, revision % 100)),
        firmware: Firmware::stamped(Some(hello.stamp.into())),
        memory_bytes: hello.memory_bytes,
        prompt_bytes: hello.prompt_bytes,
        refusal: model.as_ref().err().map(|why| plain_line(why)),
        model: model.ok(),
        clock_hz: Some(hello.clock_hz).filter(|hertz| *hertz > 0),
        store_bytes: hello.store_bytes,
        ticks_per_second: hello.ticks_per_second,
    }
}
