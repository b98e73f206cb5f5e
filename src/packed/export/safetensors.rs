//! A Hugging Face folder: `model.safetensors` under the names of transformers, and its `config.json`.

use super::metadata::rope_base;
use super::values::{Outgoing, Stored};
use super::{ExportError, Exported, FloatType, exported, put_tensors};
use crate::job::Job;
use crate::model::Model;
use crate::packed::{PackedModel, WeightSource as _};
use engine::shape::{Architecture, Role};
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Files of a folder that tell of its tokenizer.
pub(super) const TOKENIZER_FILES: [&str; 4] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// Writes header and tensors.
pub(super) fn write(
    tensors: &[Outgoing<'_>],
    file: &mut dyn Write,
    path: &Path,
    job: &Job<'_>,
) -> Result<Exported, ExportError> {
    let failed = |source| ExportError::Io {
        path: path.to_owned(),
        source,
    };
    let (header, data_bytes) = header(tensors);
    let length = (header.len() as u64).to_le_bytes();
    file.write_all(&length).map_err(failed)?;
    file.write_all(header.as_bytes()).map_err(failed)?;
    let rounding = put_tensors(tensors, job, |_, part| {
        file.write_all(part).map_err(failed)?;
        Ok::<_, ExportError>(())
    })?;
    let bytes = 8 + header.len() as u64 + data_bytes;
    Ok(exported(tensors, rounding, bytes))
}

/// The list of tensors, filled up to whole eights of bytes, and how long their data are.
fn header(tensors: &[Outgoing<'_>]) -> (String, u64) {
    let mut list = serde_json::Map::new();
    list.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut offset = 0;
    for tensor in tensors {
        let (rows, cols) = (tensor.matrix.rows(), tensor.matrix.cols());
        let shape = if tensor.role.is_matrix() {
            vec![rows, cols]
        } else {
            vec![cols]
        };
        let kind = match tensor.stored {
            Stored::Float(FloatType::F16) => "F16",
            Stored::Float(FloatType::F32) | Stored::Twin(_) | Stored::Tq2_0 | Stored::Q4_0 => "F32",
        };
        let end = offset + tensor.bytes();
        let entry = json!({"dtype": kind, "shape": shape, "data_offsets": [offset, end]});
        list.insert(name(tensor.role, tensor.layer), entry);
        offset = end;
    }
    let mut header = serde_json::Value::Object(list).to_string();
    let padding = header.len().next_multiple_of(8) - header.len();
    header.extend(std::iter::repeat_n(' ', padding));
    (header, offset)
}

/// The name of a tensor in transformers.
fn name(role: Role, layer: u32) -> String {
    let of_layer = |rest: &str| format!("model.layers.{layer}.{rest}");
    match role {
        Role::Embedding => "model.embed_tokens.weight".into(),
        Role::OutputNorm => "model.norm.weight".into(),
        Role::Output => "lm_head.weight".into(),
        Role::RopeFrequencies => "rotary_emb.inv_freq".into(),
        Role::AttentionNorm => of_layer("input_layernorm.weight"),
        Role::Query => of_layer("self_attn.q_proj.weight"),
        Role::Key => of_layer("self_attn.k_proj.weight"),
        Role::Value => of_layer("self_attn.v_proj.weight"),
        Role::AttentionOutput => of_layer("self_attn.o_proj.weight"),
        Role::QueryBias => of_layer("self_attn.q_proj.bias"),
        Role::KeyBias => of_layer("self_attn.k_proj.bias"),
        Role::ValueBias => of_layer("self_attn.v_proj.bias"),
        Role::QueryNorm => of_layer("self_attn.q_norm.weight"),
        Role::KeyNorm => of_layer("self_attn.k_norm.weight"),
        Role::FeedForwardNorm => of_layer("post_attention_layernorm.weight"),
        Role::Gate => of_layer("mlp.gate_proj.weight"),
        Role::Up => of_layer("mlp.up_proj.weight"),
        Role::Down => of_layer("mlp.down_proj.weight"),
    }
}

/// `config.json`, in the names of transformers.
pub(super) fn config(
    packed: &PackedModel,
    model: &Model,
    float: FloatType,
) -> Result<String, ExportError> {
    let h = packed.shape();
    let base = rope_base(&model.rope_frequencies);
    let base = base.ok_or(ExportError::Frequencies("config.json"))?;
    let class = match model.architecture {
        Architecture::Llama => "LlamaForCausalLM",
        Architecture::Qwen2 => "Qwen2ForCausalLM",
        Architecture::Qwen3 => "Qwen3ForCausalLM",
    };
    let has = |role| packed.view().entries().any(|e| e.role == role);
    let dtype = match float {
        FloatType::F16 => "float16",
        FloatType::F32 => "float32",
    };
    let config = json!({
        "architectures": [class],
        "model_type": model.architecture.name(),
        "vocab_size": h.vocab,
        "hidden_size": h.hidden,
        "intermediate_size": h.feed_forward,
        "num_hidden_layers": h.layers,
        "num_attention_heads": h.heads,
        "num_key_value_heads": h.kv_heads,
        "head_dim": h.head_dim,
        "max_position_embeddings": h.context,
        "rope_theta": base,
        "rms_norm_eps": h.norm_epsilon,
        "hidden_act": "silu",
        "tie_word_embeddings": !has(Role::Output),
        "attention_bias": has(Role::QueryBias),
        "bos_token_id": model.tokenizer.bos,
        "eos_token_id": model.tokenizer.eos,
        "torch_dtype": dtype,
    });
    Ok(format!("{config:#}\n"))
}
