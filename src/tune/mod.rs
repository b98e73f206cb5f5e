//! A budget in, a recipe out.
//!
//! Every tensor is compressed in every setting, which gives its bytes and the error of its outputs; one
//! measured divergence a tensor says what such an error costs the model; a knapsack picks one setting
//! for each; picks for a little less, and exchanges between pairs of tensors, are measured and put right
//! what does not add up (EvoPress, Sieberling et al. 2024, arXiv:2410.14649). The limit is on the whole
//! packed file and is never exceeded.

mod allocate;
mod budget;
mod candidate;
mod exchange;
mod goal;
mod journal;
mod predict;
mod probe;
mod recipe;
mod reference;
mod settings;

pub use budget::Smallest;
pub use candidate::{Candidate, Candidates};
pub use goal::{BoardGoal, Passed};
pub use predict::{Better, Evidence, LARGEST_KL, expected_error};
pub use settings::{default_settings, preview_settings, sparse_settings};

use crate::calibrate::{CalibrateError, Calibration, sha256_of_tokens};
use crate::compress::{CompressError, CompressedModel, compress_calibrated};
use crate::estimate::{ModelShape, SECTOR_BYTES};
use crate::evaluate::NotADivergence;
use crate::evaluate::tasks::TasksError;
use crate::job::{Cancelled, Job};
use crate::model::{Model, Tensor};
use crate::packed::PackError;
use crate::recipe::{Precision, Quantizer, Recipe, Setting};
use crate::saved_format::NewerFormat;
use allocate::{Choice, Front};
use budget::fixed_bytes;
use engine::arena::CachePrecision;
use exchange::Exchanges;
use journal::Journal;
use reference::{Reference, WINDOW};
use std::path::PathBuf;

/// Windows that single tensors are probed on: what one costs need not be known to the per cent.
const PROBE_WINDOWS: usize = 2;
/// Thousandths of a budget that are tried too: what the sum over tensors expects of two picks so close may
/// differ by less than it is wrong by.
const SMALLER_BUDGETS: [u64; 3] = [990, 980, 960];

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// A newer Whittle wrote what was measured before.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// Not even the smallest settings fit.
    #[error(
        "expected a budget of at least {smallest} bytes, found {found}: that is every tensor in its smallest setting"
    )]
    TooSmall {
        /// The least that would do.
        smallest: u64,
        /// What was asked.
        found: u64,
    },
    /// Not even the smallest settings have so few bits.
    #[error(
        "expected a budget of at least {smallest} bits for each weight, found {found}: that is every tensor in its smallest setting"
    )]
    TooFewBits {
        /// The least that would do.
        smallest: f64,
        /// What was asked.
        found: f64,
    },
    /// Too few tokens are left to measure with.
    #[error("expected at least {expected} tokens to measure with, found {found}")]
    ShortText {
        /// Tokens of one window.
        expected: usize,
        /// Tokens there are.
        found: usize,
    },
    /// Something measured is no finite number: a model that computes none is not the best one.
    #[error("expected a finite number, found {found} for {of}")]
    NotFinite {
        /// What was measured.
        of: String,
        /// What came out.
        found: f64,
    },
    /// A divergence that none can be.
    #[error(transparent)]
    Divergence(#[from] NotADivergence),
    /// The board does not hold the model, or is too slow, in its smallest settings.
    #[error(
        "no recipe keeps to {board}: with {smallest} bytes, every tensor in its smallest setting, it has {reason}"
    )]
    Board {
        /// The board.
        board: String,
        /// Bytes of the smallest file.
        smallest: u64,
        /// What it lacks.
        reason: String,
    },
    /// The tasks do not hold.
    #[error("no recipe of at most {bytes} bytes keeps {:.1} % of the tasks: the best keeps {:.1} %", .min_pass * 100.0, .found * 100.0)]
    Tasks {
        /// Share that was asked.
        min_pass: f64,
        /// Largest share that was found.
        found: f64,
        /// The most bytes allowed.
        bytes: u64,
    },
    /// The model cannot be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A model cannot be asked its tasks.
    #[error(transparent)]
    Ask(#[from] TasksError),
    /// The calibration cannot be read.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The model cannot be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The measurements cannot be kept.
    #[error("cannot keep measurements in {path}: {source}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// What a tune may do.
#[derive(Debug, Clone)]
pub struct TuneOptions {
    /// Settings that a tensor may have.
    pub settings: Vec<Setting>,
    /// Exchanges that are tried; without any the knapsack's pick is taken as it is, else what it picks
    /// for a little less is tried before them.
    pub exchanges: usize,
    /// Seed of their order.
    pub seed: u64,
    /// Bits of the keys and values of the text that opens conversations, which the file carries.
    pub cache: CachePrecision,
}

impl Default for TuneOptions {
    fn default() -> Self {
        Self {
            settings: default_settings(),
            exchanges: 40,
            seed: 0,
            cache: CachePrecision::Sixteen,
        }
    }
}

/// A point of the front: what the knapsack expects of a budget.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Point {
    /// Bytes of the packed file, at most.
    pub bytes: u64,
    /// Expected mean divergence in nats. Above a half it ranks, and is no number.
    pub predicted_kl: f64,
    /// The recipe.
    #[serde(skip)]
    pub recipe: Recipe,
}

