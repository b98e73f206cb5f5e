//! One tensor of a packed model as other programs store it: which type holds its values, and the bytes
//! of its rows.

use super::{FloatType, Values, twin};
use crate::model::Misfit;
use engine::encoding::{Encoding, Twin};
use engine::float::{f16_from_f32, f32_from_f16};
use engine::format::Entry;
use engine::matrix::Matrix;
use engine::shape::{Hyperparameters, Role, RopePairs};
use rayon::prelude::*;

/// Bytes that are made at a time: enough for every thread, little beside a model.
const PART_BYTES: usize = 8 << 20;
/// Smallest magnitude that 16-bit floats hold with all their digits.
const SMALLEST_NORMAL: f32 = 6.103_515_6e-5;

/// How a tensor is stored outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Float(FloatType),
    Twin(Twin),
    /// -1, 0 and 1 in two bits, a 16-bit scale for 256 values.
    Tq2_0,
    /// 4 bits and a 16-bit scale for 32 values; here of -1, 0 and 1.
    Q4_0,
}

impl Stored {
    /// Its number in `ggml.h`.
    pub(super) const fn ggml_type(self) -> u32 {
        match self {
            Self::Float(FloatType::F32) => 0,
            Self::Float(FloatType::F16) => 1,
            Self::Q4_0 => 2,
            Self::Twin(twin) => match twin {
                Twin::Q4_1 => 3,
                Twin::Q8_0 => 8,
                Twin::Q4K => 12,
                Twin::Q6K => 14,
            },
            Self::Tq2_0 => 35,
        }
    }

    /// Its name there.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Float(FloatType::F32) => "F32",
            Self::Float(FloatType::F16) => "F16",
            Self::Q4_0 => "Q4_0",
            Self::Twin(twin) => match twin {
                Twin::Q4_1 => "Q4_1",
                Twin::Q8_0 => "Q8_0",
                Twin::Q4K => "Q4_K",
                Twin::Q6K => "Q6_K",
            },
            Self::Tq2_0 => "TQ2_0",
        }
    }

    /// Bytes of a row.
    pub(super) const fn row_bytes(self, cols: usize) -> usize {
        let (bytes, values) = match self {
            Self::Float(FloatType::F32) => (4, 1),
            Self::Float(FloatType::F16) => (2, 1),
            Self::Twin(twin) => twin::block(twin),
            Self::Tq2_0 => (66, 256),
            Self::Q4_0 => (18, 32),
        };
        cols / values * bytes
    }
}

/// How heads of queries and keys are put into the order that a file's readers expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadOrder {
    AsPacked,
    /// Pairs of a head side by side: `llama` in GGUF.
    Adjacent(usize),
    /// First halves of all pairs, then second halves: Hugging Face.
    Halves(usize),
}

impl HeadOrder {
    /// The order from how `shape` pairs elements to how `wanted` does, for heads of that shape.
    pub(crate) fn new(shape: &Hyperparameters, wanted: RopePairs) -> Self {
        let head = shape.head_dim as usize;
        match (shape.rope_pairs, wanted) {
            (RopePairs::Adjacent, RopePairs::Adjacent) | (RopePairs::Halves, RopePairs::Halves) => {
                Self::AsPacked
            }
            (RopePairs::Halves, RopePairs::Adjacent) => Self::Adjacent(head),
            (RopePairs::Adjacent, RopePairs::Halves) => Self::Halves(head),
        }
    }

    /// This order for roles whose rows belong to the elements of rotated heads.
    pub(crate) const fn of(self, role: Role) -> Self {
        match role {
            Role::Query
            | Role::Key
            | Role::QueryBias
            | Role::KeyBias
            | Role::QueryNorm
            | Role::KeyNorm => self,
            Role::Embedding
            | Role::AttentionNorm
            | Role::Value
            | Role::AttentionOutput
            | Role::ValueBias
            | Role::FeedForwardNorm
            | Role::Gate
            | Role::Up
            | Role::Down
            | Role::OutputNorm
            | Role::Output
            | Role::RopeFrequencies => Self::AsPacked,
        }
    }

