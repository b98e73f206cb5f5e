//! Any bytes as a tokenizer's tables, and any text through tables that are in order.
//!
//! The input is a header (form u8, pre-tokenizer u8, options u8, a count u16, a length u16), then
//! either the vocabulary and the merges as they stand in a file, or pairs of tokens to merge, two
//! bytes each; the rest is text.

use super::bits::Numbers;
use engine::tokenizer::{Pretokenizer, Tokenizer, split};

/// All pre-tokenizers.
const KINDS: [Pretokenizer; 5] = [
    Pretokenizer::Gpt2,
    Pretokenizer::SmolLm,
    Pretokenizer::Qwen2,
    Pretokenizer::Llama3,
    Pretokenizer::SentencePiece,
];
/// Longer tokens are not built; each merge may double the length.
const LONGEST_TOKEN: usize = 64;
/// Longest text, in bytes: a SentencePiece text is one word, merged in quadratic time.
const LONGEST_TEXT: usize = 300;

/// Encodes a text with the tables of these bytes, and decodes it.
///
/// # Panics
/// When a word or a byte of the text is lost.
pub fn check(data: &[u8]) {
    let mut numbers = Numbers::new(data);
    let (form, kind, options) = (numbers.byte(), numbers.byte(), numbers.byte());
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let (count, len) = (numbers.below(300), numbers.below(4096));
    if form & 1 == 0 {
        let section = section(kind, options, u32::from(options >> 2));
        let (vocabulary, merges) = (numbers.take(len), numbers.take(4 * count));
        let text = text(numbers.rest());
        let claimed = vocabulary
            .first_chunk()
            .map_or(0, |c| u32::from_le_bytes(*c));
        if let Ok(tokenizer) = Tokenizer::new(claimed, &section, vocabulary, merges) {
            through(&tokenizer, &text);
        }
        return;
    }
    let pairs = numbers.take(2 * count);
    let text = text(numbers.rest());
    let tables = Tables::new(pairs);
    let section = section(kind, options, 2);
    let vocab = u32::try_from(tables.tokens.len()).expect("a few hundred");
    let tokenizer = Tokenizer::new(vocab, &section, &tables.vocabulary(), &tables.merges)
        .map(|tokenizer| through(&tokenizer, &text));
    let found = tokenizer.expect("tables in order");
    let space = matches!(kind, Pretokenizer::SentencePiece) && options & 1 == 1 && !text.is_empty();
    let expected = if space { format!(" {text}") } else { text };
    assert_eq!(String::from_utf8_lossy(&found), expected, "{kind:?}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_TEXT)]).into_owned()
}

/// The tokenizer's section of a packed file.
fn section(kind: Pretokenizer, options: u8, number_bytes: u32) -> Vec<u8> {
    let (space, whole) = (u32::from(options & 1), u32::from(options >> 1 & 1));
    let words = [kind.number(), space, number_bytes, whole];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Encodes a text; the bytes of all its tokens.
fn through(tokenizer: &Tokenizer<'_>, text: &str) -> Vec<u8> {
    for kind in KINDS {
        let mut words = String::new();
        split(kind, text, &mut |word| {
            assert!(!word.is_empty(), "{kind:?}");
            words.push_str(word);
        });
        assert_eq!(words, text, "{kind:?}");
    }
    // A byte becomes one token at most, and a space may go before the text.
    let most = text.len() + 1;
    let (mut room, mut tokens) = (vec![0; most], Vec::new());
    let encoded = tokenizer.encode(text, &mut room, &mut |token| tokens.push(token));
    assert_eq!(encoded, Ok(()), "room for every byte");
    assert!(tokens.len() <= most);
    if text.len() > 1 {
        let refused = tokenizer.encode(text, &mut [], &mut |_| {});
        assert!(refused.is_ok() || refused.is_err_and(|bytes| bytes <= most));
    }
    tokens
        .iter()
        .flat_map(|token| tokenizer.bytes(*token).iter().copied())
        .collect()
}

/// A vocabulary of every byte and of merged pairs, as training makes it.
struct Tables {
    tokens: Vec<Vec<u8>>,
    merges: Vec<u8>,
}

impl Tables {
    fn new(pairs: &[u8]) -> Self {
        let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let mut merges: Vec<[u16; 4]> = Vec::new();
        for (rank, [left, right]) in (0..).zip(pairs.as_chunks().0) {
            // The newest tokens are the ones past the bytes of a text.
            let token = |byte: u8| match usize::from(byte) {
                byte @ 0..128 => byte,
                byte => (tokens.len() - 1).saturating_sub(byte - 128),
            };
            let (left, right) = (token(*left), token(*right));
            let merged = [&tokens[left][..], &tokens[right]].concat();
            let number = |n: usize| u16::try_from(n).expect("a few hundred");
            let pair = (number(left), number(right));
            let is_new = !merges.iter().any(|m| (m[0], m[1]) == pair);
            if is_new && merged.len() <= LONGEST_TOKEN {
                merges.push([pair.0, pair.1, rank, number(tokens.len())]);
                tokens.push(merged);
            }
        }
        merges.sort_unstable();
        let merges = merges.concat().into_iter().flat_map(u16::to_le_bytes);
        Self {
            tokens,
            merges: merges.collect(),
        }
    }

    fn vocabulary(&self) -> Vec<u8> {
        let number = |n: usize| u32::try_from(n).expect("a few thousand").to_le_bytes();
        let mut sorted: Vec<usize> = (0..self.tokens.len()).collect();
        sorted.sort_by_key(|i| &self.tokens[*i]);
        // Of equal tokens only one is listed.
        for i in 1..sorted.len() {
            if self.tokens[sorted[i]] == self.tokens[sorted[i - 1]] {
                sorted[i] = sorted[i - 1];
            }
        }
        let mut bytes = number(self.tokens.len()).to_vec();
        bytes.extend(number(0));
        let mut end = 0;
        for token in &self.tokens {
            end += token.len();
            bytes.extend(number(end));
        }
        sorted.into_iter().for_each(|i| bytes.extend(number(i)));
        bytes.extend(self.tokens.concat());
        bytes
    }
}

/// A text through each pre-tokenizer with a few merges, and the tables of a file.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let pairs = b"thin e t a\xffh\xfe\xfe12";
    let text = "I'll see the thing — 12345 caf\u{e9} \u{4f60}\u{597d}!\n\n  done ";
    let mut seeds = Vec::new();
    for (number, kind) in (0..).zip(KINDS) {
        let count = u8::try_from(pairs.len() / 2).expect("short");
        let mut seed = vec![1, number, 3, count, 0, 0, 0];
        seed.extend_from_slice(pairs);
        seed.extend_from_slice(text.as_bytes());
        seeds.push((format!("{kind:?}").to_lowercase(), seed));
    }
    // Tokens "a", "b" and "ab"; 2 bytes a number.
    let words: [u32; 8] = [3, 0, 1, 2, 4, 0, 2, 1];
    let mut file = vec![0, 0, 2 << 2, 2, 0, 36, 0];
    file.extend(words.into_iter().flat_map(u32::to_le_bytes));
    file.extend_from_slice(b"abab");
    file.extend([0u16, 1, 0, 2].into_iter().flat_map(u16::to_le_bytes));
    file.extend_from_slice(b"ab abba");
    seeds.push(("file".to_owned(), file));
    seeds
}
