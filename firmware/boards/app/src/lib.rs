//! What every board runs: checks a packed model, answers a prompt, says what it computed.
//!
//! [`Model::open`] and [`answer`] take the host's steps (`src/packed/chat.rs`) without its heap: the
//! same tokens come out, and the same hash of logits. [`serve`] talks with hosts and people; the lines that it prints
//! are spelled out in `firmware/README.md`, its messages in `firmware/protocol`. A board adds its console, its counter
//! and its memory.
#![no_std]

mod answer;
mod measure;
mod refusal;
mod serve;
mod store;

pub use answer::{Lines, Listener, Request, Stopped, Told, Went, answer};
pub use measure::Costs;
pub use serve::serve;

pub use engine::arena::{CachePrecision, Limits};
pub use engine::matrix::Matrix;
pub use engine::sampler::Sampling;
pub use protocol::PIECE_BYTES;
pub use refusal::Refusal;

use core::fmt::{self, Arguments, Write as _};
use core::hint::black_box;
use engine::arena::ArenaLayout;
use engine::format::{MAGIC, Packed, Prefix, Section, Text, tokens};
use engine::stamp::{Stamp, number};
use engine::weights::{Weights, table_len};
use engine::workers::Host;

/// What the program says of itself: hosts look for it in the image.
static STAMP: [u8; Stamp::BYTES] =
    Stamp::of_this_engine(number(env!("WHITTLE_APP_SOURCES"))).to_bytes();

/// What a board brings.
pub trait Board {
    /// Its family, as its folder is called: `esp32c3`.
    const NAME: &'static str;
    /// What [`Self::ticks`] counts: `instructions`, `microseconds`.
    const TICK: &'static str;
    /// How many of them are a second; 0 where they are no time.
    const TICKS_PER_SECOND: u32;
    /// Tokens of a prefill batch. A larger one reads the model less often, at the price of activations that the context
    /// needs.
    const BATCH: usize = 1;

    /// Who computes.
    fn host(&self) -> Host<'static> {
        Host::board()
    }

    /// A counter that only grows.
    fn ticks(&mut self) -> u64;

    /// Writes to the console; what nobody takes is lost.
    fn write(&mut self, bytes: &[u8]);

    /// A byte that has come, if one has.
    fn read(&mut self) -> Option<u8>;

    /// Called when nothing has come: may return at any time.
    fn idle(&mut self) {
        core::hint::spin_loop();
    }

    /// The chip; empty where it is not known.
    fn chip(&self) -> &'static str {
        Self::NAME
    }

    /// The chip's revision: 100 times the major number and the minor; 0 where it is not read.
    fn chip_revision(&mut self) -> u16 {
        0
    }

    /// Starts again; a board that cannot does nothing.
    fn restart(&mut self) {}

    /// Clock of the core that computes; 0 where it is not known.
    fn clock_hz(&self) -> u32 {
        0
    }

    /// The stack, where it is watched.
    fn stack(&mut self) -> Option<Stack> {
        None
    }

    /// Where a model can be written while the program runs, where it can.
    fn store(&mut self) -> Option<&mut dyn Store> {
        None
    }

    /// Writes one line to the console.
    fn line(&mut self, text: Arguments<'_>)
    where
        Self: Sized,
    {
        let mut console = Console(self);
        // A console takes all there is, or loses it: there is nobody to tell.
        let _written = writeln!(console, "whittle: {text}");
    }
}

/// A stack, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stack {
    /// All of it.
    pub bytes: u32,
    /// The most that was used since the start.
    pub used_bytes: u32,
}

/// What is said of a place for a model in which none begins.
pub(crate) const NO_MODEL: &str = "there is no model, or it was not written to its end";

/// Flash that a model is written to. What was there is gone from the first call on, or kept until the last: a board that
/// starts again in between has either the old model, or none that it would take for one.
pub trait Store {
    /// The longest model that fits.
    fn room_bytes(&self) -> u32;

    /// Makes room for a model of so many bytes; 0 for none, which takes away all of the one that is there.
    ///
    /// # Errors
    /// Why not.
    fn erase(&mut self, bytes: u32) -> Result<(), &'static str>;

    /// Writes where it is erased. `offset` is a multiple of [`PIECE_BYTES`].
    ///
    /// # Errors
    /// Why not.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), &'static str>;

    /// Lets what was written take the place of the model, once it is known to be whole; an empty one takes it away.
    ///
    /// # Errors
    /// Why not.
    fn commit(&mut self) -> Result<(), &'static str>;

    /// Reads back; the length of `bytes` is at most [`PIECE_BYTES`].
    ///
    /// # Errors
    /// Why not.
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), &'static str>;
}

struct Console<'b, B>(&'b mut B);

impl<B: Board> fmt::Write for Console<'_, B> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The stamp of this firmware.
#[must_use]
fn stamp() -> Stamp {
    // Read from where hosts look for it, so that the linker keeps it.
    Stamp::find(black_box(&STAMP)).unwrap_or(Stamp::of_this_engine(0))
}

/// A packed model whose every byte has been checked.
#[derive(Debug)]
pub struct Model<'m> {
    text: Text<'m>,
    weights: Weights<'m>,
    cache: CachePrecision,
    prefix: Option<Prefix<'m>>,
    bytes: &'m [u8],
    provenance: &'m [u8],
}

