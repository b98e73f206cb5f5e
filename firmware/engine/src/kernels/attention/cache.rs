//! The keys and values of one layer, at the precision that the session chose.

use super::codec::{Codec, Eight, FOUR_GROUP, Four, Sixteen};
use super::whole_blocks;
use crate::float::f32_from_f16;
use crate::kernels::lanes::Lanes;
use crate::kernels::{LANES, Shared};
use crate::workers::{Host, Level, Serial, Workers as _};
use core::ops::Range;

/// Bits of an element of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CachePrecision {
    /// 16-bit floats.
    #[default]
    Sixteen,
    /// Integers with a 16-bit scale for each head and position.
    Eight,
    /// Integers with a 16-bit scale for each 32 elements of a head and position.
    Four,
}

impl CachePrecision {
    /// Every precision, finest first.
    pub const ALL: [Self; 3] = [Self::Sixteen, Self::Eight, Self::Four];

    /// Bits of an element, without its scale.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Sixteen => 16,
            Self::Eight => 8,
            Self::Four => 4,
        }
    }

    /// The precision of so many bits.
    #[must_use]
    pub fn from_bits(bits: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.bits() == bits)
    }

    /// Scales of a head at one position.
    const fn groups(self, head_dim: usize) -> usize {
        match self {
            Self::Sixteen => 0,
            Self::Eight => 1,
            Self::Four => head_dim.div_ceil(FOUR_GROUP),
        }
    }
}

/// What fixes the size of a layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Bits of an element.
    pub precision: CachePrecision,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head, even.
    pub head_dim: usize,
    /// Positions that the cache has room for.
    pub context: usize,
}

impl CacheShape {
    /// Positions of keys: whole blocks of 16.
    const fn padded(&self) -> usize {
        whole_blocks(self.context)
    }

    /// Scales of one layer's keys, and as many of its values.
    const fn scales(&self) -> usize {
        let groups = self.kv_heads * self.precision.groups(self.head_dim);
        groups.saturating_mul(self.padded())
    }

    const fn words_of(&self, positions: usize) -> usize {
        match (self.kv_heads * self.head_dim).checked_mul(positions) {
            Some(elements) => elements.div_ceil(32 / self.precision.bits()),
            None => usize::MAX,
        }
    }

    /// 32-bit words of one layer's keys and values, scales included; saturates.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.words_of(self.padded())
            .saturating_add(self.words_of(self.context))
            .saturating_add(self.scales())
    }
}

/// Keys and values of one layer.
#[derive(Debug)]
pub struct LayerCache<'a> {
    pub(super) shape: CacheShape,
    /// `[kv_heads, positions / 16, head_dim, 16]`.
    keys: &'a mut [u32],
    /// `[kv_heads, context, head_dim]`.
    values: &'a mut [u32],
    /// `[kv_heads, groups, positions]` of keys, then the same of values.
    scales: &'a mut [u16],
}

/// [`LayerCache`] to read only: of a session, or of a packed file.
#[derive(Debug, Clone, Copy)]
pub struct LayerView<'a> {
    pub(super) shape: CacheShape,
    /// The position of its first token in the conversation.
    pub(super) first: usize,
    keys: &'a [u32],
    values: &'a [u32],
    scales: &'a [u16],
}

/// The codes and scales of one head's keys and values.
#[derive(Debug)]
pub(super) struct Head<'a, C: Codec> {
    /// The positions that it has.
    pub(super) positions: Range<usize>,
    /// `[positions / 16, head_dim, 16]`.
    pub(super) keys: &'a [C::Code],
    /// `[context, head_dim]`.
    pub(super) values: &'a [C::Code],
    /// `[groups, positions]`.
    key_scales: &'a [u16],
    value_scales: &'a [u16],
    /// Positions of each group.
    padded: usize,
}

