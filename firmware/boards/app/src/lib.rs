//! What every board runs: checks a packed model, answers a prompt, says what it computed.
//!
//! [`Model::open`] and [`answer`] take the host's steps (`src/packed/chat.rs`) without its heap: the
//! same tokens come out, and the same hash of logits. The lines that they print are spelled out in
//! `firmware/README.md`; a board adds its console, its counter and its memory.
#![no_std]

mod refusal;

pub use engine::arena::{CachePrecision, Limits};
pub use engine::matrix::Matrix;
pub use refusal::Refusal;

use core::fmt::Arguments;
use core::hint::black_box;
use engine::arena::ArenaLayout;
use engine::format::{Packed, Prefix, Text, tokens};
use engine::sampler::{LogitsHash, Sampler, Sampling};
use engine::session::Session;
use engine::stamp::{Stamp, number};
use engine::weights::{Weights, table_len};
use engine::workers::Host;

/// What the program says of itself: hosts look for it in the image.
static STAMP: [u8; Stamp::BYTES] =
    Stamp::of_this_engine(number(env!("WHITTLE_APP_SOURCES"))).to_bytes();

/// What a board brings.
pub trait Board {
    /// What [`Self::ticks`] counts: `instructions`, `microseconds`.
    const TICK: &'static str;

    /// A counter that only grows.
    fn ticks(&mut self) -> u64;

    /// Writes one line to the console.
    fn line(&mut self, text: Arguments<'_>);
}

/// What is asked, and how long the conversation may get.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The user's text.
    pub prompt: &'a str,
    /// Longest answer in tokens.
    pub max_tokens: usize,
    /// Context (at most the model's counts) and tokens of a prefill batch.
    pub limits: Limits,
}

/// A packed model whose every byte has been checked.
#[derive(Debug)]
pub struct Model<'m> {
    text: Text<'m>,
    weights: Weights<'m>,
    cache: CachePrecision,
    prefix: Option<Prefix<'m>>,
}

/// The packed file at the start of `flash`: as many bytes as it says it has, or all there are.
#[must_use]
pub fn packed_bytes(flash: &[u8]) -> &[u8] {
    // Offset 24 of the header; what it claims is checked when the file is parsed.
    let claimed = flash.get(24..).and_then(<[u8]>::first_chunk);
    let claimed = claimed.map_or(usize::MAX, |word| u32::from_le_bytes(*word) as usize);
    flash.get(..claimed).unwrap_or(flash)
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
        // Read from where hosts look for it, so that the linker keeps it.
        if let Some(stamp) = Stamp::find(black_box(&STAMP)) {
            board.line(format_args!("firmware: {stamp}"));
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
        })
    }

    /// The precision of keys and values that the model was packed for.
    #[must_use]
    pub const fn cache(&self) -> CachePrecision {
        self.cache
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
    pub fn words(&self, prompt_bytes: usize, limits: Limits) -> usize {
        let shape = self.weights.shape();
        // Saturates, as the arena does: a model may ask for more than a board can count.
        let prefix = self.prefix(limits).map_or(0, |p| p.positions());
        ArenaLayout::after(prefix, shape, limits)
            .words()
            .saturating_add(shape.vocab as usize)
            .saturating_add(self.prompt_room(prompt_bytes))
    }

    /// The longest context that so many words of memory hold, at least 1; at most the model's.
    #[must_use]
    pub fn longest_context(&self, prompt_bytes: usize, batch: usize, words: usize) -> usize {
        let limits = |context| Limits {
            context,
            batch,
            cache: self.cache(),
        };
        let fits = |context| self.words(prompt_bytes, limits(context)) <= words;
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

/// Answers one prompt, most likely token first, and prints each token as it comes.
///
/// `memory` holds the logits, the prompt's tokens, and the engine's arena.
///
/// # Errors
/// When `memory` is too small, the prompt does not fit the context, or the model computes what is no
/// finite number.
pub fn answer<B: Board>(
    board: &mut B,
    model: &Model<'_>,
    request: &Request<'_>,
    memory: &mut [u32],
) -> Result<(), Refusal> {
    let shape = model.weights.shape();
    let limits = Limits {
        context: request.limits.context.min(shape.context as usize),
        batch: request.limits.batch,
        cache: request.limits.cache,
    };
    let (needed, vocab) = (
        model.words(request.prompt.len(), limits),
        shape.vocab as usize,
    );
    let found = memory.len();
    let memory = memory
        .get_mut(..needed)
        .ok_or(Refusal::Memory { needed, found })?;
    let (logits, memory) = memory.split_at_mut(vocab);
    let logits: &mut [f32] = bytemuck::cast_slice_mut(logits);
    let (prompt, arena) = memory.split_at_mut(model.prompt_room(request.prompt.len()));

    let received = board.ticks();
    let mut count = 0;
    // The arena is idle until the session starts: it lends the tokenizer its room.
    model.encode(request.prompt, arena, &mut |token| {
        prompt[count] = token;
        count += 1;
    })?;
    let mut session = Session::after(model.prefix(limits), shape, limits, arena)?;
    let prompt = &prompt[session.position()..count];
    let start = board.ticks();
    session.forward(&model.weights, &Host::board(), prompt, logits)?;
    let (count, ticks) = (prompt.len(), board.ticks() - start);
    board.line(format_args!("prompt {count} tokens, {ticks} {}", B::TICK));
    let asked = Asked {
        max_tokens: request.max_tokens,
        context: limits.context,
        received,
    };
    decode(board, model, &asked, session, logits)
}

/// What is left to do once the prompt has been computed.
struct Asked {
    max_tokens: usize,
    context: usize,
    /// The counter when the prompt was there.
    received: u64,
}

/// Draws token after token from `logits` `[vocab]`, which hold those of the prompt's last token.
fn decode<B: Board>(
    board: &mut B,
    model: &Model<'_>,
    asked: &Asked,
    mut session: Session<'_>,
    logits: &mut [f32],
) -> Result<(), Refusal> {
    let mut sampler = Sampler::new(Sampling::GREEDY);
    let mut hash = LogitsHash::default();
    let (mut drawn, mut steps, mut ticks) = (0, 0, 0);
    let stop = loop {
        if drawn == asked.max_tokens {
            break "as long as asked";
        }
        hash.update(logits);
        // Greedy, without a penalty: what was said does not matter.
        let token = sampler.sample(logits, &[])?;
        if model.text.is_stop(token) {
            break "stop token";
        }
        drawn += 1;
        let bytes = model.text.tokenizer.bytes(token);
        let since = board.ticks() - asked.received;
        board.line(format_args!(
            "token {token} \"{}\" after {since} {}",
            bytes.escape_ascii(),
            B::TICK
        ));
        if session.position() == asked.context {
            break "context full";
        }
        // Nothing follows the last token, so nobody asks for its logits.
        if drawn < asked.max_tokens {
            let start = board.ticks();
            session.forward(&model.weights, &Host::board(), &[token], logits)?;
            ticks += board.ticks() - start;
            steps += 1;
        }
    };
    board.line(format_args!("decode {steps} tokens, {ticks} {}", B::TICK));
    board.line(format_args!("logits {:016x}", hash.0));
    board.line(format_args!("done: {stop}"));
    Ok(())
}
