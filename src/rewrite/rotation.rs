//! The same function in another basis, so that no direction of its activations and weights stands out.
//!
//! [`rotate`] multiplies orthogonal matrices into the weights beforehand (QuaRot, Ashkboos et al. 2024,
//! arXiv:2404.00456, without its rotations at run time; R1 and R2 of SpinQuant, Liu et al. 2024,
//! arXiv:2405.16406, random instead of learned). Nothing is left to compute when the model runs.

use super::file::{head_order, listed_unchanged, unchanged, write};
use super::orthogonal::{orthogonal, seed_of};
use super::{FloatType, RewriteError};
use crate::job::{Cancelled, Job};
use crate::linear::times_transposed;
use crate::model::{Misfit, Model, SourceType, Tensor};
use crate::packed::export::{HeadOrder, Listed, of_model};
use engine::float::f16_from_f32;
use engine::shape::{Hyperparameters, Role};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

/// Rows of the embedding that are turned at a time; other matrices are small enough to be turned whole.
const PART_ROWS: usize = 8192;

/// Which bases are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// That of the residual stream: gains of the norms go into the matrices behind them, and the output
    /// head becomes a matrix of its own.
    Stream,
    /// That of the values of each key and value head.
    Heads,
    /// Both.
    Both,
}

impl Basis {
    const fn turns_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Both)
    }

    const fn turns_heads(self) -> bool {
        matches!(self, Self::Heads | Self::Both)
    }

    /// As `--basis` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Heads => "heads",
            Self::Both => "both",
        }
    }
}

/// How a model is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// What turns.
    pub basis: Basis,
    /// Names the random matrices.
    pub seed: u64,
    /// How the matrices that change are stored; norms and biases have 32 bits.
    pub floats: FloatType,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rotated {
    /// Bytes of the new file.
    pub bytes: u64,
    /// Bytes of the model's own files.
    pub source_bytes: u64,
    /// Matrices that were multiplied.
    pub matrices: usize,
}

/// Writes `model` in another basis as a GGUF file.
///
/// The values are products in 32-bit floats, the same bits on any number of threads.
///
/// # Errors
/// When a value does not fit into 16 bits, or the file cannot be written; then an older file at the path is
/// untouched.
pub fn rotate(
    model: &Model,
    rotation: &Rotation,
    path: &Path,
    job: &Job<'_>,
) -> Result<Rotated, RewriteError> {
    let pieces = pieces(model, rotation.basis);
    let mut metadata = of_model(model)?;
    let (basis, seed) = (rotation.basis.name(), rotation.seed);
    metadata.text("whittle.rewrite", &format!("rotated: {basis}, seed {seed}"));
    let turns = Turns::new(model, rotation, job)?;
    let listed: Vec<_> = pieces.iter().map(|p| p.listed(rotation.floats)).collect();
    let bytes = write(&metadata, &listed, path, ("Rotating", job), |index| {
        let piece = &pieces[index];
        match piece.becomes {
            Becomes::Itself => Ok(unchanged(model, piece.tensor)),
            Becomes::Ones => Ok(Cow::Owned(1_f32.to_le_bytes().repeat(piece.tensor.cols))),
            Becomes::Turned => turns.turned(piece, rotation.floats).map(Cow::Owned),
        }
    })?;
    let turned = pieces.iter().filter(|p| p.becomes == Becomes::Turned);
    Ok(Rotated {
        bytes,
        source_bytes: model.file_bytes,
        matrices: turned.filter(|p| p.role.is_matrix()).count(),
    })
}

/// What a rotation makes of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Itself,
    /// A norm whose gains are in the matrices behind it.
    Ones,
    Turned,
}

/// A tensor of the new file.
struct Piece<'a> {
    name: &'a str,
    role: Role,
    /// What it is made of: itself, or the embedding for a head that is tied to it.
    tensor: &'a Tensor,
    becomes: Becomes,
}

impl Piece<'_> {
    fn listed(&self, floats: FloatType) -> Listed<'_> {
        let mut listed = listed_unchanged(self.tensor);
        listed.name = self.name;
        if self.becomes == Becomes::Turned && self.role.is_matrix() {
            let (source, bytes) = match floats {
                FloatType::F16 => (SourceType::F16, 2),
                FloatType::F32 => (SourceType::F32, 4),
            };
            listed.ggml_type = source.ggml_type();
            listed.bytes = bytes * self.tensor.parameters();
        }
        listed
    }
}

fn pieces(model: &Model, basis: Basis) -> Vec<Piece<'_>> {
    let mut pieces: Vec<_> = model
        .tensors
        .iter()
        .map(|tensor| Piece {
            name: &tensor.name,
            role: tensor.role,
            tensor,
            becomes: becomes(tensor.role, basis),
        })
        .collect();
    // The head reads the stream behind the last norm's gains, the embedding writes it without them.
    let embedding = model.tensor(Role::Embedding, None);
    if let (true, None, Some(tensor)) = (
        basis.turns_stream(),
        model.tensor(Role::Output, None),
        embedding,
    ) {
        pieces.push(Piece {
            name: Role::Output.gguf_name(),
            role: Role::Output,
            tensor,
            becomes: Becomes::Turned,
        });
    }
    pieces
}

