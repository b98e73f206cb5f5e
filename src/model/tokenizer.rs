//! Text to tokens and back: byte pair encoding, as the model was trained with it.
//!
//! A [`Vocabulary`] is read from GGUF metadata or `tokenizer.json`; the same description makes the
//! host's tokenizer (over the `tokenizers` crate) and the tables of a packed file, so that both cut
//! text alike. Special tokens are found here, not by the crate, because whether a text may contain
//! them is the caller's decision for each text: see [`Specials`].

mod byte_level;
mod from_gguf;
mod from_json;
mod vocabulary;

pub use vocabulary::{
    BpeKind, BpeTables, Merge, Normalization, Pretokenizer, SpacePrefix, TokenKind, WholeWords,
};

use super::ModelError;
use std::collections::HashMap;
use tokenizers::models::bpe::BpeBuilder;
use tokenizers::normalizers::{NFC, Prepend, Replace, Sequence as NormalizerSequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizerSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior};
use vocabulary::Vocabulary;

/// Whether a text may contain control tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// `<|im_end|>` becomes its token: for text out of a chat template.
    Parse,
    /// `<|im_end|>` is spelled out like any other text: for what people type or say.
    Plain,
}

/// What files beside `tokenizer.json` say about special tokens.
#[derive(Debug, Default)]
pub(super) struct SpecialNames {
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    pub(super) adds_bos: Option<bool>,
    /// Tokens that end a turn.
    pub(super) ends: Vec<u32>,
}

/// Text to tokens and back.
#[derive(Debug)]
pub struct Tokenizer {
    /// The token that starts a text, if the model has one.
    pub bos: Option<u32>,
    /// Whether the model expects [`Tokenizer::bos`] before a text; `encode` never adds it.
    pub adds_bos: bool,
    /// Tokens that end the model's turn, in ascending order.
    pub eos: Vec<u32>,
    /// The end token that the file declares: what a template calls `eos_token`.
    pub(super) declared_eos: Option<u32>,
    /// Bytes of all tokens, one after another; token i is `starts[i]..starts[i + 1]`.
    bytes: Vec<u8>,
    starts: Vec<usize>,
    kinds: Vec<TokenKind>,
    control: Matcher,
    user_defined: Matcher,
    tables: BpeTables,
    bpe: tokenizers::Tokenizer,
}

impl Tokenizer {
    pub(super) fn new(vocabulary: Vocabulary) -> Result<Self, ModelError> {
        let Vocabulary {
            texts,
            kinds,
            tables,
            unknown,
            bos,
            adds_bos,
            declared_eos,
            eos,
        } = vocabulary;
        let mut bytes = Vec::new();
        let mut starts = vec![0];
        for (text, kind) in texts.iter().zip(&kinds) {
            vocabulary::push_token_bytes(text, *kind, tables.kind, &mut bytes);
            starts.push(bytes.len());
        }
        let of_kind = |wanted: TokenKind| {
            let ids = (0_u32..).zip(texts.iter().zip(&kinds));
            Matcher::new(
                ids.filter(|(_, (_, kind))| **kind == wanted)
                    .map(|(id, (t, _))| (t, id)),
            )
        };
        let (control, user_defined) =
            (of_kind(TokenKind::Control), of_kind(TokenKind::UserDefined));
        let bpe = build(texts, unknown, &tables)?;
        Ok(Self {
            bos,
            adds_bos,
            eos,
            declared_eos,
            bytes,
            starts,
            kinds,
            control,
            user_defined,
            tables,
            bpe,
        })
    }

