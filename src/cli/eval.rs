//! `whittle eval`: quality of a packed model, against its source or by tasks.

mod tasks;

use super::Output;
use super::kv_bits;
use super::open::open_model;
use crate::compress::compress;
use crate::evaluate::{evaluate, windows};
use crate::packed::{LiveModel, PackedModel, TextSections};
use crate::recipe::Recipe;
use crate::workers::Processor;
use anyhow::Context as _;
use clap::ArgGroup;
use engine::arena::CachePrecision;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Measure the quality of a packed model, against its source or by tasks
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("measure").args(["text", "tasks"]).required(true)))]
pub(super) struct EvalArgs {
    /// Packed file
    file: PathBuf,
    /// Path or catalog name of the source model
    #[arg(
        long,
        value_name = "MODEL",
        required_unless_present = "tasks",
        conflicts_with = "tasks"
    )]
    reference: Option<String>,
    /// Text file to score
    #[arg(long, value_name = "T")]
    text: Option<PathBuf>,
    /// Tokens of it to use, in windows of 512
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4096,
        conflicts_with = "tasks"
    )]
    tokens: usize,
    #[command(flatten)]
    tasks: tasks::TaskArgs,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bits of an element of the packed model's cache of keys and values: 16, 8 or 4
    #[arg(long, value_name = "B", default_value = "16", value_parser = kv_bits)]
    kv_bits: CachePrecision,
}

pub(super) fn run(args: &EvalArgs, output: &Output) -> anyhow::Result<()> {
    match (&args.reference, &args.text) {
        (Some(reference), Some(text)) => compare(args, reference, text, output),
        _ => tasks::run(args, output),
    }
}

fn compare(args: &EvalArgs, reference: &str, text: &Path, output: &Output) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(text).with_context(|| format!("cannot read {}", text.display()))?;
    let packed = output.with_bar(|job| PackedModel::open(&args.file, job))?;
    let model = open_model(reference, output)?;
    let windows = windows(&model, &text, args.tokens)?;
    let original = output.with_bar(|job| compress(&model, &Recipe::original(), job))?;
    let reference = LiveModel::new(
        model.hyperparameters,
        Arc::new(TextSections::new(&model)?),
        &original,
    )?;
    let processor = Processor::new(args.threads)?;
    let evaluation = output.with_bar(|job| {
        evaluate(
            &packed,
            args.kv_bits,
            &reference,
            &windows,
            &processor.host(),
            job,
        )
    })?;
    output.emit(&evaluation, |e| {
        format!(
            "{} tokens: perplexity {:.3} (reference {:.3}), KL {:.5} ± {:.5}, 99th percentile {:.4}, same top token {:.2} %\nreference: {} dequantized to 16 bits",
            e.tokens,
            e.perplexity,
            e.reference_perplexity,
            e.kl_mean,
            e.kl_mean_standard_error,
            e.kl_p99,
            e.same_top * 100.0,
            model.provenance.source_precision
        )
    })
}
