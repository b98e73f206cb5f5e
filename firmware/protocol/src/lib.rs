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
pub const VERSION: u8 = 1;
/// Longest prompt in bytes that fits a frame.
pub const PROMPT_BYTES: usize = 512;

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
