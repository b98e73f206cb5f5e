//! A tensor in its packed encoding: bytes whose length has been checked against their shape.

use crate::encoding::{BLOCK_ROWS, Encoding, GROUP, Width};
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

/// A packed tensor `[rows, cols]`, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix<'a> {
    encoding: Encoding,
    rows: usize,
    cols: usize,
    kept: usize,
    bytes: &'a [u8],
}

/// The bytes of a tensor are not as many as its shape takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongLength {
    /// Bytes that the shape takes.
    pub expected: usize,
    /// Bytes at hand.
    pub found: usize,
}

impl<'a> Matrix<'a> {
    /// Binds `bytes` to a shape; `kept` is the number of weights kept in each row of a sparse tensor.
    ///
    /// # Errors
    /// [`WrongLength`] when the bytes are not exactly those of the shape.
    pub fn new(
        encoding: Encoding,
        rows: usize,
        cols: usize,
        kept: usize,
        bytes: &'a [u8],
    ) -> Result<Self, WrongLength> {
        let expected = encoding.bytes(rows, cols, kept);
        if bytes.len() == expected && kept <= cols {
            Ok(Self {
                encoding,
                rows,
                cols,
                kept,
                bytes,
            })
        } else {
            Err(WrongLength {
                expected,
                found: bytes.len(),
            })
        }
    }

    /// How its weights are stored.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Output width.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Input width.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Groups in a row.
    #[must_use]
    pub const fn groups(&self) -> usize {
        self.cols.div_ceil(GROUP)
    }

    /// The packed bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether its products take int8 activations rather than floats.
    #[must_use]
    pub const fn takes_int8(&self) -> bool {
        match self.encoding {
            Encoding::F32 | Encoding::F16 => false,
            Encoding::Dense(_) | Encoding::Ternary | Encoding::Sparse(_) => true,
        }
    }

    /// The elements as little-endian 32-bit floats, where that is how they are stored.
    #[must_use]
    pub fn floats(&self) -> Option<&'a [[u8; 4]]> {
        match self.encoding {
            Encoding::F32 => Some(self.bytes.as_chunks::<4>().0),
            Encoding::F16 | Encoding::Dense(_) | Encoding::Ternary | Encoding::Sparse(_) => None,
        }
    }

    /// Bytes of one block of eight rows of a dense tensor.
    pub(crate) const fn block_bytes(&self) -> usize {
        2 * BLOCK_ROWS + self.groups() * self.encoding.record_bytes()
    }

    pub(crate) fn block(&self, index: usize) -> &'a [u8] {
        &self.bytes[index * self.block_bytes()..][..self.block_bytes()]
    }

    pub(crate) fn half_row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.cols * 2..][..self.cols * 2]
    }

    /// A row of a sparse tensor, taken apart.
    pub(crate) fn sparse_row(&self, width: Width, row: usize) -> SparseRow<'a> {
        let bytes = Encoding::sparse_row_bytes(width, self.cols, self.kept);
        let row = &self.bytes[row * bytes..][..bytes];
        let (scale, rest) = row.split_at(2);
        let (group_scales, rest) = rest.split_at(self.groups());
        let (bitmap, values) = rest.split_at(self.groups() * (GROUP / 8));
        SparseRow {
            scale: half_at(scale, 0) * scale_unit(Encoding::Sparse(width)),
            group_scales,
            bitmap,
            values,
        }
    }

    /// Writes the weights of one row as floats.
    ///
    /// # Panics
    /// When `row` is past the end or `out` is not `[cols]`.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(
            row < self.rows && out.len() == self.cols,
            "row {row} of {} into {}",
            self.rows,
            out.len()
        );
        match self.encoding {
            Encoding::F32 => {
                for (x, b) in out
                    .iter_mut()
                    .zip(self.bytes[row * self.cols * 4..].as_chunks::<4>().0)
                {
                    *x = f32::from_le_bytes(*b);
                }
            }
            Encoding::F16 => {
                for (x, b) in out.iter_mut().zip(self.half_row(row).as_chunks::<2>().0) {
                    *x = f32_from_f16(u16::from_le_bytes(*b));
                }
            }
            Encoding::Dense(_) | Encoding::Ternary => {
                let block = self.block(row / BLOCK_ROWS);
                let lane = row % BLOCK_ROWS;
                let row_scale = half_at(block, lane) * scale_unit(self.encoding);
                let records = block[2 * BLOCK_ROWS..].chunks_exact(self.encoding.record_bytes());
                for (record, out) in records.zip(out.chunks_mut(GROUP)) {
                    let scale = row_scale * f32::from(record[lane]);
                    for (col, x) in out.iter_mut().enumerate() {
                        *x = scale * f32::from(level(self.encoding, record, lane, col));
                    }
                }
            }
            Encoding::Sparse(width) => {
                let row = self.sparse_row(width, row);
                let mut reader = BitReader::new(row.values);
                for (group, out) in out.chunks_mut(GROUP).enumerate() {
                    let scale = row.scale * f32::from(row.group_scales[group]);
                    let levels = row.group_levels(width, group, &mut reader);
                    for (x, level) in out.iter_mut().zip(levels) {
                        *x = scale * f32::from(level);
                    }
                }
            }
        }
    }
}

