//! `whittle reproduce`: makes a packed file again from its source and compares the bytes.

use super::Output;
use super::calibrate::{CalibrationArgs, folder};
use super::measure::{open_packed, shown};
use super::open::open_model;
use crate::calibrate::Calibration;
use crate::compress::{CompressedModel, compress, compress_calibrated};
use crate::model::Model;
use crate::packed::{Difference, ENGINE_VERSION, FittedTo, differences};
use crate::recipe::Recipe;
use crate::workers::Processor;
use anyhow::{bail, ensure};
use serde::Serialize;
use std::path::PathBuf;

/// Make a packed file again from its source, by the recipe in it, and compare the bytes
#[derive(Debug, clap::Args)]
pub(super) struct ReproduceArgs {
    /// Packed file
    file: PathBuf,
    /// Path or catalog name of the model that it was made of
    #[arg(long, value_name = "MODEL")]
    model: String,
    #[command(flatten)]
    calibration: CalibrationArgs,
}

/// What `whittle reproduce` reports.
#[derive(Debug, Serialize)]
struct Report {
    same_bytes: bool,
    bytes: usize,
    /// Version that packed the file, if it says so.
    engine: Option<String>,
    /// Version that made it again.
    engine_here: &'static str,
    differences: Vec<Difference>,
}

pub(super) fn run(args: &ReproduceArgs, output: &Output) -> anyhow::Result<()> {
    let packed = open_packed(&args.file, output)?;
    let (provenance, recipe) = (packed.provenance()?, packed.recipe()?);
    let model = open_model(&args.model, output)?;
    let found = output.with_bar(|job| model.sha256(job))?;
    ensure!(
        found == provenance.sha256,
        "expected the model that {} was made of, {} with SHA-256 {}, found {} with {found}",
        args.file.display(),
        provenance.name,
        provenance.sha256,
        args.model
    );
    let compressed = match &provenance.calibration {
        None => output.with_bar(|job| compress(&model, &recipe, job))?,
        Some(text) => rebuild_calibrated(args, &model, &recipe, text, output)?,
    };
    let processor = Processor::new(None)?;
    let again =
        output.with_bar(|job| packed.pack_again(&model, &compressed, &processor.host(), job))?;
    let differences = differences(&packed, &again);
    let report = Report {
        same_bytes: differences.is_empty(),
        bytes: packed.bytes().len(),
        engine: provenance.engine,
        engine_here: ENGINE_VERSION,
        differences,
    };
    let Some(first) = report.differences.first() else {
        return output.emit(&report, |r| format!("same bytes: all {}", r.bytes));
    };
    if output.is_json() {
        output.emit(&report, |_| String::new())?;
    }
    let others = match report.differences.len() - 1 {
        0 => String::new(),
        1 => "; 1 more part differs".to_owned(),
        more => format!("; {more} more parts differ"),
    };
    let engine = report.engine.as_deref().unwrap_or("unknown");
    bail!(
        "{} is not what its recipe makes of {} (engine {engine}, here {ENGINE_VERSION}): {}{others}",
        shown(&args.file),
        args.model,
        first.sentence()
    )
}

/// Compresses as a file was compressed whose weights were fitted to a text.
fn rebuild_calibrated(
    args: &ReproduceArgs,
    model: &Model,
    recipe: &Recipe,
    fitted: &FittedTo,
    output: &Output,
) -> anyhow::Result<CompressedModel> {
    let tokens = usize::try_from(fitted.tokens)?;
    let text = args.calibration.text_of(model, tokens)?;
    ensure!(
        text.sha256 == fitted.sha256,
        "{} was fitted to {} tokens of the text {} (SHA-256 of the tokens {}), and {} has others ({}): name it with --calibration-text or --calibration-chats",
        args.file.display(),
        fitted.tokens,
        fitted.text,
        fitted.sha256,
        text.name,
        text.sha256
    );
    let cache = folder()?;
    let calibration = output.with_bar(|job| Calibration::compute(model, &text, &cache, job))?;
    Ok(output.with_bar(|job| compress_calibrated(model, recipe, Some(&calibration), &[], job))?)
}
