//! The window's calibration and tune: what their jobs do, and what the dialog asks of them.

use super::forms::{GoalKind, TuneForm};
use super::loaded::Loaded;
use super::measured::TuneFigures;
use super::running::Failure;
use super::work::{self, BuiltModel};
use crate::board::Board;
use crate::calibrate::{Calibration, CalibrationText, DEFAULT_TOKENS};
use crate::catalog::Cache;
use crate::estimate::Options;
use crate::job::Job;
use crate::tune::{BoardGoal, Candidates, Smallest, TuneOptions, Tuner, known, preview_settings};
use engine::arena::CachePrecision;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tokens of the same text, beyond the calibration's, that divergences are measured on.
const MEASURED_TOKENS: usize = 1024;

/// A calibration that was computed or found, and what tunes have measured with it before.
#[derive(Debug)]
pub struct Calibrated {
    /// The model that it is of.
    pub loaded: Arc<Loaded>,
    /// Nothing where none was found.
    pub calibration: Option<Arc<Calibration>>,
    /// Nothing where no tune has measured all.
    pub candidates: Option<Vec<Candidates>>,
}

/// What a tune found.
#[derive(Debug)]
pub struct TuneOutcome {
    /// What was calibrated on the way.
    pub calibrated: Calibrated,
    /// Its figures.
    pub figures: TuneFigures,
    /// The model that it makes, ready to run.
    pub built: BuiltModel,
}

/// What a tune is asked.
#[derive(Debug, Clone)]
pub(super) struct TuneGoal {
    pub(super) form: TuneForm,
    pub(super) board: Option<&'static Board>,
    pub(super) context_tokens: u32,
    pub(super) cache: CachePrecision,
}

/// Where calibrations are kept, if the window was not told where.
pub(super) fn folder(told: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match told {
        Some(folder) => Ok(folder),
        None => Ok(Cache::from_environment()?.calibrations()),
    }
}

/// Calibrates a model on the text that comes along, or takes up where it was stopped.
pub(super) fn calibrate(
    loaded: Arc<Loaded>,
    told: Option<PathBuf>,
    job: &Job<'_>,
) -> Result<Calibrated, Failure> {
    let text = CalibrationText::default_of(&loaded.model, DEFAULT_TOKENS)?;
    let calibration = Calibration::compute(&loaded.model, &text, &folder(told)?, job)?;
    calibrated(loaded, Some(calibration))
}

/// The calibration that is in the cache already; computes none.
pub(super) fn find(
    loaded: Arc<Loaded>,
    told: Option<PathBuf>,
    job: &Job<'_>,
) -> Result<Calibrated, Failure> {
    let found = folder(told).and_then(|folder| found(&loaded, &folder, job));
    // A model that is too small to be calibrated, or an account without a cache: there is none.
    calibrated(loaded, found.unwrap_or_default())
}

fn found(loaded: &Loaded, folder: &Path, job: &Job<'_>) -> Result<Option<Calibration>, Failure> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let text = CalibrationText::default_of(&loaded.model, DEFAULT_TOKENS)?;
    Ok(Calibration::find(&loaded.model, &text, folder, job)?)
}

fn calibrated(
    loaded: Arc<Loaded>,
    calibration: Option<Calibration>,
) -> Result<Calibrated, Failure> {
    let candidates = match &calibration {
        None => None,
        Some(calibration) => {
            let tokens = measured_tokens(&loaded, calibration)?;
            known(&loaded.model, calibration, &tokens, &preview_settings())
        }
    };
    Ok(Calibrated {
        candidates,
        calibration: calibration.map(Arc::new),
        loaded,
    })
}

fn measured_tokens(loaded: &Loaded, calibration: &Calibration) -> Result<Vec<u32>, Failure> {
    let tokens = DEFAULT_TOKENS + MEASURED_TOKENS;
    let text = CalibrationText::default_of(&loaded.model, tokens)?;
    Ok(calibration.unseen(&text))
}

/// Calibrates if need be, measures every matrix, and finds the recipe for a goal.
pub(super) fn tune(
    loaded: Arc<Loaded>,
    told: Option<PathBuf>,
    goal: &TuneGoal,
    job: &Job<'_>,
) -> Result<TuneOutcome, Failure> {
    let options = TuneOptions {
        settings: preview_settings(),
        exchanges: goal.form.exchanges,
        cache: goal.cache,
        ..TuneOptions::default()
    };
    refuse_early(&Smallest::of(&loaded.model, &options)?, goal)?;
    let text = CalibrationText::default_of(&loaded.model, DEFAULT_TOKENS)?;
    let calibration = Calibration::compute(&loaded.model, &text, &folder(told)?, job)?;
    let tokens = measured_tokens(&loaded, &calibration)?;
    let tuner = Tuner::measure(&loaded.model, &calibration, &tokens, &options, job)?;
    let bytes = bytes(&tuner, goal)?;
    let tuned = tuner.tune(bytes, job)?;
    let candidates = tuner.tensors().to_vec();
    let live = work::live(&loaded, &tuned.compressed)?;
    Ok(TuneOutcome {
        figures: TuneFigures::from(&tuned),
        built: BuiltModel {
            loaded: Arc::clone(&loaded),
            live: Arc::new(live),
            tensors: tuned.compressed.tensors,
        },
        calibrated: Calibrated {
            candidates: Some(candidates),
            calibration: Some(Arc::new(calibration)),
            loaded,
        },
    })
}

/// The bytes of a goal in megabytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is limited by what the model takes"
)]
fn asked_bytes(goal: &TuneGoal) -> u64 {
    (goal.form.megabytes * 1e6).round() as u64
}

fn board_goal(goal: &TuneGoal) -> Result<BoardGoal, Failure> {
    let board = goal.board.ok_or("no board is selected")?;
    Ok(BoardGoal {
        board: board.clone(),
        options: Options {
            context_tokens: goal.context_tokens,
            cache: goal.cache,
            ..Options::default()
        },
        min_tokens_per_second: None,
    })
}

/// Refuses what no recipe can keep to, before anything is measured.
fn refuse_early(smallest: &Smallest, goal: &TuneGoal) -> Result<(), Failure> {
    match goal.form.kind {
        GoalKind::Megabytes => smallest.require_bytes(asked_bytes(goal))?,
        GoalKind::BitsPerWeight => smallest.require_bits_per_weight(goal.form.bits_per_weight)?,
        GoalKind::Board => smallest.require_board(&board_goal(goal)?)?,
    }
    Ok(())
}

fn bytes(tuner: &Tuner<'_>, goal: &TuneGoal) -> Result<u64, Failure> {
    let largest = tuner.range().1;
    Ok(match goal.form.kind {
        GoalKind::Megabytes => largest.min(asked_bytes(goal)),
        GoalKind::BitsPerWeight => largest.min(tuner.bytes_at(goal.form.bits_per_weight)),
        GoalKind::Board => tuner.bytes_for(&board_goal(goal)?)?,
    })
}