/// A recipe that was found, and what was measured of it.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The recipe.
    pub recipe: Recipe,
    /// The model that it makes.
    pub compressed: CompressedModel,
    /// Bytes of the packed file, at most.
    pub bytes: u64,
    /// Mean divergence in nats that the sum over tensors expects.
    pub predicted_kl: f64,
    /// What was measured of the knapsack's pick, on the float path with the tune's own windows.
    pub allocated_kl: f64,
    /// And of what was found around it.
    pub measured_kl: f64,
    /// Positions that were scored.
    pub positions: usize,
    /// Tokens of a window: 256, or the model's context. All but its first quarter is scored.
    pub window_tokens: usize,
    /// Exchanges tried and kept.
    pub exchanges: (usize, usize),
}

/// Everything that is known of a model's tensors: what a recipe for any budget follows from.
pub struct Tuner<'a> {
    model: &'a Model,
    calibration: &'a Calibration,
    options: &'a TuneOptions,
    shape: ModelShape,
    reference: Reference<'a>,
    tensors: Vec<Candidates>,
}

impl std::fmt::Debug for Tuner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tuner")
            .field("model", &self.model.name)
            .field("tensors", &self.tensors)
            .finish_non_exhaustive()
    }
}

impl<'a> Tuner<'a> {
    /// Measures every tensor, or takes up what the calibration's folder has of it. `tokens` are those
    /// that divergences are measured on: others than the calibration's.
    ///
    /// # Errors
    /// When there is no whole window of tokens, files cannot be read or written, or the job is cancelled;
    /// what was measured by then is kept.
    pub fn measure(
        model: &'a Model,
        calibration: &'a Calibration,
        tokens: &[u32],
        options: &'a TuneOptions,
        job: &Job<'_>,
    ) -> Result<Self, TuneError> {
        let found = tokens.len();
        let (expected, tokens) = whole_windows(model, tokens);
        if tokens.is_empty() {
            return Err(TuneError::ShortText { expected, found });
        }
        let (window, tokens) = (expected, tokens.to_vec());
        let mut journal = Journal::open(&journal_path(calibration, &tokens))?;
        let probed = tokens[..tokens.len().min(PROBE_WINDOWS * window)].to_vec();
        let tensors = probe::measure(
            model,
            calibration,
            &Reference::compute(model, probed, window, job)?,
            &options.settings,
            probe(&options.settings),
            &mut journal,
            job,
        )?;
        let reference = Reference::compute(model, tokens, window, job)?.for_whole_models();
        Ok(Self {
            model,
            calibration,
            options,
            shape: ModelShape::of(model)?,
            reference,
            tensors,
        })
    }

    /// What is known of each matrix.
    #[must_use]
    pub fn tensors(&self) -> &[Candidates] {
        &self.tensors
    }

    /// The recipes that the knapsack picks for each of these budgets, in bytes of the whole file; budgets
    /// in which nothing fits are left out.
    #[must_use]
    pub fn front(&self, budgets: &[u64]) -> Vec<Point> {
        let choices = self.choices();
        let largest = budgets.iter().copied().max().unwrap_or(0);
        let front = Front::solve(&choices, largest.saturating_sub(self.fixed_bytes()));
        let point = |bytes: &u64| {
            let chosen = front.within(bytes.checked_sub(self.fixed_bytes())?)?;
            Some(Point {
                bytes: self.bytes(&chosen),
                predicted_kl: self.predicted(&chosen),
                recipe: self.recipe(&chosen),
            })
        };
        budgets.iter().filter_map(point).collect()
    }

    /// The best recipe whose packed file has at most `bytes` bytes.
    ///
    /// # Errors
    /// When nothing fits, a file cannot be read, or the job is cancelled.
    pub fn tune(&self, bytes: u64, job: &Job<'_>) -> Result<Tuned, TuneError> {
        let choices = self.choices();
        let fixed = self.fixed_bytes();
        let front = Front::solve(&choices, bytes.saturating_sub(fixed));
        let chosen = bytes.checked_sub(fixed).and_then(|room| front.within(room));
        let Some(chosen) = chosen else {
            let smallest = |c: &Vec<Choice>| c.iter().map(|c| c.bytes).min().unwrap_or(0);
            return Err(TuneError::TooSmall {
                smallest: fixed + choices.iter().map(smallest).sum::<u64>(),
                found: bytes,
            });
        };
        let predicted_kl = self.predicted(&chosen);
        job.report("Compressing", 0, 1)?;
        let compressed = self.compress(&chosen, &job.quiet())?;
        let room = bytes - fixed;
        let mut exchanges = Exchanges::start(self, chosen, compressed, room, job)?;
        let allocated_kl = exchanges.divergence();
        if self.options.exchanges > 0 {
            for permille in SMALLER_BUDGETS {
                job.report("Trying smaller ones", 1000 - permille, 1000)?;
                if let Some(other) = front.within(room / 1000 * permille) {
                    exchanges.consider(other, job)?;
                }
            }
        }
        let kept = exchanges.run(self.options.exchanges, self.options.seed, job)?;
        let measured_kl = exchanges.divergence();
        let (chosen, mut compressed) = exchanges.finish();
        let recipe = self.recipe(&chosen);
        compressed.recipe = recipe.clone();
        Ok(Tuned {
            recipe,
            compressed,
            bytes: self.bytes(&chosen),
            predicted_kl,
            allocated_kl,
            measured_kl,
            positions: self.reference.positions(),
            window_tokens: self.reference.frame.window(),
            exchanges: (self.options.exchanges, kept),
        })
    }

