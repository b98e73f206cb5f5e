//! The conversation of a board with its console: frames of hosts, lines of people.

use crate::measure::{self, Costs, LAYERS};
use crate::store::store;
use crate::{Board, Lines, Listener, Model, Refusal, Request, Stopped, Told, Went, answer, stamp};
use core::fmt::Write as _;
use engine::arena::Limits;
use engine::format::crc32;
use engine::sampler::Sampling;
use protocol::{
    Ask, Done, Event, FRAME_BYTES, Hello, MAX_TOKENS, Measured, PROMPT_BYTES, Received, Receiver,
    SELF_TEST, Stop, decode, encode,
};

/// Longest sentence that says why there is no answer.
const SENTENCE_BYTES: usize = 256;
/// Ctrl-C, as terminals send it.
const INTERRUPT: u8 = 3;

/// What the board has to answer with.
struct Served<'a, 'm> {
    model: Result<&'a Model<'m>, &'a str>,
    /// CRC-32 of the model.
    crc: u32,
}

/// Answers whatever comes over the console, for good: what is refused is told, and the next request is waited for.
///
/// Where there is no model, its refusal is what every prompt is answered with, and the board stays reachable.
pub fn serve<B: Board>(board: &mut B, model: Result<&Model<'_>, Refusal>, memory: &mut [u32]) -> ! {
    let mut sentence = Sentence::default();
    if let Err(refusal) = &model {
        sentence.say(refusal);
        board.line(format_args!("refused: {}", sentence.text()));
    }
    let served = Served {
        crc: model.as_ref().map_or(0, |model| crc32(model.bytes())),
        model: model.map_err(|_| sentence.text()),
    };
    let mut receiver = Receiver::new();
    let mut prompt = [0; PROMPT_BYTES];
    board.line(format_args!("ready"));
    loop {
        let Some(byte) = board.read() else {
            board.idle();
            continue;
        };
        match receiver.push(byte) {
            Some(Received::Frame(frame)) => match decode(frame) {
                Ok(protocol::Request::Hello) => served.hello(board, memory),
                Ok(protocol::Request::Ask(ask)) => {
                    let asked = ask_of(&ask);
                    match copy(ask.prompt, &mut prompt) {
                        Ok(prompt) => {
                            served.answer_host(board, &mut receiver, (prompt, asked), memory);
                        }
                        Err(refusal) => refuse(board, asked.id, &refusal),
                    }
                }
                Ok(protocol::Request::SelfTest { id }) => {
                    let ask = Ask { id, ..SELF_TEST };
                    served.answer_host(board, &mut receiver, (ask.prompt, ask), memory);
                }
                Ok(protocol::Request::Measure(ask)) => {
                    let asked = ask_of(&ask);
                    match copy(ask.prompt, &mut prompt) {
                        Ok(prompt) => {
                            served.measure(board, &mut receiver, (prompt, asked), memory);
                        }
                        Err(refusal) => refuse(board, asked.id, &refusal),
                    }
                }
                Ok(protocol::Request::Store { id, bytes, crc }) => {
                    store(board, &mut receiver, (id, bytes, crc), |board, why| {
                        hello(board, Err(why), memory.len());
                    });
                }
                Ok(protocol::Request::Piece { id, .. }) => {
                    refuse(board, id, &"no model is being stored");
                }
                // There is no answer to cancel.
                Ok(protocol::Request::Cancel) => {}
                Ok(protocol::Request::Reboot) => board.restart(),
                Err(error) => refuse(board, 0, &error),
            },
            Some(Received::Line(line)) => {
                match copy(line, &mut prompt) {
                    Ok(prompt) => served.answer_person(board, &mut receiver, prompt, memory),
                    Err(refusal) => board.line(format_args!("refused: {refusal}")),
                }
                board.line(format_args!("ready"));
            }
            None => {}
        }
    }
}

/// An [`Ask`] without its prompt, which lies elsewhere.
fn ask_of(ask: &Ask<'_>) -> Ask<'static> {
    let Ask {
        id,
        prompt: _,
        max_tokens,
        context,
        sampling,
    } = *ask;
    Ask {
        id,
        prompt: "",
        max_tokens,
        context,
        sampling,
    }
}

/// Keeps a prompt while the bytes that it came in are used again.
fn copy<'k>(prompt: &str, kept: &'k mut [u8; PROMPT_BYTES]) -> Result<&'k str, Refusal> {
    let place = kept
        .get_mut(..prompt.len())
        .ok_or(Refusal::LongPrompt(prompt.len()))?;
    place.copy_from_slice(prompt.as_bytes());
    Ok(str::from_utf8(place).unwrap_or_default())
}

impl Served<'_, '_> {
    fn hello<B: Board>(&self, board: &mut B, memory: &[u32]) {
        let model = self.model.map(|model| protocol::Model {
            name: model.name(),
            bytes: u32::try_from(model.bytes().len()).unwrap_or(u32::MAX),
            crc: self.crc,
            kv_bits: u8::try_from(model.cache().bits()).unwrap_or(16),
            context: saturated(model.longest_context(
                PROMPT_BYTES,
                B::BATCH,
                &Sampling::GREEDY,
                memory.len(),
            )),
        });
        hello(board, model, memory.len());
    }

