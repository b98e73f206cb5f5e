//! What a GGUF file says beside the tensors.
//!
//! A model that came out of a GGUF file keeps its metadata word for word; for one out of a Hugging Face
//! folder they are made of what was read there, in the names of llama.cpp's converter.

use super::ExportError;
use crate::model::{BpeKind, Model, Pretokenizer, SpacePrefix, TokenKind};
use crate::packed::PackedModel;
use engine::dialogue::Dialogue;
use engine::format::Section;
use engine::shape::Architecture;

const UINT32: u32 = 4;
const INT32: u32 = 5;
const FLOAT32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Keys with the bytes of their types and values, and the divisors of the rotary frequencies.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) entries: Vec<(String, Vec<u8>)>,
    pub(crate) rope_divisors: Option<Vec<u8>>,
}

impl Metadata {
    fn put(&mut self, key: &str, kind: u32, value: &[u8]) {
        let bytes = [&kind.to_le_bytes()[..], value].concat();
        self.entries.push((key.to_owned(), bytes));
    }

    fn number(&mut self, key: &str, value: u32) {
        self.put(key, UINT32, &value.to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f32) {
        self.put(key, FLOAT32, &value.to_le_bytes());
    }

    fn flag(&mut self, key: &str, value: Flag) {
        self.put(key, BOOL, &[value as u8]);
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.put(key, STRING, &text_bytes(value));
    }

    fn array(&mut self, key: &str, kind: u32, values: impl ExactSizeIterator<Item = Vec<u8>>) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.flatten());
        self.put(key, ARRAY, &bytes);
    }
}

#[derive(Clone, Copy)]
enum Flag {
    No = 0,
    Yes = 1,
}

fn flag(value: bool) -> Flag {
    if value { Flag::Yes } else { Flag::No }
}

