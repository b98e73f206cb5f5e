//! What follows from the project: the loaded model, and for each candidate its sizes, its running
//! tensors and its estimates.

use super::candidate::Candidate;
use super::quantizer::{Requantized, Request};
use super::rows::{Group, Row, rows};
use super::state::TurnTokens;
use crate::board::Board;
use crate::compress::CompressedTensor;
use crate::estimate::{Estimate, ModelShape, Options, RuntimeMemory, TensorPlan, estimate, plan};
use crate::evaluate::tasks::TaskReport;
use crate::evaluate::{Basis, Evaluation};
use crate::model::Model;
use crate::packed::{Conversation, LiveModel, PackError, TextSections, file_bytes};
use crate::project::Project;
use crate::recipe::{Recipe, Setting};
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
            });
        }
        self.live = Some(live);
    }

    /// What must be quantized anew for the running tensors to be what the recipe asks.
    pub(super) fn requests(&self, candidate: Candidate, loaded: &Arc<Loaded>) -> Vec<Request> {
        let Some(live) = &self.live else {
            return Vec::new();
        };
        let wanted = self.settings.iter().zip(&self.built).enumerate();
        wanted
            .filter(|(_, (setting, built))| built.is_none_or(|built| built.setting != **setting))
            .map(|(matrix, (setting, _))| Request {
                candidate,
                matrix,
                setting: *setting,
                loaded: Arc::clone(loaded),
                live: Arc::clone(live),
            })
            .collect()
    }

    /// Notes that a matrix of the running tensors was exchanged.
    pub(super) fn note(&mut self, done: &Requantized) {
        let is_ours = self
            .live
            .as_ref()
            .is_some_and(|live| Arc::ptr_eq(live, &done.live));
        if let Some(built) = self.built.get_mut(done.matrix).filter(|_| is_ours) {
            *built = Some(done.built);
        }
    }

    /// Whether every running tensor is what the recipe asks.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.live.is_some()
            && self
                .settings
                .iter()
                .zip(&self.built)
                .all(|(setting, built)| built.is_some_and(|built| built.setting == *setting))
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
            loaded: Some(loaded),
            ..Self::default()
        };
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
