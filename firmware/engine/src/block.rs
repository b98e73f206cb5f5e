//! Sixteen rows of a packed matrix: where their scales and codes stand, and what they mean.
//!
//! A weight is `scale x level`, and a level is a code less a zero point, both small integers; twins
//! of llama.cpp's formats add a minimum. Whatever reads codes faster must read these.

use crate::codes::{Pick, SparseValues, read_code, read_pick, read_trit};
use crate::encoding::{BLOCK_ROWS, Encoding, GROUP, Record, Twin, Width};
use crate::float::f32_from_f16;

/// The unit of a row scale: weights are `row_scale * scale_unit * group_scale * level`.
///
/// Levels beside a zero point count sixteenths of a step, since the zero point does.
#[must_use]
pub const fn scale_unit(encoding: Encoding) -> f32 {
    if encoding.has_zero_point() {
        1.0 / 1_048_576.0
    } else {
        1.0 / 65_536.0
    }
}

/// The half-precision number at `index` of little-endian bytes.
pub(crate) fn half_at(bytes: &[u8], index: usize) -> f32 {
    f32_from_f16(u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]))
}

/// Sixteen rows `[16, cols]`, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) cols: usize,
    pub(crate) record: Record,
    row_scales: &'a [u8],
    records: &'a [u8],
    /// The kept values of a sparse block.
    values: &'a [u8],
}

/// One group of columns in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    /// What the groups of a record share.
    pub(crate) header: &'a [u8],
    /// What is the group's own.
    pub(crate) bytes: &'a [u8],
}

/// Walks the groups of a block; by hand, so that every kernel's loop holds it whole.
#[derive(Debug, Clone)]
pub(crate) struct Groups<'a> {
    record: Record,
    /// Records after the present one.
    records: &'a [u8],
    /// Header and remaining groups of the present record.
    header: &'a [u8],
    own: &'a [u8],
    next: usize,
    end: usize,
}

impl<'a> Iterator for Groups<'a> {
    type Item = (usize, Group<'a>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        if self.own.is_empty() {
            let (record, rest) = self.records.split_at_checked(self.record.bytes())?;
            (self.header, self.own) = record.split_at_checked(self.record.header)?;
            self.records = rest;
        }
        let (bytes, rest) = self.own.split_at_checked(self.record.group)?;
        self.own = rest;
        let index = self.next;
        self.next += 1;
        let header = self.header;
        Some((index, Group { header, bytes }))
    }
}

impl<'a> Block<'a> {
    pub(crate) fn new(encoding: Encoding, cols: usize, bytes: &'a [u8]) -> Option<Self> {
        let record = encoding.record()?;
        let (row_scales, rest) = bytes.split_at_checked(encoding.row_scale_bytes())?;
        let records = cols.div_ceil(record.groups * GROUP) * record.bytes();
        let (records, values) = rest.split_at_checked(records)?;
        Some(Self {
            encoding,
            cols,
            record,
            row_scales,
            records,
            values,
        })
    }

    /// The groups in order, with their numbers; those that only fill up the last record are left out.
    pub(crate) fn groups(&self) -> Groups<'a> {
        Groups {
            record: self.record,
            records: self.records,
            header: &[],
            own: &[],
            next: 0,
            end: self.cols.div_ceil(GROUP),
        }
    }

    /// The records one after the other, the last one filled up.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn records(&self) -> core::slice::ChunksExact<'a, u8> {
        self.records.chunks_exact(self.record.bytes())
    }

    /// Whether every group can be read in words of 32 bits where it lies.
    pub(crate) fn is_word_aligned(&self) -> bool {
        let sizes = self.record.header | self.record.group;
        bytemuck::try_cast_slice::<u8, u32>(self.records).is_ok() && sizes.is_multiple_of(4)
    }

    /// The 16-bit row scales, where the encoding has them.
    pub(crate) const fn row_scales(&self) -> &'a [u8] {
        self.row_scales
    }

    /// The row scale times its unit; 1 where rows have none.
    pub(crate) fn row_scale(&self, lane: usize) -> f32 {
        if self.row_scales.is_empty() {
            1.0
        } else {
            half_at(self.row_scales, lane) * scale_unit(self.encoding)
        }
    }

    /// The kept values of a sparse block, from the first on.
    pub(crate) fn sparse_values(&self) -> SparseValues<'a> {
        SparseValues::new(self.encoding.sparse_width(), self.values)
    }

    /// Writes the weights of one of the sixteen rows.
    pub(crate) fn dequantize_row(&self, lane: usize, out: &mut [f32]) {
        let row_scale = self.row_scale(lane);
        let mut values = self.sparse_values();
        for ((_, group), out) in self.groups().zip(out.chunks_mut(GROUP)) {
            let mut levels = [0i16; GROUP];
            match self.encoding {
                Encoding::Sparse(width) => values.levels(width, group.bytes, lane, &mut levels),
                Encoding::F32
                | Encoding::F16
                | Encoding::Dense(_)
                | Encoding::Ternary
                | Encoding::OneOfFour
                | Encoding::Twin(_) => {
                    for (col, level) in levels.iter_mut().enumerate() {
                        *level = group.level(self.encoding, lane, col);
                    }
                }
            }
            for (col, (x, level)) in out.iter_mut().zip(levels).enumerate() {
                let level = f32::from(level);
                *x = match self.encoding {
                    Encoding::Twin(twin) => {
                        let (scale, minimum) = group.twin_scale(twin, lane, col);
                        match twin {
                            Twin::Q8_0 | Twin::Q6K => level * scale,
                            Twin::Q4_1 | Twin::Q4K => level * scale + minimum,
                        }
                    }
                    Encoding::F32
                    | Encoding::F16
                    | Encoding::Dense(_)
                    | Encoding::Ternary
                    | Encoding::OneOfFour
                    | Encoding::Sparse(_) => {
                        let scale = row_scale * f32::from(group.scale(self.encoding, lane));
                        scale * level
                    }
                };
            }
        }
    }
}

