//! `whittle eval`: quality of a packed model, against its source or by tasks.

mod tasks;

use super::Output;
use super::files::Files;
use super::kv_bits;
use super::measure::{ExtentArgs, open_packed, remark_on, stem};
use super::open::open_model;
use crate::evaluate::{Independent, TensorError, tensor_errors};
use crate::report::{Against, Quality, Run, other_reference};
use crate::warning::Warning;
use crate::workers::Processor;
use clap::ArgGroup;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Measure the quality of a packed model, against its source or by tasks
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("measure").args(["text", "tasks", "layers"]).multiple(true).required(true)))]
#[command(group(ArgGroup::new("against").args(["text", "layers"]).multiple(true).conflicts_with("tasks").requires("reference")))]
#[command(group(ArgGroup::new("extent").args(["tokens", "quick", "full"]).requires("text")))]
pub(super) struct EvalArgs {
    /// Packed file
    file: PathBuf,
    /// Path or catalog name of the source model
    #[arg(long, value_name = "MODEL", conflicts_with = "tasks")]
    reference: Option<PathBuf>,
    /// Text file to score
    #[arg(long, value_name = "T")]
    text: Option<PathBuf>,
    #[command(flatten)]
    extent: ExtentArgs,
    /// List the squared error of each tensor against the source, the largest first
    #[arg(long)]
    layers: bool,
    #[command(flatten)]
    tasks: tasks::TaskArgs,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bits of an element of the packed model's cache of keys and values, 16, 8 or 4; if not given
    /// those that the file was made for
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
}

/// What `whittle eval` reports of a text and of tensors.
#[derive(Debug, Serialize)]
struct EvalReport {
    #[serde(flatten)]
    quality: Option<Quality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<TensorError>>,
    warnings: Vec<Warning>,
}

impl EvalArgs {
    pub(super) fn files(&self) -> Files {
        Files::default()
            .reads([&self.file])
            .reads(&self.text)
            .reads(self.reference.iter().chain(&self.tasks.set))
            .writes(&self.tasks.lines)
    }
}

pub(super) fn run(args: &EvalArgs, output: &Output) -> anyhow::Result<()> {
    match &args.reference {
        Some(reference) => compare(args, reference, output),
        None => tasks::run(args, output),
    }
}

fn compare(args: &EvalArgs, reference: &Path, output: &Output) -> anyhow::Result<()> {
    let packed = open_packed(&args.file, output)?;
    let mut report = EvalReport {
        quality: None,
        layers: None,
        warnings: Vec::new(),
    };
    let name = stem(&args.file);
    let model = open_model(reference, output)?;
    if let Some(text) = &args.text {
        let processor = Processor::new(args.threads)?;
        let run = Run {
            cache: args.kv_bits,
            processor: &processor,
        };
        let extent = args.extent.extent();
        let against = output.with_bar(|job| Against::open(&model, text, extent, job))?;
        report.quality = output.with_bar(|job| against.quality_of(&packed, run, job))?;
        remark_on(report.quality.as_ref(), output);
        report.warnings = against.warnings(&[(&name, &packed)])?;
    } else {
        let sha256 = output.with_bar(|job| model.sha256(job))?;
        let other = other_reference((&name, &packed), (&model, &sha256))?;
        report.warnings.extend(other);
    }
    if args.layers {
        report.layers = Some(output.with_bar(|job| tensor_errors(&packed, &model, job))?);
    }
    output.warn(&report.warnings);
    output.emit(&report, |report| {
        let mut text = report.layers.as_deref().map_or_else(String::new, layers);
        text += &report.quality.as_ref().map_or_else(String::new, quality);
        text
    })
}

/// The lines that people read.
pub(super) fn quality(quality: &Quality) -> String {
    let (e, basis) = (&quality.evaluation, &quality.basis);
    let independent = match e.independent {
        Independent::Windows => "windows as independent",
        Independent::Positions => "positions as independent: too small for a single window",
    };
    format!(
        "{} tokens in {} windows of {} tokens, the second half scored; ± is one standard error, with {independent}\n\
         perplexity {:.3} ± {:.3} (reference {:.3} ± {:.3}), ln ratio {:.5} ± {:.5}\n\
         KL {:.5} ± {:.5}, median {:.5}, 95th percentile {:.4}, 99th percentile {:.4}, largest {:.3}\n\
         same top token {:.2} ± {:.2} %, RMS Δp {:.2} ± {:.2} %\n\
         reference: {}, {}, dequantized to 16 bits\n\
         text: {} ({}), computed by {} {}\n",
        e.tokens,
        e.windows,
        e.window_tokens,
        e.perplexity,
        e.perplexity_standard_error,
        e.reference_perplexity,
        e.reference_perplexity_standard_error,
        e.ln_perplexity_ratio,
        e.ln_perplexity_ratio_standard_error,
        e.kl_mean,
        e.kl_mean_standard_error,
        e.kl_median,
        e.kl_p95,
        e.kl_p99,
        e.kl_max,
        e.same_top * 100.0,
        e.same_top_standard_error * 100.0,
        e.delta_p_rms * 100.0,
        e.delta_p_rms_standard_error * 100.0,
        basis.reference,
        basis.reference_precision,
        basis.text,
        &basis.text_sha256[..12],
        basis.engine,
        basis.simd_level,
    )
}

fn layers(errors: &[TensorError]) -> String {
    let mut text = String::new();
    for e in errors {
        let error = if e.nmse == 0.0 {
            "exact".to_owned()
        } else {
            format!("error {:.2e}  squared {:.3e}", e.nmse, e.squared_error)
        };
        writeln!(
            text,
            "{:28} {:>6} -> {:<8} {:6.2} bits {:>11} B  {error}",
            e.name, e.source, e.encoding, e.bits_per_weight, e.bytes
        )
        .expect("writing to a string cannot fail");
    }
    text
}
