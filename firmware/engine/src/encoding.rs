//! How weights are stored, and how many bytes that takes: the only place where a size is computed.
//!
//! Dense tensors are cut into blocks of [`BLOCK_ROWS`] rows; a block holds its rows' scales and then
//! one record for every group of [`GROUP`] columns. Inside a record the rows are interleaved in
//! columns of four, so that one broadcast of four activations meets eight rows at once, and the same
//! bytes are still a plain forward walk for a scalar loop. `FORMAT.md` spells out every byte.

/// Columns that share one scale.
pub const GROUP: usize = 32;
/// Rows that are interleaved in one block.
pub const BLOCK_ROWS: usize = 8;

/// Bits of one stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Width {
    /// A sign.
    One = 1,
    /// Four levels.
    Two = 2,
    /// Eight levels.
    Three = 3,
    /// Sixteen levels.
    Four = 4,
    /// 32 levels.
    Five = 5,
    /// 64 levels.
    Six = 6,
    /// 255 levels, -127 to 127.
    Eight = 8,
}

impl Width {
    /// Every width, narrowest first.
    pub const ALL: [Self; 7] = [
        Self::One,
        Self::Two,
        Self::Three,
        Self::Four,
        Self::Five,
        Self::Six,
        Self::Eight,
    ];

    /// The number of bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self as u32
    }

    fn from_bits(bits: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|w| *w as u8 == bits)
    }
}

/// How the weights of one tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// 32-bit floats, row-major: norms, biases, frequencies.
    F32,
    /// 16-bit floats, row-major: the reference path.
    F16,
    /// Every weight stored, in groups of 32 with an 8-bit scale, up to 4 bits with a zero point too.
    Dense(Width),
    /// -1, 0 or 1, in two bits, in groups of 32 with an 8-bit scale.
    Ternary,
    /// A bitmap of the kept weights and their values; the same number is kept in every row.
    Sparse(Width),
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Self; 17] = [
        Self::F32,
        Self::F16,
        Self::Dense(Width::One),
        Self::Dense(Width::Two),
        Self::Dense(Width::Three),
        Self::Dense(Width::Four),
        Self::Dense(Width::Five),
        Self::Dense(Width::Six),
        Self::Dense(Width::Eight),
        Self::Ternary,
        Self::Sparse(Width::One),
        Self::Sparse(Width::Two),
        Self::Sparse(Width::Three),
        Self::Sparse(Width::Four),
        Self::Sparse(Width::Five),
        Self::Sparse(Width::Six),
        Self::Sparse(Width::Eight),
    ];

    /// Its number in a packed file.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Ternary => 2,
            Self::Dense(width) => 16 + width as u8,
            Self::Sparse(width) => 32 + width as u8,
        }
    }

    /// The encoding with this number in a packed file.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::F32),
            1 => Some(Self::F16),
            2 => Some(Self::Ternary),
            17..=24 => Width::from_bits(number - 16).map(Self::Dense),
            33..=40 => Width::from_bits(number - 32).map(Self::Sparse),
            _ => None,
        }
    }

    /// A short name: `dense4`, `sparse1`, `ternary`, `f16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Ternary => "ternary",
            Self::Dense(Width::One) => "dense1",
            Self::Dense(Width::Two) => "dense2",
            Self::Dense(Width::Three) => "dense3",
            Self::Dense(Width::Four) => "dense4",
            Self::Dense(Width::Five) => "dense5",
            Self::Dense(Width::Six) => "dense6",
            Self::Dense(Width::Eight) => "dense8",
            Self::Sparse(Width::One) => "sparse1",
            Self::Sparse(Width::Two) => "sparse2",
            Self::Sparse(Width::Three) => "sparse3",
            Self::Sparse(Width::Four) => "sparse4",
            Self::Sparse(Width::Five) => "sparse5",
            Self::Sparse(Width::Six) => "sparse6",
            Self::Sparse(Width::Eight) => "sparse8",
        }
    }

    /// Whether groups carry a zero point beside their scale.
    #[must_use]
    pub const fn has_zero_point(self) -> bool {
        matches!(self, Self::Dense(Width::Two | Width::Three | Width::Four))
    }

    /// Bytes of one group record of a dense or ternary block: scales, zero points, values.
    pub(crate) const fn record_bytes(self) -> usize {
        let bits = match self {
            Self::Dense(width) => width as usize,
            Self::Ternary => 2,
            Self::F32 | Self::F16 | Self::Sparse(_) => 0,
        };
        let zeros = if self.has_zero_point() { BLOCK_ROWS } else { 0 };
        BLOCK_ROWS + zeros + BLOCK_ROWS * GROUP * bits / 8
    }

    /// Bytes of one row of a sparse tensor: scale, group scales, bitmap, values.
    pub(crate) const fn sparse_row_bytes(width: Width, cols: usize, kept: usize) -> usize {
        let groups = cols.div_ceil(GROUP);
        2 + groups + groups * (GROUP / 8) + (kept * width as usize).div_ceil(8)
    }

    /// Bytes of a tensor `[rows, cols]`; `kept` weights in each row where the encoding is sparse
    /// (ignored elsewhere). Counts every scale, zero point, mask and padding.
    #[must_use]
    pub const fn bytes(self, rows: usize, cols: usize, kept: usize) -> usize {
        match self {
            Self::F32 => rows * cols * 4,
            Self::F16 => rows * cols * 2,
            Self::Dense(_) | Self::Ternary => {
                rows.div_ceil(BLOCK_ROWS)
                    * (2 * BLOCK_ROWS + cols.div_ceil(GROUP) * self.record_bytes())
            }
            Self::Sparse(width) => rows * Self::sparse_row_bytes(width, cols, kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_number(encoding.number()), Some(encoding));
        }
        let known = (0..=u8::MAX)
            .filter(|n| Encoding::from_number(*n).is_some())
            .count();
        assert_eq!(known, Encoding::ALL.len());
    }

    #[test]
    fn sizes_count_scales_masks_and_padding() {
        // 8 rows x 64 columns at 4 bits: 16 bytes of row scales, then 2 records of 8 + 8 + 128.
        assert_eq!(Encoding::Dense(Width::Four).bytes(8, 64, 0), 16 + 2 * 144);
        // One row costs a whole block.
        assert_eq!(Encoding::Dense(Width::Four).bytes(1, 33, 0), 16 + 2 * 144);
        assert_eq!(Encoding::Dense(Width::One).bytes(8, 32, 0), 16 + 8 + 32);
        // 2-byte row scale, 2 group scales, 8 bytes of bitmap, 13 bits of values.
        assert_eq!(
            Encoding::Sparse(Width::One).bytes(3, 64, 13),
            3 * (2 + 2 + 8 + 2)
        );
        assert_eq!(Encoding::F16.bytes(3, 5, 0), 30);
    }
}
