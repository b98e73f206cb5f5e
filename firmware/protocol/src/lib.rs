//! What a host and a board say to each other over a serial line: the whole contract on one screen.
//!
//! A host sends [`Request`]s, a board answers with [`Event`]s. Each is a frame ([`encode`]): version, message (postcard),
//! CRC-32, in COBS between two zeros. The same line carries text for people: a line that ends with a line feed is a
//! prompt, and is answered in lines that begin with `whittle: `. So any terminal can talk to a board, and noise between
//! two frames is a line that nobody understands. [`Receiver`] tells the two apart.
//!
//! Changes: a message or a field is added at the end of its type, under the next [`VERSION`]; none is removed. A board
//! answers a version that it does not know with [`Event::Refused`], which stays as it is for good.
#![no_std]

#[cfg(test)]
extern crate std;

mod frame;
mod receiver;

pub use frame::{FRAME_BYTES, FrameError, PAYLOAD_BYTES, decode, encode};
pub use receiver::{Received, Receiver};

use serde::{Deserialize, Serialize};

/// Version of the messages: the first byte of every frame.
pub const VERSION: u8 = 2;
/// Longest prompt in bytes that fits a frame.
pub const PROMPT_BYTES: usize = 512;
/// Longest answer in tokens, where nobody says; a full context ends it sooner.
pub const MAX_TOKENS: u32 = 256;
/// Longest piece of a model that is sent over the line.
pub const PIECE_BYTES: usize = 512;
/// What a board answers to show what it computes: [`Request::SelfTest`].
pub const SELF_TEST: Ask<'static> = Ask {
    id: 0,
    prompt: "turn on the kitchen light",
    // What comes after the first has read the cache.
    max_tokens: 2,
    context: 0,
    sampling: Sampling {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        repetition_window: 0,
        seed: 0,
    },
};

/// What a host asks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who are you? Answered by [`Event::Hello`], at any time between two answers.
    Hello,
    /// Answer a prompt: [`Event::Prompt`], tokens, perhaps an intent, [`Event::Done`]; or [`Event::Refused`].
    #[serde(borrow)]
    Ask(Ask<'a>),
    /// End the answer that is being given, after the token that is being computed. Without one it does nothing.
    Cancel,
    /// Start again, as after power-on.
    Reboot,
    /// [`SELF_TEST`] under this number.
    SelfTest {
        /// Stands in every event of the answer.
        id: u32,
    },
    /// As [`Self::Ask`]; before [`Event::Done`] come [`Event::Cost`]s, [`Event::Memory`]s and [`Event::Measured`].
    Measure(Ask<'a>),
    /// Make room for a model of so many bytes in place of the one in flash: [`Event::Stored`], or refused. 0 bytes erase
    /// it, and the board starts again.
    Store {
        /// Stands in every event about this model.
        id: u32,
        /// Bytes of the packed file.
        bytes: u32,
        /// CRC-32 of all of them.
        crc: u32,
    },
    /// The next bytes of that model, [`PIECE_BYTES`] each but the last: [`Event::Stored`]. After the last one the board
    /// checks what it reads back, and starts again.
    Piece {
        /// That of the [`Request::Store`].
        id: u32,
        /// Where they begin.
        offset: u32,
        /// They.
        bytes: &'a [u8],
    },
}

/// A prompt and how to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ask<'a> {
    /// Stands in every event of the answer.
    pub id: u32,
    /// What a person typed or said: the board brings it into the words of the model.
    pub prompt: &'a str,
    /// Longest answer in tokens; 0 for as long as the board allows.
    pub max_tokens: u32,
    /// Tokens of the conversation at most; 0 for as many as the board's memory holds.
    pub context: u32,
    /// How tokens are drawn.
    pub sampling: Sampling,
}

/// [`engine::sampler::Sampling`] on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the engine's type")]
pub struct Sampling {
    pub temperature: f32,
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub repetition_window: u32,
    pub seed: u64,
}

/// What a board says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Event<'a> {
    /// Who it is and what it runs.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// The prompt is in the KV cache.
    Prompt {
        /// That of the request.
        id: u32,
        /// Tokens that were computed: those that lie in flash with keys and values are not.
        tokens: u32,
        /// What that took.
        ticks: u64,
    },
    /// A token was drawn.
    Token {
        /// That of the request.
        id: u32,
        /// Its number.
        token: u32,
        /// Its text; a letter may go over several tokens.
        bytes: &'a [u8],
        /// Since the request came.
        ticks: u64,
    },
    /// The answer's first line says what to do, and is not spoken.
    Intent {
        /// That of the request.
        id: u32,
        /// `HassTurnOn@area kitchen@domain light`
        line: &'a str,
    },
    /// The answer is whole.
    Done(Done),
    /// There will be no answer, or none beyond what came, and why. The board goes on.
    Refused {
        /// That of the request; 0 where there was none that could be read.
        id: u32,
        /// One sentence.
        why: &'a str,
    },
    /// What a kind of work took, of all tokens that were computed after the prompt together.
    Cost {
        /// That of the request.
        id: u32,
        /// The transformer block; none for what is done once a token.
        layer: Option<u32>,
        /// Which.
        work: Work,
        /// What it took.
        ticks: u64,
    },
    /// Reading a memory from one end to the other, a word at a time.
    Memory {
        /// That of the request.
        id: u32,
        /// What lies in it: `model`, `conversation`.
        name: &'a str,
        /// So much was read.
        bytes: u32,
        /// What that took.
        ticks: u64,
    },
    /// What was used.
    Measured(Measured),
    /// A model is there up to here; all of it has been checked where nothing is missing.
    Stored {
        /// That of the request.
        id: u32,
        /// Bytes in flash.
        bytes: u32,
    },
}

