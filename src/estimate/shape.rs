//! A model's shape without its weights, and the list of tensors that a recipe makes of it.

use crate::model::{Model, SourceType};
use crate::packed::{PackError, TextSections};
use crate::recipe::Setting;
use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use engine::arena::CachePrecision;
use engine::encoding::Encoding;
use engine::format::prefix_bytes;
use engine::shape::{Hyperparameters, Role, RopePairs};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What fixes every size of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// For people.
    pub name: String,
    /// Its numbers.
    pub hyperparameters: Hyperparameters,
    /// Which of the optional tensors it has; with [`Role::Output`] the head is not tied.
    pub optional: Vec<Role>,
    /// Bytes of the vocabulary and other metadata in a packed file, without the prefix.
    pub metadata_bytes: u64,
    /// Tokens whose keys and values lie in the packed file.
    pub prefix_tokens: usize,
    /// How each tensor is stored in the model's file, where there is one.
    pub sources: BTreeMap<(Role, Option<u32>), SourceType>,
}

/// Room in a packed file for the recipe and the provenance, which are texts of a few lines.
const RECIPE_AND_PROVENANCE_BYTES: usize = 2048;

impl ModelShape {
    /// The shape of a loaded model, with the bytes that its vocabulary takes when packed.
    ///
    /// # Errors
    /// When the chat template cannot be rendered.
    pub fn of(model: &Model) -> Result<Self, PackError> {
        let sections = TextSections::new(model)?;
        let others = [RECIPE_AND_PROVENANCE_BYTES, 0, 0];
        let metadata_bytes = sections.metadata_bytes(model.tensors.len() + 1, others);
        let mut optional: Vec<Role> = model
            .tensors
            .iter()
            .map(|t| t.role)
            .filter(|r| r.is_optional())
            .collect();
        optional.sort_unstable();
        optional.dedup();
        Ok(Self {
            name: model.name.clone(),
            hyperparameters: model.hyperparameters,
            optional,
            metadata_bytes: metadata_bytes as u64,
            prefix_tokens: sections.own_opening_tokens(),
            sources: model
                .tensors
                .iter()
                .map(|t| ((t.role, t.layer), t.source))
                .collect(),
        })
    }
}

impl ModelShape {
    /// Bytes that the prefix takes in a packed file, its keys and values at `cache`.
    #[must_use]
    pub fn prefix_bytes(&self, cache: CachePrecision) -> u64 {
        match self.prefix_tokens {
            0 => 0,
            tokens => prefix_bytes(&self.hyperparameters, cache, tokens),
        }
    }
}

/// One tensor as a recipe stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorPlan {
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
    /// How it is stored.
    pub encoding: Encoding,
    /// Weights kept in each row.
    pub kept: usize,
    /// Bytes it takes, without padding to a sector.
    pub bytes: u64,
}

impl TensorPlan {
    /// A tensor `[rows, cols]` stored as `encoding` with `kept` weights in each row.
    #[must_use]
    pub fn new(
        role: Role,
        layer: Option<u32>,
        (rows, cols): (usize, usize),
        encoding: Encoding,
        kept: usize,
    ) -> Self {
        let bytes = encoding.bytes(rows, cols, kept) as u64;
        Self {
            role,
            layer,
            rows,
            cols,
            encoding,
            kept,
            bytes,
        }
    }

    /// Multiply-accumulates of one product with a vector: sparse encodings skip pruned weights.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let per_row = match self.encoding {
            Encoding::Sparse(_) => self.kept,
            Encoding::OneOfFour => self.cols.div_ceil(4),
            Encoding::F32
            | Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::Twin(_) => self.cols,
        };
        self.rows as u64 * per_row as u64
    }
}

