//! What is measured of packed files: quality against a reference on a text, tasks, cost on boards.

use super::limits::LimitsError;
use super::{Quality, TaskQuality};
use crate::board::{Board, BoardError};
use crate::calibrate::CalibrateError;
use crate::compress::{CompressError, compress};
use crate::estimate::{Estimate, Options, estimate_file};
use crate::evaluate::tasks::{self, TasksError};
use crate::evaluate::{Basis, Candidate, Chosen, Evaluation, Extent, NamedText, Score, Scored};
use crate::evaluate::{EvaluateError, score_windows, windows};
use crate::job::{Cancelled, Job};
use crate::model::Model;
use crate::packed::{
    LiveModel, PackError, PackedModel, TextSections, WeightSource as _, sha256_hex,
};
use crate::recipe::Recipe;
use crate::text_file;
use crate::warning::Warning;
use crate::workers::Processor;
use engine::arena::CachePrecision;
use std::path::Path;
use std::sync::Arc;

/// Why something cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What a file asks for contradicts itself or what is there.
    #[error("{0}")]
    Asked(String),
    /// The limits are none.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// There is no such board.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The quality cannot be measured.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The tasks cannot be asked.
    #[error(transparent)]
    Tasks(#[from] TasksError),
    /// The model cannot be packed, or the packed file not be read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The model cannot be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The calibration cannot be computed.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl MeasureError {
    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::io("read", path, source)
    }

    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::io("write", path, source)
    }

    fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.display().to_string(),
            source,
        }
    }
}

/// How a packed file is run while it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// How keys and values are kept; `None`: as each file was made for.
    pub cache: Option<CachePrecision>,
    /// What computes.
    pub processor: &'a Processor,
}

impl Run<'_> {
    fn cache_of(&self, packed: &PackedModel) -> CachePrecision {
        self.cache.unwrap_or(packed.cache())
    }
}

/// A reference, ready to be compared with on a text.
#[derive(Debug)]
pub struct Against<'m> {
    model: &'m Model,
    sha256: String,
    live: LiveModel,
    text_name: String,
    text: String,
    windows: Vec<Vec<u32>>,
    extent: Extent,
    /// Tokens of the text that were asked for.
    asked_tokens: usize,
}

impl<'m> Against<'m> {
    /// Prepares `model` in 16 bits and at most `tokens` tokens of the file `text`.
    ///
    /// # Errors
    /// When the file cannot be read, has less than one window, or the job is cancelled.
    pub fn open(
        model: &'m Model,
        text: &Path,
        (tokens, extent): (usize, Extent),
        job: &Job<'_>,
    ) -> Result<Self, MeasureError> {
        let name = text.display().to_string();
        let text = text_file::read(text, text_file::PROSE_BYTES)
            .map_err(|e| MeasureError::read(text, e))?;
        let windows = windows(model, &text, tokens)?;
        let sha256 = model.sha256(job)?;
        let original = compress(model, &Recipe::original(), job)?;
        let sections = Arc::new(TextSections::new(model)?);
        let live = LiveModel::new(model.hyperparameters, sections, &original)?;
        Ok(Self {
            model,
            sha256,
            live,
            text_name: name,
            text,
            windows,
            extent,
            asked_tokens: tokens,
        })
    }

    /// What a person should know of the figures of `files`, each with its name.
    ///
    /// # Errors
    /// When a file does not say what it was made of.
    pub fn warnings(&self, files: &[(&str, &PackedModel)]) -> Result<Vec<Warning>, PackError> {
        let window = self.windows.first().map_or(0, Vec::len);
        let asked = self.asked_tokens;
        let few = (asked < window).then_some(Warning::FewTokens { asked, window });
        let mut warnings: Vec<Warning> = few.into_iter().collect();
        for (name, packed) in files {
            warnings.extend(other_reference((name, packed), (self.model, &self.sha256))?);
        }
        Ok(warnings)
    }