    fn answer_host<B: Board>(
        &self,
        board: &mut B,
        receiver: &mut Receiver,
        (prompt, ask): (&str, Ask<'_>),
        memory: &mut [u32],
    ) {
        let id = ask.id;
        let model = match self.model {
            Ok(model) => model,
            Err(why) => return refuse(board, id, &why),
        };
        let request = request::<B>(model, prompt, &ask, memory.len());
        let mut host = Frames { id, receiver };
        if let Err(refusal) = answer(board, model, &request, memory, &mut host) {
            refuse(board, id, &refusal);
        }
    }

    /// Reads the memories, then answers and tells what the parts of its tokens took.
    fn measure<B: Board>(
        &self,
        board: &mut B,
        receiver: &mut Receiver,
        (prompt, ask): (&str, Ask<'_>),
        memory: &mut [u32],
    ) {
        let id = ask.id;
        let model = match self.model {
            Ok(model) => model,
            Err(why) => return refuse(board, id, &why),
        };
        let layers = model.layers();
        if layers > LAYERS {
            return refuse(board, id, &ManyLayers(layers));
        }
        let memories = [
            ("model", model.bytes()),
            ("conversation", bytemuck::cast_slice(memory)),
        ];
        for (name, bytes) in memories {
            let (bytes, ticks) = measure::read(board, bytes);
            send(
                board,
                &Event::Memory {
                    id,
                    name,
                    bytes,
                    ticks,
                },
            );
        }
        let request = request::<B>(model, prompt, &ask, memory.len());
        let words = model.words(prompt.len(), request.limits, &request.sampling);
        let mut host = Measuring {
            frames: Frames { id, receiver },
            costs: Costs::new(),
            memory_bytes: saturated(words).saturating_mul(4),
        };
        if let Err(refusal) = answer(board, model, &request, memory, &mut host) {
            refuse(board, id, &refusal);
        }
    }

    fn answer_person<B: Board>(
        &self,
        board: &mut B,
        receiver: &mut Receiver,
        prompt: &str,
        memory: &mut [u32],
    ) {
        let model = match self.model {
            Ok(model) => model,
            Err(why) => return board.line(format_args!("refused: {why}")),
        };
        let ask = Ask {
            id: 0,
            prompt: "",
            max_tokens: 0,
            context: 0,
            sampling: Sampling::GREEDY.into(),
        };
        let request = request::<B>(model, prompt, &ask, memory.len());
        if let Err(refusal) = answer(board, model, &request, memory, &mut Person { receiver }) {
            board.line(format_args!("refused: {refusal}"));
        }
    }
}

/// What is asked, with what was left open filled in.
fn request<'a, B: Board>(
    model: &Model<'_>,
    prompt: &'a str,
    ask: &Ask<'_>,
    words: usize,
) -> Request<'a> {
    let sampling = ask.sampling.into();
    let longest = model.longest_context(prompt.len(), B::BATCH, &sampling, words);
    let or = |asked: u32, most: usize| match asked {
        0 => most,
        asked => most.min(asked as usize),
    };
    Request {
        prompt,
        max_tokens: match ask.max_tokens {
            0 => MAX_TOKENS as usize,
            asked => asked as usize,
        },
        limits: Limits {
            context: or(ask.context, longest),
            batch: B::BATCH,
            cache: model.cache(),
        },
        sampling,
    }
}

/// Who this board is, and whose model it runs.
fn hello<B: Board>(board: &mut B, model: Result<protocol::Model<'_>, &str>, words: usize) {
    let hello = Hello {
        firmware: B::NAME,
        chip_revision: board.chip_revision(),
        ticks_per_second: B::TICKS_PER_SECOND,
        stamp: stamp().into(),
        memory_bytes: saturated(words).saturating_mul(4),
        prompt_bytes: PROMPT_BYTES as u32,
        model,
        clock_hz: board.clock_hz(),
        store_bytes: board.store().map_or(0, |store| store.room_bytes()),
        chip: board.chip(),
    };
    send(board, &Event::Hello(hello));
}

fn saturated(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(crate) fn send<B: Board>(board: &mut B, event: &Event<'_>) {
    let mut frame = [0; FRAME_BYTES];
    match encode(event, &mut frame) {
        Ok(bytes) => board.write(bytes),
        // Names and sentences are shorter than a frame; if one is not, a person at least can read why.
        Err(error) => board.line(format_args!("{error}")),
    }
}

pub(crate) fn refuse<B: Board>(board: &mut B, id: u32, why: &dyn core::fmt::Display) {
    let mut sentence = Sentence::default();
    sentence.say(why);
    let why = sentence.text();
    send(board, &Event::Refused { id, why });
}

/// A host that is told in frames.
struct Frames<'r> {
    id: u32,
    receiver: &'r mut Receiver,
}

