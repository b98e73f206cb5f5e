//! What a tokenizer is made of, wherever it was read from.

use super::byte_level::byte_from_char;
use crate::model::ModelError;
use std::collections::HashMap;

/// Longest text of one token in bytes; real ones stay below 300.
pub(super) const MAX_TOKEN_BYTES: usize = 1024;

/// The pattern of `Qwen/Qwen2.5-0.5B`'s `tokenizer.json`.
pub(super) const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The pattern of `meta-llama/Llama-3.2-1B`'s `tokenizer.json`.
pub(super) const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenKind {
    /// Text, reached by merging.
    Normal = 0,
    /// Steers the model and has no text: `<|im_end|>`. Found in a text only with
    /// [`Specials::Parse`](super::Specials::Parse).
    Control = 1,
    /// Text that is always found whole: `<tool_call>`.
    UserDefined = 2,
    /// One byte that no other token expresses: `<0x0A>` (SentencePiece only).
    Byte = 3,
    /// Never met in training.
    Unused = 4,
}

/// How words are cut out of a text before pairs of bytes are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Pretokenizer {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2 = 0,
    /// Every `\p{N}` alone, then as [`Pretokenizer::Gpt2`].
    SmolLm = 1,
    /// As [`Pretokenizer::Llama3`], with single digits.
    Qwen2 = 2,
    /// Contractions in any case, a letter run with one sign before it, up to three digits, signs
    /// with the line breaks after them.
    Llama3 = 3,
}

/// Whether a SentencePiece tokenizer puts a space before the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SpacePrefix {
    /// No.
    None = 0,
    /// Before the text and again after each special token (Llama 2, TinyLlama).
    EachSegment = 1,
}

/// The kind of byte pair encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BpeKind {
    /// Starts from the bytes of each word.
    ByteLevel {
        /// How words are cut.
        pretokenizer: Pretokenizer,
    },
    /// Starts from the characters of the whole text, with `▁` for a space; a character that the
    /// vocabulary lacks becomes its bytes.
    SentencePiece {
        /// Whether a space goes first.
        space_prefix: SpacePrefix,
    },
}

/// Whether a whole word that is a token is taken without merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WholeWords {
    /// Words are always merged from their parts.
    Merged = 0,
    /// A word in the vocabulary is that token (Llama 3).
    LookedUp = 1,
}

/// What happens to a text before it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Normalization {
    /// Nothing.
    None = 0,
    /// Unicode normalization form C (Qwen).
    Nfc = 1,
}

/// One rule: the tokens `left` and `right` side by side become `merged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// First token.
    pub left: u32,
    /// Second token.
    pub right: u32,
    /// What both become.
    pub merged: u32,
}

/// Byte pair encoding as tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpeTables {
    /// What it starts from.
    pub kind: BpeKind,
    /// Whether whole words are looked up first.
    pub whole_words: WholeWords,
    /// What happens to the text first.
    pub normalization: Normalization,
    /// The rules, the one to apply first at index 0. A pair that is listed twice has the rank of
    /// its last entry.
    pub merges: Vec<Merge>,
}

/// A tokenizer's description.
#[derive(Debug)]
pub(in crate::model) struct Vocabulary {
    /// Token i as its file spells it.
    pub(super) texts: Vec<String>,
    /// As long as `texts`.
    pub(super) kinds: Vec<TokenKind>,
    pub(super) tables: BpeTables,
    pub(super) unknown: Option<u32>,
    pub(super) bos: Option<u32>,
    pub(super) adds_bos: bool,
    /// The one that a chat template calls `eos_token`.
    pub(super) declared_eos: Option<u32>,
    /// All tokens that end a turn, ascending.
    pub(super) eos: Vec<u32>,
}

