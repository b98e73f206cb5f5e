//! The smallest file that a tune can make of a model, known before anything is measured: a budget below it
//! is refused at once, in the unit that was asked.

use super::goal::board_refusal;
use super::{BoardGoal, TuneError, TuneOptions, recipe};
use crate::estimate::{ModelShape, SECTOR_BYTES, TensorPlan, model_bytes, plan};
use crate::model::{Model, Tensor};
use crate::recipe::{Recipe, Setting};
use engine::arena::CachePrecision;
use engine::shape::Role;

/// Bits for each weight are told with so many decimals.
const DECIMALS: f64 = 1e3;

/// Every tensor of a model in its smallest setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Smallest {
    shape: ModelShape,
    recipe: Recipe,
    /// Bytes of the packed file.
    bytes: u64,
    /// Part of it that is no matrix.
    fixed_bytes: u64,
    /// Weights of all matrices.
    weights: u64,
}

impl Smallest {
    /// That of `model` with the settings that a tune may choose from.
    ///
    /// # Errors
    /// When the chat template cannot be rendered.
    pub fn of(model: &Model, options: &TuneOptions) -> Result<Self, TuneError> {
        let shape = ModelShape::of(model)?;
        let matrices: Vec<&Tensor> = model
            .tensors
            .iter()
            .filter(|t| t.role.is_matrix())
            .collect();
        let smallest: Vec<(Setting, u64)> = matrices
            .iter()
            .map(|tensor| {
                let bytes = |setting: &Setting| bytes_of(tensor, *setting);
                let smallest = options.settings.iter().min_by_key(|setting| bytes(setting));
                let setting = smallest.copied().unwrap_or(Setting::REFERENCE);
                (setting, bytes(&setting))
            })
            .collect();
        let first = options
            .settings
            .first()
            .copied()
            .unwrap_or(Setting::REFERENCE);
        let fixed_bytes = fixed_bytes(model, &shape, first, options.cache);
        let settings = matrices.iter().zip(&smallest);
        let settings: Vec<_> = settings.map(|(t, (s, _))| (t.role, t.layer, *s)).collect();
        Ok(Self {
            recipe: recipe::compact(format!("smallest-{}", model.name), &settings),
            bytes: fixed_bytes + smallest.iter().map(|(_, bytes)| bytes).sum::<u64>(),
            fixed_bytes,
            weights: matrices.iter().map(|t| t.parameters()).sum(),
            shape,
        })
    }

    /// Bytes of the packed file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bits for each weight of its matrices.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let bits = (self.bytes - self.fixed_bytes) as f64 * 8.0 / self.weights.max(1) as f64;
        bits
    }

    /// Refuses a budget of the whole file, in bytes.
    ///
    /// # Errors
    /// When it is below the smallest file.
    pub const fn require_bytes(&self, found: u64) -> Result<(), TuneError> {
        let smallest = self.bytes;
        if found < smallest {
            return Err(TuneError::TooSmall { smallest, found });
        }
        Ok(())
    }

    /// Refuses a budget of bits for each weight of the matrices.
    ///
    /// # Errors
    /// When it is below the smallest file's, or no number.
    pub fn require_bits_per_weight(&self, found: f64) -> Result<(), TuneError> {
        // Rounded up, so that what is told is enough.
        let smallest = (self.bits_per_weight() * DECIMALS).ceil() / DECIMALS;
        if found >= smallest {
            return Ok(());
        }
        Err(TuneError::TooFewBits { smallest, found })
    }

    /// Refuses a board that does not hold the smallest file; its speed is not judged here.
    ///
    /// # Errors
    /// When flash or RAM are too small.
    pub fn require_board(&self, goal: &BoardGoal) -> Result<(), TuneError> {
        let estimate = goal.estimate(&self.shape, &self.recipe);
        if estimate.fits {
            return Ok(());
        }
        Err(board_refusal(goal, self.bytes, &estimate))
    }
}

/// Bytes that a tensor takes in the file in one setting.
fn bytes_of(tensor: &Tensor, setting: Setting) -> u64 {
    let encoding = setting.encoding(tensor.rows, tensor.cols, Some(tensor.source));
    let bytes = encoding.bytes(tensor.rows, tensor.cols, setting.kept(tensor.cols));
    (bytes as u64).next_multiple_of(SECTOR_BYTES)
}

/// Bytes of a file without its matrices: text, norms, the opening of conversations, and the recipe at
/// its longest.
pub(super) fn fixed_bytes(
    model: &Model,
    shape: &ModelShape,
    setting: Setting,
    cache: CachePrecision,
) -> u64 {
    let matrices = model.tensors.iter().filter(|t| t.role.is_matrix());
    let settings: Vec<(Role, Option<u32>, Setting)> =
        matrices.map(|t| (t.role, t.layer, setting)).collect();
    let recipe = recipe::compact(recipe_name(model), &settings);
    let recipe_bytes = recipe.to_toml().len() + 96 * settings.len();
    let plans = plan(shape, &|_, _| Setting::REFERENCE);
    let rest: Vec<TensorPlan> = plans.into_iter().filter(|t| !t.role.is_matrix()).collect();
    let metadata = shape.metadata_bytes + recipe_bytes as u64;
    model_bytes(&rest, metadata + shape.prefix_bytes(cache))
}

/// The name of the recipe that a tune makes.
pub(super) fn recipe_name(model: &Model) -> String {
    format!("tuned-{}", model.name)
}
