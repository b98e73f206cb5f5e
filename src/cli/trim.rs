//! `whittle trim`: a model with the tokens that its users need.

use super::Output;
use super::files::Files;
use super::measure::{require_writable, shown};
use super::open::open_model;
use crate::model::Model;
use crate::path_text;
use crate::rewrite::{Cost, Sample, Trimmed, trim};
use crate::text_file::{self, PROSE_BYTES};
use anyhow::Context as _;
use clap::ArgGroup;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Keep the tokens that texts need, and what spells any other text; drop the rows of the rest
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("samples").args(["text", "chats"]).required(true).multiple(true)))]
pub(super) struct TrimArgs {
    /// Path or catalog name of a model
    model: PathBuf,
    /// Texts that are cut into tokens as before
    #[arg(long, value_name = "T.txt", num_args = 1..)]
    text: Vec<PathBuf>,
    /// Conversations that are, one a line: {"messages": [{"role": "user", "content": ".."}, ..]}
    #[arg(long, value_name = "C.jsonl", num_args = 1..)]
    chats: Vec<PathBuf>,
    /// Most tokens to keep: the rarest go first, and where there is room the earliest merges fill it
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// GGUF file to write
    #[arg(long, value_name = "F.gguf")]
    out: PathBuf,
    /// Text that was not trimmed for, to tell what it costs there
    #[arg(long, value_name = "T.txt")]
    measure: Option<PathBuf>,
    /// Tokens of it to run both models on
    #[arg(long, value_name = "N", default_value_t = 1024, requires = "measure")]
    measure_tokens: usize,
}

#[derive(Serialize)]
struct TrimReport {
    #[serde(serialize_with = "path_text::lossy")]
    file: PathBuf,
    #[serde(flatten)]
    trimmed: Trimmed,
    #[serde(flatten)]
    cost: Option<Cost>,
}

impl TrimArgs {
    pub(super) fn files(&self) -> Files {
        Files::default()
            .reads([&self.model])
            .reads(self.text.iter().chain(&self.chats).chain(&self.measure))
            .writes([&self.out])
    }
}

pub(super) fn run(args: &TrimArgs, output: &Output) -> anyhow::Result<()> {
    // What is wrong is said before the work.
    require_writable(&args.out)?;
    let texts = read_all(&args.text)?;
    let chats = read_all(&args.chats)?;
    let held_out = args.measure.as_deref().map(read).transpose()?;
    let model = open_model(&args.model, output)?;
    let texts = texts.iter().map(|(name, text)| Sample::Text { name, text });
    let chats = chats
        .iter()
        .map(|(name, lines)| Sample::Chats { name, lines });
    let samples: Vec<_> = texts.chain(chats).collect();
    let trimmed = output.with_bar(|job| trim(&model, &samples, args.tokens, &args.out, job))?;
    let cost = match held_out {
        None => None,
        Some((name, text)) => Some(output.with_bar(|job| {
            let after = Model::load(&args.out, job)?;
            Cost::measure(&model, &after, (&name, &text), args.measure_tokens, job)
        })?),
    };
    let report = TrimReport {
        file: args.out.clone(),
        trimmed,
        cost,
    };
    output.emit(&report, text)
}

/// A text with the name that people know it by.
fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let name = shown(path);
    let text = text_file::read(path, PROSE_BYTES).with_context(|| format!("cannot read {name}"))?;
    Ok((name, text))
}

/// Several texts, in order.
pub(super) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    paths.iter().map(|path| read(path)).collect()
}

fn text(report: &TrimReport) -> String {
    let trimmed = &report.trimmed;
    let mut text = format!(
        "{}: {} of {} tokens ({} in the texts), {} bytes instead of {}",
        report.file.display(),
        trimmed.tokens_after,
        trimmed.tokens_before,
        trimmed.tokens_in_samples,
        trimmed.bytes_after,
        trimmed.bytes_before
    );
    if let Some(cost) = &report.cost {
        text += &format!(
            "\nThe other text takes {} tokens instead of {}; its first {} bytes take {:.4} bits each instead of {:.4}",
            cost.text_tokens_after,
            cost.text_tokens_before,
            cost.measured_bytes,
            cost.bits_per_byte_after,
            cost.bits_per_byte_before
        );
    }
    text
}
