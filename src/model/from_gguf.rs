//! A model out of a GGUF file.

use super::architecture::{check_tensors, checked, named, role_from_name, supported};
use super::chat::ChatTemplate;
use super::dequantize::{SourceType, dequantize};
use super::gguf::{self, Gguf, TensorInfo};
use super::map::Bytes;
use super::rope::{RopeScaling, rope_frequencies};
use super::tokenizer::Tokenizer;
use super::{Model, ModelError, Provenance, Tensor, source_precision};
use crate::job::Job;
use engine::dialogue::Dialogue;
use engine::shape::{Architecture, Hyperparameters};
use std::sync::OnceLock;

const STAGE: &str = "Loading";

pub(super) fn load(file_name: String, bytes: Bytes, job: &Job<'_>) -> Result<Model, ModelError> {
    job.report(STAGE, 0, 3)?;
    let gguf = gguf::parse(&bytes)?;
    let name = gguf
        .text("general.architecture")?
        .ok_or_else(|| ModelError::malformed("general.architecture", supported(), "nothing"))?;
    let architecture = named(name)?;
    let hyperparameters = hyperparameters(&gguf, architecture)?;
    let tensors = tensors(&gguf)?;
    check_tensors(architecture, &hyperparameters, &tensors)?;
    let base = gguf
        .float(&format!("{name}.rope.freq_base"))?
        .unwrap_or(10_000.0);
    let scaling = rope_scaling(&gguf, name, &bytes)?;
    let rope_frequencies = rope_frequencies(hyperparameters.head_dim, base, &scaling)?;

    job.report(STAGE, 1, 3)?;
    let tokenizer = Tokenizer::from_gguf(&gguf, hyperparameters.vocab)?;
    job.report(STAGE, 2, 3)?;
    let chat = ChatTemplate::new(gguf.text("tokenizer.chat_template")?, &tokenizer)?;
    let provenance = Provenance {
        licence: gguf.text("general.license")?.map(str::to_owned),
        source_precision: source_precision(&tensors),
        file_name,
    };
    job.report(STAGE, 3, 3)?;
    Ok(Model {
        name: provenance.file_name.trim_end_matches(".gguf").to_owned(),
        architecture,
        hyperparameters,
        tensors,
        rope_frequencies,
        tokenizer,
        chat,
        dialogue: match gguf.text("whittle.dialogue")? {
            Some("commands") => Dialogue::Commands,
            Some(_) | None => Dialogue::Conversation,
        },
        provenance,
        file_bytes: bytes.len() as u64,
        files: vec![bytes],
        folder: None,
        sha256: OnceLock::new(),
    })
}