impl<C: Codec> Head<'_, C> {
    /// The same without a position.
    pub(super) fn none(self) -> Self {
        Self {
            positions: 0..0,
            ..self
        }
    }

    /// Its positions below `seen`, counted from its first.
    #[inline(always)]
    pub(super) fn below(&self, seen: usize) -> usize {
        seen.min(self.positions.end)
            .saturating_sub(self.positions.start)
    }

    #[inline(always)]
    pub(super) fn key_scale(&self, group: usize, position: usize) -> f32 {
        if C::SCALED {
            f32_from_f16(self.key_scales[group * self.padded + position])
        } else {
            1.0
        }
    }

    #[inline(always)]
    pub(super) fn value_scale(&self, group: usize, position: usize) -> f32 {
        if C::SCALED {
            f32_from_f16(self.value_scales[group * self.padded + position])
        } else {
            1.0
        }
    }

    /// The scales of the 16 keys of a block.
    #[inline(always)]
    pub(super) fn key_scales<V: Lanes>(&self, group: usize, block: usize) -> V {
        if C::SCALED {
            let scales = &self.key_scales[group * self.padded..][..self.padded];
            V::from_halves(&scales.as_chunks().0[block])
        } else {
            V::splat(1.0)
        }
    }

    /// `scores` times the scales of the values from position `first` on.
    #[inline(always)]
    pub(super) fn weights<V: Lanes>(
        &self,
        group: usize,
        first: usize,
        scores: &[f32],
        weights: &mut [f32],
    ) {
        if !C::SCALED {
            weights[..scores.len()].copy_from_slice(scores);
            return;
        }
        let scales = &self.value_scales[group * self.padded + first..][..scores.len()];
        let (whole_scales, rest_scales) = scales.as_chunks();
        let (whole, rest) = scores.as_chunks();
        for (i, (score, scales)) in whole.iter().zip(whole_scales).enumerate() {
            let weights = &mut weights.as_chunks_mut().0[i];
            V::load(score).times(V::from_halves(scales)).store(weights);
        }
        for (i, (score, scale)) in rest.iter().zip(rest_scales).enumerate() {
            weights[whole.len() * LANES + i] = score * f32_from_f16(*scale);
        }
    }
}

impl<'a> LayerCache<'a> {
    /// The cache of this shape in [`CacheShape::words`] words.
    ///
    /// # Panics
    /// When there are fewer words.
    #[must_use]
    pub fn new(shape: CacheShape, words: &'a mut [u32]) -> Self {
        let (keys, rest) = words.split_at_mut(shape.words_of(shape.padded()));
        let (values, rest) = rest.split_at_mut(shape.words_of(shape.context));
        Self {
            shape,
            keys,
            values,
            scales: bytemuck::cast_slice_mut(&mut rest[..shape.scales()]),
        }
    }

    /// What is stored, for a conversation in which it begins at position `first`.
    #[must_use]
    pub const fn view(&self, first: usize) -> LayerView<'_> {
        LayerView {
            shape: self.shape,
            first,
            keys: self.keys,
            values: self.values,
            scales: self.scales,
        }
    }

    /// Writes `keys` and `values` `[tokens, kv_heads, head_dim]` to the positions from `position` on.
    ///
    /// # Panics
    /// When they go past the context.
    pub fn store(&mut self, host: &Host<'_>, keys: &[f32], values: &[f32], position: usize) {
        match self.shape.precision {
            CachePrecision::Sixteen => self.store_as::<Sixteen>(host, keys, values, position),
            CachePrecision::Eight => self.store_as::<Eight>(host, keys, values, position),
            CachePrecision::Four => self.store_as::<Four>(host, keys, values, position),
        }
    }

    fn store_as<C: Codec>(
        &mut self,
        host: &Host<'_>,
        keys: &[f32],
        values: &[f32],
        position: usize,
    ) {
        let shape = self.shape;
        let width = shape.kv_heads * shape.head_dim;
        let tokens = keys.len() / width;
        assert!(keys.len() == values.len() && position + tokens <= shape.context);
        let (key_scales, value_scales) = self.scales.split_at_mut(self.scales.len() / 2);
        let per_head = key_scales.len() / shape.kv_heads;
        let sides = [
            Side::<C> {
                rows: keys,
                codes: Shared::new(bytemuck::cast_slice_mut(self.keys)),
                per_head: shape.padded() * shape.head_dim / C::PACKED,
                scales: Shared::new(key_scales),
                stride: LANES,
                start: |shape, position| {
                    position / LANES * LANES * shape.head_dim / C::PACKED + position % LANES
                },
            },
            Side::<C> {
                rows: values,
                codes: Shared::new(bytemuck::cast_slice_mut(self.values)),
                per_head: shape.context * shape.head_dim / C::PACKED,
                scales: Shared::new(value_scales),
                stride: 1,
                start: |shape, position| position * shape.head_dim / C::PACKED,
            },
        ];
        let task = |task: usize| {
            let (head, side) = (task / 2, &sides[task % 2]);
            // SAFETY: these parts belong to this head and side alone, and they to one task.
            let (codes, scales) = unsafe {
                (
                    side.codes.slice(head * side.per_head, side.per_head),
                    side.scales.slice(head * per_head, per_head),
                )
            };
            for (t, row) in side.rows.chunks_exact(width).enumerate() {
                let row = &row[head * shape.head_dim..][..shape.head_dim];
                let at = position + t;
                let codes = &mut codes[(side.start)(&shape, at)..];
                write::<C>(host.level.0, row, codes, side.stride, |group, scale| {
                    scales[group * shape.padded() + at] = scale;
                });
            }
        };
        if tokens == 1 {
            Serial.run(2 * shape.kv_heads, &task);
        } else {
            host.workers.run(2 * shape.kv_heads, &task);
        }
    }
}

