//! One candidate at work: what its recipe asks of each matrix, what that takes, what runs of it, and what is
//! still to be done.

use super::candidate::Candidate;
use super::loaded::Loaded;
use super::measured::{BuiltMatrix, Evaluated, Meter, QuickKl, Tasked};
use super::preview::Preview;
use super::request::{Requantized, Request, Stage};
use super::table::{Group, Matrix};
use crate::board::Board;
use crate::calibrate::Calibration;
use crate::compress::CompressedTensor;
use crate::estimate::{Estimate, Options, RuntimeMemory, TensorPlan, estimate, plan};
use crate::packed::{Conversation, LiveModel, file_bytes};
use crate::recipe::{Pruner, Quantizer, Recipe, Setting};
use crate::warning::Warning;
use engine::weights::{table_index, table_len};
use std::sync::Arc;

/// Room in a packed file for the provenance: a name, a licence and a hash.
const PROVENANCE_BYTES: usize = 256;

/// What follows from one candidate's recipe.
#[derive(Debug, Default)]
pub struct Bench {
    seen: Option<(Recipe, Options)>,
    /// What the recipe asks of each matrix.
    pub settings: Vec<Setting>,
    /// Each matrix as it will be stored.
    pub planned: Vec<TensorPlan>,
    /// Predicted bytes.
    pub meter: Meter,
    /// An estimate for each of the boards.
    pub estimates: Vec<Estimate>,
    /// What a person should know of the recipe.
    pub warnings: Vec<Warning>,
    /// The running tensors; nothing before the candidate was compressed once.
    pub live: Option<Arc<LiveModel>>,
    /// What each matrix was last quantized to.
    pub built: Vec<Option<BuiltMatrix>>,
    /// The last evaluation, maybe of an earlier recipe.
    pub evaluation: Option<Evaluated>,
    /// Measured on a few tokens, maybe of an earlier recipe.
    pub quick: Option<QuickKl>,
    /// What the recipe will cost; nothing for a moment after it changed.
    pub preview: Option<Preview>,
    /// Matrices whose errors the calibration can weigh; empty without one.
    can_fit: Vec<bool>,
    /// The last tasks, maybe of an earlier recipe.
    pub tasks: Option<Tasked>,
    /// Its conversation; nothing while it answers or before it was asked.
    pub conversation: Option<Conversation>,
}

/// Whether anything was computed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// Nothing has changed.
    Same,
    /// Sizes and estimates are new.
    Changed,
}

/// Whether a matrix that was exchanged is what the recipe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It has the setting.
    Finished,
    /// It stands in for what takes long, or was on its way when the slider moved back.
    Unfinished,
    /// It is of tensors that run no more: of another model, or of an earlier compression.
    Stale,
}

impl Bench {
    /// Computes sizes and estimates anew when recipe or context changed.
    pub(super) fn refresh(
        &mut self,
        loaded: &Loaded,
        recipe: &Recipe,
        options: Options,
        boards: &[Board],
    ) -> Refreshed {
        let is_seen = |(seen, then): &(Recipe, Options)| seen == recipe && *then == options;
        if self.seen.as_ref().is_some_and(is_seen) {
            return Refreshed::Same;
        }
        let layers = loaded.shape.hyperparameters.layers;
        self.settings = loaded
            .matrices
            .iter()
            .map(|m| recipe.setting(m.role, m.layer, layers))
            .collect();
        let matrices = loaded.matrices.iter().map(|m| (m.role, m.layer));
        self.warnings = recipe.idle_rules(matrices, layers);
        let mut table = vec![Setting::REFERENCE; table_len(layers)];
        for (matrix, setting) in loaded.matrices.iter().zip(&self.settings) {
            table[table_index(matrix.role, matrix.layer.unwrap_or(0))] = *setting;
        }
        let mut shape = loaded.shape.clone();
        let metadata = metadata_bytes(loaded, recipe);
        shape.metadata_bytes = metadata as u64;
        let tensors = plan(&shape, &|role, layer| {
            table[table_index(role, layer.unwrap_or(0))]
        });
        let at = |m: &Matrix| {
            tensors
                .iter()
                .find(|t| (t.role, t.layer) == (m.role, m.layer))
        };
        self.planned = loaded
            .matrices
            .iter()
            .map(|m| *at(m).expect("a plan has every tensor of the model"))
            .collect();
        let prefix = usize::try_from(shape.prefix_bytes(options.cache)).unwrap_or(usize::MAX);
        self.meter = meter(metadata + prefix, &tensors, &self.planned);
        let memory = RuntimeMemory::of(&shape, options.context_tokens, options.cache);
        self.estimates = boards
            .iter()
            .map(|board| estimate(&shape, &tensors, memory, board, &options))
            .collect();
        self.built.resize(loaded.matrices.len(), None);
        self.preview = None;
        self.seen = Some((recipe.clone(), options));
        Refreshed::Changed
    }

    /// Lets sizes and estimates be computed anew: something else than recipe and context changed.
    pub(super) fn forget_estimates(&mut self) {
        self.seen = None;
    }

