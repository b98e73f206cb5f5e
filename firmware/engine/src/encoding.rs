//! How weights are stored, and how many bytes that takes: the only place where a size is computed.
//!
//! A tensor is cut into blocks of [`BLOCK_ROWS`] rows. A block holds what its rows have of their own
//! (a scale each) and then records, each of a few groups of [`GROUP`] columns. Inside a record rows
//! are interleaved in chunks of four columns by sixteen rows, so that one broadcast of four
//! activations meets sixteen rows at once, and the same bytes are still a plain forward walk for a
//! scalar loop. `FORMAT.md` spells out every byte.

/// Columns that share one scale of the activations.
pub const GROUP: usize = 32;
/// Rows that are interleaved in one block.
pub const BLOCK_ROWS: usize = 16;
/// Weights of one group in one block.
pub(crate) const GROUP_WEIGHTS: usize = BLOCK_ROWS * GROUP;
/// Bytes of a chunk at eight bits: four columns by sixteen rows.
pub(crate) const CHUNK: usize = 4 * BLOCK_ROWS;
/// Chunks of a group.
pub(crate) const CHUNKS: usize = GROUP / 4;

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

/// Block formats of llama.cpp that are kept without loss, in no more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Twin {
    /// 8 bits, a 16-bit scale for each 32 columns.
    Q8_0 = 8,
    /// 4 bits, a 16-bit scale and a 16-bit minimum for each 32 columns.
    Q4_1 = 3,
    /// 4 bits, 6-bit scales and minima for each 32 columns, two 16-bit scales for each 256.
    Q4K = 12,
    /// 6 bits, 8-bit scales for each 16 columns, a 16-bit scale for each 256.
    Q6K = 14,
}

impl Twin {
    /// Every twin.
    pub const ALL: [Self; 4] = [Self::Q8_0, Self::Q4_1, Self::Q4K, Self::Q6K];
}