impl<'a> LayerView<'a> {
    /// The cache of this shape at the start of a conversation, in [`CacheShape::words`] words.
    ///
    /// # Panics
    /// When there are fewer words.
    #[must_use]
    pub fn new(shape: CacheShape, words: &'a [u32]) -> Self {
        let (keys, rest) = words.split_at(shape.words_of(shape.padded()));
        let (values, rest) = rest.split_at(shape.words_of(shape.context));
        Self {
            shape,
            first: 0,
            keys,
            values,
            scales: bytemuck::cast_slice(&rest[..shape.scales()]),
        }
    }

    pub(super) fn head<C: Codec>(&self, head: usize) -> Head<'a, C> {
        let shape = &self.shape;
        let codes = |positions: usize| {
            let len = positions * shape.head_dim / C::PACKED;
            head * len..(head + 1) * len
        };
        let (key_scales, value_scales) = self.scales.split_at(self.scales.len() / 2);
        let per_head = key_scales.len() / shape.kv_heads;
        let scales = head * per_head..(head + 1) * per_head;
        Head {
            positions: self.first..self.first + shape.context,
            keys: &bytemuck::cast_slice(self.keys)[codes(shape.padded())],
            values: &bytemuck::cast_slice(self.values)[codes(shape.context)],
            key_scales: &key_scales[scales.clone()],
            value_scales: &value_scales[scales],
            padded: shape.padded(),
        }
    }
}

/// Keys or values as they are written.
struct Side<'a, C: Codec> {
    /// `[tokens, kv_heads, head_dim]`.
    rows: &'a [f32],
    codes: Shared<'a, C::Code>,
    per_head: usize,
    scales: Shared<'a, u16>,
    /// Where a position starts in its head's codes, and how far apart its codes are.
    start: fn(&CacheShape, usize) -> usize,
    stride: usize,
}

/// Writes a head of one position to every `stride`th of `codes`, and its scales through `set_scale`.
fn write<C: Codec>(
    level: Level,
    row: &[f32],
    codes: &mut [C::Code],
    stride: usize,
    mut set_scale: impl FnMut(usize, u16),
) {
    let group = C::group(row.len());
    for (g, elements) in row.chunks(group).enumerate() {
        let mut inverse = 1.0;
        if C::SCALED {
            let scale = C::scale(elements);
            set_scale(g, scale);
            let scale = f32_from_f16(scale);
            inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        }
        for (column, part) in elements.chunks(LANES).enumerate() {
            let mut x = [0.0; LANES];
            x[..part.len()].copy_from_slice(part);
            let encoded = C::codes(level, &x, inverse);
            let first = (g * group + column * LANES) / C::PACKED * stride;
            // An even number of elements: those that share a code are in one part.
            let places = codes[first..].iter_mut().step_by(stride);
            let encoded = encoded[..part.len()].chunks(C::PACKED);
            places
                .zip(encoded)
                .for_each(|(place, codes)| *place = C::pack(codes));
        }
    }
}