    /// Which packed row stands at row `index`.
    pub(crate) const fn source(self, index: usize) -> usize {
        match self {
            Self::AsPacked => index,
            Self::Adjacent(head) => {
                let (start, i) = (index / head * head, index % head);
                start + i % 2 * (head / 2) + i / 2
            }
            Self::Halves(head) => {
                let (start, i) = (index / head * head, index % head);
                start + i % (head / 2) * 2 + i / (head / 2)
            }
        }
    }
}

/// What became of values as 16-bit floats.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rounding {
    /// Values that changed.
    pub(super) changed: u64,
    /// Largest change over the value, of values that 16-bit floats hold with all their digits.
    pub(super) largest: f64,
    /// Values that are not finite where they are written, and the first of them.
    pub(super) lost: Option<Misfit>,
}

impl Rounding {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            changed: self.changed + other.changed,
            largest: self.largest.max(other.largest),
            lost: match (self.lost, other.lost) {
                (None, lost) | (lost, None) => lost,
                (Some(a), Some(b)) => {
                    let first = if (a.row, a.col) <= (b.row, b.col) {
                        a
                    } else {
                        b
                    };
                    let count = a.count + b.count;
                    Some(Misfit { count, ..first })
                }
            },
        }
    }

    /// One more value that is not finite where it is written.
    fn lose(&mut self, row: usize, col: usize, value: f32) {
        let one = Misfit {
            count: 1,
            row,
            col,
            value,
        };
        let lost = Some(one);
        *self = self.and(Self {
            lost,
            ..Self::default()
        });
    }
}

/// A tensor on its way into a file.
#[derive(Debug, Clone)]
pub(super) struct Outgoing<'a> {
    /// GGUF name.
    pub(super) name: &'a str,
    pub(super) role: Role,
    pub(super) layer: u32,
    pub(super) matrix: Matrix<'a>,
    pub(super) stored: Stored,
    order: HeadOrder,
}

impl<'a> Outgoing<'a> {
    /// Decides how a tensor is stored; `order` is that of the model's heads.
    pub(super) fn new(entry: &Entry<'a>, values: Values, order: HeadOrder) -> Self {
        Self {
            name: entry.name,
            role: entry.role,
            layer: entry.layer,
            matrix: entry.matrix,
            stored: stored(&entry.matrix, values),
            order: order.of(entry.role),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.matrix.rows() * self.stored.row_bytes(self.matrix.cols())) as u64
    }

    /// Lends the bytes of its rows, part by part, and tells how 16-bit floats changed them.
    pub(super) fn each_part<E>(
        &self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Rounding, E> {
        let row_bytes = self.stored.row_bytes(self.matrix.cols());
        let part_rows = (PART_BYTES / row_bytes).max(1);
        let mut rounding = Rounding::default();
        for start in (0..self.matrix.rows()).step_by(part_rows) {
            let rows = part_rows.min(self.matrix.rows() - start);
            let mut part = vec![0; rows * row_bytes];
            let of_rows = part
                .par_chunks_exact_mut(row_bytes)
                .enumerate()
                .map_init(Vec::new, |row, (i, out)| self.put_row(start + i, row, out));
            // A largest and a sum of whole numbers: their order does not matter.
            rounding = rounding.and(of_rows.reduce(Rounding::default, Rounding::and));
            take(&part)?;
        }
        Ok(rounding)
    }

    fn put_row(&self, index: usize, row: &mut Vec<f32>, out: &mut [u8]) -> Rounding {
        let is_vector = !self.role.is_matrix();
        let source = if is_vector {
            index
        } else {
            self.order.source(index)
        };
        if let Stored::Twin(twin) = self.stored {
            twin::put_row(&self.matrix, twin, source, out);
            return Rounding::default();
        }
        row.resize(self.matrix.cols(), 0.0);
        self.matrix.dequantize_row(source, row);
        if is_vector && self.order != HeadOrder::AsPacked {
            let packed = row.clone();
            for (i, value) in row.iter_mut().enumerate() {
                *value = packed[self.order.source(i)];
            }
        }
        match self.stored {
            Stored::Float(FloatType::F32) => return put_f32(index, row, out),
            Stored::Float(FloatType::F16) => return put_f16(index, row, out),
            Stored::Tq2_0 => each_block(row, out, 256, 66, put_tq2_0),
            Stored::Q4_0 => each_block(row, out, 32, 18, put_q4_0),
            Stored::Twin(_) => {}
        }
        Rounding::default()
    }
}

/// The smallest type that holds the values exactly; 16-bit floats where none does.
fn stored(matrix: &Matrix<'_>, values: Values) -> Stored {
    match (matrix.encoding(), values) {
        (Encoding::F32, _) => Stored::Float(FloatType::F32),
        (_, Values::Dequantized(float)) => Stored::Float(float),
        (Encoding::F16, Values::AsStored) => Stored::Float(FloatType::F16),
        (Encoding::Twin(twin), Values::AsStored) => Stored::Twin(twin),
        (Encoding::Ternary | Encoding::OneOfFour | Encoding::Dense(_) | Encoding::Sparse(_), _) => {
            if has_three_levels(matrix, 256) {
                Stored::Tq2_0
            } else if has_three_levels(matrix, 32) {
                Stored::Q4_0
            } else {
                Stored::Float(FloatType::F16)
            }
        }
    }
}

/// Whether every `block` columns of a row are -d, 0 or d, where d is a 16-bit float.
fn has_three_levels(matrix: &Matrix<'_>, block: usize) -> bool {
    matrix.cols().is_multiple_of(block)
        && (0..matrix.rows()).into_par_iter().all(|row| {
            let mut values = vec![0.0; matrix.cols()];
            matrix.dequantize_row(row, &mut values);
            values.chunks_exact(block).all(|values| {
                let d = magnitude(values);
                let is_half = f32_from_f16(f16_from_f32(d)).to_bits() == d.to_bits();
                is_half && values.iter().all(|x| *x == 0.0 || x.abs() == d)
            })
        })
}

fn magnitude(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| x.abs().max(most))
}

