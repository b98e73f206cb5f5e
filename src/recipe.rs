//! The compression recipe: weight precision and sparsity of every tensor.

use engine::encoding::{Encoding, Width};

/// Bits of a weight as a recipe names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Precision {
    /// Signs.
    One,
    /// -1, 0, 1: log2(3) = 1.58 bits.
    Ternary,
    /// Two bits.
    Two,
    /// Three bits.
    Three,
    /// Four bits.
    Four,
    /// Five bits.
    Five,
    /// Six bits.
    Six,
    /// Eight bits.
    Eight,
    /// 16-bit floats: the reference path.
    Sixteen,
}

impl Precision {
    /// Every precision, coarsest first.
    pub const ALL: [Self; 9] = [
        Self::One,
        Self::Ternary,
        Self::Two,
        Self::Three,
        Self::Four,
        Self::Five,
        Self::Six,
        Self::Eight,
        Self::Sixteen,
    ];

    /// The number that a recipe file shows: 1.58 for ternary.
    #[must_use]
    pub const fn bits(self) -> f64 {
        match self {
            Self::One => 1.0,
            Self::Ternary => 1.58,
            Self::Two => 2.0,
            Self::Three => 3.0,
            Self::Four => 4.0,
            Self::Five => 5.0,
            Self::Six => 6.0,
            Self::Eight => 8.0,
            Self::Sixteen => 16.0,
        }
    }

    /// The precision of this number of bits, if there is one.
    #[must_use]
    pub fn from_bits(bits: f64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|p| (p.bits() - bits).abs() < 1e-6)
    }
}

/// What a recipe asks of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Bits of each kept weight.
    pub precision: Precision,
    /// Share of the weights of every row that become zero, 0 to 0.95.
    pub sparsity: f64,
}

/// Largest sparsity that a recipe may ask for.
pub const MAX_SPARSITY: f64 = 0.95;

impl Setting {
    /// The source's own values in 16 bits.
    pub const REFERENCE: Self = Self {
        precision: Precision::Sixteen,
        sparsity: 0.0,
    };

    /// Weights kept in each row of `cols`.
    #[must_use]
    pub fn kept(&self, cols: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "sparsity is 0 to 0.95 and a row is far shorter than 2^52"
        )]
        let pruned = (self.sparsity * cols as f64).floor() as usize;
        cols - pruned
    }

    /// The one encoding that holds this setting in the fewest bytes, for a matrix `[rows, cols]`.
    #[must_use]
    pub fn encoding(&self, rows: usize, cols: usize) -> Encoding {
        let width = match self.precision {
            Precision::Sixteen => return Encoding::F16,
            Precision::One | Precision::Ternary => Width::One,
            Precision::Two => Width::Two,
            Precision::Three => Width::Three,
            Precision::Four => Width::Four,
            Precision::Five => Width::Five,
            Precision::Six => Width::Six,
            Precision::Eight => Width::Eight,
        };
        // A sign has no zero: with pruned weights between them, dense signs become ternary.
        let dense = match self.precision {
            Precision::Ternary => Encoding::Ternary,
            Precision::One if self.sparsity > 0.0 => Encoding::Ternary,
            Precision::One
            | Precision::Two
            | Precision::Three
            | Precision::Four
            | Precision::Five
            | Precision::Six
            | Precision::Eight
            | Precision::Sixteen => Encoding::Dense(width),
        };
        let sparse = Encoding::Sparse(width);
        let kept = self.kept(cols);
        if self.sparsity > 0.0 && sparse.bytes(rows, cols, kept) < dense.bytes(rows, cols, kept) {
            sparse
        } else {
            dense
        }
    }
}