    /// Takes over what a whole compression made.
    pub(super) fn install(
        &mut self,
        loaded: &Loaded,
        live: Arc<LiveModel>,
        tensors: &[Arc<CompressedTensor>],
    ) {
        for (built, matrix) in self.built.iter_mut().zip(&loaded.matrices) {
            let tensor = tensors.iter().find(|t| t.name == matrix.name);
            *built = tensor.map(|t| BuiltMatrix {
                setting: t.setting,
                nmse: t.nmse,
                output_error: t.output_error,
            });
        }
        self.live = Some(live);
        self.preview = None;
    }

    /// What must be quantized anew for the running tensors to be what the recipe asks: what takes long
    /// is first rounded to nearest, and asked for again when that is done.
    pub(super) fn requests(
        &self,
        candidate: Candidate,
        loaded: &Arc<Loaded>,
        calibration: Option<&Arc<Calibration>>,
    ) -> Vec<Request> {
        let Some(live) = &self.live else {
            return Vec::new();
        };
        let unfinished = (0..self.settings.len()).filter(|matrix| !self.is_done(*matrix));
        let request = |matrix: usize| {
            let wanted = self.settings[matrix];
            let first = self.plain(matrix);
            let was_first = self.built[matrix].is_some_and(|b| b.setting == first);
            // Of the same setting, made before there was a calibration.
            let is_unfitted = self.built[matrix].is_some_and(|b| b.setting == wanted);
            let stage = if wanted.is_calibrated() && (was_first || is_unfitted) {
                Stage::Fitted
            } else {
                Stage::Plain
            };
            Request {
                candidate,
                matrix,
                setting: match stage {
                    Stage::Plain => first,
                    Stage::Fitted => wanted,
                },
                stage,
                loaded: Arc::clone(loaded),
                live: Arc::clone(live),
                calibration: calibration.map(Arc::clone),
            }
        };
        unfinished.map(request).collect()
    }

    /// What stands in for a setting that takes long: rounded to nearest, pruned by how large inputs are
    /// where that is known.
    fn plain(&self, matrix: usize) -> Setting {
        let wanted = self.settings[matrix];
        if !wanted.is_calibrated() {
            return wanted;
        }
        let pruner = match wanted.pruner {
            Pruner::Magnitude => Pruner::Magnitude,
            Pruner::Wanda | Pruner::SparseGpt if self.can_fit(matrix) => Pruner::Wanda,
            Pruner::Wanda | Pruner::SparseGpt => Pruner::Magnitude,
        };
        Setting {
            method: Quantizer::Nearest,
            pruner,
            ..wanted
        }
    }

    fn can_fit(&self, matrix: usize) -> bool {
        self.can_fit.get(matrix).copied().unwrap_or(false)
    }

    /// Whether a running tensor is what the recipe asks.
    fn is_done(&self, matrix: usize) -> bool {
        let setting = self.settings[matrix];
        let built = self.built.get(matrix).copied().flatten();
        let can_fit = setting.is_calibrated() && self.can_fit(matrix);
        built.is_some_and(|b| b.setting == setting && (!can_fit || b.output_error.is_some()))
    }

    /// Notes that a matrix of the running tensors was exchanged.
    pub(super) fn note(&mut self, done: &Requantized) -> Noted {
        let is_ours = self
            .live
            .as_ref()
            .is_some_and(|live| Arc::ptr_eq(live, &done.live));
        if !is_ours {
            return Noted::Stale;
        }
        if let Some(built) = self.built.get_mut(done.matrix) {
            *built = Some(done.built);
            self.preview = None;
        }
        match self.settings.get(done.matrix) {
            Some(wanted) if *wanted != done.built.setting => Noted::Unfinished,
            Some(_) | None => Noted::Finished,
        }
    }

    /// Notes for each matrix whether a calibration weighs its errors: what was made without is not what the
    /// recipe asks any more.
    pub(super) fn calibrate(&mut self, can_fit: Vec<bool>) {
        self.can_fit = can_fit;
    }

    /// Whether every running tensor is what the recipe asks.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.live.is_some() && (0..self.settings.len()).all(|matrix| self.is_done(matrix))
    }
}

/// As `pack` lays the metadata out, with room for the provenance.
fn metadata_bytes(loaded: &Loaded, recipe: &Recipe) -> usize {
    let tensors = loaded.model.tensors.len() + 1;
    let others = [recipe.to_toml().len(), PROVENANCE_BYTES, 0];
    loaded.text.metadata_bytes(tensors, others)
}

fn meter(metadata: usize, tensors: &[TensorPlan], matrices: &[TensorPlan]) -> Meter {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let total = file_bytes(metadata, tensors.iter().map(|t| size(t.bytes))) as u64;
    let of = |group| {
        let members = matrices.iter().filter(|t| Group::of(t.role) == Some(group));
        members.map(|t| t.bytes).sum()
    };
    let groups: [u64; 4] = Group::ALL.map(of);
    let weights: u64 = matrices.iter().map(|t| t.rows as u64 * t.cols as u64).sum();
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let bits_per_weight = groups.iter().sum::<u64>() as f64 * 8.0 / weights.max(1) as f64;
    Meter {
        total,
        groups,
        bits_per_weight,
    }
}
