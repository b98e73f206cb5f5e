//! One prompt and its answer, told step by step to whoever asked.

use crate::measure::{self, Costs};
use crate::{Board, Model, Refusal, history_words};
use engine::arena::Limits;
use engine::intent::{LONGEST_LINE, Opening, opening};
use engine::sampler::{LogitsHash, Sampler, Sampling};
use engine::session::Session;

/// What is asked, and how long the conversation may get.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The user's text.
    pub prompt: &'a str,
    /// Longest answer in tokens.
    pub max_tokens: usize,
    /// Context (at most the model's counts) and tokens of a prefill batch.
    pub limits: Limits,
    /// How tokens are drawn.
    pub sampling: Sampling,
}

/// A step of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// So many tokens of the prompt were computed, which took so many ticks.
    Prompt {
        /// Tokens; those that lie in flash with keys and values are not counted.
        tokens: usize,
        /// What they took.
        ticks: u64,
    },
    /// A token was drawn.
    Token {
        /// Its number.
        token: u32,
        /// Its text.
        bytes: &'a [u8],
        /// Ticks since the request.
        ticks: u64,
    },
    /// The first line says what to do.
    Intent(&'a str),
    /// The answer is whole.
    Done {
        /// Why it ended.
        stopped: Stopped,
        /// Of the logits of every token that was drawn.
        hash: LogitsHash,
        /// Tokens computed after the prompt.
        decoded: usize,
        /// What they took.
        ticks: u64,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The model said so.
    StopToken,
    /// It is as long as asked.
    Length,
    /// The context is full.
    Context,
    /// Whoever asked does not want more.
    Cancelled,
}

/// Whether whoever asked wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Yes.
    On,
    /// No: the answer ends.
    Away,
}

/// Who is told how an answer goes on.
pub trait Listener<B: Board> {
    /// The next step.
    fn tell(&mut self, board: &mut B, told: Told<'_>);

    /// Asked before each token is computed.
    fn went(&mut self, board: &mut B) -> Went;

    /// Where to add up what tokens of the answer take, if anyone wants to know.
    fn costs(&mut self) -> Option<&mut Costs> {
        None
    }
}

/// Tells it in lines of text, to the end.
#[derive(Debug)]
pub struct Lines;

impl<B: Board> Listener<B> for Lines {
    fn tell(&mut self, board: &mut B, told: Told<'_>) {
        match told {
            Told::Prompt { tokens, ticks } => {
                board.line(format_args!("prompt {tokens} tokens, {ticks} {}", B::TICK));
            }
            Told::Token {
                token,
                bytes,
                ticks,
            } => board.line(format_args!(
                "token {token} \"{}\" after {ticks} {}",
                bytes.escape_ascii(),
                B::TICK
            )),
            Told::Intent(line) => board.line(format_args!("intent {line}")),
            Told::Done {
                stopped,
                hash,
                decoded,
                ticks,
            } => {
                board.line(format_args!("decode {decoded} tokens, {ticks} {}", B::TICK));
                board.line(format_args!("logits {:016x}", hash.0));
                board.line(format_args!("done: {}", why(stopped)));
            }
        }
    }

    fn went(&mut self, _board: &mut B) -> Went {
        Went::On
    }
}

const fn why(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::StopToken => "stop token",
        Stopped::Length => "as long as asked",
        Stopped::Context => "context full",
        Stopped::Cancelled => "cancelled",
    }
}

/// Answers one prompt and tells each token as it comes.
///
/// `memory` holds the logits, the prompt's tokens, those of the conversation where the sampler looks at them, and the
/// engine's arena.
///
/// # Errors
/// When `memory` is too small, the prompt does not fit the context, the sampling is none, or the model computes what is
/// no finite number.
pub fn answer<B: Board>(
    board: &mut B,
    model: &Model<'_>,
    request: &Request<'_>,
    memory: &mut [u32],
    listener: &mut impl Listener<B>,
) -> Result<(), Refusal> {
    let received = board.ticks();
    request.sampling.check()?;
    let shape = model.weights.shape();
    let limits = Limits {
        context: request.limits.context.min(shape.context as usize),
        ..request.limits
    };
    let needed = model.words(request.prompt.len(), limits, &request.sampling);
    let found = memory.len();
    let memory = memory
        .get_mut(..needed)
        .ok_or(Refusal::Memory { needed, found })?;
    let (logits, memory) = memory.split_at_mut(shape.vocab as usize);
    let logits: &mut [f32] = bytemuck::cast_slice_mut(logits);
    let (prompt, memory) = memory.split_at_mut(model.prompt_room(request.prompt.len()));
    let (history, arena) = memory.split_at_mut(history_words(limits, &request.sampling));

    let mut count = 0;
    // The arena is idle until the session starts: it lends the tokenizer its room.
    model.encode(request.prompt, arena, &mut |token| {
        prompt[count] = token;
        count += 1;
    })?;
    let mut session = Session::after(model.prefix(limits), shape, limits, arena)?;
    // A prompt that does not fit is refused by the session below.
    history
        .iter_mut()
        .zip(&prompt[..count])
        .for_each(|(h, token)| *h = *token);
    let prompt = &prompt[session.position()..count];
    let mut answer = Answering {
        model,
        history,
        said: count,
        hash: LogitsHash::default(),
        opening: Held::new(),
        received,
    };
    let host = board.host();
    let start = board.ticks();
    if prompt.len() > limits.context - session.position() {
        session.forward(&model.weights, &host, prompt, logits)?;
    }
    let Some((last, first)) = prompt.split_last() else {
        session.forward(&model.weights, &host, prompt, logits)?;
        return Ok(());
    };
    for batch in first.chunks(limits.batch.max(1)) {
        if listener.went(board) == Went::Away {
            answer.done(board, listener, Stopped::Cancelled, (0, 0));
            return Ok(());
        }
        session.forward(&model.weights, &host, batch, &mut [])?;
    }
    session.forward(&model.weights, &host, &[*last], logits)?;
    let (tokens, ticks) = (prompt.len(), board.ticks() - start);
    listener.tell(board, Told::Prompt { tokens, ticks });
    answer.decode(board, request, session, logits, listener)
}