const fn becomes(role: Role, basis: Basis) -> Becomes {
    let (turns, turned) = match role {
        Role::AttentionNorm | Role::FeedForwardNorm | Role::OutputNorm => {
            (basis.turns_stream(), Becomes::Ones)
        }
        Role::Embedding
        | Role::Output
        | Role::Query
        | Role::Key
        | Role::Gate
        | Role::Up
        | Role::Down => (basis.turns_stream(), Becomes::Turned),
        // Either turn reaches them.
        Role::Value | Role::AttentionOutput => (true, Becomes::Turned),
        Role::ValueBias => (basis.turns_heads(), Becomes::Turned),
        Role::QueryBias
        | Role::KeyBias
        | Role::QueryNorm
        | Role::KeyNorm
        | Role::RopeFrequencies => (false, Becomes::Itself),
    };
    if turns { turned } else { Becomes::Itself }
}

/// A change of basis by an orthogonal matrix, of which the inverse is kept, row-major.
struct Turn {
    back: Array2<f32>,
}

impl Turn {
    fn new(size: usize, seed: u64) -> Self {
        let matrix = orthogonal(size, seed);
        Self {
            back: matrix.t().as_standard_layout().into_owned(),
        }
    }

    /// `x · matrix`: rows of `x` `[n, size]` in the new basis.
    fn rows(&self, x: &Array2<f32>) -> Array2<f32> {
        times_transposed(x.view(), self.back.view())
    }

    /// `matrixᵀ · w`: `w` `[size, n]`, the outputs of which are in the new basis.
    fn outputs(&self, w: &Array2<f32>) -> Array2<f32> {
        let columns = w.t().as_standard_layout().into_owned();
        times_transposed(self.back.view(), columns.view())
    }
}

/// All matrices that a model is multiplied with.
struct Turns<'a> {
    model: &'a Model,
    stream: Option<Turn>,
    /// Of each key and value head, layer by layer; empty when they stay.
    heads: Vec<Turn>,
    order: HeadOrder,
}

impl<'a> Turns<'a> {
    fn new(model: &'a Model, rotation: &Rotation, job: &Job<'_>) -> Result<Self, Cancelled> {
        let h = &model.hyperparameters;
        let seed = rotation.seed;
        job.report("Drawing rotations", 0, 1)?;
        let stream = rotation.basis.turns_stream();
        let stream = stream.then(|| Turn::new(h.hidden as usize, seed_of(seed, 0)));
        let count = match rotation.basis {
            Basis::Stream => 0,
            Basis::Heads | Basis::Both => u64::from(h.layers * h.kv_heads),
        };
        let heads = (1..=count).into_par_iter();
        let heads = heads.map(|index| Turn::new(h.head_dim as usize, seed_of(seed, index)));
        Ok(Self {
            model,
            stream,
            heads: heads.collect(),
            order: head_order(model),
        })
    }

    /// The turns of a layer's heads; none when they stay.
    fn of_layer(&self, layer: Option<u32>) -> &[Turn] {
        let heads = self.model.hyperparameters.kv_heads as usize;
        let first = layer.unwrap_or(0) as usize * heads;
        self.heads.get(first..first + heads).unwrap_or(&[])
    }

    /// The bytes of a tensor in the new basis.
    fn turned(&self, piece: &Piece<'_>, floats: FloatType) -> Result<Vec<u8>, RewriteError> {
        let rows = piece.tensor.rows;
        let part = if piece.tensor.role == Role::Embedding || piece.role == Role::Output {
            PART_ROWS
        } else {
            rows
        };
        let floats = if piece.role.is_matrix() {
            floats
        } else {
            FloatType::F32
        };
        let order = self.order.of(piece.role);
        let mut bytes = Vec::new();
        for start in (0..rows).step_by(part) {
            let values = self.values(piece, start..rows.min(start + part));
            // Only whole tensors have heads to put in order.
            for index in 0..values.nrows() {
                let row = values.row(order.source(index));
                put(row.iter().copied(), floats, &mut bytes)
                    .map_err(|(col, value)| self.refusal(piece, (start + index, col, value)))?;
            }
        }
        Ok(bytes)
    }

