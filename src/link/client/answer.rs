//! What comes of an answer, event by event.

use crate::measured::{Cost, MemorySpeed, StackUse};
use engine::sampler::LogitsHash;
use protocol::Event;
use serde::Serialize;

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

impl BoardAnswer {
    /// Tokens that came, and tokens that the board must have sent: it computes each that it draws, but for the last where
    /// nothing follows that one.
    pub(super) fn counted(&self) -> (usize, usize) {
        let (came, computed) = (self.tokens.len(), self.decoded as usize);
        match self.stop {
            "stop_token" => (came, computed),
            // Nothing was drawn, or one that nothing followed.
            _ if computed == 0 => (came, came.min(1)),
            _ => (came, computed + 1),
        }
    }
}

fn hexadecimal<S: serde::Serializer>(hash: &LogitsHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{:016x}", hash.0))
}

/// An answer and what it cost; the latter is empty where nobody asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The answer.
    pub answer: BoardAnswer,
    /// What it cost.
    pub costs: Costs,
}

/// What an answer cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    /// Position of the first token after the prompt.
    pub position: u32,
    /// Tokens that were computed after the prompt.
    pub tokens: u32,
    /// What they took together, in seconds; nothing where the board counts no time.
    pub decode_secs: f64,
    /// What their parts took together.
    pub parts: Vec<Cost>,
    /// Its memories.
    pub memories: Vec<MemorySpeed>,
    /// Logits, prompt and arena.
    pub memory_bytes: u32,
    /// The stack, where it is watched.
    pub stack: Option<StackUse>,
}

/// An event of an answer, kept beyond its frame.
pub(super) enum Step {
    /// Of another answer, or a greeting.
    Other,
    Prompt(u32, u64),
    Token(u32, Vec<u8>, u64),
    Intent(String),
    Done(protocol::Done),
    Refused(String),
    Cost(Option<u32>, protocol::Work, u64),
    Memory(String, u32, u64),
    Measured(protocol::Measured),
}

impl Step {
    pub(super) fn of(event: &Event<'_>, asked: u32) -> Self {
        match *event {
            Event::Prompt { id, tokens, ticks } if id == asked => Self::Prompt(tokens, ticks),
            Event::Token {
                id,
                token,
                bytes,
                ticks,
            } if id == asked => Self::Token(token, bytes.to_vec(), ticks),
            Event::Intent { id, line } if id == asked => Self::Intent(plain_line(line)),
            Event::Done(done) if done.id == asked => Self::Done(done),
            // What names no request is about this one: there is no other.
            Event::Refused { id, why } if id == asked || id == 0 => Self::Refused(plain_line(why)),
            Event::Cost {
                id,
                layer,
                work,
                ticks,
            } if id == asked => Self::Cost(layer, work, ticks),
            Event::Memory {
                id,
                name,
                bytes,
                ticks,
            } if id == asked => Self::Memory(plain_line(name), bytes, ticks),
            Event::Measured(measured) if measured.id == asked => Self::Measured(measured),
            Event::Hello(_)
            | Event::Prompt { .. }
            | Event::Token { .. }
            | Event::Intent { .. }
            | Event::Done(_)
            | Event::Refused { .. }
            | Event::Cost { .. }
            | Event::Memory { .. }
            | Event::Measured(_)
            | Event::Stored { .. } => Self::Other,
        }
    }
}

/// What has come of an answer.
pub(super) struct Taken {
    answer: BoardAnswer,
    costs: Costs,
    text: Text,
    ticks_per_second: u32,
}

/// What a step brought.
pub(super) enum Took {
    Nothing,
    /// More of its text.
    Text(String),
    Refusal(String),
    /// It is whole; and what was held of its text.
    Answer(Box<Measurement>, String),
}

