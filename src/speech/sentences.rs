//! Finds the ends of sentences, so that the first is spoken while the next is still being written.
//!
//! [`Splitter`] takes text as it comes and gives back each sentence once it is certain that it is
//! over; [`split`] does the same for a whole text.

/// Words whose full stop does not end a sentence.
const TITLES: [&str; 28] = [
    "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Mt", "Ft", "Gen", "Gov", "Sen", "Rep", "Capt", "Lt",
    "Col", "Sgt", "Cmdr", "Rev", "Hon", "Pres", "Supt", "Cpl", "Maj", "Adm", "Fr", "Msgr", "Jr",
    "vs",
];
/// Words whose full stop does not end a sentence when a number follows.
const BEFORE_NUMBERS: [&str; 19] = [
    "Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sep", "Sept", "Oct", "Nov", "Dec", "No",
    "Nos", "Fig", "Vol", "Ch", "pp", "approx",
];
/// A sentence is cut at a space when it grows beyond this many bytes without an end.
const MAX_SENTENCE_BYTES: usize = 1500;

/// Cuts growing text into sentences.
#[derive(Debug, Default)]
pub struct Splitter {
    pending: String,
}

impl Splitter {
    /// A splitter that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds text and returns the sentences that it completed, trimmed and not empty.
    ///
    /// A sentence is complete when the text after its end shows that it goes on: a full stop alone
    /// may belong to "3.5".
    pub fn push(&mut self, text: &str) -> Vec<String> {
        self.pending += text;
        let mut done = Vec::new();
        while let Some(end) = sentence_end(&self.pending) {
            let rest = self.pending.split_off(end);
            let sentence = std::mem::replace(&mut self.pending, rest);
            if !sentence.trim().is_empty() {
                done.push(sentence.trim().to_owned());
            }
        }
        done
    }

    /// Returns what is left as the last sentence, unless it is blank.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.trim().is_empty()).then(|| rest.trim().to_owned())
    }
}

/// The sentences of a whole text, trimmed and not empty.
pub fn split(text: &str) -> impl Iterator<Item = String> {
    let mut splitter = Splitter::new();
    let mut sentences = splitter.push(text);
    sentences.extend(splitter.finish());
    sentences.into_iter()
}

/// Where the first sentence ends, if it is certain to: after a line, or after a stop, closing
/// quotes and a space when another word follows.
fn sentence_end(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find(['.', '!', '?', '…', '\n']) {
        let stop = at + found;
        let symbol = text[stop..].chars().next()?;
        at = stop + symbol.len_utf8();
        if symbol == '\n' {
            return Some(at);
        }
        let after =
            text[at..].trim_start_matches(['.', '!', '?', '…', '"', '”', '’', '\'', ')', ']', '*']);
        let next = after.trim_start();
        if next.len() == after.len() {
            continue;
        }
        match next.chars().next() {
            // Nothing follows yet, or a word that cannot begin a sentence.
            None => return too_long(text),
            Some(first) if first.is_lowercase() => {}
            Some(first) if symbol == '.' && is_abbreviated(&text[..stop], first) => {}
            Some(_) => return Some(text.len() - next.len()),
        }
    }
    too_long(text)
}

/// Whether a full stop after `before` belongs to a title, an initial, a list's number or, with
/// `next` a digit, to a month or the like.
fn is_abbreviated(before: &str, next: char) -> bool {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let begins_line = before[..start].trim().is_empty() || before[..start].ends_with('\n');
    let word = before
        .get(start..)
        .unwrap_or_default()
        .trim_start_matches(['(', '"', '\'', '“', '‘']);
    let mut letters = word.chars();
    let single = letters.next().filter(|_| letters.next().is_none());
    TITLES.contains(&word)
        || (next.is_ascii_digit() && BEFORE_NUMBERS.contains(&word))
        || single.is_some_and(char::is_uppercase)
        || (begins_line && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()))
}

/// A cut for text that never ends a sentence.
fn too_long(text: &str) -> Option<usize> {
    if text.len() <= MAX_SENTENCE_BYTES {
        return None;
    }
    let limit = text.floor_char_boundary(MAX_SENTENCE_BYTES);
    Some(
        text[..limit]
            .rfind(' ')
            .filter(|&at| at > 0)
            .unwrap_or(limit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(split(text).collect::<Vec<_>>(), expected);
        // The same, letter by letter.
        let mut splitter = Splitter::new();
        let mut sentences: Vec<String> = text
            .chars()
            .flat_map(|c| splitter.push(&c.to_string()))
            .collect();
        sentences.extend(splitter.finish());
        assert_eq!(sentences, expected, "letter by letter");
    }

    #[test]
    fn sentences_end_at_stops_and_lines() {
        check(
            "Hello. How are you? Fine!",
            &["Hello.", "How are you?", "Fine!"],
        );
        check("First line\nsecond line", &["First line", "second line"]);
        check(
            "He said \"no.\" She left.",
            &["He said \"no.\"", "She left."],
        );
        check("Wait... What?! Yes", &["Wait...", "What?!", "Yes"]);
        check("  \n \n", &[]);
    }

    #[test]
    fn other_full_stops_do_not_end_a_sentence() {
        check(
            "Dr. Smith paid 3.5 dollars to J. K. Rowling.",
            &["Dr. Smith paid 3.5 dollars to J. K. Rowling."],
        );
        check("It is 5 p.m. now.", &["It is 5 p.m. now."]);
        check(
            "See No. 5 on Jan. 3. No. Why?",
            &["See No. 5 on Jan. 3.", "No.", "Why?"],
        );
        check(
            "1. Open the door. 2. Go in.",
            &["1. Open the door.", "2. Go in."],
        );
    }

    #[test]
    fn a_sentence_is_given_back_as_soon_as_the_next_begins() {
        let mut splitter = Splitter::new();
        assert!(splitter.push("One.").is_empty());
        assert!(splitter.push(" ").is_empty());
        assert_eq!(splitter.push("T"), ["One."]);
        assert_eq!(splitter.finish().as_deref(), Some("T"));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn endless_text_is_cut() {
        let words = "word ".repeat(1000);
        assert!(split(&words).all(|sentence| sentence.len() <= MAX_SENTENCE_BYTES));
        assert!(split(&"é".repeat(4000)).all(|sentence| sentence.len() <= MAX_SENTENCE_BYTES));
    }
}
