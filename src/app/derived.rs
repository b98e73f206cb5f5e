//! What follows from the project: the loaded model, and for each candidate its sizes, its running
//! tensors and its estimates.

use super::candidate::Candidate;
use super::preview::{Knowledge, Preview};
use super::quantizer::{Requantized, Request, Stage};
use super::rows::{Group, Row, rows};
use super::state::TurnTokens;
use super::tuning::TuneFigures;
use crate::board::Board;
use crate::calibrate::Calibration;
use crate::compress::CompressedTensor;
use crate::estimate::{Estimate, ModelShape, Options, RuntimeMemory, TensorPlan, estimate, plan};
use crate::evaluate::tasks::TaskReport;
use crate::evaluate::{Basis, Evaluation};
use crate::model::Model;
use crate::packed::{Conversation, LiveModel, PackError, TextSections, file_bytes};
use crate::project::Project;
use crate::recipe::{Pruner, Quantizer, Recipe, Setting};
use crate::tune::Candidates;
use engine::arena::CachePrecision;
use engine::format::{ENTRY_BYTES, HEADER_BYTES};
use engine::shape::Role;
use engine::weights::{table_index, table_len};
use std::sync::Arc;

/// Room in a packed file for the provenance: a name, a licence and a hash.
const PROVENANCE_BYTES: usize = 256;

/// One matrix of a model.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Its index in [`Model::tensors`].
    pub tensor: usize,
    /// GGUF name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
}

impl Matrix {
    pub(super) const fn weights(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }
}

/// A model that was opened, and what follows from it alone.
#[derive(Debug)]
pub struct Loaded {
    /// Name of the catalog or path.
    pub spec: String,
    /// The model.
    pub model: Model,
    /// Its shape.
    pub shape: ModelShape,
    /// How text goes in and comes out.
    pub text: Arc<TextSections>,
    /// Its matrices: those that stand alone, then layer by layer.
    pub matrices: Vec<Matrix>,
    /// The rows of the layer table.
    pub rows: Vec<Row>,
}

impl Loaded {
    /// Prepares a model for the window.
    ///
    /// # Errors
    /// When the chat template cannot be rendered.
    pub fn new(spec: String, model: Model) -> Result<Self, PackError> {
        let shape = ModelShape::of(&model)?;
        let text = Arc::new(TextSections::new(&model)?);
        let mut matrices: Vec<Matrix> = model
            .tensors
            .iter()
            .enumerate()
            .filter(|(_, tensor)| tensor.role.is_matrix())
            .map(|(index, tensor)| Matrix {
                tensor: index,
                name: tensor.name.clone(),
                role: tensor.role,
                layer: tensor.layer,
                rows: tensor.rows,
                cols: tensor.cols,
            })
            .collect();
        // Files list them in any order; people read attention before feed-forward.
        matrices.sort_by_key(|matrix| (matrix.layer, matrix.role));
        let rows = rows(&matrices, model.hyperparameters.layers);
        Ok(Self {
            spec,
            model,
            shape,
            text,
            matrices,
            rows,
        })
    }
}