impl Taken {
    pub(super) fn new(ticks_per_second: u32) -> Self {
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
            costs: Costs::default(),
            text: Text::default(),
            ticks_per_second,
        }
    }

    /// Tokens that have come.
    pub(super) const fn tokens(&self) -> usize {
        self.answer.tokens.len()
    }

    /// Ticks as seconds, where they are time.
    fn secs(&self, ticks: u64) -> Option<f64> {
        let rate = f64::from(self.ticks_per_second);
        (rate > 0.0).then(|| ticks as f64 / rate)
    }

    pub(super) fn take(&mut self, step: Step) -> Took {
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
                let rest = self.text.finish();
                answer.text += &rest;
                answer.logits_hash = LogitsHash(done.hash);
                answer.stop = stop(done.stop);
                answer.decoded = done.decoded;
                answer.decode_tokens_per_second = took.map(|secs| f64::from(done.decoded) / secs);
                let mut costs = std::mem::take(&mut self.costs);
                costs.decode_secs = took.unwrap_or_default();
                Took::Answer(Box::new(Measurement { answer, costs }), rest)
            }
            Step::Cost(layer, work, ticks) => {
                let work = engine::session::Work::from(work).into();
                let secs = self.secs(ticks).unwrap_or_default();
                self.costs.parts.push(Cost { layer, work, secs });
                Took::Nothing
            }
            Step::Memory(name, bytes, ticks) => {
                let (bytes, secs) = (u64::from(bytes), self.secs(ticks).unwrap_or_default());
                let memory = MemorySpeed { name, bytes, secs };
                self.costs.memories.push(memory);
                Took::Nothing
            }
            Step::Measured(measured) => {
                let costs = &mut self.costs;
                costs.position = measured.position;
                costs.tokens = measured.tokens;
                costs.memory_bytes = measured.memory_bytes;
                costs.stack = (measured.stack_bytes > 0).then_some(StackUse {
                    bytes: measured.stack_bytes,
                    used_bytes: measured.stack_used_bytes,
                });
                Took::Nothing
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
        // A letter that is not whole yet stands at the end, and is of four bytes at most.
        let whole = (self.held.len().saturating_sub(3)..=self.held.len())
            .find(|at| is_cut_letter(&self.held[*at..]))
            .unwrap_or(self.held.len());
        let whole: Vec<u8> = self.held.drain(..whole).collect();
        plain(&String::from_utf8_lossy(&whole))
    }

    fn finish(&mut self) -> String {
        plain(&String::from_utf8_lossy(&std::mem::take(&mut self.held)))
    }
}

/// Whether bytes are the beginning of a letter, and nothing else.
fn is_cut_letter(bytes: &[u8]) -> bool {
    let cut = std::str::from_utf8(bytes);
    cut.is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

/// What a board says, for people: control characters would move a terminal's cursor, colour it, or name its window.
pub(super) fn plain(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' => letter,
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    };
    text.chars().map(shown).collect()
}

/// The same for what stands in a sentence.
pub(super) fn plain_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_in_any_pieces_and_moves_no_cursor() {
        let check = |pieces: &[&[u8]], expected: &str| {
            let mut text = Text::default();
            let shown: String = pieces.iter().map(|piece| text.push(piece)).collect();
            assert_eq!(shown + &text.finish(), expected, "{pieces:?}");
        };
        check(&[b"K\xC3", b"\xBCche"], "K\u{fc}che");
        check(&[b"\xF0\x9F", b"\x92", b"\xA1"], "\u{1f4a1}");
        // A byte that is none, and half a letter after it.
        check(&[b"\xFF\xC3", b"\xBCche"], "\u{fffd}\u{fc}che");
        // Half a letter at the end.
        check(&[b"K\xC3"], "K\u{fffd}");
        check(&[b"a\nb\tc"], "a\nb\tc");
        check(
            &[b"\x1b[2J", b"\x1b]0;name\x07"],
            "\u{fffd}[2J\u{fffd}]0;name\u{fffd}",
        );
        assert_eq!(plain_line("a\nb\x1b"), "a b\u{fffd}");
    }

    #[test]
    fn tokens_are_counted_against_what_was_computed() {
        let check = |stop, tokens: usize, decoded, expected| {
            let answer = BoardAnswer {
                stop,
                tokens: vec![0; tokens],
                decoded,
                ..Taken::new(1).answer
            };
            assert_eq!(answer.counted(), expected, "{stop} {tokens} {decoded}");
        };
        check("stop_token", 12, 12, (12, 12));
        check("stop_token", 10, 12, (10, 12));
        check("max_tokens", 2, 1, (2, 2));
        check("max_tokens", 1, 0, (1, 1));
        check("max_tokens", 1, 1, (1, 2));
        check("context_full", 5, 4, (5, 5));
        check("cancelled", 0, 0, (0, 0));
        check("cancelled", 3, 2, (3, 3));
    }
}
