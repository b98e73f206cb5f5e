//! `whittle calibrate`: what each linear map of a model reads on text, computed once and kept.

use super::Output;
use super::open::open_model;
use crate::calibrate::{Calibration, CalibrationText, DEFAULT_TOKENS};
use crate::catalog::CalibrationFolder;
use crate::model::Model;
use crate::text_file::{self, PROSE_BYTES};
use crate::warning::Warning;
use anyhow::Context as _;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Measure what each linear map of a model reads, for compression that spares what matters
#[derive(Debug, clap::Args)]
pub(super) struct CalibrateArgs {
    /// Path or catalog name of a model
    model: PathBuf,
    #[command(flatten)]
    calibration: CalibrationArgs,
}

/// What a calibrated command is calibrated on.
#[derive(Debug, clap::Args)]
pub(super) struct CalibrationArgs {
    /// Text file to calibrate on instead of the text that comes along
    #[arg(long, value_name = "T", conflicts_with = "calibration_chats")]
    calibration_text: Option<PathBuf>,
    /// Conversations to calibrate on, one a line: {"messages": [{"role": "user", "content": ".."}, ..]}
    #[arg(long, value_name = "C.jsonl")]
    calibration_chats: Option<PathBuf>,
    /// Tokens of it to use, in windows of 512, or of the model's context where that is shorter
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TOKENS)]
    calibration_tokens: usize,
}

impl CalibrationArgs {
    /// What it reads.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.calibration_text.iter().chain(&self.calibration_chats)
    }

    /// The text that was asked for, `more` tokens beyond the calibration's included.
    pub(super) fn text(&self, model: &Model, more: usize) -> anyhow::Result<CalibrationText> {
        self.text_of(model, self.calibration_tokens.saturating_add(more))
    }

    /// So many tokens of the text that was asked for.
    pub(super) fn text_of(&self, model: &Model, tokens: usize) -> anyhow::Result<CalibrationText> {
        let read = |path: &Path| {
            text_file::read(path, PROSE_BYTES)
                .with_context(|| format!("cannot read {}", path.display()))
        };
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        Ok(match (&self.calibration_text, &self.calibration_chats) {
            (Some(path), _) => CalibrationText::of_text(model, &name(path), &read(path)?, tokens)?,
            (None, Some(path)) => {
                CalibrationText::of_chats(model, &name(path), &read(path)?, tokens)?
            }
            (None, None) => CalibrationText::default_of(model, tokens)?,
        })
    }

    /// The calibration of `model`, from `folder` if it is there.
    pub(super) fn compute(
        &self,
        model: &Model,
        folder: &Path,
        output: &Output,
    ) -> anyhow::Result<Calibration> {
        let text = self.text(model, 0)?;
        Ok(output.with_bar(|job| Calibration::compute(model, &text, folder, job))?)
    }
}

/// Where calibrations are kept; says so where they cannot be.
pub(super) fn folder(output: &Output) -> anyhow::Result<CalibrationFolder> {
    let folder = CalibrationFolder::open()?;
    if let Some(reason) = &folder.not_kept {
        output.remark(&format!(
            "What is calibrated now is not kept for the next time: {reason}"
        ));
    }
    Ok(folder)
}

#[derive(Serialize)]
struct CalibrateReport {
    text: String,
    text_sha256: String,
    tokens: usize,
    bytes: u64,
    seconds: f64,
    warnings: Vec<Warning>,
}

pub(super) fn run(args: &CalibrateArgs, output: &Output) -> anyhow::Result<()> {
    let model = open_model(&args.model, output)?;
    let start = Instant::now();
    let folder = folder(output)?;
    let calibration = args.calibration.compute(&model, &folder.path, output)?;
    let report = CalibrateReport {
        text: calibration.origin.text.clone(),
        text_sha256: calibration.origin.text_sha256.clone(),
        tokens: calibration.origin.tokens,
        bytes: calibration.bytes_on_disk(),
        seconds: start.elapsed().as_secs_f64(),
        warnings: calibration.origin.warning(&model).into_iter().collect(),
    };
    output.warn(&report.warnings);
    output.emit(&report, |r| {
        format!(
            "{}: {} tokens of {}, {:.1} MB in the cache, {:.1} s",
            model.name,
            r.tokens,
            r.text,
            r.bytes as f64 / 1e6,
            r.seconds
        )
    })
}
