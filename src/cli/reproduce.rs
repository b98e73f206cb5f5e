//! `whittle reproduce`: makes a packed file again from its source and compares the bytes.

use super::Output;
use super::calibrate::{CalibrationArgs, folder};
use super::measure::{open_packed, shown};
use super::open::open_model;
use crate::report::reproduce;
use crate::workers::Processor;
use anyhow::bail;
use std::path::PathBuf;

/// Make a packed file again from its source, by the recipe in it, and compare the bytes
#[derive(Debug, clap::Args)]
pub(super) struct ReproduceArgs {
    /// Packed file
    file: PathBuf,
    /// Path or catalog name of the model that it was made of
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    calibration: CalibrationArgs,
}

pub(super) fn run(args: &ReproduceArgs, output: &Output) -> anyhow::Result<()> {
    let packed = open_packed(&args.file, output)?;
    let model = open_model(&args.model, output)?;
    let processor = Processor::new(None)?;
    let (name, cache) = (shown(&args.file), folder(output)?);
    let text = |tokens| args.calibration.text_of(&model, tokens);
    let reproduced = output
        .with_bar(|job| reproduce((&name, &packed), &model, text, &cache.path, &processor, job))?;
    if reproduced.same_contents {
        return output.emit(&reproduced, |r| r.sentence());
    }
    if output.is_json() {
        output.emit(&reproduced, |_| String::new())?;
    }
    bail!(
        "{name} is not what its recipe makes of {} ({})",
        args.model.display(),
        reproduced.sentence()
    )
}
