//! Weights that cannot be stored as they are asked to be: not finite, or beyond what 16-bit floats and
//! the scales of an encoding reach. They are refused, since whatever stood in their place would make
//! another model without a word.

use super::row::Row;
use super::rows::Rows;
use crate::lanes::widest;
use crate::model::Misfit;
use engine::encoding::Encoding;

/// The largest 16-bit float, as it stands in bytes: a scale that came out so is one that was to be larger.
const LARGEST_HALF: u16 = 0x7bff;
/// The smallest magnitude that rounds to an infinite 16-bit float.
const BEYOND_HALF: f32 = 65_520.0;

/// Why the weights of a tensor cannot be stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unstorable {
    /// Some are no numbers, or infinite: the model is damaged.
    #[error("expected finite weights in {tensor}, found {found}")]
    NotFinite {
        /// GGUF name.
        tensor: String,
        /// How many, and where.
        found: Misfit,
    },
    /// Some are beyond 16-bit floats.
    #[error("expected weights of {tensor} within ±65504, which {encoding} holds, found {found}")]
    TooLarge {
        /// GGUF name.
        tensor: String,
        /// Name of the encoding.
        encoding: &'static str,
        /// How many, and where.
        found: Misfit,
    },
    /// Rows need scales that are beyond 16-bit floats.
    #[error(
        "expected weights of {tensor} within the scales of {encoding}, found {rows} rows beyond them, the first with {largest}"
    )]
    Scale {
        /// GGUF name.
        tensor: String,
        /// Name of the encoding.
        encoding: &'static str,
        /// How many rows.
        rows: usize,
        /// Where the largest weight of the first is.
        largest: Misfit,
    },
}

/// Whether weights can be turned into an encoding at all.
///
/// One pass over weights that the next step reads too: 27 thousand million a second on one core with
/// AVX2, which is 0.5 % of what it takes to round a model of 1.5 thousand million to 4 bits.
pub(super) fn can_store(encoding: Encoding, weights: &[f32]) -> bool {
    let limit = match encoding {
        Encoding::F16 => BEYOND_HALF,
        Encoding::F32
        | Encoding::Dense(_)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Sparse(_)
        | Encoding::Twin(_) => f32::INFINITY,
    };
    // Bits of magnitudes grow as the magnitudes do, past infinity for what is no number.
    let largest = widest(|| {
        let magnitude = |w: &f32| w.to_bits() & 0x7fff_ffff;
        weights.iter().map(magnitude).fold(0, u32::max)
    });
    largest < limit.to_bits()
}

/// How many of these rows need a scale that 16-bit floats do not reach.
pub(super) fn rows_beyond(rows: &[Row]) -> usize {
    rows.iter().filter(|row| is_beyond(row)).count()
}

fn is_beyond(row: &Row) -> bool {
    row.scales.row >= LARGEST_HALF
}

/// What is wrong with rows of which [`can_store`] says that they cannot be stored.
pub(super) fn refusal(encoding: Encoding, rows: Rows<'_>) -> Unstorable {
    let tensor = rows.name().to_owned();
    let find = |is_one: fn(f32) -> bool| {
        let mut buffer = Vec::new();
        let read = |row: usize, out: &mut [f32]| {
            out.copy_from_slice(rows.part(row..row + 1, &mut buffer));
        };
        Misfit::find((rows.count(), rows.cols()), read, is_one)
    };
    match find(|w| !w.is_finite()) {
        Some(found) => Unstorable::NotFinite { tensor, found },
        None => Unstorable::TooLarge {
            tensor,
            encoding: encoding.name(),
            found: find(|w| w.abs() >= BEYOND_HALF).expect("a weight was found to be too large"),
        },
    }
}

/// What is wrong with rows of which so many need a larger scale than there is; `first` is the first.
pub(super) fn scale_refusal(
    encoding: Encoding,
    matrix: Rows<'_>,
    (first, rows): (usize, usize),
) -> Unstorable {
    let mut buffer = Vec::new();
    let weights = matrix.part(first..first + 1, &mut buffer).iter().copied();
    let largest = weights
        .enumerate()
        .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    let (col, value) = largest.expect("a row with a scale has a weight");
    Unstorable::Scale {
        tensor: matrix.name().to_owned(),
        encoding: encoding.name(),
        rows,
        largest: Misfit {
            count: 1,
            row: first,
            col,
            value,
        },
    }
}

/// The index of the first row that needs a larger scale than there is.
pub(super) fn first_beyond(rows: &[Row]) -> Option<usize> {
    rows.iter().position(is_beyond)
}