    /// Why a value of a turned tensor cannot be written: a weight that was no number before, if there is
    /// one, since a turn spreads it over whole rows.
    fn refusal(&self, piece: &Piece<'_>, (row, col, value): (usize, usize, f32)) -> RewriteError {
        // Gains go into the matrices behind them.
        let goes_in = |t: &&Tensor| t.name == piece.tensor.name || !t.role.is_matrix();
        let damaged = self
            .model
            .tensors
            .iter()
            .filter(goes_in)
            .find_map(|tensor| {
                let read = |row: usize, out: &mut [f32]| self.model.row(tensor, row, out);
                let found = Misfit::find((tensor.rows, tensor.cols), read, |w| !w.is_finite())?;
                Some((tensor.name.clone(), found))
            });
        match damaged {
            Some((tensor, found)) => RewriteError::Weights { tensor, found },
            None => RewriteError::TooLarge {
                tensor: piece.name.to_owned(),
                value,
                row,
                col,
            },
        }
    }

    /// Some rows of a tensor in the new basis.
    fn values(&self, piece: &Piece<'_>, rows: Range<usize>) -> Array2<f32> {
        let mut values = self.source(piece.tensor, rows);
        let layer = piece.tensor.layer;
        let h = &self.model.hyperparameters;
        if let Some(stream) = &self.stream {
            match piece.role {
                Role::Embedding => values = stream.rows(&values),
                Role::Output => {
                    values = stream.rows(&self.with_gains(values, Role::OutputNorm, None))
                }
                Role::Query | Role::Key | Role::Value => {
                    values = stream.rows(&self.with_gains(values, Role::AttentionNorm, layer));
                }
                Role::Gate | Role::Up => {
                    values = stream.rows(&self.with_gains(values, Role::FeedForwardNorm, layer));
                }
                Role::AttentionOutput | Role::Down => values = stream.outputs(&values),
                Role::AttentionNorm
                | Role::QueryBias
                | Role::KeyBias
                | Role::ValueBias
                | Role::QueryNorm
                | Role::KeyNorm
                | Role::FeedForwardNorm
                | Role::OutputNorm
                | Role::RopeFrequencies => {}
            }
        }
        let heads = self.of_layer(layer);
        match piece.role {
            Role::Value => each_head(&mut values, Axis(0), h, heads, Turn::outputs),
            Role::ValueBias => each_head(&mut values, Axis(1), h, heads, Turn::rows),
            Role::AttentionOutput => {
                let group = (h.heads / h.kv_heads) as usize;
                let of_queries: Vec<_> = heads.iter().flat_map(|turn| vec![turn; group]).collect();
                each_head(&mut values, Axis(1), h, of_queries, Turn::rows);
            }
            Role::Embedding
            | Role::AttentionNorm
            | Role::Query
            | Role::Key
            | Role::QueryBias
            | Role::KeyBias
            | Role::QueryNorm
            | Role::KeyNorm
            | Role::FeedForwardNorm
            | Role::Gate
            | Role::Up
            | Role::Down
            | Role::OutputNorm
            | Role::Output
            | Role::RopeFrequencies => {}
        }
        values
    }

    fn source(&self, tensor: &Tensor, rows: Range<usize>) -> Array2<f32> {
        let mut values = Array2::zeros((rows.len(), tensor.cols));
        let slice = values.as_slice_mut().expect("row-major");
        let out = slice.par_chunks_mut(tensor.cols).zip(rows);
        out.for_each(|(out, row)| self.model.row(tensor, row, out));
        values
    }

    /// Columns times the gains of the norm before them.
    fn with_gains(&self, mut values: Array2<f32>, norm: Role, layer: Option<u32>) -> Array2<f32> {
        let norm = self.model.tensor(norm, layer);
        values *= &self.source(norm.expect("a loaded model has it"), 0..1);
        values
    }
}

/// Turns each run of a head's width along an axis.
fn each_head<'a>(
    values: &mut Array2<f32>,
    axis: Axis,
    h: &Hyperparameters,
    turns: impl IntoIterator<Item = &'a Turn>,
    turned: fn(&Turn, &Array2<f32>) -> Array2<f32>,
) {
    let width = h.head_dim as usize;
    for (head, turn) in turns.into_iter().enumerate() {
        let range = head * width..(head + 1) * width;
        let mut part = values.slice_axis_mut(axis, range.into());
        let whole = part.as_standard_layout().into_owned();
        part.assign(&turned(turn, &whole));
    }
}

/// Appends floats; column and value of the first that is not finite there, if there is one.
fn put(
    row: impl Iterator<Item = f32>,
    floats: FloatType,
    bytes: &mut Vec<u8>,
) -> Result<(), (usize, f32)> {
    for (col, value) in row.enumerate() {
        match floats {
            FloatType::F32 if value.is_finite() => bytes.extend(value.to_le_bytes()),
            FloatType::F32 => return Err((col, value)),
            FloatType::F16 => {
                let half = f16_from_f32(value);
                if half & 0x7c00 == 0x7c00 {
                    return Err((col, value));
                }
                bytes.extend(half.to_le_bytes());
            }
        }
    }
    Ok(())
}
