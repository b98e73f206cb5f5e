//! A model out of a Hugging Face folder: `config.json`, `tokenizer.json`, safetensors.

use super::architecture::{check_tensors, checked, named, supported, tensor_name};
use super::chat::ChatTemplate;
use super::folder::Folder;
use super::map::Bytes;
use super::rope::rope_frequencies;
use super::safetensors::{self, Entry};
use super::tokenizer::{SpecialNames, Tokenizer};
use super::{Model, ModelError, Provenance, Tensor, source_precision};
use crate::job::Job;
use config::Config;
use engine::dialogue::Dialogue;
use engine::shape::Role;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::OnceLock;

mod config;

const STAGE: &str = "Loading";

pub(super) fn load(file_name: String, folder: Folder, job: &Job<'_>) -> Result<Model, ModelError> {
    job.report(STAGE, 0, 3)?;
    let config: Config = json(&folder, "config.json")?;
    let architecture = named(&config.model_type)?;
    let hyperparameters = checked(config.hyperparameters()?)?;
    let (base, scaling) = config.rope()?;
    let rope_frequencies = rope_frequencies(hyperparameters.head_dim, base, &scaling)?;
    let (files, tensors) = weights(&folder, &config)?;
    check_tensors(architecture, &hyperparameters, &tensors)?;
    if config.tie_word_embeddings == Some(false) && !tensors.iter().any(|t| t.role == Role::Output)
    {
        return Err(ModelError::Missing {
            tensor: "lm_head.weight".to_owned(),
            expected: [hyperparameters.vocab.into(), hyperparameters.hidden.into()],
        });
    }

    job.report(STAGE, 1, 3)?;
    let tokenizer_config: TokenizerConfig =
        optional_json(&folder, "tokenizer_config.json")?.unwrap_or_default();
    let generation: GenerationConfig =
        optional_json(&folder, "generation_config.json")?.unwrap_or_default();
    let names = SpecialNames {
        bos: tokenizer_config.bos_token.map(Name::content),
        eos: tokenizer_config.eos_token.map(Name::content),
        adds_bos: tokenizer_config.add_bos_token,
        ends: [config.eos_token_id, generation.eos_token_id]
            .into_iter()
            .flatten()
            .flat_map(OneOrMany::into_vec)
            .collect(),
    };
    let tokenizer = folder.read("tokenizer.json")?;
    let tokenizer = Tokenizer::from_json(&tokenizer, &names, hyperparameters.vocab)?;

    job.report(STAGE, 2, 3)?;
    let template = match optional(folder.read("chat_template.jinja"))? {
        Some(bytes) => Some(String::from_utf8(bytes).map_err(|_| {
            ModelError::malformed("chat_template.jinja", "UTF-8 text", "other bytes")
        })?),
        None => tokenizer_config.chat_template.and_then(Templates::default),
    };
    let chat = ChatTemplate::new(template.as_deref(), &tokenizer)?;
    let file_bytes = files.iter().map(|file| file.len() as u64).sum();
    job.report(STAGE, 3, 3)?;
    Ok(Model {
        name: file_name.clone(),
        architecture,
        hyperparameters,
        rope_frequencies,
        tokenizer,
        chat,
        dialogue: tokenizer_config
            .whittle_dialogue
            .map_or(Dialogue::Conversation, DialogueName::dialogue),
        provenance: Provenance {
            file_name,
            licence: optional(folder.read("README.md"))?.and_then(|card| licence(&card)),
            source_precision: source_precision(&tensors),
        },
        tensors,
        file_bytes,
        files,
        folder: Some(folder),
        sha256: OnceLock::new(),
    })
}

/// The mapped weight files and their tensors.
fn weights(folder: &Folder, config: &Config) -> Result<(Vec<Bytes>, Vec<Tensor>), ModelError> {
    let single = "model.safetensors";
    let shards = if folder.has(single) {
        BTreeMap::from([(single.to_owned(), BTreeSet::new())])
    } else {
        shards(folder, "model.safetensors.index.json")?
    };
    let (mut files, mut tensors) = (Vec::new(), Vec::new());
    for (shard, expected) in shards {
        let bytes = folder.open(&shard)?;
        let entries = safetensors::parse(&folder.path(&shard), &bytes)?;
        let found: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        if let Some(absent) = expected.iter().find(|name| !found.contains(name.as_str())) {
            return Err(ModelError::malformed(
                &shard,
                format_args!("tensor {absent}, which the index promises"),
                "other tensors",
            ));
        }
        for entry in entries {
            tensors.extend(tensor(entry, files.len(), config)?);
        }
        files.push(bytes);
    }
    Ok((files, tensors))
}

/// Which tensors each shard of an index holds.
fn shards(folder: &Folder, name: &str) -> Result<BTreeMap<String, BTreeSet<String>>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = json(folder, name)?;
    let mut shards = BTreeMap::<String, BTreeSet<String>>::new();
    for (tensor, shard) in index.weight_map {
        // The index comes from outside: a name must not lead out of the folder.
        let is_plain =
            !shard.contains(['/', '\\', ':', '\0']) && !matches!(shard.as_str(), "" | "." | "..");
        if !is_plain {
            return Err(ModelError::malformed(
                folder.path(name).display(),
                "plain file names of shards",
                format_args!("{shard:?}"),
            ));
        }
        shards.entry(shard).or_default().insert(tensor);
    }
    Ok(shards)
}