/// The packed file at the start of `flash`: as many bytes as it says it has, or all there are.
#[must_use]
pub fn packed_bytes(flash: &[u8]) -> &[u8] {
    // Offset 24 of the header; what it claims is checked when the file is parsed, its beginning whatever it claims.
    const CLAIM: core::ops::Range<usize> = 24..28;
    let claimed = flash.get(CLAIM).and_then(<[u8]>::first_chunk);
    let claimed = claimed.map_or(usize::MAX, |word| u32::from_le_bytes(*word) as usize);
    flash.get(..claimed.max(CLAIM.end)).unwrap_or(flash)
}

/// Whether nothing begins here: flash that is erased, or a file without a byte.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().take(MAGIC.len()).all(|byte| *byte == 0xFF)
}

impl<'m> Model<'m> {
    /// Checks a packed file and lists its tensors in `table`, 18 places a layer.
    ///
    /// # Errors
    /// When the file is not a packed model, is damaged, or has more layers than `table` has room for.
    pub fn open<'b: 'm>(
        board: &mut impl Board,
        bytes: &'b [u8],
        table: &'m mut [Option<Matrix<'b>>],
    ) -> Result<Self, Refusal> {
        board.line(format_args!("firmware: {}", stamp()));
        if is_blank(bytes) {
            return Err(Refusal::NoModel(NO_MODEL));
        }
        let packed = Packed::parse(bytes)?;
        for index in 0..packed.tensors() {
            packed.verify(index)?;
        }
        let text = packed.text()?;
        let (needed, found) = (table_len(packed.shape().layers), table.len());
        let table = table
            .get_mut(..needed)
            .ok_or(Refusal::Table { needed, found })?;
        table.fill(None);
        packed.fill_table(table)?;
        let weights = Weights::new(*packed.shape(), table)?;
        board.line(format_args!("model ok, {} tensors", packed.tensors()));
        Ok(Self {
            text,
            weights,
            cache: packed.cache(),
            prefix: packed.prefix(),
            bytes,
            provenance: packed.section(Section::Provenance),
        })
    }

    /// The precision of keys and values that the model was packed for.
    #[must_use]
    pub const fn cache(&self) -> CachePrecision {
        self.cache
    }

    /// The packed file.
    #[must_use]
    pub const fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// Transformer blocks.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.weights.shape().layers as usize
    }

    /// The name that the file says it has; empty where it says none.
    #[must_use]
    pub fn name(&self) -> &'m str {
        // The first key of the section, which is TOML.
        let text = str::from_utf8(self.provenance).unwrap_or_default();
        let quoted = text.strip_prefix("name = \"").unwrap_or_default();
        quoted.split_once('"').map_or("", |(name, _)| name)
    }

    /// The prefix, where every conversation begins with it and keeps keys and values as it does.
    fn prefix(&self, limits: Limits) -> Option<Prefix<'m>> {
        let opening = tokens(self.text.chat.first_user_open);
        self.prefix
            .filter(|p| p.precision() == limits.cache && p.positions() < limits.context)
            .filter(|p| p.tokens().eq(opening))
    }

    /// 32-bit words of memory that [`answer`] needs for a prompt of so many bytes.
    #[must_use]
    pub fn words(&self, prompt_bytes: usize, limits: Limits, sampling: &Sampling) -> usize {
        let shape = self.weights.shape();
        // Saturates, as the arena does: a model may ask for more than a board can count.
        let prefix = self.prefix(limits).map_or(0, |p| p.positions());
        ArenaLayout::after(prefix, shape, limits)
            .words()
            .saturating_add(shape.vocab as usize)
            .saturating_add(self.prompt_room(prompt_bytes))
            .saturating_add(history_words(limits, sampling))
    }

    /// The longest context that so many words of memory hold, at least 1; at most the model's.
    #[must_use]
    pub fn longest_context(
        &self,
        prompt_bytes: usize,
        batch: usize,
        sampling: &Sampling,
        words: usize,
    ) -> usize {
        let limits = |context| Limits {
            context,
            batch,
            cache: self.cache(),
        };
        let fits = |context| self.words(prompt_bytes, limits(context), sampling) <= words;
        let (mut low, mut high) = (1, self.weights.shape().context as usize);
        while low < high {
            let middle = high - (high - low) / 2;
            if fits(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    /// Tokens of a prompt at most: a byte becomes one at most, and a space may go before the text.
    fn prompt_room(&self, prompt_bytes: usize) -> usize {
        let chat = self.text.chat;
        let prompt_bytes = prompt_bytes.max(chat.dialogue.room(prompt_bytes));
        (chat.first_user_open.len() + chat.user_close.len()) / 4 + prompt_bytes + 1
    }

    /// The prompt as tokens, each given to `emit`; `room` holds the prompt in the words of the model, and a
    /// word for each byte of its longest one.
    fn encode(
        &self,
        prompt: &str,
        room: &mut [u32],
        emit: &mut dyn FnMut(u32),
    ) -> Result<(), Refusal> {
        let chat = self.text.chat;
        let words = chat.dialogue.room(prompt.len()).div_ceil(4);
        let (said, room) = room
            .split_at_mut_checked(words)
            .ok_or(Refusal::LongPrompt(prompt.len()))?;
        let said = chat.dialogue.said(prompt, bytemuck::cast_slice_mut(said));
        let said = said.ok_or(Refusal::LongPrompt(prompt.len()))?;
        tokens(chat.first_user_open).for_each(&mut *emit);
        self.text
            .tokenizer
            .encode(said, room, emit)
            .map_err(Refusal::LongWord)?;
        tokens(chat.user_close).for_each(&mut *emit);
        Ok(())
    }
}

/// Words that hold the conversation's tokens, where the sampler looks at them.
fn history_words(limits: Limits, sampling: &Sampling) -> usize {
    if sampling.repetition_penalty == 1.0 {
        0
    } else {
        limits.context
    }
}