fn text_bytes(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The metadata of a packed model's GGUF file; `model` is what was packed.
pub(super) fn of_packed(packed: &PackedModel, model: &Model) -> Result<Metadata, ExportError> {
    let mut metadata = of_model(model)?;
    let view = packed.view();
    for (key, section) in [
        ("whittle.recipe", Section::Recipe),
        ("whittle.source", Section::Provenance),
    ] {
        let bytes = view.section(section);
        let end = bytes
            .iter()
            .rposition(|b| *b != 0)
            .map_or(0, |last| last + 1);
        metadata.text(key, &String::from_utf8_lossy(&bytes[..end]));
    }
    Ok(metadata)
}

/// What a GGUF file of this model says, whatever becomes of its tensors.
///
/// # Errors
/// When its rotary frequencies cannot be said, or its file was changed since it was loaded.
pub(crate) fn of_model(model: &Model) -> Result<Metadata, ExportError> {
    let mut metadata = Metadata::default();
    if let Some(header) = model.gguf_header()? {
        let kept = header
            .entries
            .iter()
            .filter(|(key, _)| !is_of_the_file(key));
        metadata.entries = kept.map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect();
        metadata.rope_divisors = header.rope_divisors.map(<[u8]>::to_vec);
    } else {
        general(&mut metadata, model);
        shape(&mut metadata, model)?;
        tokenizer(&mut metadata, model);
    }
    metadata.number("general.quantization_version", 2);
    match model.dialogue {
        Dialogue::Conversation => {}
        Dialogue::Commands => metadata.text("whittle.dialogue", "commands"),
    }
    Ok(metadata)
}

/// Whether a key tells of the source's file and not of the model.
fn is_of_the_file(key: &str) -> bool {
    let keys = [
        "general.file_type",
        "general.quantization_version",
        "general.alignment",
    ];
    let families = ["split.", "quantize.", "whittle."];
    keys.contains(&key) || families.iter().any(|family| key.starts_with(family))
}

fn general(metadata: &mut Metadata, model: &Model) {
    metadata.text("general.architecture", model.architecture.name());
    metadata.text("general.type", "model");
    metadata.text("general.name", &model.name);
    if let Some(licence) = &model.provenance.licence {
        metadata.text("general.license", licence);
    }
}

fn shape(metadata: &mut Metadata, model: &Model) -> Result<(), ExportError> {
    let h = &model.hyperparameters;
    let key = |suffix: &str| format!("{}.{suffix}", model.architecture);
    for (suffix, value) in [
        ("block_count", h.layers),
        ("context_length", h.context),
        ("embedding_length", h.hidden),
        ("feed_forward_length", h.feed_forward),
        ("attention.head_count", h.heads),
        ("attention.head_count_kv", h.kv_heads),
        ("attention.key_length", h.head_dim),
        ("attention.value_length", h.head_dim),
        ("rope.dimension_count", h.head_dim),
        ("vocab_size", h.vocab),
    ] {
        metadata.number(&key(suffix), value);
    }
    metadata.float(&key("attention.layer_norm_rms_epsilon"), h.norm_epsilon);
    match rope_base(&model.rope_frequencies) {
        Some(base) => metadata.float(&key("rope.freq_base"), base),
        None => match model.architecture {
            // Llama 3.1's scaling, in the form that its GGUF files have it.
            Architecture::Llama => {
                metadata.float(&key("rope.freq_base"), PLAIN_BASE);
                let plain = frequencies(PLAIN_BASE, model.rope_frequencies.len());
                let divisors = plain.zip(&model.rope_frequencies);
                #[expect(clippy::cast_possible_truncation, reason = "the file's floats")]
                let divisors = divisors.map(|(plain, own)| (plain / f64::from(*own)) as f32);
                metadata.rope_divisors = Some(divisors.flat_map(f32::to_le_bytes).collect());
            }
            Architecture::Qwen2 | Architecture::Qwen3 => {
                return Err(ExportError::Frequencies("GGUF of this architecture"));
            }
        },
    }
    Ok(())
}

/// Base that divisors are taken from.
const PLAIN_BASE: f32 = 10_000.0;

fn frequencies(base: f32, pairs: usize) -> impl Iterator<Item = f64> {
    let step = f64::from(base).ln() / pairs as f64;
    (0..pairs).map(move |pair| (-step * pair as f64).exp())
}

/// The whole number of which the frequencies are powers, if they are.
pub(super) fn rope_base(own: &[f32]) -> Option<f32> {
    let last = own.len().checked_sub(1).filter(|last| *last > 0)?;
    let exponent = own.len() as f64 / last as f64;
    #[expect(clippy::cast_possible_truncation, reason = "the file's floats")]
    let base = f64::from(own[last]).recip().powf(exponent).round() as f32;
    let is_base = base.is_finite()
        && frequencies(base, own.len())
            .zip(own)
            .all(|(plain, own)| (plain / f64::from(*own) - 1.0).abs() < 1e-6);
    is_base.then_some(base)
}

fn tokenizer(metadata: &mut Metadata, model: &Model) {
    let (tokenizer, vocab) = (&model.tokenizer, model.hyperparameters.vocab);
    let known = u32::try_from(tokenizer.vocab_size()).unwrap_or(vocab);
    let tables = tokenizer.bpe();
    let text = |token: u32| {
        if token < known {
            tokenizer.token_text(token)
        } else {
            // Rows of the embedding that no text reaches.
            format!("[PAD{token}]")
        }
    };
    let texts: Vec<String> = (0..vocab).map(text).collect();
    match tables.kind {
        BpeKind::ByteLevel { pretokenizer } => {
            let name = match pretokenizer {
                Pretokenizer::Gpt2 => "gpt-2",
                Pretokenizer::SmolLm => "smollm",
                Pretokenizer::Qwen2 => "qwen2",
                Pretokenizer::Llama3 => "llama-bpe",
            };
            metadata.text("tokenizer.ggml.model", "gpt2");
            metadata.text("tokenizer.ggml.pre", name);
            let merges = tables.merges.iter().map(|m| {
                let (left, right) = (&texts[m.left as usize], &texts[m.right as usize]);
                text_bytes(&format!("{left} {right}"))
            });
            metadata.array("tokenizer.ggml.merges", STRING, merges);
        }
        BpeKind::SentencePiece { space_prefix } => {
            metadata.text("tokenizer.ggml.model", "llama");
            metadata.text("tokenizer.ggml.pre", "default");
            let prefix = flag(space_prefix == SpacePrefix::EachSegment);
            metadata.flag("tokenizer.ggml.add_space_prefix", prefix);
            // The pair that merges first has the highest score.
            let mut scores = vec![0.0_f32; texts.len()];
            for (rank, merge) in tables.merges.iter().enumerate().rev() {
                scores[merge.merged as usize] = -(rank as f32);
            }
            let scores = scores.iter().map(|score| score.to_le_bytes().to_vec());
            metadata.array("tokenizer.ggml.scores", FLOAT32, scores);
        }
    }
    let kinds = (0..vocab).map(|token| {
        let number = match tokenizer.token_kind(token) {
            TokenKind::Normal => 1_i32,
            TokenKind::Control => 3,
            TokenKind::UserDefined => 4,
            TokenKind::Unused => 5,
            TokenKind::Byte => 6,
        };
        number.to_le_bytes().to_vec()
    });
    let kinds: Vec<_> = kinds.collect();
    metadata.array("tokenizer.ggml.token_type", INT32, kinds.into_iter());
    metadata.array(
        "tokenizer.ggml.tokens",
        STRING,
        texts.iter().map(|t| text_bytes(t)),
    );
    metadata.flag("tokenizer.ggml.add_bos_token", flag(tokenizer.adds_bos));
    let eos = tokenizer.declared_eos().or(tokenizer.eos.first().copied());
    for (key, token) in [
        ("tokenizer.ggml.bos_token_id", tokenizer.bos),
        ("tokenizer.ggml.eos_token_id", eos),
    ] {
        if let Some(token) = token {
            metadata.number(key, token);
        }
    }
    if let Some(template) = model.chat.text() {
        metadata.text("tokenizer.chat_template", &template);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_frequencies_is_found_again() {
        for base in [10_000.0, 100_000.0, 500_000.0, 1_000_000.0] {
            #[expect(clippy::cast_possible_truncation, reason = "as a model has them")]
            let own: Vec<f32> = frequencies(base, 32).map(|f| f as f32).collect();
            assert_eq!(rope_base(&own), Some(base));
            let mut scaled = own;
            scaled[20] /= 32.0;
            assert_eq!(rope_base(&scaled), None);
        }
        assert_eq!(rope_base(&[1.0]), None);
    }
}