/// A tensor under its GGUF name; none for one that the engine does not read.
fn tensor(entry: Entry, file: usize, config: &Config) -> Result<Option<Tensor>, ModelError> {
    if entry.name.ends_with(".rotary_emb.inv_freq") {
        return Ok(None);
    }
    let (role, layer) = role_from_name(&entry.name).ok_or_else(|| {
        ModelError::unsupported(
            "tensor",
            &entry.name,
            format_args!("the tensors of {}", supported()),
        )
    })?;
    if role == Role::Output && config.tie_word_embeddings == Some(true) {
        return Ok(None);
    }
    let size = |n: u64| {
        usize::try_from(n)
            .map_err(|_| ModelError::malformed(&entry.name, "a size that fits this machine", n))
    };
    Ok(Some(Tensor {
        name: tensor_name(role, layer),
        role,
        layer,
        rows: size(entry.rows)?,
        cols: size(entry.cols)?,
        source: entry.source,
        bytes: entry.bytes as u64,
        file,
        offset: entry.offset,
    }))
}

/// The role and layer of a tensor named as in `transformers`.
fn role_from_name(name: &str) -> Option<(Role, Option<u32>)> {
    let Some(rest) = name.strip_prefix("model.layers.") else {
        let role = match name {
            "model.embed_tokens.weight" => Role::Embedding,
            "model.norm.weight" => Role::OutputNorm,
            "lm_head.weight" => Role::Output,
            _ => return None,
        };
        return Some((role, None));
    };
    let (layer, rest) = rest.split_once('.')?;
    let role = match rest {
        "input_layernorm.weight" => Role::AttentionNorm,
        "self_attn.q_proj.weight" => Role::Query,
        "self_attn.k_proj.weight" => Role::Key,
        "self_attn.v_proj.weight" => Role::Value,
        "self_attn.o_proj.weight" => Role::AttentionOutput,
        "self_attn.q_proj.bias" => Role::QueryBias,
        "self_attn.k_proj.bias" => Role::KeyBias,
        "self_attn.v_proj.bias" => Role::ValueBias,
        "self_attn.q_norm.weight" => Role::QueryNorm,
        "self_attn.k_norm.weight" => Role::KeyNorm,
        "post_attention_layernorm.weight" => Role::FeedForwardNorm,
        "mlp.gate_proj.weight" => Role::Gate,
        "mlp.up_proj.weight" => Role::Up,
        "mlp.down_proj.weight" => Role::Down,
        _ => return None,
    };
    Some((role, Some(layer.parse().ok()?)))
}

/// What `tokenizer_config.json` may say; fields of other kinds than expected are an error.
#[derive(Debug, Default, serde::Deserialize)]
struct TokenizerConfig {
    bos_token: Option<Name>,
    eos_token: Option<Name>,
    add_bos_token: Option<bool>,
    chat_template: Option<Templates>,
    /// Whittle's own: what no chat template tells.
    whittle_dialogue: Option<DialogueName>,
}

/// How a model says that it is to be asked.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum DialogueName {
    Conversation,
    Commands,
}

impl DialogueName {
    const fn dialogue(self) -> Dialogue {
        match self {
            Self::Conversation => Dialogue::Conversation,
            Self::Commands => Dialogue::Commands,
        }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<OneOrMany>,
}

/// A token by its text, alone or inside an object with flags.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Object { content: String },
}

impl Name {
    fn content(self) -> String {
        match self {
            Self::Text(content) | Self::Object { content } => content,
        }
    }
}

/// One template, or several with names.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Several(Vec<NamedTemplate>),
}

#[derive(Debug, serde::Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl Templates {
    fn default(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Several(all) => all
                .into_iter()
                .find(|t| t.name == "default")
                .map(|t| t.template),
        }
    }
}

/// A token or several.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(token) => vec![token],
            Self::Many(tokens) => tokens,
        }
    }
}

/// The `license:` line of a model card's front matter.
fn licence(card: &[u8]) -> Option<String> {
    let card = String::from_utf8_lossy(card);
    let mut lines = card.lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let front = lines.take_while(|line| line.trim_end() != "---");
    let value = front
        .filter_map(|line| line.strip_prefix("license:"))
        .next()?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// None for a file that does not exist.
fn optional<T>(result: Result<T, ModelError>) -> Result<Option<T>, ModelError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ModelError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn json<T: DeserializeOwned>(folder: &Folder, name: &str) -> Result<T, ModelError> {
    serde_json::from_slice(&folder.read(name)?).map_err(|error| {
        let path = folder.path(name);
        ModelError::malformed(path.display(), "the JSON of a model", error)
    })
}

fn optional_json<T: DeserializeOwned>(
    folder: &Folder,
    name: &str,
) -> Result<Option<T>, ModelError> {
    optional(json(folder, name))
}
