//! A tensor in its packed encoding: bytes whose length has been checked against their shape.

use crate::block::Block;
use crate::encoding::{BLOCK_ROWS, Encoding, GROUP};
use crate::float::f32_from_f16;

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
            Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_)
            | Encoding::Twin(_) => true,
        }
    }

    /// The elements as little-endian 32-bit floats, where that is how they are stored.
    #[must_use]
    pub fn floats(&self) -> Option<&'a [[u8; 4]]> {
        match self.encoding {
            Encoding::F32 => Some(self.bytes.as_chunks::<4>().0),
            Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_)
            | Encoding::Twin(_) => None,
        }
    }

    /// Sixteen rows of a block encoding; nothing for floats.
    pub(crate) fn block(&self, index: usize) -> Option<Block<'a>> {
        let size = self.encoding.block_bytes(self.cols, self.kept);
        let bytes = self.bytes.get(index * size..)?.get(..size)?;
        Block::new(self.encoding, self.cols, bytes)
    }

    pub(crate) fn half_row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.cols * 2..][..self.cols * 2]
    }

    pub(crate) fn float_row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.cols * 4..][..self.cols * 4]
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
                let floats = self.float_row(row).as_chunks::<4>().0;
                for (x, b) in out.iter_mut().zip(floats) {
                    *x = f32::from_le_bytes(*b);
                }
            }
            Encoding::F16 => {
                for (x, b) in out.iter_mut().zip(self.half_row(row).as_chunks::<2>().0) {
                    *x = f32_from_f16(u16::from_le_bytes(*b));
                }
            }
            Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_)
            | Encoding::Twin(_) => {
                if let Some(block) = self.block(row / BLOCK_ROWS) {
                    block.dequantize_row(row % BLOCK_ROWS, out);
                }
            }
        }
    }
}
