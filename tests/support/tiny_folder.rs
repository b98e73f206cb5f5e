//! The tiny model as a Hugging Face folder.

use crate::tiny_model::{CHAT_TEMPLATE, CONTROL, Head, MERGES, Random, TinyModel, vocabulary};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Writes `config.json`, `tokenizer.json`, `tokenizer_config.json` and one or more shards, with
/// random BF16 weights.
pub(crate) fn write_folder(tiny: &TinyModel, folder: &Path, shards: usize) {
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("a writable folder");
    };
    let put = |name: &str, value: &Value| write(name, value.to_string().as_bytes());
    put("config.json", &config(tiny));
    put("tokenizer.json", &tokenizer());
    put(
        "tokenizer_config.json",
        &json!({
            "bos_token": {"content": CONTROL[1], "special": true},
            "eos_token": CONTROL[2],
            "chat_template": CHAT_TEMPLATE,
        }),
    );
    write("README.md", b"---\nlicense: cc0-1.0\n---\n# Tiny\n");
    let mut random = Random(tiny.seed);
    let tensors = tiny.tensors();
    let mut weight_map = Map::new();
    for (shard, part) in tensors.chunks(tensors.len().div_ceil(shards)).enumerate() {
        let name = match shards {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{shard}-of-{shards}.safetensors"),
        };
        let (mut header, mut data) = (Map::new(), Vec::<u8>::new());
        for (tensor, rows, cols) in part {
            let start = data.len();
            for _ in 0..rows * cols {
                data.extend(&random.uniform().to_le_bytes()[2..]);
            }
            let shape = if *rows == 1 {
                json!([cols])
            } else {
                json!([rows, cols])
            };
            let entry =
                json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, data.len()]});
            header.insert(hugging_face_name(tensor), entry);
            weight_map.insert(hugging_face_name(tensor), name.clone().into());
        }
        let header = Value::from(header).to_string();
        let length = (header.len() as u64).to_le_bytes();
        write(&name, &[&length[..], header.as_bytes(), &data].concat());
    }
    if shards > 1 {
        put(
            "model.safetensors.index.json",
            &json!({ "weight_map": weight_map }),
        );
    }
}

pub(crate) fn config(tiny: &TinyModel) -> Value {
    json!({
        "model_type": tiny.architecture,
        "hidden_act": "silu",
        "hidden_size": tiny.hidden,
        "intermediate_size": tiny.feed_forward,
        "num_hidden_layers": tiny.layers,
        "num_attention_heads": tiny.heads,
        "num_key_value_heads": tiny.kv_heads,
        "head_dim": tiny.head_dim,
        "vocab_size": vocabulary().len(),
        "max_position_embeddings": tiny.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": tiny.head == Head::Tied,
        "eos_token_id": 2,
    })
}

/// SmolLM2's pipeline over the tiny vocabulary.
pub(crate) fn tokenizer() -> Value {
    let vocab: Map<String, Value> = vocabulary()
        .into_iter()
        .zip(0..)
        .map(|(t, i)| (t, json!(i)))
        .collect();
    let added: Vec<Value> = (0..)
        .zip(CONTROL)
        .map(|(id, content)| {
            json!({"id": id, "content": content, "special": true, "single_word": false,
                   "lstrip": false, "rstrip": false, "normalized": false})
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let merges: Vec<Value> = MERGES.iter().map(|m| m.split(' ').collect()).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "vocab": vocab, "merges": merges},
    })
}

fn hugging_face_name(gguf: &str) -> String {
    match gguf {
        "token_embd.weight" => "model.embed_tokens.weight".to_owned(),
        "output_norm.weight" => "model.norm.weight".to_owned(),
        "output.weight" => "lm_head.weight".to_owned(),
        other => {
            let parts: Vec<&str> = other.split('.').collect();
            let &["blk", layer, part, kind] = parts.as_slice() else {
                panic!("no such tensor: {other}");
            };
            let part = match part {
                "attn_norm" => "input_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "attn_q_norm" => "self_attn.q_norm",
                "attn_k_norm" => "self_attn.k_norm",
                "ffn_norm" => "post_attention_layernorm",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                unknown => panic!("no such tensor: {unknown}"),
            };
            format!("model.layers.{layer}.{part}.{kind}")
        }
    }
}