/// The parts of one row of a sparse tensor.
pub(crate) struct SparseRow<'a> {
    /// Row scale, unit included.
    pub(crate) scale: f32,
    pub(crate) group_scales: &'a [u8],
    /// One bit a column, lowest bit first.
    pub(crate) bitmap: &'a [u8],
    /// The kept values, lowest bits first.
    pub(crate) values: &'a [u8],
}

impl SparseRow<'_> {
    pub(crate) fn mask(&self, group: usize) -> u32 {
        let at = group * 4;
        u32::from_le_bytes([
            self.bitmap[at],
            self.bitmap[at + 1],
            self.bitmap[at + 2],
            self.bitmap[at + 3],
        ])
    }

    /// The levels of one group, zero where nothing is kept; groups are read in order.
    pub(crate) fn group_levels(
        &self,
        width: Width,
        group: usize,
        reader: &mut BitReader<'_>,
    ) -> [i16; GROUP] {
        let mut levels = [0; GROUP];
        let mut mask = self.mask(group);
        while mask != 0 {
            levels[mask.trailing_zeros() as usize] = kept_level(width, reader.take(width));
            mask &= mask - 1;
        }
        levels
    }
}

/// The level of a kept value: odd numbers around zero, so that no kept weight is zero; at 8 bits
/// plain two's complement.
#[inline]
pub(crate) fn kept_level(width: Width, code: u8) -> i16 {
    match width {
        Width::Eight => i16::from(code.cast_signed()),
        Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => {
            2 * i16::from(code) - ((1 << width.bits()) - 1)
        }
    }
}

/// Reads values of fixed width, lowest bits first; past the end it reads zeros.
pub(crate) struct BitReader<'a> {
    bytes: core::slice::Iter<'a, u8>,
    /// Bits read from `bytes` and not yet taken, and how many.
    window: u32,
    held: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes: bytes.iter(),
            window: 0,
            held: 0,
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, width: Width) -> u8 {
        let bits = width.bits();
        if self.held < bits {
            self.window |= u32::from(self.bytes.next().copied().unwrap_or(0)) << self.held;
            self.held += 8;
        }
        let [code, ..] = (self.window & ((1 << bits) - 1)).to_le_bytes();
        self.window >>= bits;
        self.held -= bits;
        code
    }
}

/// The half-precision number at `index` of little-endian bytes.
pub(crate) fn half_at(bytes: &[u8], index: usize) -> f32 {
    f32_from_f16(u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]))
}

/// The level of one weight of a dense or ternary record: its code less the zero point.
///
/// Zero points are in sixteenths of a step, and so are the levels beside them.
pub(crate) fn level(encoding: Encoding, record: &[u8], lane: usize, col: usize) -> i16 {
    let header = BLOCK_ROWS
        + if encoding.has_zero_point() {
            BLOCK_ROWS
        } else {
            0
        };
    let values = &record[header..];
    let code =
        |plane_bits: usize, values: &[u8]| i16::from(plane_code(values, plane_bits, lane, col));
    let above_zero = |code: i16| 16 * code - i16::from(record[BLOCK_ROWS + lane]);
    match encoding {
        Encoding::Dense(Width::One) => 2 * code(1, values) - 1,
        Encoding::Ternary => code(2, values) - 1,
        Encoding::Dense(Width::Two) => above_zero(code(2, values)),
        Encoding::Dense(Width::Three) => above_zero(code(2, values) | code(1, &values[64..]) << 2),
        Encoding::Dense(Width::Four) => above_zero(code(4, values)),
        Encoding::Dense(Width::Five) => (code(4, values) | code(1, &values[128..]) << 4) - 16,
        Encoding::Dense(Width::Six) => (code(4, values) | code(2, &values[128..]) << 4) - 32,
        Encoding::Dense(Width::Eight) => {
            i16::from(values[plane_byte(col, lane, 8).0].cast_signed())
        }
        Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) => 0,
    }
}

/// Where the bits of one weight sit in a plane of 1, 2, 4 or 8 bits: byte and shift.
///
/// A plane holds eight chunks of four columns by eight rows, 32 weights each. With `bits` bits a
/// byte holds `8 / bits` chunks, `bits` chunks apart.
#[must_use]
pub const fn plane_byte(col: usize, lane: usize, bits: usize) -> (usize, usize) {
    let chunk = col / 4;
    (
        (chunk % bits) * 32 + lane * 4 + col % 4,
        chunk / bits * bits,
    )
}

fn plane_code(plane: &[u8], bits: usize, lane: usize, col: usize) -> u8 {
    let (byte, shift) = plane_byte(col, lane, bits);
    plane[byte] >> shift & ((1u16 << bits) - 1).to_le_bytes()[0]
}