    /// Mean divergence of a compressed model from the original, on the tune's own windows.
    ///
    /// # Errors
    /// When the model computes what is no finite number, or the job is cancelled.
    pub fn divergence(
        &self,
        compressed: &CompressedModel,
        job: &Job<'_>,
    ) -> Result<f64, TuneError> {
        exchange::measured(self.model, &self.reference, compressed, job)
    }

    /// The model as the recipe of `chosen` makes it.
    fn compress(&self, chosen: &[usize], job: &Job<'_>) -> Result<CompressedModel, TuneError> {
        Ok(compress_calibrated(
            self.model,
            &self.recipe(chosen),
            Some(self.calibration),
            &[],
            job,
        )?)
    }

    /// Options of every tensor with what they cost the model.
    fn choices(&self) -> Vec<Vec<Choice>> {
        let choices = |tensor: &Candidates| {
            let choice = |c: &Candidate| Choice {
                bytes: c.bytes.next_multiple_of(SECTOR_BYTES),
                cost: tensor.sensitivity * c.error,
            };
            tensor.options.iter().map(choice).collect()
        };
        self.tensors.iter().map(choices).collect()
    }

    /// The sum over tensors of what their errors cost.
    fn predicted(&self, chosen: &[usize]) -> f64 {
        let cost = |(tensor, option): (&Candidates, &usize)| {
            tensor.sensitivity * tensor.options[*option].error
        };
        self.tensors.iter().zip(chosen).map(cost).sum()
    }

    /// Bytes of a file without its matrices.
    fn fixed_bytes(&self) -> u64 {
        let setting = self.options.settings.first().copied();
        let setting = setting.unwrap_or(Setting::REFERENCE);
        fixed_bytes(self.model, &self.shape, setting, self.options.cache)
    }

    fn bytes(&self, chosen: &[usize]) -> u64 {
        let bytes = |(tensor, option): (&Candidates, &usize)| {
            tensor.options[*option].bytes.next_multiple_of(SECTOR_BYTES)
        };
        self.fixed_bytes() + self.tensors.iter().zip(chosen).map(bytes).sum::<u64>()
    }

    fn recipe(&self, chosen: &[usize]) -> Recipe {
        let settings = self
            .tensors
            .iter()
            .zip(chosen)
            .map(|(t, option)| (t.role, t.layer, t.options[*option].setting));
        recipe::compact(
            budget::recipe_name(self.model),
            &settings.collect::<Vec<_>>(),
        )
    }
}

/// What a tune of just these settings has measured before, tensor by tensor in the model's order;
/// nothing unless all of it is in the calibration's folder. Reads one file and computes nothing.
#[must_use]
pub fn known(
    model: &Model,
    calibration: &Calibration,
    tokens: &[u32],
    settings: &[Setting],
) -> Option<Vec<Candidates>> {
    let (_, tokens) = whole_windows(model, tokens);
    let tensors: Vec<&Tensor> = model
        .tensors
        .iter()
        .filter(|t| t.role.is_matrix())
        .collect();
    let path = journal_path(calibration, tokens);
    journal::read(&path, &tensors, settings, probe(settings))
}

/// Tokens of a window, and the tokens that fill whole ones.
fn whole_windows<'t>(model: &Model, tokens: &'t [u32]) -> (usize, &'t [u32]) {
    let window = WINDOW.min(model.hyperparameters.context as usize).max(1);
    (window, &tokens[..tokens.len() / window * window])
}

/// Where measurements on these tokens are kept.
fn journal_path(calibration: &Calibration, tokens: &[u32]) -> PathBuf {
    let key: String = sha256_of_tokens(tokens).chars().take(16).collect();
    calibration.folder().join(format!("tune-{key}.jsonl"))
}

/// The setting that is measured: three bits leave an error that is neither lost in the noise nor beyond
/// all adding up.
fn probe(settings: &[Setting]) -> Setting {
    let at = |p: Precision| {
        settings
            .iter()
            .find(|s| s.precision == p && s.sparsity == 0.0 && s.method == Quantizer::Gptq)
    };
    *at(Precision::Three)
        .or_else(|| at(Precision::Two))
        .or_else(|| at(Precision::Four))
        .or(settings.first())
        .unwrap_or(&Setting::REFERENCE)
}