/// Finds the tokens of each merge.
///
/// # Errors
/// When a merge names a text that is no token.
pub(super) fn merges_from_pairs<'a>(
    texts: &[String],
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Merge>, ModelError> {
    let ids = ids(texts);
    let mut merged = String::new();
    pairs
        .enumerate()
        .map(|(rank, (left, right))| {
            let id = |text: &str| {
                ids.get(text).copied().ok_or_else(|| {
                    ModelError::malformed(
                        format_args!("merge {rank}"),
                        "tokens of the vocabulary",
                        format_args!("{text:?}"),
                    )
                })
            };
            merged.clear();
            merged.push_str(left);
            merged.push_str(right);
            Ok(Merge {
                left: id(left)?,
                right: id(right)?,
                merged: id(&merged)?,
            })
        })
        .collect()
}

/// The merges that SentencePiece scores stand for: the pair whose joint token has the highest score
/// goes first (Hugging Face's `SentencePieceExtractor`). Two pairs with the same joint token have
/// the same score; the one with the lower left token goes first, where SentencePiece would take the
/// one further left in the text.
pub(super) fn merges_from_scores(
    texts: &[String],
    scores: &[f32],
    kinds: &[TokenKind],
) -> Vec<Merge> {
    let ids = ids(texts);
    let mut ranked = Vec::new();
    for ((text, &score), merged) in texts.iter().zip(scores).zip(0_u32..) {
        if kinds[merged as usize] != TokenKind::Normal || ids.get(text.as_str()) != Some(&merged) {
            continue;
        }
        for (cut, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(cut);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                ranked.push((
                    score,
                    Merge {
                        left,
                        right,
                        merged,
                    },
                ));
            }
        }
    }
    ranked.sort_by(|(a, x), (b, y)| {
        b.total_cmp(a)
            .then((x.merged, x.left, x.right).cmp(&(y.merged, y.left, y.right)))
    });
    ranked.into_iter().map(|(_, merge)| merge).collect()
}

/// The token of each text; the first of those that share one.
fn ids(texts: &[String]) -> HashMap<&str, u32> {
    let mut ids = HashMap::with_capacity(texts.len());
    for (text, id) in texts.iter().zip(0_u32..) {
        ids.entry(text.as_str()).or_insert(id);
    }
    ids
}

/// Names of control tokens that end a turn whatever the file says: the list of llama.cpp's
/// `llama_vocab::impl::load`, for the models that Whittle runs.
const END_NAMES: [&str; 7] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
];

/// Tokens that end a turn: those that the file lists and control tokens named for it, ascending.
pub(super) fn ends(listed: &[u32], texts: &[String], kinds: &[TokenKind]) -> Vec<u32> {
    let named = (0_u32..)
        .zip(texts.iter().zip(kinds))
        .filter_map(|(id, (text, kind))| {
            (*kind == TokenKind::Control && END_NAMES.contains(&text.as_str())).then_some(id)
        });
    let mut ends: Vec<u32> = named.chain(listed.iter().copied()).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// Checks the length of a token's text.
pub(super) fn check_length(token: usize, text: &str) -> Result<(), ModelError> {
    if text.len() > MAX_TOKEN_BYTES {
        return Err(ModelError::malformed(
            format_args!("token {token}"),
            format_args!("up to {MAX_TOKEN_BYTES} bytes"),
            text.len(),
        ));
    }
    Ok(())
}

/// Appends the bytes that a token stands for.
pub(super) fn push_token_bytes(text: &str, kind: TokenKind, bpe: BpeKind, out: &mut Vec<u8>) {
    match (kind, bpe) {
        (TokenKind::Control, _) | (TokenKind::UserDefined, BpeKind::ByteLevel { .. }) => {
            out.extend_from_slice(text.as_bytes());
        }
        (TokenKind::Normal | TokenKind::Byte | TokenKind::Unused, BpeKind::ByteLevel { .. }) => {
            // A text with a character outside the alphabet was added as it is.
            match text
                .chars()
                .map(byte_from_char)
                .collect::<Option<Vec<u8>>>()
            {
                Some(bytes) => out.extend_from_slice(&bytes),
                None => out.extend_from_slice(text.as_bytes()),
            }
        }
        (_, BpeKind::SentencePiece { .. }) => match byte_from_name(text) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(text.replace('▁', " ").as_bytes()),
        },
    }
}

/// The byte that `<0x0A>` names.
pub(super) fn byte_from_name(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}
