//! Runs the points of a grid that have no row yet.

use super::{BoardRow, Grid, Journal, Point, Row, SweepError, csv};
use crate::board::Board;
use crate::calibrate::{Calibration, CalibrationText, DEFAULT_TOKENS};
use crate::compress::{CompressedTensor, compress_calibrated};
use crate::evaluate::{Extent, WINDOW, window_tokens};
use crate::job::Job;
use crate::model::Model;
use crate::packed::{ENGINE_VERSION, PackedModel, PrefixChoice, PrefixText, sha256_hex};
use crate::path_text;
use crate::report::measure::{Against, MeasureError, Run, ask, estimate_packed};
use crate::saved_format::Format;
use crate::warning::Warning;
use crate::whole_file;
use crate::workers::Processor;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A row that was added, and what is left to do.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The row.
    pub row: &'a Row,
    /// Rows added so far.
    pub done: usize,
    /// Rows to add in all.
    pub todo: usize,
    /// Seconds that the rest takes, if it goes on as it did.
    pub left_seconds: f64,
}

/// A grid that was run to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Swept {
    /// Points of the grid.
    pub points: usize,
    /// Those whose rows were there already.
    pub skipped: usize,
    /// The rows as JSON lines.
    #[serde(serialize_with = "path_text::lossy")]
    pub rows: PathBuf,
    /// The rows as a table.
    #[serde(serialize_with = "path_text::lossy")]
    pub csv: PathBuf,
    /// What it took.
    pub seconds: f64,
    /// What a person should know of the rows.
    pub warnings: Vec<Warning>,
    /// The rows of this grid, in its order.
    #[serde(skip)]
    pub table: Vec<Row>,
}

/// What every point of a grid is measured with.
struct Bench<'a> {
    grid: &'a Grid,
    model: &'a Model,
    against: Option<Against<'a>>,
    /// Where a recipe asks for one.
    calibration: Option<Calibration>,
    cache: CachePrecision,
    processor: &'a Processor,
}

