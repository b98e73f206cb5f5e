//! A small tokenizer that reads its tables in place from the packed file.
//!
//! Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) by merge rank, over bytes or over
//! characters with byte fallback. Text is cut first as the model's own pre-tokenizer cuts it, but
//! not normalized: text for models that want NFC should be in that form, as nearly all text is.

mod split;

pub use split::{Pretokenizer, split};

use crate::bytes::{FormatError, u32_at};
use core::cmp::Ordering;

/// Turns text into tokens and back.
#[derive(Debug, Clone, Copy)]
pub struct Tokenizer<'a> {
    pretokenizer: Pretokenizer,
    /// Put a space before the text first (SentencePiece).
    prefix_space: bool,
    /// Take a word that is a token without merging (Llama 3).
    whole_words: bool,
    count: usize,
    /// `[count + 1]` offsets into `text`.
    offsets: &'a [u8],
    /// `[count]` token numbers in the order of their bytes.
    sorted: &'a [u8],
    text: &'a [u8],
    /// Entries of left, right, rank, merged token; sorted by the pair.
    merges: &'a [u8],
    /// Bytes of each number of an entry: 2 or 3.
    number_bytes: usize,
}

impl<'a> Tokenizer<'a> {
    /// Binds the tables of a packed file for a model of `vocab` tokens.
    ///
    /// # Errors
    /// When a table is cut short or out of order.
    pub fn new(
        vocab: u32,
        kind: &[u8],
        vocabulary: &'a [u8],
        merges: &'a [u8],
    ) -> Result<Self, FormatError> {
        let wrong = FormatError::out_of_range;
        if kind.len() != 16 {
            return Err(FormatError::differs("tokenizer bytes", 16, kind.len()));
        }
        let number = u32_at(kind, 0);
        let pretokenizer = Pretokenizer::from_number(number)
            .ok_or_else(|| wrong("pre-tokenizer", "0 to 4", number as usize))?;
        let prefix_space = u32_at(kind, 4) == 1;
        let number_bytes = u32_at(kind, 8) as usize;
        let whole_words = u32_at(kind, 12) == 1;
        if !(2..=3).contains(&number_bytes) {
            return Err(wrong("bytes of a merge's number", "2 or 3", number_bytes));
        }
        if !merges.len().is_multiple_of(4 * number_bytes) {
            return Err(wrong("bytes of the merges", "whole merges", merges.len()));
        }
        let count = vocab as usize;
        let claimed = vocabulary
            .first_chunk()
            .map_or(0, |c| u32::from_le_bytes(*c));
        if claimed != vocab {
            let claimed = claimed as usize;
            return Err(FormatError::differs(
                "tokens of the vocabulary",
                count,
                claimed,
            ));
        }
        // Count, offsets and the end of the last, numbers.
        let tables = count.saturating_mul(8).saturating_add(8);
        if vocabulary.len() < tables {
            return Err(wrong(
                "bytes of the vocabulary",
                "its tables at least",
                vocabulary.len(),
            ));
        }
        let (head, text) = vocabulary.split_at(tables);
        let (offsets, sorted) = head[4..].split_at(4 * (count + 1));
        let offset = |i: usize| u32_at(offsets, 4 * i) as usize;
        let in_order = |i: &usize| offset(*i) <= offset(*i + 1);
        if let Some(token) = (0..count).find(|i| !in_order(i)) {
            let expected = "past the token before";
            return Err(wrong("end of a token", expected, offset(token + 1)));
        }
        if offset(count) > text.len() {
            return Err(wrong(
                "end of the last token",
                "inside the section",
                offset(count),
            ));
        }
        let mut numbers = (0..count).map(|i| u32_at(sorted, 4 * i) as usize);
        if let Some(found) = numbers.find(|number| *number >= count) {
            return Err(wrong(
                "number of a sorted token",
                "below their count",
                found,
            ));
        }
        Ok(Self {
            pretokenizer,
            prefix_space,
            whole_words,
            count,
            offsets,
            sorted,
            text,
            merges,
            number_bytes,
        })
    }

