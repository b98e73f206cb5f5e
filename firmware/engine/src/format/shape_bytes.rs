//! The numbers of the model as a section has them: words of 32 bits, more in later engines.

use crate::bytes::{FormatError, u32_at};
use crate::shape::{Hyperparameters, RopePairs};

/// Bytes that this engine writes.
pub const SHAPE_BYTES: usize = 40;

/// Reads the section.
///
/// A later engine may know more numbers. Zero means for each of them what models were before there
/// was such a number, so zeros are passed over, and any other is refused.
///
/// # Errors
/// When a number is missing, out of range, or one that this engine does not know.
pub(super) fn read(section: &[u8]) -> Result<Hyperparameters, FormatError> {
    let wrong = FormatError::out_of_range;
    if section.len() < SHAPE_BYTES || !section.len().is_multiple_of(4) {
        let expected = "40 and more, in whole words";
        return Err(wrong("bytes of the shape", expected, section.len()));
    }
    let word = |index: usize| u32_at(section, 4 * index);
    let shape = Hyperparameters {
        layers: word(0),
        hidden: word(1),
        feed_forward: word(2),
        heads: word(3),
        kv_heads: word(4),
        head_dim: word(5),
        vocab: word(6),
        context: word(7),
        norm_epsilon: f32::from_bits(word(8)),
        rope_pairs: match word(9) {
            0 => RopePairs::Adjacent,
            1 => RopePairs::Halves,
            found => return Err(wrong("rope pairs", "0 or 1", found as usize)),
        },
    };
    shape.check().map_err(|wrong| FormatError::OutOfRange {
        what: wrong.name,
        expected: wrong.expected,
        found: wrong.found.into(),
    })?;
    let mut later = (SHAPE_BYTES / 4..section.len() / 4).map(word);
    if let Some(found) = later.find(|number| *number != 0) {
        let expected = "0, as this engine knows no such kind of model";
        return Err(wrong(
            "a later number of the shape",
            expected,
            found as usize,
        ));
    }
    Ok(shape)
}

/// The section of these numbers.
#[must_use]
pub fn shape_section(shape: &Hyperparameters) -> [u8; SHAPE_BYTES] {
    let Hyperparameters {
        layers,
        hidden,
        feed_forward,
        heads,
        kv_heads,
        head_dim,
        vocab,
        context,
        norm_epsilon,
        rope_pairs,
    } = *shape;
    let pairs = match rope_pairs {
        RopePairs::Adjacent => 0,
        RopePairs::Halves => 1,
    };
    let words = [
        layers,
        hidden,
        feed_forward,
        heads,
        kv_heads,
        head_dim,
        vocab,
        context,
        norm_epsilon.to_bits(),
        pairs,
    ];
    let mut bytes = [0; SHAPE_BYTES];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}