    /// Cuts a text into tokens. Never adds a beginning-of-text token.
    ///
    /// Bytes that the vocabulary cannot express are left out, as in llama.cpp and Hugging Face.
    ///
    /// # Errors
    /// When the pre-tokenizer gives up on the text.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>, ModelError> {
        let mut tokens = Vec::new();
        let mut plain_start = 0;
        let mut at = 0;
        while at < text.len() {
            let rest = &text.as_bytes()[at..];
            let control = match specials {
                Specials::Parse => self.control.longest(rest),
                Specials::Plain => None,
            };
            let user_defined = self.user_defined.longest(rest);
            match control.max(user_defined) {
                Some((length, token)) => {
                    self.encode_plain(&text[plain_start..at], &mut tokens)?;
                    tokens.push(token);
                    at += length;
                    plain_start = at;
                }
                None => at += 1,
            }
        }
        self.encode_plain(&text[plain_start..], &mut tokens)?;
        Ok(tokens)
    }

    fn encode_plain(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), ModelError> {
        if text.is_empty() {
            return Ok(());
        }
        let encoding = self
            .bpe
            .encode_fast(text, false)
            .map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        tokens.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    /// The text of tokens. Control tokens have none; bytes that are not UTF-8 become U+FFFD.
    ///
    /// The space that a SentencePiece tokenizer puts before a text is taken off again.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &token in tokens {
            if self.token_kind(token) != TokenKind::Control {
                bytes.extend_from_slice(self.token_bytes(token));
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let prefixed = matches!(
            self.tables.kind,
            BpeKind::SentencePiece {
                space_prefix: SpacePrefix::EachSegment
            }
        );
        match text.strip_prefix(' ') {
            Some(stripped) if prefixed => stripped.to_owned(),
            _ => text.into_owned(),
        }
    }

    /// The bytes that a token stands for; the name of a control token; none beyond the vocabulary.
    #[must_use]
    pub fn token_bytes(&self, token: u32) -> &[u8] {
        let token = token as usize;
        match (self.starts.get(token), self.starts.get(token + 1)) {
            (Some(&start), Some(&end)) => &self.bytes[start..end],
            _ => &[],
        }
    }

    /// A token as a vocabulary file spells it: `Ġthe`, `▁the`, `<0x0A>`, `<|im_end|>`.
    #[must_use]
    pub fn token_text(&self, token: u32) -> String {
        let bytes = self.token_bytes(token);
        let kind = self.token_kind(token);
        let as_it_is = || String::from_utf8_lossy(bytes).into_owned();
        match (self.tables.kind, kind) {
            (_, TokenKind::Control) | (BpeKind::ByteLevel { .. }, TokenKind::UserDefined) => {
                as_it_is()
            }
            (BpeKind::ByteLevel { .. }, _) => bytes
                .iter()
                .copied()
                .map(byte_level::char_from_byte)
                .collect(),
            (BpeKind::SentencePiece { .. }, TokenKind::Byte) => {
                bytes.iter().map(|byte| format!("<0x{byte:02X}>")).collect()
            }
            (BpeKind::SentencePiece { .. }, _) => as_it_is().replace(' ', "▁"),
        }
    }

    /// The end token that the model's files declare.
    #[must_use]
    pub fn declared_eos(&self) -> Option<u32> {
        self.declared_eos
    }

    /// What a token is for.
    #[must_use]
    pub fn token_kind(&self, token: u32) -> TokenKind {
        self.kinds
            .get(token as usize)
            .copied()
            .unwrap_or(TokenKind::Unused)
    }

    /// Tokens that the tokenizer knows; the embedding may have more rows.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.kinds.len()
    }

    /// What a small tokenizer on a board needs, beside the bytes and kind of each token.
    #[must_use]
    pub fn bpe(&self) -> &BpeTables {
        &self.tables
    }
}

