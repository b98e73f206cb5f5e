//! Cuts text into words as the models' own pre-tokenizers do, without a regular-expression engine.
//!
//! Letters and numbers are Rust's `is_alphabetic` and `is_numeric`. That is Unicode's Alphabetic,
//! which has the combining vowel signs of Indic scripts beyond the category L of the models' own
//! patterns; there a word may be cut elsewhere. The host encodes with the `tokenizers` crate.

/// How a model cuts text before merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pretokenizer {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// Every digit by itself, then [`Self::Gpt2`].
    SmolLm,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Qwen2,
    /// As [`Self::Qwen2`] with up to three digits together.
    Llama3,
    /// Not cut at all; spaces are part of the tokens.
    SentencePiece,
}

impl Pretokenizer {
    /// Its number in a packed file.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The pre-tokenizer with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [
            Self::Gpt2,
            Self::SmolLm,
            Self::Qwen2,
            Self::Llama3,
            Self::SentencePiece,
        ]
        .into_iter()
        .find(|p| p.number() == number)
    }
}

/// Calls `emit` with each word of `text`, in order; together they are the text.
pub fn split(pretokenizer: Pretokenizer, text: &str, emit: &mut dyn FnMut(&str)) {
    let mut rest = text;
    while !rest.is_empty() {
        let len = match pretokenizer {
            Pretokenizer::SentencePiece => rest.len(),
            Pretokenizer::Gpt2 => gpt2(rest),
            Pretokenizer::SmolLm => match rest.chars().next() {
                Some(c) if c.is_numeric() => c.len_utf8(),
                // The text up to the next digit is cut by itself.
                _ => gpt2(&rest[..rest.find(char::is_numeric).unwrap_or(rest.len())]),
            },
            Pretokenizer::Qwen2 => modern(rest, 1),
            Pretokenizer::Llama3 => modern(rest, 3),
        };
        let (word, after) = rest.split_at(len.max(1));
        emit(word);
        rest = after;
    }
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !belongs(c)).unwrap_or(text.len())
}

fn is_symbol(c: char) -> bool {
    !c.is_whitespace() && !c.is_alphabetic() && !c.is_numeric()
}

fn contraction(text: &str, same: impl Fn(&str, &str) -> bool) -> Option<usize> {
    ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]
        .into_iter()
        .find(|c| text.get(..c.len()).is_some_and(|start| same(start, c)))
        .map(str::len)
}

/// Length of the first word in GPT-2's pattern.
fn gpt2(text: &str) -> usize {
    if let Some(len) = contraction(text, |a, b| a == b) {
        return len;
    }
    let space = usize::from(text.starts_with(' '));
    let after = &text[space..];
    for belongs in [char::is_alphabetic, char::is_numeric, is_symbol] {
        let len = run(after, belongs);
        if len > 0 {
            return space + len;
        }
    }
    whitespace(text)
}

/// Length of the first word in the pattern that Qwen 2 and Llama 3 share.
fn modern(text: &str, digits: usize) -> usize {
    if let Some(len) = contraction(text, str::eq_ignore_ascii_case) {
        return len;
    }
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    let lead = if first.is_alphabetic() || first.is_numeric() || matches!(first, '\r' | '\n') {
        0
    } else {
        first.len_utf8()
    };
    let letters = run(&text[lead..], char::is_alphabetic);
    if letters > 0 {
        return lead + letters;
    }
    if first.is_numeric() {
        return text
            .chars()
            .take(digits)
            .take_while(|c| c.is_numeric())
            .map(char::len_utf8)
            .sum();
    }
    let space = usize::from(first == ' ');
    let symbols = run(&text[space..], is_symbol);
    if symbols > 0 {
        let end = space + symbols;
        return end + run(&text[end..], |c| matches!(c, '\r' | '\n'));
    }
    let blank = run(text, char::is_whitespace);
    if let Some(newline) = text[..blank].rfind(['\r', '\n']) {
        return newline + 1;
    }
    whitespace(text)
}

/// `\s+(?!\S)|\s+`: all blanks, but the last one is left for the word that follows.
fn whitespace(text: &str) -> usize {
    let blank = run(text, char::is_whitespace);
    match text[..blank].char_indices().next_back() {
        Some((last, _)) if blank < text.len() && last > 0 => last,
        _ => blank,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn check(pretokenizer: Pretokenizer, text: &str, expected: &[&str]) {
        let mut words: Vec<String> = Vec::new();
        split(pretokenizer, text, &mut |w| words.push(w.into()));
        assert_eq!(words, expected, "{pretokenizer:?}");
    }

    #[test]
    fn words_are_cut_as_the_patterns_say() {
        check(
            Pretokenizer::Gpt2,
            "I'll go  far, in 2024!\n\nOk ",
            &[
                "I", "'ll", " go", " ", " far", ",", " in", " 2024", "!", "\n", "\n", "Ok", " ",
            ],
        );
        check(Pretokenizer::SmolLm, "a 12b", &["a", " ", "1", "2", "b"]);
        check(
            Pretokenizer::Qwen2,
            "I'LL go  far, in 24!\n\nOk ",
            &[
                "I", "'LL", " go", " ", " far", ",", " in", " ", "2", "4", "!\n\n", "Ok", " ",
            ],
        );
        check(
            Pretokenizer::Llama3,
            "x=12345;\n\n  y",
            &["x", "=", "123", "45", ";\n\n", " ", " y"],
        );
        check(Pretokenizer::SentencePiece, "a b", &["a b"]);
        check(
            Pretokenizer::Gpt2,
            "naïve café—ok",
            &["naïve", " café", "—", "ok"],
        );
    }
}
