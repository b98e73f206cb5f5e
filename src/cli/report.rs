//! `whittle report`: all that is known of a packed file, as a page of its own.

use super::Output;
use super::files::Files;
use super::kv_bits;
use super::measure::{ExtentArgs, open_packed, remark_on, shown, stem, write_whole};
use super::open::open_model;
use crate::evaluate::tensor_errors;
use crate::report::{Against, Report, Run, ask, estimate_packed, html, other_reference};
use crate::workers::Processor;
use engine::arena::CachePrecision;
use std::path::PathBuf;

/// Write a page on a packed file: bytes, errors, quality, tasks, boards, provenance
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Packed file
    file: PathBuf,
    /// Path or catalog name of the model that it was made of
    #[arg(long, value_name = "MODEL")]
    reference: PathBuf,
    /// Text file to score
    #[arg(long, value_name = "T")]
    text: Option<PathBuf>,
    #[command(flatten)]
    extent: ExtentArgs,
    /// Set or file of tasks to ask
    #[arg(long, value_name = "T.jsonl")]
    tasks: Option<PathBuf>,
    /// Ids of built-in boards, board files, or "all"
    #[arg(long, value_name = "ID|FILE|all", num_args = 1..)]
    board: Vec<PathBuf>,
    /// Page to write
    #[arg(long, value_name = "R.html", required_unless_present = "json")]
    out: Option<PathBuf>,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bits of an element of keys and values, 16, 8 or 4; if not given
    /// those that the file was made for
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
}

impl ReportArgs {
    pub(super) fn files(&self) -> Files {
        Files::default()
            .reads([&self.file])
            .reads(&self.text)
            .reads([&self.reference])
            .reads(self.tasks.iter().chain(&self.board))
            .writes(&self.out)
    }
}

pub(super) fn run(args: &ReportArgs, output: &Output) -> anyhow::Result<()> {
    let packed = open_packed(&args.file, output)?;
    let name = stem(&args.file);
    let mut report = Report::new(&name, &packed)?;
    report.estimates = estimate_packed(&packed, &name, &args.board, args.kv_bits)?;
    let processor = Processor::new(args.threads)?;
    let run = Run {
        cache: args.kv_bits,
        processor: &processor,
    };
    let model = open_model(&args.reference, output)?;
    report.tensors = output.with_bar(|job| tensor_errors(&packed, &model, job))?;
    if let Some(text) = &args.text {
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
    if let Some(tasks) = &args.tasks {
        report.tasks = Some(output.with_bar(|job| ask(&packed, tasks, run, job))?);
    }
    if let Some(path) = &args.out {
        write_whole(path, &html(&report)?)?;
    }
    output.warn(&report.warnings);
    output.emit(&report, |report| {
        let path = args.out.as_deref().map(shown).unwrap_or_default();
        format!("{path}: report on {}, {} bytes", report.file, report.bytes)
    })
}