/// [`engine::session::Work`] on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are those of the engine's type")]
pub enum Work {
    Embedding,
    Products,
    Attention,
    Elementwise,
    Head,
}

/// What an answer used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// That of the request.
    pub id: u32,
    /// Position of the first token that was computed after the prompt.
    pub position: u32,
    /// So many were, and are in the costs.
    pub tokens: u32,
    /// Memory of the conversation that the answer was given, in bytes.
    pub memory_bytes: u32,
    /// The stack's size; 0 where it is not known.
    pub stack_bytes: u32,
    /// The most that was used of it since the start.
    pub stack_used_bytes: u32,
}

/// Who a board is and what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// The firmware's family: `esp32c3`.
    pub firmware: &'a str,
    /// The chip's revision: 100 times the major number and the minor; 0 where the firmware does not read it.
    pub chip_revision: u16,
    /// What `ticks` of other events count in a second; 0 where they count instructions.
    pub ticks_per_second: u32,
    /// The packed format that it reads, and digests of golden answers, engine and application: the firmware's stamp.
    pub stamp: Stamp,
    /// Memory for a conversation, in bytes.
    pub memory_bytes: u32,
    /// Longest prompt in bytes.
    pub prompt_bytes: u32,
    /// The model in its flash.
    pub model: Result<Model<'a>, &'a str>,
    /// Clock of the core that computes; 0 where the firmware does not know it.
    pub clock_hz: u32,
    /// The longest packed file that [`Request::Store`] takes; 0 where it takes none.
    pub store_bytes: u32,
    /// The chip, as flashing tools or the device tree call it: `esp32c3`, `bcm2837`; empty where it is not known.
    pub chip: &'a str,
}

/// [`engine::stamp::Stamp`] on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the engine's type")]
pub struct Stamp {
    pub format: u32,
    pub answers: u64,
    pub engine: u64,
    pub app: u64,
}

/// A model whose every byte the board has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model<'a> {
    /// The name that its file says.
    pub name: &'a str,
    /// Bytes of the packed file.
    pub bytes: u32,
    /// CRC-32 of all of them.
    pub crc: u32,
    /// Bits of keys and values that it was packed for, and that the board keeps.
    pub kv_bits: u8,
    /// The longest conversation, in tokens, that memory and model allow after a prompt of `prompt_bytes`.
    pub context: u32,
}

/// An answer that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// That of the request.
    pub id: u32,
    /// Why.
    pub stop: Stop,
    /// FNV-1a of the logits of every token that was drawn, the one that ended it too.
    pub hash: u64,
    /// Tokens that were computed after the prompt.
    pub decoded: u32,
    /// What those took.
    pub ticks: u64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// The model said so.
    StopToken,
    /// It is as long as asked.
    Length,
    /// The context is full.
    Context,
    /// The host said so.
    Cancelled,
}

impl From<engine::sampler::Sampling> for Sampling {
    fn from(from: engine::sampler::Sampling) -> Self {
        Self {
            temperature: from.temperature,
            top_k: from.top_k,
            top_p: from.top_p,
            min_p: from.min_p,
            repetition_penalty: from.repetition_penalty,
            repetition_window: from.repetition_window,
            seed: from.seed,
        }
    }
}

impl From<Sampling> for engine::sampler::Sampling {
    fn from(from: Sampling) -> Self {
        Self {
            temperature: from.temperature,
            top_k: from.top_k,
            top_p: from.top_p,
            min_p: from.min_p,
            repetition_penalty: from.repetition_penalty,
            repetition_window: from.repetition_window,
            seed: from.seed,
        }
    }
}

impl From<engine::session::Work> for Work {
    fn from(from: engine::session::Work) -> Self {
        use engine::session::Work as Engine;
        match from {
            Engine::Embedding => Self::Embedding,
            Engine::Products => Self::Products,
            Engine::Attention => Self::Attention,
            Engine::Elementwise => Self::Elementwise,
            Engine::Head => Self::Head,
        }
    }
}

impl From<Work> for engine::session::Work {
    fn from(from: Work) -> Self {
        match from {
            Work::Embedding => Self::Embedding,
            Work::Products => Self::Products,
            Work::Attention => Self::Attention,
            Work::Elementwise => Self::Elementwise,
            Work::Head => Self::Head,
        }
    }
}

impl From<engine::stamp::Stamp> for Stamp {
    fn from(from: engine::stamp::Stamp) -> Self {
        Self {
            format: from.format,
            answers: from.answers,
            engine: from.engine,
            app: from.app,
        }
    }
}

impl From<Stamp> for engine::stamp::Stamp {
    fn from(from: Stamp) -> Self {
        Self {
            format: from.format,
            answers: from.answers,
            engine: from.engine,
            app: from.app,
        }
    }
}