impl Group<'_> {
    /// The integer scale of one row: 8 bits, 1 to 16 for ternary weights.
    pub(crate) fn scale(&self, encoding: Encoding, lane: usize) -> u8 {
        match encoding {
            Encoding::Ternary => 1 + (self.header[lane % 8] >> (lane / 8 * 4) & 15),
            Encoding::F32
            | Encoding::F16
            | Encoding::Dense(_)
            | Encoding::OneOfFour
            | Encoding::Sparse(_)
            | Encoding::Twin(_) => self.header[lane],
        }
    }

    /// The zero point of one row in sixteenths of a step, where groups have one.
    pub(crate) fn zero_point(&self, lane: usize) -> u8 {
        self.header[BLOCK_ROWS + lane]
    }

    /// Scale and minimum of one row and column of a twin.
    pub(crate) fn twin_scale(&self, twin: Twin, lane: usize, col: usize) -> (f32, f32) {
        let half = |index: usize| half_at(self.header, index);
        match twin {
            Twin::Q8_0 => (half(lane), 0.0),
            Twin::Q4_1 => (half(lane), half(BLOCK_ROWS + lane)),
            Twin::Q4K => {
                let (scale, minimum) = self.six_bits(lane);
                (
                    half(lane) * f32::from(scale),
                    -(half(BLOCK_ROWS + lane) * f32::from(minimum)),
                )
            }
            Twin::Q6K => {
                let scale = self.bytes[col / 16 * BLOCK_ROWS + lane].cast_signed();
                (half(lane) * f32::from(scale), 0.0)
            }
        }
    }

    /// The 6-bit scale and minimum of a row of a Q4_K group: 16 bytes of low nibbles, then 8 bytes of
    /// upper pairs, rows 0 to 7 in the low nibbles.
    fn six_bits(&self, lane: usize) -> (u8, u8) {
        let low = self.bytes[lane];
        let high = self.bytes[BLOCK_ROWS + lane % 8] >> (lane / 8 * 4);
        (low & 15 | (high & 3) << 4, low >> 4 | (high >> 2 & 3) << 4)
    }

    /// The codes of a group, after what a twin stores before them.
    pub(crate) fn codes(&self, encoding: Encoding) -> &[u8] {
        match encoding {
            Encoding::Twin(Twin::Q4K) => &self.bytes[BLOCK_ROWS * 12 / 8..],
            Encoding::Twin(Twin::Q6K) => &self.bytes[2 * BLOCK_ROWS..],
            Encoding::F32
            | Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_)
            | Encoding::Twin(Twin::Q8_0 | Twin::Q4_1) => self.bytes,
        }
    }

    /// The level of one weight: its code less the zero point. Sparse rows are read in order instead.
    fn level(&self, encoding: Encoding, lane: usize, col: usize) -> i16 {
        let codes = self.codes(encoding);
        let code = |width| i16::from(read_code(codes, width, lane, col));
        let above_zero = |width| 16 * code(width) - i16::from(self.zero_point(lane));
        match encoding {
            Encoding::Dense(Width::One) => 2 * code(Width::One) - 1,
            Encoding::Dense(width @ (Width::Two | Width::Three | Width::Four)) => above_zero(width),
            Encoding::Dense(Width::Five) => code(Width::Five) - 16,
            Encoding::Dense(Width::Six) | Encoding::Twin(Twin::Q6K) => code(Width::Six) - 32,
            Encoding::Dense(Width::Eight) | Encoding::Twin(Twin::Q8_0) => code(Width::Eight) - 128,
            Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => code(Width::Four),
            Encoding::Ternary => i16::from(read_trit(codes, lane, col)) - 1,
            Encoding::OneOfFour => match read_pick(codes, lane, col / 4) {
                Pick { column, .. } if column != col % 4 => 0,
                Pick { is_negative, .. } => 1 - 2 * i16::from(is_negative),
            },
            Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) => 0,
        }
    }
}
