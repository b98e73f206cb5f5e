//! A tokenizer out of Hugging Face's `tokenizer.json`.
//!
//! Only pipelines that Whittle also knows how to run on a board are read: their parts are compared
//! with what is expected, not executed as they stand. Flags that let a special token swallow the
//! spaces around it are not followed; the supported models do not set them.

use super::vocabulary::{
    BpeKind, BpeTables, LLAMA3_PATTERN, Normalization, Pretokenizer, QWEN2_PATTERN, SpacePrefix,
    TokenKind, Vocabulary, WholeWords, byte_from_name, check_length, ends, merges_from_pairs,
};
use super::{SpecialNames, Tokenizer};
use crate::model::ModelError;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

const PLACE: &str = "tokenizer.json";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    model: Bpe,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Bpe {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u32>,
    merges: Vec<WrittenMerge>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// Written as one text until 2024, as two since.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenMerge {
    Joined(String),
    Pair(String, String),
}

impl Tokenizer {
    /// The tokenizer of a folder whose embedding has `rows` rows.
    pub(in crate::model) fn from_json(
        bytes: &[u8],
        names: &SpecialNames,
        rows: u32,
    ) -> Result<Self, ModelError> {
        let file: File = serde_json::from_slice(bytes)
            .map_err(|error| ModelError::malformed(PLACE, "a BPE tokenizer", error))?;
        check_model(&file.model)?;
        let (texts, mut kinds) = tokens(&file, rows)?;
        let id = |text: &String| {
            (0_u32..)
                .zip(&texts)
                .find(|(_, t)| *t == text)
                .map(|(id, _)| id)
        };
        let bos = names.bos.as_ref().and_then(id);
        let declared_eos = names.eos.as_ref().and_then(id);
        let unknown = file.model.unk_token.as_ref().and_then(id);
        let known = |token: &u32| (*token as usize) < texts.len();
        let listed: Vec<u32> = names
            .ends
            .iter()
            .copied()
            .filter(known)
            .chain(declared_eos)
            .collect();
        for &control in listed.iter().chain(&bos) {
            kinds[control as usize] = TokenKind::Control;
        }
        let kind = kind(&file)?;
        let pairs = file
            .model
            .merges
            .iter()
            .enumerate()
            .map(|(rank, merge)| match merge {
                WrittenMerge::Pair(left, right) => Ok((left.as_str(), right.as_str())),
                WrittenMerge::Joined(line) => line.split_once(' ').ok_or_else(|| {
                    ModelError::malformed(
                        format_args!("{PLACE}: merge {rank}"),
                        "two tokens with a space between them",
                        format_args!("{line:?}"),
                    )
                }),
            });
        let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
        let tables = BpeTables {
            kind,
            whole_words: if file.model.ignore_merges {
                WholeWords::LookedUp
            } else {
                WholeWords::Merged
            },
            normalization: match &file.normalizer {
                Some(value) if is(value, "NFC") => Normalization::Nfc,
                Some(_) | None => Normalization::None,
            },
            merges: merges_from_pairs(&texts, pairs.into_iter())?,
        };
        let adds_bos = match (names.adds_bos, &names.bos) {
            (Some(adds), _) => adds,
            (None, Some(bos)) => file
                .post_processor
                .as_ref()
                .is_some_and(|p| starts_with(p, bos)),
            (None, None) => false,
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

fn check_model(model: &Bpe) -> Result<(), ModelError> {
    let affix = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if let Some(affix) = affix.into_iter().flatten().find(|affix| !affix.is_empty()) {
        return Err(ModelError::unsupported("tokenizer affix", affix, "none"));
    }
    match model.kind.as_deref() {
        None | Some("BPE") => Ok(()),
        Some(other) => Err(ModelError::unsupported("tokenizer", other, "BPE")),
    }
}

/// Text and kind of every token; numbers that nobody uses are empty and unused.
fn tokens(file: &File, rows: u32) -> Result<(Vec<String>, Vec<TokenKind>), ModelError> {
    let added = file.added_tokens.iter().map(|token| {
        let kind = if token.special {
            TokenKind::Control
        } else {
            TokenKind::UserDefined
        };
        (&token.content, token.id, kind)
    });
    let normal = file.model.vocab.iter().map(|(text, &id)| {
        let is_byte = file.model.byte_fallback && byte_from_name(text).is_some();
        (
            text,
            id,
            if is_byte {
                TokenKind::Byte
            } else {
                TokenKind::Normal
            },
        )
    });
    let last = normal
        .clone()
        .chain(added.clone())
        .map(|(_, id, _)| id)
        .max();
    if last.is_none_or(|last| last >= rows) {
        return Err(ModelError::malformed(
            PLACE,
            format_args!("tokens below {rows}, the rows of the embedding"),
            format_args!("{last:?}"),
        ));
    }
    let count = last.map_or(0, |last| last as usize + 1);
    let mut texts = vec![String::new(); count];
    let mut kinds = vec![TokenKind::Unused; count];
    for (text, id, kind) in normal.chain(added) {
        check_length(id as usize, text)?;
        let place = &mut texts[id as usize];
        // Added tokens are often in the vocabulary as well: then they only change its kind.
        if !place.is_empty() && place != text {
            return Err(ModelError::malformed(
                format_args!("{PLACE}: token {id}"),
                "one text",
                format_args!(
                    "two, {:?} and {:?}",
                    place.clone().min(text.clone()),
                    place.clone().max(text.clone())
                ),
            ));
        }
        place.clone_from(text);
        kinds[id as usize] = kind;
    }
    Ok((texts, kinds))
}

fn is(value: &Value, kind: &str) -> bool {
    value["type"] == kind
}

/// The steps of a pipeline: those of a sequence, or the one that it is.
fn steps<'a>(value: Option<&'a Value>, inner: &str) -> Vec<&'a Value> {
    match value {
        None => Vec::new(),
        Some(value) if is(value, "Sequence") => value[inner]
            .as_array()
            .map(|steps| steps.iter().collect())
            .unwrap_or_default(),
        Some(value) => vec![value],
    }
}

fn kind(file: &File) -> Result<BpeKind, ModelError> {
    let normalizers = steps(file.normalizer.as_ref(), "normalizers");
    let cutters = steps(file.pre_tokenizer.as_ref(), "pretokenizers");
    if file.model.byte_fallback {
        let spaces =
            |v: &Value| is(v, "Replace") && v["pattern"]["String"] == " " && v["content"] == "▁";
        let prefix = |v: &Value| is(v, "Prepend") && v["prepend"] == "▁";
        let space_prefix = match (normalizers.as_slice(), cutters.as_slice()) {
            ([first, second], []) if prefix(first) && spaces(second) => SpacePrefix::EachSegment,
            ([only], []) if spaces(only) => SpacePrefix::None,
            _ => {
                return Err(unsupported(
                    file,
                    "Prepend and Replace of SentencePiece spaces",
                ));
            }
        };
        return Ok(BpeKind::SentencePiece { space_prefix });
    }
    match normalizers.as_slice() {
        [] => {}
        [only] if is(only, "NFC") => {}
        _ => return Err(unsupported(file, "no normalizer, or NFC")),
    }
    let byte_level = |v: &Value, use_regex: bool| {
        is(v, "ByteLevel")
            && v["add_prefix_space"] == false
            && v.get("use_regex").and_then(Value::as_bool).unwrap_or(true) == use_regex
    };
    let digits = |v: &Value| is(v, "Digits") && v["individual_digits"] == true;
    let split = |v: &Value, pattern: &str| {
        is(v, "Split")
            && v["pattern"]["Regex"] == pattern
            && v["behavior"] == "Isolated"
            && v["invert"] == false
    };
    let pretokenizer = match cutters.as_slice() {
        [only] if byte_level(only, true) => Pretokenizer::Gpt2,
        [first, second] if digits(first) && byte_level(second, true) => Pretokenizer::SmolLm,
        [first, second] if split(first, QWEN2_PATTERN) && byte_level(second, false) => {
            Pretokenizer::Qwen2
        }
        [first, second] if split(first, LLAMA3_PATTERN) && byte_level(second, false) => {
            Pretokenizer::Llama3
        }
        _ => {
            return Err(unsupported(
                file,
                "those of GPT-2, SmolLM, Qwen 2 and Llama 3",
            ));
        }
    };
    Ok(BpeKind::ByteLevel { pretokenizer })
}

fn unsupported(file: &File, supported: &str) -> ModelError {
    let show = |part: &Option<Value>| {
        let text = part
            .as_ref()
            .map_or_else(|| "none".to_owned(), Value::to_string);
        text.chars().take(200).collect::<String>()
    };
    ModelError::unsupported(
        "tokenizer pipeline",
        format_args!(
            "{} then {}",
            show(&file.normalizer),
            show(&file.pre_tokenizer)
        ),
        supported,
    )
}

/// Whether a post-processor puts the token `bos` before a text.
fn starts_with(processor: &Value, bos: &str) -> bool {
    steps(Some(processor), "processors").iter().any(|step| {
        is(step, "TemplateProcessing") && step["single"][0]["SpecialToken"]["id"] == bos
    })
}
