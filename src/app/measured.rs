//! What was measured of a candidate, with what it was measured of.

use crate::evaluate::tasks::TaskReport;
use crate::evaluate::{Basis, Evaluation};
use crate::recipe::{Recipe, Setting};
use crate::tune::{LARGEST_KL, Tuned};
use engine::arena::CachePrecision;
use std::path::PathBuf;
#[cfg(feature = "flash")]
use std::sync::{Arc, Mutex};

/// Bytes of a packed file, by what takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Meter {
    /// The whole file.
    pub total: u64,
    /// Each of [`super::Group::ALL`].
    pub groups: [u64; 4],
    /// Matrix bits over matrix weights, scales and masks counted.
    pub bits_per_weight: f64,
}

impl Meter {
    /// Vocabulary, norms, recipe, padding: what belongs to no group.
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.total.saturating_sub(self.groups.iter().sum())
    }
}

/// What a matrix was last quantized to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BuiltMatrix {
    /// As it was asked.
    pub setting: Setting,
    /// Squared error over squared weights.
    pub nmse: f64,
    /// Squared error over squared outputs, where a calibration weighed it.
    pub output_error: Option<f64>,
}

/// What was measured on a few tokens after a slider moved.
#[derive(Debug, Clone, PartialEq)]
pub struct QuickKl {
    /// The recipe then.
    pub recipe: Recipe,
    /// The precision of keys and values then.
    pub cache: CachePrecision,
    /// Mean divergence, nats a token.
    pub mean: f64,
    /// Tokens of the window.
    pub tokens: usize,
}

/// An evaluation and the recipe that it belongs to.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The recipe then.
    pub recipe: Recipe,
    /// The precision of keys and values then.
    pub cache: CachePrecision,
    /// The result.
    pub result: Evaluation,
    /// What it was computed from.
    pub basis: Basis,
}

impl Evaluated {
    /// Whether the result is of this recipe, with keys and values kept so.
    #[must_use]
    pub fn is_of(&self, recipe: &Recipe, cache: CachePrecision) -> bool {
        self.recipe == *recipe && self.cache == cache
    }
}

/// What held of a set of tasks, and what was asked.
#[derive(Debug, Clone)]
pub struct Tasked {
    /// Name of the set, or path of the file.
    pub set: PathBuf,
    /// The recipe then.
    pub recipe: Recipe,
    /// How keys and values were kept then.
    pub cache: CachePrecision,
    /// The result.
    pub report: TaskReport,
}

impl Tasked {
    /// Whether the result is of this recipe, with keys and values kept so.
    #[must_use]
    pub fn is_of(&self, recipe: &Recipe, cache: CachePrecision) -> bool {
        self.recipe == *recipe && self.cache == cache
    }
}

/// How many tokens a turn has before the first that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnTokens {
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens of the answer before its spoken reply.
    pub unspoken: u32,
}

/// The figures of a tune.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneFigures {
    /// The recipe that was found.
    pub recipe: Recipe,
    /// Bytes of the packed file, at most.
    pub bytes: u64,
    /// Mean divergence in nats: the sum over matrices, and what was measured before and after exchanges.
    pub predicted_kl: f64,
    /// Before exchanges.
    pub allocated_kl: f64,
    /// After them.
    pub measured_kl: f64,
    /// Positions that were scored.
    pub positions: usize,
    /// Tokens of a window.
    pub window_tokens: usize,
    /// Exchanges tried and kept.
    pub exchanges: (usize, usize),
}

impl TuneFigures {
    /// "KL predicted 0.0310, measured 0.0340".
    #[must_use]
    pub fn text(&self) -> String {
        let predicted = if self.predicted_kl > LARGEST_KL {
            "above 0.5".to_owned()
        } else {
            format!("{:.4}", self.predicted_kl)
        };
        format!("KL predicted {predicted}, measured {:.4}", self.measured_kl)
    }
}

impl From<&Tuned> for TuneFigures {
    fn from(tuned: &Tuned) -> Self {
        Self {
            recipe: tuned.recipe.clone(),
            bytes: tuned.bytes,
            predicted_kl: tuned.predicted_kl,
            allocated_kl: tuned.allocated_kl,
            measured_kl: tuned.measured_kl,
            positions: tuned.positions,
            window_tokens: tuned.window_tokens,
            exchanges: tuned.exchanges,
        }
    }
}

/// What is known of a board before it is written: who answers there, and what will change.
#[cfg(feature = "flash")]
pub(super) type ShownPlan =
    Arc<Mutex<Option<(Option<crate::link::Greeting>, crate::link::FlashPlan)>>>;
