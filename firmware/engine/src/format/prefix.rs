//! Keys and values of the tokens with which conversations begin, computed when the file was packed.

use super::text::tokens;
use crate::bytes::{FormatError, u32_at};
use crate::kernels::{CachePrecision, CacheShape, LayerView};
use crate::shape::Hyperparameters;

/// Bytes before the tokens: bits of an element, and how many tokens there are.
const START: usize = 8;

/// The tokens with which conversations begin, with their keys and values, borrowed.
///
/// A session that begins with them reads them where they are, and keeps none of them in its arena.
#[derive(Debug, Clone, Copy)]
pub struct Prefix<'a> {
    tokens: &'a [u8],
    /// `[layers]`, each as long as its shape says.
    words: &'a [u32],
    shape: CacheShape,
}

/// The cache of one layer of a prefix of so many tokens.
const fn cache_shape(
    shape: &Hyperparameters,
    precision: CachePrecision,
    positions: usize,
) -> CacheShape {
    CacheShape {
        precision,
        kv_heads: shape.kv_heads as usize,
        head_dim: shape.head_dim as usize,
        context: positions,
    }
}

/// Bytes that a packed file's section takes for a prefix of so many tokens; saturates.
#[must_use]
pub fn prefix_bytes(shape: &Hyperparameters, precision: CachePrecision, positions: usize) -> u64 {
    let layer = cache_shape(shape, precision, positions).words() as u64;
    let words = layer
        .saturating_mul(shape.layers.into())
        .saturating_add(positions as u64);
    words.saturating_mul(4).saturating_add(START as u64)
}

/// The precision of a prefix that [`Prefix::parse`] accepts; `None` where there is none.
pub(super) fn precision(section: &[u8]) -> Option<CachePrecision> {
    let bits = section.first_chunk()?;
    CachePrecision::from_bits(u32::from_le_bytes(*bits) as usize)
}

impl<'a> Prefix<'a> {
    /// Reads the section; `None` when it is empty, or when its bytes do not lie at a word of memory.
    ///
    /// # Errors
    /// When a number is out of range, or the section is not as long as they say.
    pub fn parse(shape: &Hyperparameters, section: &'a [u8]) -> Result<Option<Self>, FormatError> {
        if section.is_empty() {
            return Ok(None);
        }
        let wrong = FormatError::out_of_range;
        if section.len() < START {
            let expected = "none, or 8 and more";
            return Err(wrong("bytes of the prefix", expected, section.len()));
        }
        let (bits, positions) = (u32_at(section, 0) as usize, u32_at(section, 4));
        let precision = CachePrecision::from_bits(bits)
            .ok_or_else(|| wrong("bits of the prefix", "16, 8 or 4", bits))?;
        if positions == 0 || positions >= shape.context {
            let expected = "1 and more, fewer than the context";
            return Err(wrong("tokens of the prefix", expected, positions as usize));
        }
        let positions = positions as usize;
        let (expected, found) = (
            prefix_bytes(shape, precision, positions),
            section.len() as u64,
        );
        if expected != found {
            let what = "bytes of the prefix";
            return Err(FormatError::Differs {
                what,
                expected,
                found,
            });
        }
        let (ids, words) = section[START..].split_at(4 * positions);
        if let Some(token) = tokens(ids).find(|t| *t >= shape.vocab) {
            let expected = "in the vocabulary";
            return Err(wrong("token of the prefix", expected, token as usize));
        }
        let shape = cache_shape(shape, precision, positions);
        let words = bytemuck::try_cast_slice(words).ok();
        Ok(words.map(|words| Self {
            tokens: ids,
            words,
            shape,
        }))
    }

    /// Its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = u32> + use<'a> {
        tokens(self.tokens)
    }

    /// How many tokens it has, at least 1.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.shape.context
    }

    /// Bits of an element of its keys and values.
    #[must_use]
    pub const fn precision(&self) -> CachePrecision {
        self.shape.precision
    }

    /// Whether a conversation of these tokens, with a cache of this precision, begins with it and goes on.
    #[must_use]
    pub fn begins(&self, said: &[u32], precision: CachePrecision) -> bool {
        said.len() > self.positions()
            && self.precision() == precision
            && self.tokens().zip(said).all(|(own, said)| own == *said)
    }

    /// Whether it was made for a model of this shape.
    pub(crate) fn fits(&self, shape: &Hyperparameters) -> bool {
        self.shape == cache_shape(shape, self.precision(), self.positions())
            && self.words.len() == self.shape.words() * shape.layers as usize
    }

    pub(crate) fn layer(&self, layer: u32) -> LayerView<'a> {
        let words = self.shape.words();
        LayerView::new(self.shape, &self.words[layer as usize * words..][..words])
    }
}
