//! Where an answer's intent line ends and what is spoken begins.
//!
//! The line is `HassTurnOn@area kitchen@domain light`: an intent's name, then each slot with its value,
//! `^[A-Z][A-Za-z]+(@[a-z_]+ [^@\n]+)*$`. Models that know nothing of intents answer with a reply alone. Desktop and
//! board ask [`opening`], so that both say the same of an answer.

/// Longest intent line in bytes: what is longer is prose, and need not be held back.
pub const LONGEST_LINE: usize = 512;

/// Intents of one word that come without slots. Others, such as `HassNevermind`, are of several.
const SHORT_INTENTS: [&str; 2] = ["Chat", "Unsupported"];

/// What the beginning of an answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Too little yet.
    Open,
    /// The reply begins at this byte, after the intent line if there is one.
    Reply(usize),
}

/// What an answer is, as far as it has come.
#[must_use]
pub fn opening(answer: &str) -> Opening {
    let (line, rest) = match answer.split_once('\n') {
        Some((line, rest)) => (line, Some(rest)),
        None => (answer, None),
    };
    let after = line.len() + 1;
    match (shape(line), rest) {
        (Shape::Whole | Shape::Beginning, None) => Opening::Open,
        (Shape::Whole, Some(_)) if line.contains('@') => Opening::Reply(after),
        (Shape::Whole, Some(_)) if !names_intent(line) => Opening::Reply(0),
        (Shape::Whole, Some(rest)) if rest.trim().is_empty() => Opening::Open,
        (Shape::Whole, Some(_)) => Opening::Reply(after),
        (Shape::Beginning, Some(_)) | (Shape::Prose, _) => Opening::Reply(0),
    }
}

/// What a line is by its letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// An intent line.
    Whole,
    /// Letters that an intent line can begin with, and not one yet.
    Beginning,
    /// Anything else.
    Prose,
}

/// Whether a line, without its end, is an intent line.
#[must_use]
pub fn is_line(line: &str) -> bool {
    shape(line) == Shape::Whole && !line.contains('\n')
}

fn shape(line: &str) -> Shape {
    if line.len() > LONGEST_LINE {
        return Shape::Prose;
    }
    let mut parts = line.split('@');
    let name = parts.next().unwrap_or_default();
    let is_name = name.bytes().all(|b| b.is_ascii_alphabetic())
        && !name.starts_with(|c: char| !c.is_ascii_uppercase());
    let mut shape = match name.len() {
        _ if !is_name => return Shape::Prose,
        0 | 1 => Shape::Beginning,
        _ => Shape::Whole,
    };
    for slot in parts {
        if shape != Shape::Whole {
            return Shape::Prose;
        }
        let (name, value) = slot.split_once(' ').unwrap_or((slot, ""));
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        shape = match (is_name, name.is_empty(), value.is_empty()) {
            (false, _, _) => return Shape::Prose,
            // A space where the name should begin.
            (true, true, _) if !slot.is_empty() => return Shape::Prose,
            (true, true, _) | (true, false, true) => Shape::Beginning,
            (true, false, false) => Shape::Whole,
        };
    }
    shape
}

/// Whether a word is the name of an intent rather than a word of prose: several words in one, or
/// one of [`SHORT_INTENTS`].
fn names_intent(word: &str) -> bool {
    let letters = word.as_bytes().windows(2);
    let words = letters.filter(|pair| pair[0].is_ascii_uppercase() && pair[1].is_ascii_lowercase());
    words.count() > 1 || SHORT_INTENTS.contains(&word)
}
