//! `whittle boards report`: what a board measured of itself, written or read.

use crate::cli::Output;
use crate::cli::estimate::short;
use crate::cli::files::Files;
use crate::measured::{BoardReport, Clock, Reports, WorkName};
use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use std::path::{Path, PathBuf};

/// Have a board measure itself, or read what one has measured; what agrees with this computer is kept for its estimates
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// A report to read
    #[arg(required_unless_present = "port", conflicts_with = "port")]
    file: Option<PathBuf>,
    /// Serial port of the board that is to measure itself; sim:esp32-c3 is an emulated one
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    port: Option<String>,
    /// The packed model that the board runs: its answer is held against this one's. A report that is read without it is
    /// shown and not kept
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    packed: Option<PathBuf>,
    /// What the board is asked meanwhile
    #[arg(long, value_name = "TEXT", default_value = "turn on the kitchen light")]
    prompt: String,
    /// Write the report to this file
    #[arg(short, long, value_name = "R.json", requires = "port")]
    output: Option<PathBuf>,
    /// Do not keep it for estimates
    #[arg(long)]
    no_keep: bool,
}

pub(super) fn run(args: &ReportArgs, output: &Output) -> anyhow::Result<()> {
    let reads = args.packed.iter().chain(&args.file);
    Files::default().reads(reads).writes(&args.output).check()?;
    let (report, checked) = match (&args.file, &args.port) {
        (Some(file), _) => read(file, args, output)?,
        (None, Some(port)) => (measured(port, args, output)?, Checked::Here),
        (None, None) => anyhow::bail!("expected a report or a port"),
    };
    if let Some(path) = &args.output {
        crate::whole_file::write_result(path, report.to_json().as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let kept = match Reports::folder().filter(|_| !args.no_keep && checked == Checked::Here) {
        Some(folder) => Some(
            Reports::keep(&folder, &report)
                .with_context(|| format!("cannot keep the report in {}", folder.display()))?,
        ),
        None => None,
    };
    let object = serde_json::json!({ "report": report, "kept": kept.is_some() });
    output.emit(&object, |_| told(&report, kept.as_deref(), checked))
}

/// The hash of a file can be told from a wrong one where its model is at hand.
fn read(file: &Path, args: &ReportArgs, output: &Output) -> anyhow::Result<(BoardReport, Checked)> {
    let report = BoardReport::load(file)?;
    let Some(path) = &args.packed else {
        return Ok((report, Checked::Elsewhere));
    };
    verify(&report, file, path, output)?;
    Ok((report, Checked::Here))
}

/// Where a report's hash was compared with what its model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    Here,
    Elsewhere,
}

#[cfg(feature = "flash")]
fn verify(report: &BoardReport, file: &Path, packed: &Path, output: &Output) -> anyhow::Result<()> {
    let packed = output.with_bar(|job| crate::packed::PackedModel::open(packed, job))?;
    Ok(crate::link::verify(
        report,
        &packed,
        &file.display().to_string(),
    )?)
}

#[cfg(not(feature = "flash"))]
fn verify(_: &BoardReport, _: &Path, _: &Path, _: &Output) -> anyhow::Result<()> {
    anyhow::bail!("this whittle was built without boards")
}

#[cfg(feature = "flash")]
fn measured(port: &str, args: &ReportArgs, output: &Output) -> anyhow::Result<BoardReport> {
    use crate::link::EMULATED_FLASH_BYTES;
    let path = args.packed.as_ref().context("expected --packed FILE")?;
    let packed = output.with_bar(|job| crate::packed::PackedModel::open(path, job))?;
    let device = crate::cli::flash::open(port, EMULATED_FLASH_BYTES)?;
    let mut client = device.client()?;
    Ok(output.with_bar(|job| crate::link::measure(&mut client, &packed, &args.prompt, job))?)
}

#[cfg(not(feature = "flash"))]
fn measured(_: &str, _: &ReportArgs, _: &Output) -> anyhow::Result<BoardReport> {
    anyhow::bail!("this whittle was built without boards")
}

/// A report, for people.
fn told(report: &BoardReport, kept: Option<&Path>, checked: Checked) -> String {
    let model = &report.model;
    let verdict = match (report.is_verified, checked) {
        (_, Checked::Here) => " as computed here",
        (true, Checked::Elsewhere) => ", compared by whoever measured and not here",
        (false, Checked::Elsewhere) => ", compared with nothing",
    };
    let mut text = format!(
        "{}: {} of {} bytes with checksum {}, {} KV bits\nlogits {}{verdict}\n",
        report.title(),
        model.name,
        model.bytes,
        model.crc,
        model.kv_bits,
        report.logits_hash,
    );
    let how = report.clock;
    text += &format!(
        "prompt of {} tokens in {} s, first token after {} s, then {} tokens at positions {} to {}, {} tokens/s {how}\n\n",
        report.prompt_tokens,
        short(report.prompt_secs),
        short(report.first_token_secs),
        report.tokens,
        report.position,
        report.position + (report.tokens - 1),
        short(report.tokens_per_second()),
    );
    text += &costs(report);
    text += &memories(report);
    text + &match (kept, report.clock, checked) {
        (Some(path), Clock::Board, _) => {
            format!(
                "Kept in {}: estimates for this chip rest on it",
                path.display()
            )
        }
        (Some(path), Clock::Emulated, _) => format!(
            "Kept in {}: estimates for this chip count its instructions; their upper ends stay",
            path.display()
        ),
        (None, _, Checked::Here) => "Not kept: estimates are as before".to_owned(),
        (None, _, Checked::Elsewhere) => {
            "Not kept: --packed FILE holds it to this computer's own answer".to_owned()
        }
    }
}

/// What the parts of a token take.
fn costs(report: &BoardReport) -> String {
    let mut text = format!("{:<12} {:>12} {:>7}\n", "a token", "cycles", "share");
    let whole = report.decode_secs / f64::from(report.tokens);
    for work in WorkName::ALL {
        let secs = report.secs_of(work);
        text += &format!(
            "{:<12} {:>12.0} {:>5.1} %\n",
            work.name(),
            report.cycles(secs),
            100.0 * secs / whole
        );
    }
    text += &format!(
        "\n{:<6} {:>12} {:>12} {:>12}\n",
        "layer", "products", "attention", "elementwise"
    );
    for layer in 0..report.model.layers {
        let of = |work| {
            let all = report.costs.iter();
            let all = all.filter(|cost| cost.layer == Some(layer) && cost.work == work);
            report.cycles(all.map(|cost| cost.secs).sum::<f64>() / f64::from(report.tokens))
        };
        text += &format!(
            "{layer:<6} {:>12.0} {:>12.0} {:>12.0}\n",
            of(WorkName::Products),
            of(WorkName::Attention),
            of(WorkName::Elementwise)
        );
    }
    text + "\n"
}

/// How fast memories are, and what was used of them.
fn memories(report: &BoardReport) -> String {
    let mut text = String::new();
    for memory in &report.memories {
        let rate = short(memory.bytes_per_second() / 1e6);
        let (name, bytes) = (&memory.name, memory.bytes);
        text += &format!("{name} read at {rate} MB/s ({bytes} bytes)\n");
    }
    let stack = report.stack.map_or_else(String::new, |stack| {
        format!(
            "; {} of {} bytes of the stack were used",
            stack.used_bytes, stack.bytes
        )
    });
    let memory = report.memory_bytes;
    text + &format!("{memory} bytes for logits, prompt and arena{stack}\n")
}