/// Every tensor of a model under a recipe, which `settings` answers for; roles in packed order.
///
/// Norms, biases and frequencies stay in 32 bits whatever the recipe says.
#[must_use]
pub fn plan(
    shape: &ModelShape,
    settings: &dyn Fn(Role, Option<u32>) -> Setting,
) -> Vec<TensorPlan> {
    let mut tensors = Vec::new();
    for role in Role::ALL {
        if role.is_optional() && !shape.optional.contains(&role) {
            continue;
        }
        let (rows, cols) = role.shape(&shape.hyperparameters);
        let (rows, cols) = (rows as usize, cols as usize);
        let one = |layer: Option<u32>| {
            if !role.is_matrix() {
                return TensorPlan::new(role, layer, (rows, cols), Encoding::F32, cols);
            }
            let setting = settings(role, layer);
            let encoding = setting.encoding(rows, cols, shape.sources.get(&(role, layer)).copied());
            TensorPlan::new(role, layer, (rows, cols), encoding, setting.kept(cols))
        };
        if role.is_per_layer() {
            tensors.extend((0..shape.hyperparameters.layers).map(|layer| one(Some(layer))));
        } else {
            tensors.push(one(None));
        }
    }
    tensors
}

/// Why a shape file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// It is of a newer Whittle.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// The file could not be read.
    #[error("cannot read the shape file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a shape in TOML.
    #[error("{} is not a shape file", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser met, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A number that no model the engine runs has.
    #[error("{}: {field} is out of range", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
}

/// Bytes of a token in a packed vocabulary when its text is not at hand: about 7 of text, 5 beside it.
const METADATA_BYTES_PER_TOKEN: u64 = 12;

/// A shape as a file states it; `presets/shapes/` holds examples.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapeFile {
    #[serde(default, rename = "format")]
    _format: Format<1>,
    name: String,
    layers: u32,
    hidden: u32,
    feed_forward: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    vocab: u32,
    context: u32,
    norm_epsilon: f32,
    rope_pairs: Pairs,
    head: OutputHead,
    #[serde(default)]
    optional: Vec<Optional>,
    metadata_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pairs {
    Adjacent,
    Halves,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutputHead {
    Tied,
    Separate,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Optional {
    QueryBias,
    KeyBias,
    ValueBias,
    QueryNorm,
    KeyNorm,
}

impl ModelShape {
    /// Reads a shape from a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a shape, or holds a number the engine cannot run.
    pub fn load(path: &Path) -> Result<Self, ShapeError> {
        let read = |source| ShapeError::Read {
            path: path.to_owned(),
            source,
        };
        let text = text_file::read(path, text_file::WRITTEN_BYTES).map_err(read)?;
        Format::<1>::check_toml("shape", &path.to_string_lossy(), &text)?;
        let file: ShapeFile = toml::from_str(&text).map_err(|source| ShapeError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let shape = Self::from(file);
        let checked = shape.hyperparameters.check();
        checked.map_err(|wrong| ShapeError::Value {
            path: path.to_owned(),
            field: wrong.name,
        })?;
        if shape.metadata_bytes > 1 << 32 {
            return Err(ShapeError::Value {
                path: path.to_owned(),
                field: "metadata_bytes",
            });
        }
        Ok(shape)
    }
}

impl From<ShapeFile> for ModelShape {
    fn from(file: ShapeFile) -> Self {
        let role = |optional: &Optional| match optional {
            Optional::QueryBias => Role::QueryBias,
            Optional::KeyBias => Role::KeyBias,
            Optional::ValueBias => Role::ValueBias,
            Optional::QueryNorm => Role::QueryNorm,
            Optional::KeyNorm => Role::KeyNorm,
        };
        let mut optional: Vec<_> = file.optional.iter().map(role).collect();
        if file.head == OutputHead::Separate {
            optional.push(Role::Output);
        }
        Self {
            name: file.name,
            hyperparameters: Hyperparameters {
                layers: file.layers,
                hidden: file.hidden,
                feed_forward: file.feed_forward,
                heads: file.heads,
                kv_heads: file.kv_heads,
                head_dim: file.head_dim,
                vocab: file.vocab,
                context: file.context,
                norm_epsilon: file.norm_epsilon,
                rope_pairs: match file.rope_pairs {
                    Pairs::Adjacent => RopePairs::Adjacent,
                    Pairs::Halves => RopePairs::Halves,
                },
            },
            optional,
            metadata_bytes: file
                .metadata_bytes
                .unwrap_or(u64::from(file.vocab) * METADATA_BYTES_PER_TOKEN),
            prefix_tokens: 0,
            sources: BTreeMap::new(),
        }
    }
}
