//! The fields of the dialogs, what they ask for, and what came of it.

use super::candidate::Candidate;
use super::path_field::PathField;
use crate::report::Reproduced;
use crate::report::limits::Finding;
use crate::report::sweep::Row;
use crate::rewrite::Basis;
use crate::tune::TuneOptions;
use crate::warning::Warning;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a recipe is to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoalKind {
    /// The packed file.
    Megabytes,
    /// The matrices, scales and masks counted.
    BitsPerWeight,
    /// What the selected board holds.
    Board,
}

/// The fields of the Tune dialog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TuneForm {
    /// Which of them counts.
    pub kind: GoalKind,
    /// Largest packed file in 10^6 bytes; 0 until a model was looked at.
    pub megabytes: f64,
    /// Most bits for each weight of the matrices.
    pub bits_per_weight: f64,
    /// Exchanges that are tried and measured.
    pub exchanges: usize,
}

impl Default for TuneForm {
    fn default() -> Self {
        Self {
            kind: GoalKind::Megabytes,
            megabytes: 0.0,
            bits_per_weight: 4.0,
            exchanges: TuneOptions::default().exchanges,
        }
    }
}

/// The fields of the Rewrite dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteForm {
    /// Text that a trimmed vocabulary is for.
    pub text_path: PathField,
    /// Most tokens to keep; 0 for all that occur.
    pub tokens: usize,
    /// Where the trimmed model goes.
    pub trimmed_path: PathField,
    /// What turns.
    pub basis: Basis,
    /// Where the rotated model goes.
    pub rotated_path: PathField,
}

impl Default for RewriteForm {
    fn default() -> Self {
        Self {
            text_path: PathField::default(),
            tokens: 0,
            trimmed_path: PathField::default(),
            basis: Basis::Both,
            rotated_path: PathField::default(),
        }
    }
}

/// Another form of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// With the tokens that a text needs.
    Trim {
        /// The text.
        text: PathBuf,
        /// Most tokens to keep; 0 for all that occur.
        tokens: usize,
        /// The file to write.
        path: PathBuf,
    },
    /// In another basis.
    Rotate {
        /// What turns.
        basis: Basis,
        /// The file to write.
        path: PathBuf,
    },
}

impl Rewrite {
    /// The file to write.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Trim { path, .. } | Self::Rotate { path, .. } => path,
        }
    }
}

/// A file that was written, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The file.
    pub path: PathBuf,
    /// Its figures, as a sentence.
    pub figures: String,
}

/// The fields of the Verify dialog, and what came of them.
#[derive(Debug, Default)]
pub struct Verify {
    /// Limits to hold the active candidate against.
    pub limits_path: PathField,
    /// What came of it last.
    pub checked: Option<Checked>,
    /// Grid of recipes.
    pub grid_path: PathField,
    /// Rows of the sweep that runs, or ran last.
    pub sweep: Arc<Mutex<SweepRows>>,
    /// Packed file to make again.
    pub packed_path: PathField,
    /// What came of it last.
    pub reproduced: Option<(String, Reproduced)>,
}

/// A candidate that was held against limits.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Who.
    pub candidate: Candidate,
    /// Name of its recipe then.
    pub recipe: String,
    /// Each limit and what was found.
    pub findings: Vec<Finding>,
    /// What a person should know of it.
    pub warnings: Vec<Warning>,
}

/// Rows of a sweep, and what is left of it.
#[derive(Debug, Clone, Default)]
pub struct SweepRows {
    /// Each as soon as it is known.
    pub rows: Vec<Row>,
    /// How far it is while it runs; empty before its first row.
    pub progress: String,
    /// How it ended, and where its rows are; empty before it did.
    pub ended: String,
}

/// What is asked of the Verify dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// Holds the active candidate against the limits of a file.
    Check(PathBuf),
    /// Runs the grid of a file.
    Sweep(PathBuf),
    /// Makes a packed file again.
    Reproduce(PathBuf),
}