    /// The bytes that a token stands for; empty for control tokens and unknown numbers.
    #[must_use]
    pub fn bytes(&self, token: u32) -> &'a [u8] {
        let token = token as usize;
        if token >= self.count {
            return &[];
        }
        &self.text
            [u32_at(self.offsets, 4 * token) as usize..u32_at(self.offsets, 4 * token + 4) as usize]
    }

    /// Encodes text; control tokens written out in it are plain text. `emit` receives each token,
    /// `room` is space for the longest word, one number a byte.
    ///
    /// # Errors
    /// The number of bytes of a word that is longer than `room`.
    pub fn encode(
        &self,
        text: &str,
        room: &mut [u32],
        emit: &mut dyn FnMut(u32),
    ) -> Result<(), usize> {
        let mut result = Ok(());
        let mut word = |parts: &[&[u8]]| {
            if result.is_ok() {
                result = self.encode_word(parts, room, emit);
            }
        };
        match self.pretokenizer {
            Pretokenizer::SentencePiece => {
                let space: &[u8] = if self.prefix_space && !text.is_empty() {
                    b" "
                } else {
                    b""
                };
                word(&[space, text.as_bytes()]);
            }
            Pretokenizer::Gpt2
            | Pretokenizer::SmolLm
            | Pretokenizer::Qwen2
            | Pretokenizer::Llama3 => {
                split(self.pretokenizer, text, &mut |piece| {
                    word(&[piece.as_bytes()])
                });
            }
        }
        result
    }

    fn encode_word(
        &self,
        parts: &[&[u8]],
        room: &mut [u32],
        emit: &mut dyn FnMut(u32),
    ) -> Result<(), usize> {
        if let ([word], true) = (parts, self.whole_words)
            && let Some(token) = self.find(word)
        {
            emit(token);
            return Ok(());
        }
        let len = parts.iter().map(|p| p.len()).sum();
        let symbols = room.get_mut(..len).ok_or(len)?;
        let mut count = 0;
        for part in parts {
            let mut rest: &[u8] = part;
            while !rest.is_empty() {
                let (token, used) = self.first_symbol(rest);
                rest = &rest[used..];
                symbols[count] = token;
                count += 1;
            }
        }
        let merged = self.merge(&mut symbols[..count]);
        symbols[..merged]
            .iter()
            .filter(|t| **t != u32::MAX)
            .for_each(|t| emit(*t));
        Ok(())
    }

    /// The token of the first character (SentencePiece) or byte, and the bytes that it covers.
    fn first_symbol(&self, rest: &[u8]) -> (u32, usize) {
        let single = |len: usize| self.find(&rest[..len]).map(|token| (token, len));
        let character = match rest[0] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        match self.pretokenizer {
            Pretokenizer::SentencePiece => single(character.min(rest.len())).or_else(|| single(1)),
            Pretokenizer::Gpt2
            | Pretokenizer::SmolLm
            | Pretokenizer::Qwen2
            | Pretokenizer::Llama3 => single(1),
        }
        .unwrap_or((u32::MAX, 1))
    }

    /// Merges pairs, lowest rank first, leftmost of equals; returns how many symbols are left.
    fn merge(&self, symbols: &mut [u32]) -> usize {
        let mut count = symbols.len();
        loop {
            let best = (1..count)
                .filter_map(|i| {
                    self.merged(symbols[i - 1], symbols[i])
                        .map(|(rank, token)| (rank, i, token))
                })
                .min();
            let Some((_, at, token)) = best else {
                return count;
            };
            symbols[at - 1] = token;
            symbols.copy_within(at + 1..count, at);
            count -= 1;
        }
    }

    /// Rank and result of merging two tokens.
    fn merged(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let entry_bytes = 4 * self.number_bytes;
        let number = |entry: &[u8], i: usize| {
            let mut word = [0; 4];
            word[..self.number_bytes]
                .copy_from_slice(&entry[i * self.number_bytes..][..self.number_bytes]);
            u32::from_le_bytes(word)
        };
        let found = search(self.merges.len() / entry_bytes, |i| {
            let entry = &self.merges[i * entry_bytes..];
            (number(entry, 0), number(entry, 1)).cmp(&(left, right))
        })?;
        let entry = &self.merges[found * entry_bytes..];
        Some((number(entry, 2), number(entry, 3)))
    }

    /// The token that stands for exactly these bytes.
    fn find(&self, bytes: &[u8]) -> Option<u32> {
        let token = |i: usize| u32_at(self.sorted, 4 * i);
        search(self.count, |i| self.bytes(token(i)).cmp(bytes)).map(token)
    }
}

/// Binary search over `0..len`.
fn search(len: usize, compare: impl Fn(usize) -> Ordering) -> Option<usize> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(middle) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Some(middle),
        }
    }
    None
}
