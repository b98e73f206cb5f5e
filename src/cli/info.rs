//! `whittle info`: what a model is made of.

mod packed;

use super::Output;
use super::estimate::is_packed;
use super::open::open_model;
use crate::model::{Model, TemplateSource, Tensor};
use engine::dialogue::Dialogue;
use engine::shape::Role;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Show a model's architecture, size and tensors
#[derive(Debug, clap::Args)]
pub(super) struct InfoArgs {
    /// A GGUF file, a Hugging Face folder, a name of the catalog, or a packed file
    model: PathBuf,
}

#[derive(Debug, Serialize)]
struct Info {
    name: String,
    architecture: &'static str,
    parameters: u64,
    layers: u32,
    hidden: u32,
    feed_forward: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    vocab: u32,
    context: u32,
    /// Bits of the file's tensors for each parameter.
    bits_per_weight: f64,
    file_bytes: u64,
    source_precision: String,
    licence: Option<String>,
    /// Whether the model brings its own.
    chat_template: bool,
    /// How it is to be asked: `conversation` or `commands`.
    dialogue: &'static str,
    tensors: Vec<TensorInfo>,
}

#[derive(Debug, Serialize)]
struct TensorInfo {
    name: String,
    role: &'static str,
    shape: [usize; 2],
    #[serde(rename = "type")]
    source: &'static str,
    bits: f64,
    bytes: u64,
}

pub(super) fn run(args: &InfoArgs, output: &Output) -> anyhow::Result<()> {
    if is_packed(&args.model) {
        return packed::run(&args.model, output);
    }
    let model = open_model(&args.model, output)?;
    output.emit(&info(&model), text)
}

fn info(model: &Model) -> Info {
    let h = &model.hyperparameters;
    let parameters = model.parameters();
    let tensor_bytes: u64 = model.tensors.iter().map(|t| t.bytes).sum();
    Info {
        name: model.name.clone(),
        architecture: model.architecture.name(),
        parameters,
        layers: h.layers,
        hidden: h.hidden,
        feed_forward: h.feed_forward,
        heads: h.heads,
        kv_heads: h.kv_heads,
        head_dim: h.head_dim,
        vocab: h.vocab,
        context: h.context,
        bits_per_weight: bits(tensor_bytes, parameters),
        file_bytes: model.file_bytes,
        source_precision: model.provenance.source_precision.clone(),
        licence: model.provenance.licence.clone(),
        chat_template: model.chat.source == TemplateSource::Model,
        dialogue: match model.dialogue {
            Dialogue::Conversation => "conversation",
            Dialogue::Commands => "commands",
        },
        tensors: model.tensors.iter().map(tensor_info).collect(),
    }
}

fn tensor_info(tensor: &Tensor) -> TensorInfo {
    TensorInfo {
        name: tensor.name.clone(),
        role: role_name(tensor.role),
        shape: [tensor.rows, tensor.cols],
        source: tensor.source.name(),
        bits: bits(tensor.bytes, tensor.parameters()),
        bytes: tensor.bytes,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn bits(bytes: u64, values: u64) -> f64 {
    8.0 * bytes as f64 / values as f64
}

fn text(info: &Info) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{label:16} {value}").expect("a String takes any text");
    };
    line("Model", &info.name);
    line("Architecture", &info.architecture);
    line("Parameters", &info.parameters);
    line("Layers", &info.layers);
    line("Hidden", &info.hidden);
    line("Feed forward", &info.feed_forward);
    line(
        "Heads",
        &format_args!(
            "{} (key and value: {}) of {}",
            info.heads, info.kv_heads, info.head_dim
        ),
    );
    line("Vocabulary", &info.vocab);
    line("Context", &info.context);
    line(
        "Bits per weight",
        &format_args!("{:.2}", info.bits_per_weight),
    );
    line("Stored as", &info.source_precision);
    line("File bytes", &info.file_bytes);
    line("Licence", &info.licence.as_deref().unwrap_or("not stated"));
    line(
        "Chat template",
        &if info.chat_template {
            "its own"
        } else {
            "none; plain lines are used"
        },
    );
    line("Asked in", &info.dialogue);
    text.push('\n');
    for t in &info.tensors {
        let [rows, cols] = t.shape;
        let shape = format!("{rows} x {cols}");
        writeln!(
            text,
            "{:28} {shape:>14} {:>6} {:6.2} bits {:>12} bytes",
            t.name, t.source, t.bits, t.bytes
        )
        .expect("a String takes any text");
    }
    text
}

/// The name of a role in JSON.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Embedding => "embedding",
        Role::AttentionNorm => "attention_norm",
        Role::Query => "query",
        Role::Key => "key",
        Role::Value => "value",
        Role::AttentionOutput => "attention_output",
        Role::QueryBias => "query_bias",
        Role::KeyBias => "key_bias",
        Role::ValueBias => "value_bias",
        Role::QueryNorm => "query_norm",
        Role::KeyNorm => "key_norm",
        Role::FeedForwardNorm => "feed_forward_norm",
        Role::Gate => "gate",
        Role::Up => "up",
        Role::Down => "down",
        Role::OutputNorm => "output_norm",
        Role::Output => "output",
        Role::RopeFrequencies => "rope_frequencies",
    }
}