/// An answer under way.
struct Answering<'a, 'm> {
    model: &'a Model<'m>,
    /// The conversation's tokens; empty where the sampler does not look at them.
    history: &'a mut [u32],
    /// Tokens of the conversation.
    said: usize,
    hash: LogitsHash,
    opening: Held,
    /// The counter when the prompt was there.
    received: u64,
}

impl Answering<'_, '_> {
    /// Draws token after token from `logits` `[vocab]`, which hold those of the prompt's last token.
    fn decode<B: Board>(
        &mut self,
        board: &mut B,
        request: &Request<'_>,
        mut session: Session<'_>,
        logits: &mut [f32],
        listener: &mut impl Listener<B>,
    ) -> Result<(), Refusal> {
        let weights = &self.model.weights;
        let context = request.limits.context.min(weights.shape().context as usize);
        let mut sampler = Sampler::new(request.sampling);
        let (mut drawn, mut steps, mut ticks) = (0, 0, 0);
        let stopped = loop {
            if drawn == request.max_tokens {
                break Stopped::Length;
            }
            self.hash.update(logits);
            let said = self.said.min(self.history.len());
            let token = sampler.sample(logits, &self.history[..said])?;
            if self.model.text.is_stop(token) {
                break Stopped::StopToken;
            }
            drawn += 1;
            self.drew(board, token, listener);
            if session.position() == context {
                break Stopped::Context;
            }
            if listener.went(board) == Went::Away {
                break Stopped::Cancelled;
            }
            // Nothing follows the last token, so nobody asks for its logits.
            if drawn < request.max_tokens {
                let start = board.ticks();
                match listener.costs() {
                    None => session.forward(weights, &board.host(), &[token], logits)?,
                    Some(costs) => {
                        measure::forward(board, &mut session, weights, token, logits, costs)?;
                    }
                }
                ticks += board.ticks() - start;
                steps += 1;
            }
        };
        self.done(board, listener, stopped, (steps, ticks));
        Ok(())
    }

    fn drew<B: Board>(&mut self, board: &mut B, token: u32, listener: &mut impl Listener<B>) {
        if let Some(place) = self.history.get_mut(self.said) {
            *place = token;
        }
        self.said += 1;
        let bytes = self.model.text.tokenizer.bytes(token);
        let ticks = board.ticks() - self.received;
        listener.tell(
            board,
            Told::Token {
                token,
                bytes,
                ticks,
            },
        );
        if let Some(line) = self.opening.push(bytes) {
            listener.tell(board, Told::Intent(line));
        }
    }

    fn done<B: Board>(
        &self,
        board: &mut B,
        listener: &mut impl Listener<B>,
        stopped: Stopped,
        (decoded, ticks): (usize, u64),
    ) {
        let hash = self.hash;
        listener.tell(
            board,
            Told::Done {
                stopped,
                hash,
                decoded,
                ticks,
            },
        );
    }
}

/// The beginning of an answer, until it is known whether it is an intent line.
struct Held {
    bytes: [u8; LONGEST_LINE + 1],
    len: usize,
    is_decided: bool,
}

impl Held {
    const fn new() -> Self {
        Self {
            bytes: [0; LONGEST_LINE + 1],
            len: 0,
            is_decided: false,
        }
    }

    /// Takes the next token's text; the line, as soon as it is one.
    fn push(&mut self, bytes: &[u8]) -> Option<&str> {
        if self.is_decided {
            return None;
        }
        let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) else {
            self.is_decided = true;
            return None;
        };
        place.copy_from_slice(bytes);
        self.len += bytes.len();
        // A letter that is not whole yet says nothing.
        let text = str::from_utf8(&self.bytes[..self.len]).ok()?;
        match opening(text) {
            Opening::Open => None,
            Opening::Reply(at) => {
                self.is_decided = true;
                text[..at].strip_suffix('\n')
            }
        }
    }
}