impl<B: Board> Listener<B> for Frames<'_> {
    fn tell(&mut self, board: &mut B, told: Told<'_>) {
        let id = self.id;
        let event = match told {
            Told::Prompt { tokens, ticks } => Event::Prompt {
                id,
                tokens: saturated(tokens),
                ticks,
            },
            Told::Token {
                token,
                bytes,
                ticks,
            } => Event::Token {
                id,
                token,
                bytes,
                ticks,
            },
            Told::Intent(line) => Event::Intent { id, line },
            Told::Done {
                stopped,
                hash,
                decoded,
                ticks,
            } => Event::Done(Done {
                id,
                stop: match stopped {
                    Stopped::StopToken => Stop::StopToken,
                    Stopped::Length => Stop::Length,
                    Stopped::Context => Stop::Context,
                    Stopped::Cancelled => Stop::Cancelled,
                },
                hash: hash.0,
                decoded: saturated(decoded),
                ticks,
            }),
        };
        send(board, &event);
    }

    fn went(&mut self, board: &mut B) -> Went {
        while let Some(byte) = board.read() {
            let Some(Received::Frame(frame)) = self.receiver.push(byte) else {
                continue;
            };
            match decode(frame) {
                Ok(protocol::Request::Cancel) => return Went::Away,
                Ok(protocol::Request::Ask(Ask { id, .. })) => {
                    refuse(board, id, &"another answer is being given: cancel it first");
                }
                Ok(
                    protocol::Request::SelfTest { id }
                    | protocol::Request::Measure(Ask { id, .. })
                    | protocol::Request::Store { id, .. }
                    | protocol::Request::Piece { id, .. },
                ) => {
                    refuse(board, id, &"an answer is being given: cancel it first");
                }
                Ok(protocol::Request::Hello) => {
                    refuse(board, 0, &"an answer is being given: cancel it first");
                }
                Ok(protocol::Request::Reboot) => board.restart(),
                Err(error) => refuse(board, 0, &error),
            }
        }
        Went::On
    }
}

/// A host that is also told what the answer costs.
struct Measuring<'r> {
    frames: Frames<'r>,
    costs: Costs,
    /// What the conversation was given.
    memory_bytes: u32,
}

impl<B: Board> Listener<B> for Measuring<'_> {
    fn tell(&mut self, board: &mut B, told: Told<'_>) {
        if matches!(told, Told::Done { .. }) {
            let id = self.frames.id;
            for (layer, work, ticks) in self.costs.each() {
                let work = work.into();
                send(
                    board,
                    &Event::Cost {
                        id,
                        layer,
                        work,
                        ticks,
                    },
                );
            }
            let stack = board.stack();
            let measured = Measured {
                id,
                position: saturated(self.costs.position),
                tokens: saturated(self.costs.tokens),
                memory_bytes: self.memory_bytes,
                stack_bytes: stack.map_or(0, |stack| stack.bytes),
                stack_used_bytes: stack.map_or(0, |stack| stack.used_bytes),
            };
            send(board, &Event::Measured(measured));
        }
        self.frames.tell(board, told);
    }

    fn went(&mut self, board: &mut B) -> Went {
        self.frames.went(board)
    }

    fn costs(&mut self) -> Option<&mut Costs> {
        Some(&mut self.costs)
    }
}

struct ManyLayers(usize);

impl core::fmt::Display for ManyLayers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self(found) = self;
        write!(
            f,
            "models of up to {LAYERS} layers are measured, this one has {found}"
        )
    }
}

/// A person at a terminal, who is told in lines; Ctrl-C ends the answer.
struct Person<'r> {
    receiver: &'r mut Receiver,
}

impl<B: Board> Listener<B> for Person<'_> {
    fn tell(&mut self, board: &mut B, told: Told<'_>) {
        Lines.tell(board, told);
    }

    fn went(&mut self, board: &mut B) -> Went {
        while let Some(byte) = board.read() {
            if byte == INTERRUPT {
                return Went::Away;
            }
            let is_host = matches!(self.receiver.push(byte), Some(Received::Frame(_)));
            if is_host {
                refuse(board, 0, &"an answer is being given to a person");
            }
        }
        Went::On
    }
}

/// A sentence without a heap; what is too long is cut before a letter.
struct Sentence {
    bytes: [u8; SENTENCE_BYTES],
    len: usize,
}

impl Default for Sentence {
    fn default() -> Self {
        Self {
            bytes: [0; SENTENCE_BYTES],
            len: 0,
        }
    }
}

impl Sentence {
    fn say(&mut self, why: &dyn core::fmt::Display) {
        self.len = 0;
        // It takes all there is room for.
        let _written = write!(self, "{why}");
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl core::fmt::Write for Sentence {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let mut length = text.len().min(SENTENCE_BYTES - self.len);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        self.bytes[self.len..self.len + length].copy_from_slice(&text.as_bytes()[..length]);
        self.len += length;
        Ok(())
    }
}