/// Finds tokens that are matched whole, before any byte pair is merged.
#[derive(Debug)]
struct Matcher {
    tokens: HashMap<Vec<u8>, u32>,
    /// Lengths that occur for each first byte, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

impl Matcher {
    fn new<'a>(texts: impl Iterator<Item = (&'a String, u32)>) -> Self {
        let mut tokens = HashMap::new();
        let mut lengths = HashMap::<u8, Vec<usize>>::new();
        for (text, token) in texts {
            if let Some(&first) = text.as_bytes().first() {
                // The first of two tokens with one name wins, as in the vocabulary.
                tokens.entry(text.clone().into_bytes()).or_insert(token);
                let of_first = lengths.entry(first).or_default();
                if let Err(place) = of_first.binary_search_by(|l| text.len().cmp(l)) {
                    of_first.insert(place, text.len());
                }
            }
        }
        Self { tokens, lengths }
    }

    /// Length and token of the longest match at the start of `rest`.
    fn longest(&self, rest: &[u8]) -> Option<(usize, u32)> {
        let lengths = self.lengths.get(rest.first()?)?;
        lengths.iter().find_map(|&length| {
            self.tokens
                .get(rest.get(..length)?)
                .map(|&token| (length, token))
        })
    }
}

/// The `tokenizers` pipeline for text between special tokens.
fn build(
    texts: Vec<String>,
    unknown: Option<u32>,
    tables: &BpeTables,
) -> Result<tokenizers::Tokenizer, ModelError> {
    let failed = |error: tokenizers::Error| ModelError::Tokenizer(error.to_string());
    let merges = tables
        .merges
        .iter()
        .map(|m| {
            (
                texts[m.left as usize].clone(),
                texts[m.right as usize].clone(),
            )
        })
        .collect();
    let unknown = unknown.and_then(|token| texts.get(token as usize).cloned());
    let mut ids = HashMap::with_capacity(texts.len());
    for (text, id) in texts.into_iter().zip(0_u32..) {
        ids.entry(text).or_insert(id);
    }
    let mut bpe = BpeBuilder::new()
        .vocab_and_merges(
            ids.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
            merges,
        )
        .ignore_merges(tables.whole_words == WholeWords::LookedUp);
    if let BpeKind::SentencePiece { .. } = tables.kind {
        bpe = bpe.byte_fallback(true).fuse_unk(true);
        if let Some(unknown) = unknown {
            bpe = bpe.unk_token(unknown);
        }
    }
    let mut pipeline = tokenizers::Tokenizer::new(bpe.build().map_err(failed)?);
    match tables.kind {
        BpeKind::ByteLevel { pretokenizer } => {
            pipeline.with_pre_tokenizer(Some(pre_tokenizer(pretokenizer).map_err(failed)?));
            match tables.normalization {
                Normalization::None => {}
                Normalization::Nfc => {
                    pipeline.with_normalizer(Some(NFC));
                }
            }
        }
        BpeKind::SentencePiece { space_prefix } => {
            let mut steps = Vec::<NormalizerWrapper>::new();
            match space_prefix {
                SpacePrefix::None => {}
                SpacePrefix::EachSegment => steps.push(Prepend::new("▁".to_owned()).into()),
            }
            steps.push(Replace::new(" ", "▁").map_err(failed)?.into());
            pipeline.with_normalizer(Some(NormalizerSequence::new(steps)));
        }
    }
    Ok(pipeline)
}

fn pre_tokenizer(kind: Pretokenizer) -> tokenizers::Result<PreTokenizerWrapper> {
    let byte_level = |use_regex| ByteLevel::new(false, true, use_regex);
    let split = |pattern: &str| {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
    };
    let steps: Vec<PreTokenizerWrapper> = match kind {
        Pretokenizer::Gpt2 => vec![byte_level(true).into()],
        Pretokenizer::SmolLm => vec![Digits::new(true).into(), byte_level(true).into()],
        Pretokenizer::Qwen2 => {
            vec![
                split(vocabulary::QWEN2_PATTERN)?.into(),
                byte_level(false).into(),
            ]
        }
        Pretokenizer::Llama3 => {
            vec![
                split(vocabulary::LLAMA3_PATTERN)?.into(),
                byte_level(false).into(),
            ]
        }
    };
    Ok(PreTokenizerSequence::new(steps).into())
}