/// How the weights of one tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// 32-bit floats, row-major: norms, biases, frequencies.
    F32,
    /// 16-bit floats, row-major: the reference path.
    F16,
    /// Every weight stored, with an 8-bit scale for each 32 columns (64 up to 3 bits), and at 2, 3
    /// and 4 bits a zero point.
    Dense(Width),
    /// -1, 0 or 1, in 1.625 bits, with a 4-bit scale for each 64 columns.
    Ternary,
    /// A sign in one of every four columns, in three bits, with an 8-bit scale for each 64 columns.
    OneOfFour,
    /// A bitmap of the kept weights and their values; the same number is kept in every row.
    Sparse(Width),
    /// As llama.cpp stores it, in another order.
    Twin(Twin),
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Self; 22] = [
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
        Self::OneOfFour,
        Self::Sparse(Width::One),
        Self::Sparse(Width::Two),
        Self::Sparse(Width::Three),
        Self::Sparse(Width::Four),
        Self::Sparse(Width::Five),
        Self::Sparse(Width::Six),
        Self::Sparse(Width::Eight),
        Self::Twin(Twin::Q8_0),
        Self::Twin(Twin::Q4_1),
        Self::Twin(Twin::Q4K),
        Self::Twin(Twin::Q6K),
    ];

    /// Its number in a packed file.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Ternary => 2,
            Self::OneOfFour => 3,
            Self::Dense(width) => 16 + width as u8,
            Self::Sparse(width) => 32 + width as u8,
            Self::Twin(twin) => 48 + twin as u8,
        }
    }

    /// The encoding with this number in a packed file.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::F32),
            1 => Some(Self::F16),
            2 => Some(Self::Ternary),
            3 => Some(Self::OneOfFour),
            17..=24 => Width::from_bits(number - 16).map(Self::Dense),
            33..=40 => Width::from_bits(number - 32).map(Self::Sparse),
            48..=62 => Twin::ALL
                .into_iter()
                .find(|t| *t as u8 == number - 48)
                .map(Self::Twin),
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
            Self::OneOfFour => "1of4",
            Self::Twin(Twin::Q8_0) => "q8_0",
            Self::Twin(Twin::Q4_1) => "q4_1",
            Self::Twin(Twin::Q4K) => "q4_k",
            Self::Twin(Twin::Q6K) => "q6_k",
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

    /// The width of kept values, where the encoding is sparse.
    #[must_use]
    pub const fn sparse_width(self) -> Option<Width> {
        match self {
            Self::Sparse(width) => Some(width),
            Self::F32
            | Self::F16
            | Self::Dense(_)
            | Self::Ternary
            | Self::OneOfFour
            | Self::Twin(_) => None,
        }
    }

    /// Whether groups carry a zero point beside their scale.
    #[must_use]
    pub const fn has_zero_point(self) -> bool {
        matches!(self, Self::Dense(Width::Two | Width::Three | Width::Four))
    }

    /// How a record of a block encoding is laid out; nothing for floats.
    #[must_use]
    pub const fn record(self) -> Option<Record> {
        let r = BLOCK_ROWS;
        match self {
            Self::F32 | Self::F16 => None,
            Self::Dense(width) => {
                let groups = match width {
                    Width::One | Width::Two | Width::Three => 2,
                    Width::Four | Width::Five | Width::Six | Width::Eight => 1,
                };
                let header = if self.has_zero_point() { 2 * r } else { r };
                record(groups, header, GROUP_WEIGHTS * width as usize)
            }
            // Five chunks in base 3, eight bits; three chunks in base 3, five bits.
            Self::Ternary => record(2, r / 2, 64 * (8 + 5)),
            Self::OneOfFour => record(2, r, GROUP_WEIGHTS * 3 / 4),
            // The bitmap; values stand at the end of the block.
            Self::Sparse(_) => record(2, r, GROUP_WEIGHTS),
            Self::Twin(Twin::Q8_0) => record(1, 2 * r, GROUP_WEIGHTS * 8),
            Self::Twin(Twin::Q4_1) => record(1, 4 * r, GROUP_WEIGHTS * 4),
            // Two scales a row; then each group has 6-bit scales and minima before its codes.
            Self::Twin(Twin::Q4K) => record(8, 4 * r, r * 12 + GROUP_WEIGHTS * 4),
            // One scale a row; then each group has two 8-bit scales a row before its codes.
            Self::Twin(Twin::Q6K) => record(8, 2 * r, r * 16 + GROUP_WEIGHTS * 6),
        }
    }

    /// Bytes of a block's row scales.
    #[must_use]
    pub const fn row_scale_bytes(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Twin(_) => 0,
            Self::Dense(_) | Self::Ternary | Self::OneOfFour | Self::Sparse(_) => 2 * BLOCK_ROWS,
        }
    }

    /// Bytes of one block of sixteen rows of `cols`; nothing for floats. Saturates as [`Self::bytes`].
    #[must_use]
    pub const fn block_bytes(self, cols: usize, kept: usize) -> usize {
        let Some(record) = self.record() else {
            return 0;
        };
        let values = match self.sparse_width() {
            Some(width) => (BLOCK_ROWS / 8 * width as usize).saturating_mul(kept),
            None => 0,
        };
        let records = cols.div_ceil(record.groups * GROUP);
        records
            .saturating_mul(record.bytes())
            .saturating_add(values)
            .saturating_add(self.row_scale_bytes())
    }

    /// Bytes of a tensor `[rows, cols]`; `kept` weights in each row where the encoding is sparse
    /// (ignored elsewhere). Counts every scale, zero point, mask and padding.
    ///
    /// What a `usize` cannot count, on a 32-bit board 4 GiB, is [`usize::MAX`], which no slice has.
    #[must_use]
    pub const fn bytes(self, rows: usize, cols: usize, kept: usize) -> usize {
        match self {
            Self::F32 => rows.saturating_mul(cols).saturating_mul(4),
            Self::F16 => rows.saturating_mul(cols).saturating_mul(2),
            Self::Dense(_) | Self::Ternary | Self::OneOfFour | Self::Sparse(_) | Self::Twin(_) => {
                let blocks = rows.div_ceil(BLOCK_ROWS);
                blocks.saturating_mul(self.block_bytes(cols, kept))
            }
        }
    }
}