/// Bytes of a packed file, by what takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Meter {
    /// The whole file.
    pub total: u64,
    /// Each of [`Group::ALL`].
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
pub struct Built {
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
    /// Tokens of the text.
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
    pub set: String,
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
    /// An estimate for each of [`Board::presets`].
    pub estimates: Vec<Estimate>,
    /// The running tensors; nothing before the candidate was compressed once.
    pub live: Option<Arc<LiveModel>>,
    /// What each matrix was last quantized to.
    pub built: Vec<Option<Built>>,
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

impl Bench {
    /// Computes sizes and estimates anew when recipe or context changed.
    pub(super) fn refresh(
        &mut self,
        loaded: &Loaded,
        recipe: &Recipe,
        options: Options,
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
        self.estimates = Board::presets()
            .iter()
            .map(|board| estimate(&shape, &tensors, memory, board, &options))
            .collect();
        self.built.resize(loaded.matrices.len(), None);
        self.preview = None;
        self.seen = Some((recipe.clone(), options));
        Refreshed::Changed
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
            *built = tensor.map(|t| Built {
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
    pub(super) fn note(&mut self, done: &Requantized) {
        let is_ours = self
            .live
            .as_ref()
            .is_some_and(|live| Arc::ptr_eq(live, &done.live));
        if let Some(built) = self.built.get_mut(done.matrix).filter(|_| is_ours) {
            *built = Some(done.built);
            self.preview = None;
        }
    }

    /// Whether every running tensor is what the recipe asks.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.live.is_some() && (0..self.settings.len()).all(|matrix| self.is_done(matrix))
    }
}

/// As `pack` lays the metadata out, with room for the provenance.
fn metadata_bytes(loaded: &Loaded, recipe: &Recipe) -> usize {
    let directory = (loaded.model.tensors.len() + 1) * ENTRY_BYTES;
    HEADER_BYTES + directory + loaded.text.bytes() + recipe.to_toml().len() + PROVENANCE_BYTES
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

/// What follows from the project.
#[derive(Debug, Default)]
pub struct Derived {
    /// The model that is open.
    pub loaded: Option<Arc<Loaded>>,
    /// What its matrices read on text, once that is known.
    pub calibration: Option<Arc<Calibration>>,
    /// What is known of its matrices.
    pub knowledge: Knowledge,
    /// What the last tune found.
    pub tuned: Option<TuneFigures>,
    /// The original in 16 bits, kept for quick measurements.
    pub reference: Option<Arc<LiveModel>>,
    a: Bench,
    b: Bench,
}

impl Derived {
    /// What follows from a candidate's recipe.
    #[must_use]
    pub const fn bench(&self, candidate: Candidate) -> &Bench {
        match candidate {
            Candidate::A => &self.a,
            Candidate::B => &self.b,
        }
    }

    /// The same, to change it.
    pub const fn bench_mut(&mut self, candidate: Candidate) -> &mut Bench {
        match candidate {
            Candidate::A => &mut self.a,
            Candidate::B => &mut self.b,
        }
    }

    /// Takes another model; nothing of the old one stays.
    pub(super) fn open(&mut self, loaded: Arc<Loaded>) {
        *self = Self {
            knowledge: Knowledge::of(loaded.matrices.len()),
            loaded: Some(loaded),
            ..Self::default()
        };
    }

    /// Takes over a calibration; what was compressed without it is not current any more.
    pub(super) fn calibrate(&mut self, calibration: Arc<Calibration>) {
        let Some(loaded) = &self.loaded else { return };
        let can_fit = |m: &Matrix| calibration.input_of(m.role).is_some();
        let can_fit: Vec<bool> = loaded.matrices.iter().map(can_fit).collect();
        self.b.can_fit.clone_from(&can_fit);
        self.a.can_fit = can_fit;
        self.calibration = Some(calibration);
    }

    /// Takes over what a tune measured of the matrices.
    pub(super) fn measure(&mut self, candidates: &[Candidates]) {
        let Some(loaded) = &self.loaded else { return };
        self.knowledge.measure(loaded, candidates);
        (self.a.preview, self.b.preview) = (None, None);
    }

    /// Says anew what the recipes will cost, where that is not known. `presets` are others to rank with.
    pub(super) fn predict(&mut self, presets: &[Recipe]) {
        let Some(loaded) = &self.loaded else { return };
        for bench in [&mut self.a, &mut self.b] {
            if bench.preview.is_none() && !bench.settings.is_empty() {
                let preview =
                    self.knowledge
                        .preview(loaded, &bench.settings, &bench.planned, presets);
                bench.preview = Some(preview);
            }
        }
    }

    /// Brings both candidates up to date; returns those whose recipe changed.
    ///
    /// Times are those of a turn like `turn`, or of the usual one.
    pub(super) fn refresh(
        &mut self,
        project: &Project,
        turn: Option<TurnTokens>,
    ) -> Vec<Candidate> {
        let Some(loaded) = self.loaded.clone() else {
            return Vec::new();
        };
        let usual = Options::default();
        let options = Options {
            context_tokens: project.context_tokens,
            cache: project.cache,
            prompt_tokens: turn.map_or(usual.prompt_tokens, |turn| turn.prompt),
            unspoken_tokens: turn.map_or(usual.unspoken_tokens, |turn| turn.unspoken),
            ..usual
        };
        let mut changed = Vec::new();
        for candidate in Candidate::ALL {
            let recipe = candidate.recipe(project);
            let bench = self.bench_mut(candidate);
            match bench.refresh(&loaded, recipe, options) {
                Refreshed::Same => {}
                Refreshed::Changed => changed.push(candidate),
            }
        }
        changed
    }
}
