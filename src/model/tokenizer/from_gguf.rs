//! A tokenizer out of GGUF metadata.

use super::Tokenizer;
use super::vocabulary::{
    BpeKind, BpeTables, Normalization, Pretokenizer, SpacePrefix, TokenKind, Vocabulary,
    WholeWords, check_length, ends, merges_from_pairs, merges_from_scores,
};
use crate::model::ModelError;
use crate::model::gguf::{Gguf, Value};

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";

impl Tokenizer {
    /// The tokenizer of a GGUF file whose embedding has `rows` rows.
    pub(in crate::model) fn from_gguf(gguf: &Gguf<'_>, rows: u32) -> Result<Self, ModelError> {
        let texts = texts(gguf)?;
        if texts.len() > rows as usize {
            return Err(ModelError::malformed(
                TOKENS,
                format_args!("up to {rows} tokens, the rows of the embedding"),
                texts.len(),
            ));
        }
        let token = |key: &str| {
            let id = gguf.u32(key)?;
            match id {
                Some(id) if id as usize >= texts.len() => Err(ModelError::malformed(
                    key,
                    format_args!("a token below {}", texts.len()),
                    id,
                )),
                other => Ok(other),
            }
        };
        let bos = token("tokenizer.ggml.bos_token_id")?;
        let declared_eos = token("tokenizer.ggml.eos_token_id")?;
        let mut listed: Vec<u32> = declared_eos.into_iter().collect();
        listed.extend(token("tokenizer.ggml.eot_token_id")?);
        listed.extend(token("tokenizer.ggml.eom_token_id")?);
        let unknown = token("tokenizer.ggml.unknown_token_id")?;
        let mut kinds = kinds(gguf, texts.len())?;
        for &control in listed.iter().chain(&bos) {
            kinds[control as usize] = TokenKind::Control;
        }
        let tables = tables(gguf, &texts, &kinds)?;
        let adds_bos = match gguf.flag("tokenizer.ggml.add_bos_token")? {
            Some(flag) => flag,
            None => match tables.kind {
                BpeKind::SentencePiece { .. } => true,
                BpeKind::ByteLevel { pretokenizer } => pretokenizer == Pretokenizer::Llama3,
            },
        };
        let eos = ends(&listed, &texts, &kinds);
        Self::new(Vocabulary {
            texts,
            kinds,
            tables,
            unknown,
            bos,
            adds_bos,
            declared_eos,
            eos,
        })
    }
}

fn texts(gguf: &Gguf<'_>) -> Result<Vec<String>, ModelError> {
    let array = gguf
        .array(TOKENS)?
        .ok_or_else(|| ModelError::malformed(TOKENS, "the vocabulary", "nothing"))?;
    strings(TOKENS, array.values())
        .enumerate()
        .map(|(id, text)| {
            let text = text?;
            check_length(id, text)?;
            Ok(text.to_owned())
        })
        .collect()
}

/// The elements of an array of texts.
fn strings<'a>(
    key: &'static str,
    values: impl Iterator<Item = Value<'a>>,
) -> impl Iterator<Item = Result<&'a str, ModelError>> {
    values.enumerate().map(move |(i, value)| match value {
        Value::String(bytes) => std::str::from_utf8(bytes).map_err(|_| {
            ModelError::malformed(format_args!("{key}[{i}]"), "UTF-8 text", "other bytes")
        }),
        other => Err(ModelError::malformed(
            format_args!("{key}[{i}]"),
            "a text",
            format_args!("{other:?}"),
        )),
    })
}

fn kinds(gguf: &Gguf<'_>, tokens: usize) -> Result<Vec<TokenKind>, ModelError> {
    const KEY: &str = "tokenizer.ggml.token_type";
    let Some(array) = gguf.array(KEY)? else {
        return Ok(vec![TokenKind::Normal; tokens]);
    };
    let kinds = array.values().enumerate().map(|(i, value)| {
        Ok(match value {
            Value::Signed(1) | Value::Unsigned(1) => TokenKind::Normal,
            // Unknown (2) is as much without text as control (3).
            Value::Signed(2 | 3) | Value::Unsigned(2 | 3) => TokenKind::Control,
            Value::Signed(4) | Value::Unsigned(4) => TokenKind::UserDefined,
            Value::Signed(0 | 5) | Value::Unsigned(0 | 5) => TokenKind::Unused,
            Value::Signed(6) | Value::Unsigned(6) => TokenKind::Byte,
            other => {
                return Err(ModelError::malformed(
                    format_args!("{KEY}[{i}]"),
                    "a number from 0 to 6",
                    format_args!("{other:?}"),
                ));
            }
        })
    });
    same_length(KEY, array.count, tokens)?;
    kinds.collect()
}