/// The layout of one record: its header, then the same for every group.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Groups of columns that share the header.
    pub groups: usize,
    /// Bytes before the first group.
    pub header: usize,
    /// Bytes of one group.
    pub group: usize,
}

const fn record(groups: usize, header: usize, bits_of_group: usize) -> Option<Record> {
    Some(Record {
        groups,
        header,
        group: bits_of_group / 8,
    })
}

impl Record {
    /// Bytes of the whole record.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.header + self.groups * self.group
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

    /// Bits for each weight of a `[576, 576]` matrix, SmolLM2's, with everything counted.
    fn bits_per_weight(encoding: Encoding, kept: usize) -> f64 {
        encoding.bytes(576, 576, kept) as f64 * 8.0 / (576.0 * 576.0)
    }

    #[test]
    fn each_format_costs_what_is_written_of_it() {
        // A 16-bit scale a row is 16 / 576 = 0.028 bits.
        let most = [
            (Encoding::Dense(Width::One), 1.16),
            (Encoding::Ternary, 1.72),
            (Encoding::OneOfFour, 0.91),
            (Encoding::Dense(Width::Two), 2.28),
            (Encoding::Dense(Width::Three), 3.28),
            (Encoding::Dense(Width::Four), 4.53),
            (Encoding::Dense(Width::Five), 5.285),
            (Encoding::Dense(Width::Six), 6.285),
            (Encoding::Dense(Width::Eight), 8.28),
            (Encoding::F16, 16.0),
        ];
        for (encoding, most) in most {
            let found = bits_per_weight(encoding, 576);
            assert!(
                found <= most && found > most - 0.02,
                "{encoding:?}: {found}"
            );
        }
        // A bitmap is one bit, a scale for 64 columns an eighth.
        for width in Width::ALL {
            for kept in [288, 116, 58] {
                let values = kept as f64 / 576.0 * f64::from(width.bits());
                let found = bits_per_weight(Encoding::Sparse(width), kept);
                assert!((found - values - 1.153).abs() < 0.01, "{width:?}: {found}");
            }
        }
    }

    #[test]
    fn twins_take_the_bytes_of_their_sources() {
        let cases = [
            (Twin::Q8_0, 34, 32),
            (Twin::Q4_1, 20, 32),
            (Twin::Q4K, 144, 256),
            (Twin::Q6K, 210, 256),
        ];
        for (twin, block_bytes, block_values) in cases {
            let blocks = 64 * 512 / block_values;
            assert_eq!(Encoding::Twin(twin).bytes(64, 512, 0), blocks * block_bytes);
        }
    }

    #[test]
    fn sizes_count_padding() {
        // One row costs a whole block, one column a whole record.
        assert_eq!(
            Encoding::Dense(Width::Four).bytes(1, 33, 0),
            32 + 2 * (32 + 256)
        );
        assert_eq!(
            Encoding::Dense(Width::One).bytes(17, 1, 0),
            2 * (32 + 16 + 128)
        );
        assert_eq!(Encoding::F16.bytes(3, 5, 0), 30);
    }
    #[test]
    fn a_size_that_cannot_be_counted_fits_no_bytes() {
        let most = usize::MAX;
        for encoding in Encoding::ALL {
            for (rows, cols) in [(most, most), (most, 1 << 8), (1 << 8, most)] {
                assert_eq!(encoding.bytes(rows, cols, cols), most, "{encoding:?}");
            }
        }
        // A product that is 0 modulo the width of a `usize`.
        let half = 1 << (usize::BITS / 2);
        assert_eq!(Encoding::F32.bytes(half, half, half), most);
        assert!(crate::matrix::Matrix::new(Encoding::F32, half, half, half, &[]).is_err());
    }
}
