//! A small tokenizer that reads its tables in place from the packed file.
//!
//! Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) by merge rank, over bytes or over
//! characters with byte fallback. Text is cut first as the model's own pre-tokenizer cuts it.

mod split;

pub use split::{Pretokenizer, split};

use crate::format::{FormatError, Packed, Section, u32_at};
use core::cmp::Ordering;

/// Turns text into tokens and back.
#[derive(Debug, Clone, Copy)]
pub struct Tokenizer<'a> {
    pretokenizer: Pretokenizer,
    /// Put a space before the text first (SentencePiece).
    prefix_space: bool,
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
    /// Binds the tables of a packed file.
    ///
    /// # Errors
    /// When a table is cut short or out of order.
    pub fn new(packed: &Packed<'a>) -> Result<Self, FormatError> {
        let invalid = |what| move || FormatError::Invalid(what);
        let kind = packed.section(Section::Tokenizer);
        if kind.len() != 12 {
            return Err(FormatError::Invalid("tokenizer"));
        }
        let pretokenizer =
            Pretokenizer::from_number(u32_at(kind, 0)).ok_or_else(invalid("pre-tokenizer"))?;
        let prefix_space = u32_at(kind, 4) == 1;
        let number_bytes = u32_at(kind, 8) as usize;
        let merges = packed.section(Section::Merges);
        if !(2..=3).contains(&number_bytes) || !merges.len().is_multiple_of(4 * number_bytes) {
            return Err(FormatError::Invalid("merges"));
        }
        let vocabulary = packed.section(Section::Vocabulary);
        let count = vocabulary
            .first_chunk::<4>()
            .map(|c| u32::from_le_bytes(*c) as usize);
        let count = count
            .filter(|c| *c == packed.shape().vocab as usize)
            .ok_or_else(invalid("vocabulary"))?;
        let tables = 4 + 4 * (count + 1) + 4 * count;
        if vocabulary.len() < tables {
            return Err(FormatError::Invalid("vocabulary"));
        }
        let (head, text) = vocabulary.split_at(tables);
        let (offsets, sorted) = head[4..].split_at(4 * (count + 1));
        let ordered = (0..count).all(|i| u32_at(offsets, 4 * i) <= u32_at(offsets, 4 * i + 4));
        if !ordered
            || u32_at(offsets, 4 * count) as usize > text.len()
            || (0..count).any(|i| u32_at(sorted, 4 * i) as usize >= count)
        {
            return Err(FormatError::Invalid("vocabulary"));
        }
        Ok(Self {
            pretokenizer,
            prefix_space,
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
