//! A packed file made again from its source, by the recipe in it.

use super::measure::MeasureError;
use crate::calibrate::{Calibration, CalibrationText};
use crate::compress::{compress, compress_calibrated};
use crate::job::Job;
use crate::model::Model;
use crate::packed::{Difference, ENGINE_VERSION, PackedModel, differences};
use crate::workers::Processor;
use engine::format::VERSION;
use serde::Serialize;
use std::path::Path;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reproduced {
    /// Whether every byte is the same.
    pub same_bytes: bool,
    /// Whether every section and every tensor is the same: what the file is worth, also where a version of
    /// the format that is written no more laid it out.
    pub same_contents: bool,
    /// Version of the file's format.
    pub format: u32,
    /// Version of the format that is written here.
    pub format_here: u32,
    /// Length of the file.
    pub bytes: usize,
    /// Version that packed the file, if it says so.
    pub engine: Option<String>,
    /// Version that made it again.
    pub engine_here: &'static str,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

impl Reproduced {
    /// What is to be said of it: "same bytes: all 1234".
    #[must_use]
    pub fn sentence(&self) -> String {
        if self.same_bytes {
            return format!("same bytes: all {}", self.bytes);
        }
        let Some(first) = self.differences.first() else {
            return format!(
                "same contents, every section and tensor: the file is of format version {}, version {} is \
                 written here",
                self.format, self.format_here
            );
        };
        let others = match self.differences.len() - 1 {
            0 => String::new(),
            1 => "; 1 more part differs".to_owned(),
            more => format!("; {more} more parts differ"),
        };
        let engine = self.engine.as_deref().unwrap_or("unknown");
        let first = first.sentence();
        format!("engine {engine}, here {ENGINE_VERSION}: {first}{others}")
    }
}

/// Makes `packed`, of the file `name`, again. Where its weights were fitted to a text, `text` gives so many
/// tokens of it, and `calibrations` is the folder of calibrations.
///
/// # Errors
/// When the model or the text is not what the file was made of, or the job is cancelled.
pub fn reproduce<E: From<MeasureError>>(
    (name, packed): (&str, &PackedModel),
    model: &Model,
    text: impl FnOnce(usize) -> Result<CalibrationText, E>,
    calibrations: &Path,
    processor: &Processor,
    job: &Job<'_>,
) -> Result<Reproduced, E> {
    let (provenance, recipe) = (
        packed.provenance().map_err(MeasureError::from)?,
        packed.recipe().map_err(MeasureError::from)?,
    );
    let found = model.sha256(job).map_err(MeasureError::from)?;
    if found != provenance.sha256 {
        let message = format!(
            "expected the model that {name} was made of, {} with SHA-256 {}, found {} with {found}",
            provenance.name, provenance.sha256, model.name
        );
        return Err(MeasureError::Asked(message).into());
    }
    let text = match &provenance.calibration {
        None => None,
        Some(fitted) => {
            let text = text(usize::try_from(fitted.tokens).unwrap_or(usize::MAX))?;
            if text.sha256 != fitted.sha256 {
                let message = format!(
                    "{name} was fitted to {} tokens of the text {} (SHA-256 of the tokens {}), and {} has others \
                     ({}): name it with --calibration-text or --calibration-chats",
                    fitted.tokens, fitted.text, fitted.sha256, text.name, text.sha256
                );
                return Err(MeasureError::Asked(message).into());
            }
            Some(text)
        }
    };
    let made = || -> Result<Reproduced, MeasureError> {
        let compressed = match text {
            None => compress(model, &recipe, job)?,
            Some(text) => {
                let calibration = Calibration::compute(model, &text, calibrations, job)?;
                compress_calibrated(model, &recipe, Some(&calibration), &[], job)?
            }
        };
        let again = packed.pack_again(model, &compressed, &processor.host(), job)?;
        let differences = differences(packed, &again);
        Ok(Reproduced {
            same_bytes: packed.bytes() == again.bytes(),
            same_contents: differences.is_empty(),
            format: packed.view().version().number(),
            format_here: VERSION,
            bytes: packed.bytes().len(),
            engine: provenance.engine.clone(),
            engine_here: ENGINE_VERSION,
            differences,
        })
    };
    Ok(made()?)
}
