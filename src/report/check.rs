//! A packed file held against limits: what they ask is measured, and nothing else.

use super::Report;
use super::beside::beside;
use super::limits::{Finding, Limits};
use super::measure::{Against, MeasureError, Run, ask, estimate_packed};
use crate::evaluate::Extent;
use crate::job::Job;
use crate::model::Model;
use crate::packed::PackedModel;
use crate::warning::Warning;
use std::path::{Path, PathBuf};

/// Tokens of the text where the limits do not say.
const TOKENS: usize = 4096;

/// Limits, and the file that they stand in: what they name lies beside it.
#[derive(Debug)]
pub struct Check<'a> {
    path: &'a Path,
    limits: Limits,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Each limit and what was found.
    pub limits: Vec<Finding>,
    /// What a person should know of what was found.
    pub warnings: Vec<Warning>,
}

impl<'a> Check<'a> {
    /// Reads a limits file.
    ///
    /// # Errors
    /// When it is none, or names all boards where it must name one.
    pub fn open(path: &'a Path) -> Result<Self, MeasureError> {
        let limits = Limits::load(path)?;
        // One each, so that limits and estimates go together.
        if limits.boards.iter().any(|board| board.id == "all") {
            let message = "expected the id of one board, found all";
            return Err(MeasureError::Asked(message.into()));
        }
        Ok(Self { path, limits })
    }

    /// The model that [`Check::findings`] must be given: a path or a name of the catalog; none where no
    /// limit is on the quality of a text.
    #[must_use]
    pub fn reference(&self) -> Option<PathBuf> {
        let reference = self.limits.reference.as_deref();
        let reference = reference.filter(|_| self.limits.needs_text());
        reference.map(|spec| beside(self.path, spec))
    }

    /// Measures what is asked of `packed` and holds it against the limits.
    ///
    /// # Errors
    /// When a text, tasks or a board cannot be read, or the job is cancelled.
    pub fn findings(
        &self,
        (name, packed): (&str, &PackedModel),
        reference: Option<&Model>,
        run: Run<'_>,
        job: &Job<'_>,
    ) -> Result<Findings, MeasureError> {
        let limits = &self.limits;
        let beside = |spec: &Path| beside(self.path, spec);
        let mut report = Report::new(name, packed)?;
        let ids = limits.boards.iter().map(|board| Path::new(&board.id));
        let boards: Vec<PathBuf> = ids.map(beside).collect();
        report.estimates = estimate_packed(packed, name, &boards, run.cache)?;
        if let (true, Some(model), Some(text)) = (limits.needs_text(), reference, &limits.text) {
            let text = beside(text);
            let extent = (limits.tokens.unwrap_or(TOKENS), Extent::All);
            let against = Against::open(model, &text, extent, job)?;
            report.quality = against.quality_of(packed, run, job)?;
            report.warnings = against.warnings(&[(name, packed)])?;
        }
        if let (Some(_), Some(tasks)) = (limits.min_task_pass, &limits.tasks) {
            report.tasks = Some(ask(packed, &beside(Path::new(tasks)), run, job)?);
        }
        Ok(Findings {
            limits: limits.findings(&report),
            warnings: report.warnings,
        })
    }
}

impl Finding {
    /// The limit and its board: "fits of esp32-c3".
    #[must_use]
    pub fn name(&self) -> String {
        match &self.board {
            Some(board) => format!("{} of {board}", self.limit),
            None => self.limit.to_owned(),
        }
    }

    /// What was found, with its error and why it is unknown.
    #[must_use]
    pub fn found_text(&self) -> String {
        let found = self.found.map_or("unknown".to_owned(), value);
        let error = self.standard_error;
        let error = error.map_or(String::new(), |error| format!(" ± {}", value(error)));
        let note = self.note.as_ref();
        let note = note.map_or(String::new(), |note| format!(" ({note})"));
        format!("{found}{error}{note}")
    }

    /// What is allowed.
    #[must_use]
    pub fn allowed_text(&self) -> String {
        value(self.allowed)
    }
}

/// Whole numbers as they are, others with six digits.
fn value(x: f64) -> String {
    if x.fract() == 0.0 {
        format!("{x:.0}")
    } else {
        format!("{x:.6}")
    }
}
