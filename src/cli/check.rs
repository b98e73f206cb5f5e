//! `whittle check`: a packed file against limits, for continuous integration.

use super::Output;
use super::kv_bits;
use super::measure::{open_packed, shown, stem};
use super::open::open_model;
use crate::report::limits::Finding;
use crate::report::{Check, Run};
use crate::warning::Warning;
use crate::workers::Processor;
use anyhow::bail;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::path::PathBuf;

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
    /// Bits of an element of keys and values, 16, 8 or 4; if not given
    /// those that the file was made for
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
}

#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    held: bool,
    limits: Vec<Finding>,
    warnings: Vec<Warning>,
}

pub(super) fn run(args: &CheckArgs, output: &Output) -> anyhow::Result<()> {
    let check = Check::open(&args.limits)?;
    let packed = open_packed(&args.file, output)?;
    let name = stem(&args.file);
    let processor = Processor::new(args.threads)?;
    let reference = check.reference();
    let reference = reference
        .map(|spec| open_model(&spec, output))
        .transpose()?;
    let run = Run {
        cache: args.kv_bits,
        processor: &processor,
    };
    let findings =
        output.with_bar(|job| check.findings((&name, &packed), reference.as_ref(), run, job))?;
    let checked = Checked {
        file: name,
        held: findings.limits.iter().all(|f| f.held),
        limits: findings.limits,
        warnings: findings.warnings,
    };
    output.warn(&checked.warnings);
    output.emit(&checked, |c| c.limits.iter().map(line).collect())?;
    let broken = checked.limits.iter().filter(|f| !f.held);
    let broken: Vec<String> = broken.map(Finding::name).collect();
    if !broken.is_empty() {
        bail!("{} breaks {}", shown(&args.file), broken.join(", "));
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let verdict = if finding.held { "held  " } else { "BROKEN" };
    format!(
        "{verdict}  {:38} limit {:>12}  found {}\n",
        finding.name(),
        finding.allowed_text(),
        finding.found_text()
    )
}