fn same_length(key: &str, found: usize, tokens: usize) -> Result<(), ModelError> {
    if found == tokens {
        Ok(())
    } else {
        Err(ModelError::malformed(
            key,
            format_args!("{tokens} elements, one for each token"),
            found,
        ))
    }
}

fn tables(gguf: &Gguf<'_>, texts: &[String], kinds: &[TokenKind]) -> Result<BpeTables, ModelError> {
    match gguf.text("tokenizer.ggml.model")? {
        Some("gpt2") => {
            let pretokenizer = pretokenizer(gguf.text("tokenizer.ggml.pre")?)?;
            let array = gguf
                .array(MERGES)?
                .ok_or_else(|| ModelError::malformed(MERGES, "the merges", "nothing"))?;
            let lines = strings(MERGES, array.values()).collect::<Result<Vec<_>, _>>()?;
            let pairs = lines.iter().enumerate().map(|(i, line)| pair(i, line));
            let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
            Ok(BpeTables {
                kind: BpeKind::ByteLevel { pretokenizer },
                whole_words: match pretokenizer {
                    Pretokenizer::Llama3 => WholeWords::LookedUp,
                    Pretokenizer::Gpt2 | Pretokenizer::SmolLm | Pretokenizer::Qwen2 => {
                        WholeWords::Merged
                    }
                },
                normalization: match pretokenizer {
                    Pretokenizer::Qwen2 => Normalization::Nfc,
                    Pretokenizer::Gpt2 | Pretokenizer::SmolLm | Pretokenizer::Llama3 => {
                        Normalization::None
                    }
                },
                merges: merges_from_pairs(texts, pairs.into_iter())?,
            })
        }
        Some("llama") => {
            let scores = scores(gguf, texts.len())?;
            let space_prefix = match gguf.flag("tokenizer.ggml.add_space_prefix")? {
                Some(false) => SpacePrefix::None,
                Some(true) | None => SpacePrefix::EachSegment,
            };
            Ok(BpeTables {
                kind: BpeKind::SentencePiece { space_prefix },
                whole_words: WholeWords::Merged,
                normalization: Normalization::None,
                merges: merges_from_scores(texts, &scores, kinds),
            })
        }
        other => Err(ModelError::unsupported(
            "tokenizer",
            other.unwrap_or("without a name"),
            "gpt2 (byte-level BPE) and llama (SentencePiece BPE)",
        )),
    }
}

/// The names of llama.cpp's `llama_vocab::impl::load` that share a pattern. A file without one is
/// from before the names existed, when GPT-2's was the only one.
fn pretokenizer(name: Option<&str>) -> Result<Pretokenizer, ModelError> {
    Ok(match name {
        None | Some("default" | "gpt-2" | "gpt2" | "phi-2") => Pretokenizer::Gpt2,
        Some("smollm" | "starcoder" | "refact" | "codeshell") => Pretokenizer::SmolLm,
        Some("qwen2" | "deepseek-r1-qwen") => Pretokenizer::Qwen2,
        Some("llama3" | "llama-v3" | "llama-bpe") => Pretokenizer::Llama3,
        Some(other) => {
            return Err(ModelError::unsupported(
                "pre-tokenizer",
                other,
                "gpt-2, smollm, starcoder, refact, qwen2, llama-bpe",
            ));
        }
    })
}

/// Both halves of a merge; a space inside a token is not the first character.
fn pair(rank: usize, line: &str) -> Result<(&str, &str), ModelError> {
    let first = line.chars().next().map_or(0, char::len_utf8);
    match line[first..].find(' ') {
        Some(gap) => Ok((&line[..first + gap], &line[first + gap + 1..])),
        None => Err(ModelError::malformed(
            format_args!("{MERGES}[{rank}]"),
            "two tokens with a space between them",
            format_args!("{line:?}"),
        )),
    }
}

fn scores(gguf: &Gguf<'_>, tokens: usize) -> Result<Vec<f32>, ModelError> {
    let array = gguf
        .array(SCORES)?
        .ok_or_else(|| ModelError::malformed(SCORES, "a score for each token", "nothing"))?;
    same_length(SCORES, array.count, tokens)?;
    array
        .values()
        .enumerate()
        .map(|(i, value)| match value {
            #[expect(clippy::cast_possible_truncation, reason = "stored as 32-bit floats")]
            Value::Float(score) => Ok(score as f32),
            other => Err(ModelError::malformed(
                format_args!("{SCORES}[{i}]"),
                "a number",
                format_args!("{other:?}"),
            )),
        })
        .collect()
}