fn put_f32(index: usize, row: &[f32], out: &mut [u8]) -> Rounding {
    let mut rounding = Rounding::default();
    for (col, (x, out)) in row.iter().zip(out.as_chunks_mut::<4>().0).enumerate() {
        *out = x.to_le_bytes();
        if !x.is_finite() {
            rounding.lose(index, col, *x);
        }
    }
    rounding
}

fn put_f16(index: usize, row: &[f32], out: &mut [u8]) -> Rounding {
    let mut rounding = Rounding::default();
    for (col, (x, out)) in row.iter().zip(out.as_chunks_mut::<2>().0).enumerate() {
        let half = f16_from_f32(*x);
        *out = half.to_le_bytes();
        let error = f32_from_f16(half) - x;
        if !error.is_finite() {
            rounding.lose(index, col, *x);
        } else if error != 0.0 {
            rounding.changed += 1;
            if x.abs() >= SMALLEST_NORMAL {
                let relative = f64::from(error.abs()) / f64::from(x.abs());
                rounding.largest = rounding.largest.max(relative);
            }
        }
    }
    rounding
}

fn each_block(
    row: &[f32],
    out: &mut [u8],
    values: usize,
    bytes: usize,
    put: fn(&[f32], f32, &mut [u8]),
) {
    for (row, out) in row.chunks_exact(values).zip(out.chunks_exact_mut(bytes)) {
        put(row, magnitude(row), out);
    }
}

/// 0, 1 or 2 for -d, 0 or d.
fn trit(x: f32) -> u8 {
    match x {
        x if x > 0.0 => 2,
        x if x < 0.0 => 0,
        _ => 1,
    }
}

/// 64 bytes of pairs of bits, four layers of 32 values in each 32 bytes; d.
fn put_tq2_0(row: &[f32], d: f32, out: &mut [u8]) {
    let (bits, half) = out.split_at_mut(64);
    half.copy_from_slice(&f16_from_f32(d).to_le_bytes());
    for (i, byte) in bits.iter_mut().enumerate() {
        let start = i / 32 * 128 + i % 32;
        *byte = (0..4).fold(0, |byte, layer| {
            byte | trit(row[start + layer * 32]) << (2 * layer)
        });
    }
}

/// d; 16 bytes: low nibbles are values 0 to 15, high nibbles 16 to 31, 8 above the value.
fn put_q4_0(row: &[f32], d: f32, out: &mut [u8]) {
    let (half, nibbles) = out.split_at_mut(2);
    half.copy_from_slice(&f16_from_f32(d).to_le_bytes());
    for (i, byte) in nibbles.iter_mut().enumerate() {
        *byte = (7 + trit(row[i])) | (7 + trit(row[i + 16])) << 4;
    }
}