fn hyperparameters(
    gguf: &Gguf<'_>,
    architecture: Architecture,
) -> Result<Hyperparameters, ModelError> {
    let key = |suffix: &str| format!("{}.{suffix}", architecture.name());
    let optional = |suffix: &str| gguf.u32(&key(suffix));
    let required = |suffix: &str| {
        optional(suffix)?.ok_or_else(|| ModelError::malformed(key(suffix), "a number", "nothing"))
    };
    let hidden = required("embedding_length")?;
    let heads = required("attention.head_count")?;
    let head_dim = match optional("attention.key_length")? {
        Some(length) => length,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    // What the engine takes for granted; a model that differs would run and talk nonsense.
    for (suffix, found) in [
        (
            "attention.value_length",
            optional("attention.value_length")?,
        ),
        ("rope.dimension_count", optional("rope.dimension_count")?),
    ] {
        if found.is_some_and(|found| found != head_dim) {
            return Err(ModelError::unsupported(
                key(suffix),
                found.unwrap_or(0),
                format_args!("{head_dim}, the size of a head"),
            ));
        }
    }
    let embedding = gguf.tensors.iter().find(|t| t.name == "token_embd.weight");
    let vocab = match (optional("vocab_size")?, embedding) {
        (Some(vocab), _) => vocab,
        (None, Some(embedding)) => u32::try_from(embedding.rows).unwrap_or(0),
        (None, None) => 0,
    };
    let context = required("context_length")?;
    // Within its window, sliding attention is plain attention.
    let window = optional("attention.sliding_window")?.filter(|&window| window > 0);
    let epsilon = key("attention.layer_norm_rms_epsilon");
    let norm_epsilon = gguf
        .float(&epsilon)?
        .ok_or_else(|| ModelError::malformed(epsilon, "a number", "nothing"))?;
    checked(Hyperparameters {
        layers: required("block_count")?,
        hidden,
        feed_forward: required("feed_forward_length")?,
        heads,
        kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        vocab,
        context: window.unwrap_or(context).min(context),
        #[expect(clippy::cast_possible_truncation, reason = "stored as a 32-bit float")]
        norm_epsilon: norm_epsilon as f32,
        rope_pairs: architecture.gguf_rope_pairs(),
    })
}

/// Tensors that hold nothing the engine reads from the file.
fn is_computed(name: &str) -> bool {
    name == "rope_freqs.weight" || name.ends_with(".attn_rot_embd.weight")
}

fn tensors(gguf: &Gguf<'_>) -> Result<Vec<Tensor>, ModelError> {
    gguf.tensors
        .iter()
        .filter(|info| !is_computed(info.name))
        .map(|info| {
            let (role, layer) = role_from_name(info.name).ok_or_else(|| {
                ModelError::unsupported(
                    "tensor",
                    info.name,
                    "the tensors of llama, qwen2 and qwen3",
                )
            })?;
            let size = |n: u64| {
                usize::try_from(n).map_err(|_| {
                    ModelError::malformed(info.name, "a size that fits this machine", n)
                })
            };
            Ok(Tensor {
                name: info.name.to_owned(),
                role,
                layer,
                rows: size(info.rows)?,
                cols: size(info.cols)?,
                source: info.source,
                bytes: info.bytes as u64,
                file: 0,
                offset: info.offset,
            })
        })
        .collect()
}

fn rope_scaling(gguf: &Gguf<'_>, name: &str, bytes: &[u8]) -> Result<RopeScaling, ModelError> {
    if let Some(info) = gguf.tensors.iter().find(|t| t.name == "rope_freqs.weight") {
        return Ok(RopeScaling::Divisors(divisors(info, bytes)?));
    }
    let kind = gguf.text(&format!("{name}.rope.scaling.type"))?;
    let factor = gguf.float(&format!("{name}.rope.scaling.factor"))?;
    // Files from before 2024 have the factor alone.
    let factor = match factor {
        Some(factor) => Some(factor),
        None => gguf.float(&format!("{name}.rope.scale_linear"))?,
    };
    match (kind, factor) {
        (Some("none"), _) | (None | Some("linear"), None) => Ok(RopeScaling::None),
        // 0 stands for "not set" in llama.cpp.
        (None | Some("linear"), Some(0.0)) => Ok(RopeScaling::None),
        (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor }),
        (Some(other), _) => Err(ModelError::unsupported(
            "rope scaling",
            other,
            "none, linear, llama3",
        )),
    }
}

fn divisors(info: &TensorInfo<'_>, bytes: &[u8]) -> Result<Vec<f32>, ModelError> {
    // Half of the largest head that the engine runs.
    if info.source != SourceType::F32 || info.rows != 1 || info.cols > 512 {
        return Err(ModelError::malformed(
            "tensor rope_freqs.weight",
            "one row of up to 512 F32 values",
            format_args!(
                "{} rows of {} {} values",
                info.rows,
                info.cols,
                info.source.name()
            ),
        ));
    }
    let mut values = vec![0.0; info.bytes / 4];
    dequantize(
        info.source,
        &bytes[info.offset..info.offset + info.bytes],
        &mut values,
    );
    Ok(values)
}