impl Grid {
    /// Runs every point whose row is not in `stem`.jsonl yet, and writes `stem`.csv after each; `model` is
    /// the one that the grid names. Where a recipe weighs errors the model is calibrated on the text that
    /// comes along, kept in the folder `calibrations`.
    ///
    /// # Errors
    /// When what the grid names or the rows of before cannot be read, the results cannot be written, there
    /// is no folder for a calibration, or the job is cancelled; what was found by then is kept.
    pub fn run(
        &self,
        model: &Model,
        stem: &Path,
        calibrations: Option<&Path>,
        processor: &Processor,
        on_row: &mut dyn FnMut(Step<'_>),
        job: &Job<'_>,
    ) -> Result<Swept, SweepError> {
        let points = self.points()?;
        let cache = CachePrecision::from_bits(self.kv_bits).ok_or_else(|| {
            let found = self.kv_bits;
            MeasureError::Asked(format!("expected kv_bits of 16, 8 or 4, found {found}"))
        })?;
        let [rows, table] = results(stem);
        self.require_apart(&[&rows, &table])?;
        let mut journal = Journal::open(&rows)?;
        let extent = (self.tokens, Extent::All);
        let against = match &self.text {
            Some(text) => Some(Against::open(model, text, extent, job)?),
            None => None,
        };
        let calibration = match points.iter().any(|point| point.recipe.is_calibrated()) {
            true => Some(calibrated(model, calibrations, job)?),
            false => None,
        };
        let measured = self.measured(model, job)?;
        let hash = |point: &Point| {
            let fitted = calibration
                .as_ref()
                .filter(|_| point.recipe.is_calibrated());
            match fitted {
                Some(fitted) => point.hash(&format!("{measured}{}", fitted.origin.text_sha256)),
                None => point.hash(&measured),
            }
        };
        let hashes: Vec<String> = points.iter().map(hash).collect();
        let warnings = warnings_of(&points, model, against.as_ref())?;
        let bench = Bench {
            grid: self,
            model,
            against,
            calibration,
            cache,
            processor,
        };
        let todo = hashes.iter().filter(|hash| !journal.has(hash)).count();
        let (begun, mut done, mut ready) = (Instant::now(), 0, Vec::new());
        let write = |journal: &Journal| {
            let text = csv(of_grid(journal, &hashes));
            whole_file::write_result(&table, text.as_bytes())
                .map_err(|e| MeasureError::write(&table, e))
        };
        for (point, hash) in points.iter().zip(&hashes) {
            if journal.has(hash) {
                continue;
            }
            let row = bench.row(point, hash, &mut ready, job)?;
            done += 1;
            on_row(Step {
                row: &row,
                done,
                todo,
                left_seconds: begun.elapsed().as_secs_f64() / done as f64 * (todo - done) as f64,
            });
            journal.push(row)?;
            // Whole after each row, so that a sweep that is broken off leaves a table too.
            write(&journal)?;
        }
        write(&journal)?;
        Ok(Swept {
            points: points.len(),
            skipped: points.len() - done,
            warnings,
            table: of_grid(&journal, &hashes).into_iter().cloned().collect(),
            rows,
            csv: table,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// Refuses to write over what the grid names.
    fn require_apart(&self, writes: &[&Path]) -> Result<(), MeasureError> {
        let specs = [
            self.recipe.as_ref(),
            self.tasks.as_ref(),
            self.text.as_ref(),
        ];
        let specs = specs.into_iter().flatten().chain([&self.model]);
        let specs = specs.chain(&self.recipes).chain(&self.boards);
        let reads: Vec<&Path> = specs.map(PathBuf::as_path).collect();
        let apart = whole_file::require_apart(writes, &reads);
        apart.map_err(|error| MeasureError::Asked(error.to_string()))
    }

    /// All that decides a row beside its recipe, as one text.
    fn measured(&self, model: &Model, job: &Job<'_>) -> Result<String, MeasureError> {
        let hash = |path: &Path| {
            let bytes = std::fs::read(path).map_err(|e| MeasureError::read(path, e))?;
            Ok::<_, MeasureError>(sha256_hex(&bytes))
        };
        let text = self.text.as_deref().map(hash).transpose()?;
        // A set that comes along is named by its name and the program's version.
        let tasks = match &self.tasks {
            Some(tasks) if tasks.exists() => Some(hash(tasks)?),
            tasks => tasks
                .as_ref()
                .map(|name| name.to_string_lossy().into_owned()),
        };
        let mut on = Vec::new();
        for spec in &self.boards {
            on.extend(Board::open_all(spec)?);
        }
        let (tokens, kv_bits) = (self.tokens, self.kv_bits);
        let sha256 = model.sha256(job)?;
        let all = (ENGINE_VERSION, sha256, text, tokens, kv_bits, tasks, on);
        let all = serde_json::to_string(&all).map_err(|e| MeasureError::Asked(e.to_string()))?;
        // Rows of before had windows of 512 whatever the context.
        Ok(match window_tokens(model.hyperparameters.context) {
            WINDOW => all,
            window => format!("{all} in windows of {window}"),
        })
    }
}

fn calibrated(
    model: &Model,
    folder: Option<&Path>,
    job: &Job<'_>,
) -> Result<Calibration, MeasureError> {
    let folder = folder.ok_or_else(|| {
        let message = "a recipe of the grid needs a calibration, and this account has no folder to keep it in";
        MeasureError::Asked(message.into())
    })?;
    let text = CalibrationText::default_of(model, DEFAULT_TOKENS)?;
    Ok(Calibration::compute(model, &text, folder, job)?)
}

/// What a person should know of all rows together.
fn warnings_of(
    points: &[Point],
    model: &Model,
    against: Option<&Against<'_>>,
) -> Result<Vec<Warning>, MeasureError> {
    let mut warnings = match against {
        Some(against) => against.warnings(&[])?,
        None => Vec::new(),
    };
    for warning in points.iter().flat_map(|p| p.recipe.warnings_for(model)) {
        // Points have rules in common.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok(warnings)
}

/// Where the rows of a sweep go, as JSON lines and as a table; what looks like an ending in `stem` stays.
#[must_use]
pub fn results(stem: &Path) -> [PathBuf; 2] {
    [".jsonl", ".csv"].map(|ending| {
        let mut name = stem.as_os_str().to_owned();
        name.push(ending);
        name.into()
    })
}

/// The rows of this grid, in its order; the file may have those of others.
fn of_grid<'a>(journal: &'a Journal, hashes: &[String]) -> Vec<&'a Row> {
    let row = |hash: &String| journal.rows.iter().find(|row| row.point == *hash);
    hashes.iter().filter_map(row).collect()
}

impl Bench<'_> {
    fn row(
        &self,
        point: &Point,
        hash: &str,
        ready: &mut Vec<Arc<CompressedTensor>>,
        job: &Job<'_>,
    ) -> Result<Row, MeasureError> {
        let begun = Instant::now();
        let Self { grid, model, .. } = self;
        let (cache, processor) = (self.cache, self.processor);
        let run = Run {
            cache: Some(cache),
            processor,
        };
        let calibration = self.calibration.as_ref();
        let compressed = compress_calibrated(model, &point.recipe, calibration, ready, job)?;
        ready.clone_from(&compressed.tensors);
        let choice = PrefixChoice {
            text: PrefixText::OfTemplate,
            cache,
        };
        let host = processor.host();
        let packed = PackedModel::pack_with_prefix(model, &compressed, choice, &host, job)?;
        let quality = match &self.against {
            Some(against) => against.quality_of(&packed, run, job)?,
            None => None,
        };
        let quality = quality.map(|quality| quality.evaluation);
        let tasks = match &grid.tasks {
            Some(tasks) => Some(ask(&packed, tasks, run, job)?.report.held),
            None => None,
        };
        let estimates = estimate_packed(&packed, &model.name, &grid.boards, run.cache)?;
        let figure = |f: fn(&crate::evaluate::Evaluation) -> f64| quality.as_ref().map(f);
        Ok(Row {
            format: Format,
            point: hash.to_owned(),
            model: model.name.clone(),
            recipe: point.base.clone(),
            set: point.set.join(" "),
            bytes: packed.bytes().len(),
            bits_per_weight: packed.bits_per_weight(),
            tokens: quality.as_ref().map(|e| e.tokens),
            window_tokens: quality.as_ref().map(|e| e.window_tokens),
            kl_mean: figure(|e| e.kl_mean),
            kl_mean_standard_error: figure(|e| e.kl_mean_standard_error),
            kl_p99: figure(|e| e.kl_p99),
            same_top: figure(|e| e.same_top),
            perplexity: figure(|e| e.perplexity),
            reference_perplexity: figure(|e| e.reference_perplexity),
            ln_perplexity_ratio: figure(|e| e.ln_perplexity_ratio),
            ln_perplexity_ratio_standard_error: figure(|e| e.ln_perplexity_ratio_standard_error),
            tasks_held: tasks.map(|t| t.share),
            tasks_low: tasks.map(|t| t.low),
            tasks_high: tasks.map(|t| t.high),
            boards: estimates
                .into_iter()
                .map(|e| BoardRow {
                    fits: e.fits,
                    flash_bytes: e.flash_bytes,
                    ram_bytes: e.ram_bytes,
                    tokens_per_second: e.tokens_per_second.as_ref().map(|range| range.mid),
                    tokens_per_second_low: e.tokens_per_second.as_ref().map(|range| range.low),
                    tokens_per_second_high: e.tokens_per_second.map(|range| range.high),
                    validation: Some(e.validation.name().to_owned()),
                    id: e.id,
                })
                .collect(),
            seconds: begun.elapsed().as_secs_f64(),
        })
    }
}
