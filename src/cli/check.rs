//! `whittle check`: a packed file against limits, for continuous integration.

use super::Output;
use super::estimate::estimate_packed;
use super::kv_bits;
use super::measure::{Against, ExtentArgs, ask, beside, open_packed, shown, stem};
use crate::report::Report;
use crate::report::limits::{Finding, Limits};
use crate::workers::Processor;
use anyhow::bail;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Hold a packed file against limits; fails and names every limit that broke
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Packed file
    file: PathBuf,
    /// Limits in TOML; paths in it are relative to its folder
    #[arg(long, value_name = "L.toml")]
    limits: PathBuf,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bits of an element of keys and values: 16, 8 or 4
    #[arg(long, value_name = "B", default_value = "16", value_parser = kv_bits)]
    kv_bits: CachePrecision,
}

/// Tokens of the text where the limits do not say.
const TOKENS: usize = 4096;

#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    held: bool,
    limits: Vec<Finding>,
}

pub(super) fn run(args: &CheckArgs, output: &Output) -> anyhow::Result<()> {
    let limits = Limits::load(&args.limits)?;
    let packed = open_packed(&args.file, output)?;
    let name = stem(&args.file);
    let mut report = Report::new(&name, &packed)?;
    let processor = Processor::new(args.threads)?;
    let beside = |spec: &str| beside(&args.limits, spec);
    let boards: Vec<String> = limits.boards.iter().map(|b| beside(&b.id)).collect();
    for id in &boards {
        // One each, so that limits and estimates go together.
        anyhow::ensure!(id != "all", "expected the id of one board, found all");
    }
    report.estimates = estimate_packed(&packed, &name, &boards, args.kv_bits)?;
    let measured = (&limits.reference, &limits.text);
    if let (true, (Some(reference), Some(text))) = (limits.needs_text(), measured) {
        let extent = ExtentArgs {
            tokens: limits.tokens.unwrap_or(TOKENS),
            quick: false,
            full: false,
        };
        let text = beside(&text.display().to_string());
        let against = Against::open(&beside(reference), Path::new(&text), extent, output)?;
        let scored = against.score(&[&packed], args.kv_bits, &processor, output)?;
        report.quality = scored.into_iter().next().map(|(_, quality)| quality);
    }
    if let (Some(_), Some(tasks)) = (limits.min_task_pass, &limits.tasks) {
        report.tasks = Some(ask(
            &packed,
            &beside(tasks),
            args.kv_bits,
            &processor,
            output,
        )?);
    }
    let findings = limits.findings(&report);
    let checked = Checked {
        file: name,
        held: findings.iter().all(|f| f.held),
        limits: findings,
    };
    output.emit(&checked, |c| c.limits.iter().map(line).collect())?;
    let broken: Vec<String> = checked
        .limits
        .iter()
        .filter(|f| !f.held)
        .map(named)
        .collect();
    if !broken.is_empty() {
        bail!("{} breaks {}", shown(&args.file), broken.join(", "));
    }
    Ok(())
}

fn named(finding: &Finding) -> String {
    match &finding.board {
        Some(board) => format!("{} of {board}", finding.limit),
        None => finding.limit.to_owned(),
    }
}

fn line(finding: &Finding) -> String {
    let verdict = if finding.held { "held  " } else { "BROKEN" };
    let found = finding.found.map_or("unknown".to_owned(), value);
    let error = finding
        .standard_error
        .map_or(String::new(), |error| format!(" ± {}", value(error)));
    let note = finding
        .note
        .as_ref()
        .map_or(String::new(), |note| format!(" ({note})"));
    format!(
        "{verdict}  {:38} limit {:>12}  found {found}{error}{note}\n",
        named(finding),
        value(finding.allowed)
    )
}

/// Whole numbers as they are, others with six digits.
fn value(x: f64) -> String {
    if x.fract() == 0.0 {
        format!("{x:.0}")
    } else {
        format!("{x:.6}")
    }
}