    /// Scores packed files on the same windows; each with its quality, in order.
    ///
    /// # Errors
    /// When a file has another vocabulary or a shorter context, computes what is no finite number, or the job
    /// is cancelled.
    pub fn score(
        &self,
        files: &[&PackedModel],
        run: Run<'_>,
        job: &Job<'_>,
    ) -> Result<Vec<(Vec<Score>, Quality)>, MeasureError> {
        let candidates: Vec<_> = files
            .iter()
            .map(|file| Candidate {
                source: *file,
                cache: run.cache_of(file),
            })
            .collect();
        let host = run.processor.host();
        let (live, windows) = (&self.live, &self.windows);
        let Scored {
            scores,
            window_tokens,
            chosen,
        } = score_windows(&candidates, live, windows, self.extent, &host, job)?;
        let quality = |(scores, file): (Vec<Score>, &&PackedModel)| {
            let evaluation = Evaluation::new(&scores, window_tokens)?;
            let quality = self.quality(evaluation, file, chosen, run)?;
            Ok((scores, quality))
        };
        scores.into_iter().zip(files).map(quality).collect()
    }

    /// The quality of one packed file.
    ///
    /// # Errors
    /// As [`Against::score`].
    pub fn quality_of(
        &self,
        file: &PackedModel,
        run: Run<'_>,
        job: &Job<'_>,
    ) -> Result<Option<Quality>, MeasureError> {
        let scored = self.score(&[file], run, job)?;
        Ok(scored.into_iter().next().map(|(_, quality)| quality))
    }

    fn quality(
        &self,
        evaluation: Evaluation,
        file: &PackedModel,
        chosen: Option<Chosen>,
        run: Run<'_>,
    ) -> Result<Quality, MeasureError> {
        let recipe = sha256_hex(file.recipe()?.to_toml().as_bytes());
        let text = NamedText {
            name: &self.text_name,
            text: &self.text,
        };
        let basis = Basis::new(
            (Some(sha256_hex(file.bytes())), recipe),
            run.cache_of(file),
            (self.model, self.sha256.clone()),
            text,
            run.processor,
        );
        Ok(Quality {
            evaluation,
            basis,
            chosen,
        })
    }
}

/// A warning where a packed file was made of another model than the reference, which has this SHA-256.
///
/// # Errors
/// When the file does not say what it was made of.
pub fn other_reference(
    (file, packed): (&str, &PackedModel),
    (reference, sha256): (&Model, &str),
) -> Result<Option<Warning>, PackError> {
    let source = packed.provenance()?;
    Ok((source.sha256 != sha256).then(|| Warning::OtherReference {
        file: file.to_owned(),
        made_of: (source.name, source.sha256),
        reference: (reference.name.clone(), sha256.to_owned()),
    }))
}

/// Asks a packed file the tasks of a set or file.
///
/// # Errors
/// When the tasks cannot be read, the model cannot answer, or the job is cancelled.
pub fn ask(
    packed: &PackedModel,
    set: &Path,
    run: Run<'_>,
    job: &Job<'_>,
) -> Result<TaskQuality, MeasureError> {
    let all = tasks::load(set, job)?;
    let (host, longest) = (run.processor.host(), tasks::MAX_TOKENS);
    let report = tasks::evaluate_tasks(packed, run.cache_of(packed), &all, longest, &host, job)?;
    Ok(TaskQuality {
        tasks: set.to_string_lossy().into_owned(),
        report,
    })
}

/// Estimates a packed file on each board that is named, for a turn of a voice dialogue, with keys and values
/// at `cache`, or else as the file was made for.
///
/// # Errors
/// When there is no such board.
pub fn estimate_packed(
    packed: &PackedModel,
    name: &str,
    boards: &[impl AsRef<Path>],
    cache: Option<CachePrecision>,
) -> Result<Vec<Estimate>, BoardError> {
    let options = Options {
        cache: cache.unwrap_or(packed.cache()),
        ..Options::default()
    };
    let mut estimates = Vec::new();
    for spec in boards {
        for board in Board::open_all(spec)? {
            estimates.push(estimate_file(packed, name, &board, &options));
        }
    }
    Ok(estimates)
}
