//! What a recipe asks of one tensor: precision and sparsity, and the encoding that holds them.

use super::{NOfM, Pruner, Quantizer, RecipeError};
use crate::model::SourceType;
use engine::encoding::{BLOCK_ROWS, Encoding, Twin, Width};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// As the source has it: without loss and in no more bytes where the engine knows the format,
    /// else in 16 bits.
    Source,
}

impl Precision {
    /// Every precision, coarsest first, the source's own last.
    pub const ALL: [Self; 10] = [
        Self::One,
        Self::Ternary,
        Self::Two,
        Self::Three,
        Self::Four,
        Self::Five,
        Self::Six,
        Self::Eight,
        Self::Sixteen,
        Self::Source,
    ];

    /// The number that a recipe file shows: 1.58 for ternary; none for the source's own.
    #[must_use]
    pub const fn bits(self) -> Option<f64> {
        Some(match self {
            Self::One => 1.0,
            Self::Ternary => 1.58,
            Self::Two => 2.0,
            Self::Three => 3.0,
            Self::Four => 4.0,
            Self::Five => 5.0,
            Self::Six => 6.0,
            Self::Eight => 8.0,
            Self::Sixteen => 16.0,
            Self::Source => return None,
        })
    }

    /// What a recipe file, the command line and the window write: `1.58`, `4`, `source`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Ternary => "1.58",
            Self::Two => "2",
            Self::Three => "3",
            Self::Four => "4",
            Self::Five => "5",
            Self::Six => "6",
            Self::Eight => "8",
            Self::Sixteen => "16",
            Self::Source => "source",
        }
    }

    /// The precision of this number of bits, if there is one.
    #[must_use]
    pub fn from_bits(bits: f64) -> Option<Self> {
        let same = |p: &Self| p.bits().is_some_and(|b| (b - bits).abs() < 1e-6);
        Self::ALL.into_iter().find(same)
    }
}

impl Serialize for Precision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.bits() {
            Some(bits) => serializer.serialize_f64(bits),
            None => serializer.serialize_str(self.name()),
        }
    }
}

impl<'de> Deserialize<'de> for Precision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A number, or a word.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum WrittenPrecision {
            Bits(f64),
            Name(String),
        }
        match WrittenPrecision::deserialize(deserializer)? {
            WrittenPrecision::Bits(bits) => Self::from_bits(bits)
                .ok_or_else(|| serde::de::Error::custom(RecipeError::Bits(bits.to_string()))),
            WrittenPrecision::Name(name) => name.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = RecipeError;

    /// Reads `source`, or a number of bits as people write it: `4`, `4.0`.
    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let number = || text.parse().ok().and_then(Self::from_bits);
        match text {
            "source" => Ok(Self::Source),
            _ => number().ok_or_else(|| RecipeError::Bits(text.to_owned())),
        }
    }
}

/// What a recipe asks of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Bits of each kept weight.
    pub precision: Precision,
    /// Share of the weights of every row that become zero, 0 to 0.95; beside a pattern it is the
    /// pattern's.
    pub sparsity: f64,
    /// Kept weights of so many consecutive columns.
    pub pattern: Option<NOfM>,
    /// How kept weights are rounded.
    pub method: Quantizer,
    /// How the others are chosen.
    pub pruner: Pruner,
}

/// Largest sparsity that a recipe may ask for.
pub const MAX_SPARSITY: f64 = 0.95;

impl Setting {
    /// The source's own values in 16 bits.
    pub const REFERENCE: Self = Self::bits(Precision::Sixteen);

    /// Every weight with these bits, rounded to nearest.
    #[must_use]
    pub const fn bits(precision: Precision) -> Self {
        Self::sparse(precision, 0.0)
    }

    /// The largest weights with these bits, rounded to nearest; a share of `sparsity` becomes zero.
    #[must_use]
    pub const fn sparse(precision: Precision, sparsity: f64) -> Self {
        Self {
            precision,
            sparsity,
            pattern: None,
            method: Quantizer::Nearest,
            pruner: Pruner::Magnitude,
        }
    }

    /// Every weight with these bits, rounded as well as a calibration allows.
    #[must_use]
    pub const fn calibrated(precision: Precision) -> Self {
        Self {
            method: Quantizer::Gptq,
            ..Self::bits(precision)
        }
    }

    /// Whether it weighs errors by what a calibration knows of the inputs.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        let is_pruned = self.sparsity > 0.0;
        self.method != Quantizer::Nearest || (is_pruned && self.pruner != Pruner::Magnitude)
    }

    /// The same with a pattern instead of a sparsity.
    #[must_use]
    pub fn with_pattern(self, pattern: NOfM) -> Self {
        Self {
            sparsity: pattern.sparsity(),
            pattern: Some(pattern),
            ..self
        }
    }

    /// Weights kept in each row of `cols`.
    #[must_use]
    pub fn kept(&self, cols: usize) -> usize {
        if let Some(pattern) = self.pattern {
            return pattern.kept_of_row(cols);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "sparsity is 0 to 0.95 and a row is far shorter than 2^52"
        )]
        let pruned = (self.sparsity * cols as f64).floor() as usize;
        cols - pruned
    }

    /// The one encoding that holds this setting in the fewest bytes, for a matrix `[rows, cols]`
    /// that its file stores as `source`, if that is known.
    ///
    /// Signs in exactly one of four columns have a format of their own, which chooses the columns
    /// four by four.
    #[must_use]
    pub fn encoding(&self, rows: usize, cols: usize, source: Option<SourceType>) -> Encoding {
        let width = match self.precision {
            Precision::Sixteen => return Encoding::F16,
            Precision::Source => {
                let kept_whole = source.filter(|_| self.sparsity <= 0.0);
                let twin = kept_whole.and_then(|source| twin_of(source, rows));
                return twin.map_or(Encoding::F16, Encoding::Twin);
            }
            Precision::One | Precision::Ternary => Width::One,
            Precision::Two => Width::Two,
            Precision::Three => Width::Three,
            Precision::Four => Width::Four,
            Precision::Five => Width::Five,
            Precision::Six => Width::Six,
            Precision::Eight => Width::Eight,
        };
        let is_one_of_four = match self.pattern {
            Some(pattern) => (pattern.kept(), pattern.columns()) == (1, 4),
            None => (self.sparsity - 0.75).abs() < 1e-9,
        };
        // A sign has no zero: with pruned weights between them, dense signs become ternary.
        let dense = match self.precision {
            Precision::One if is_one_of_four => return Encoding::OneOfFour,
            Precision::Ternary => Encoding::Ternary,
            Precision::One if self.sparsity > 0.0 => Encoding::Ternary,
            Precision::One
            | Precision::Two
            | Precision::Three
            | Precision::Four
            | Precision::Five
            | Precision::Six
            | Precision::Eight
            | Precision::Sixteen
            | Precision::Source => Encoding::Dense(width),
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

impl std::fmt::Display for Setting {
    /// As `--set` takes it: `bits:3,sparsity:0.5,method:gptq`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bits:{}", self.precision.name())?;
        match self.pattern {
            Some(pattern) => write!(f, ",pattern:{pattern}")?,
            None if self.sparsity > 0.0 => write!(f, ",sparsity:{}", self.sparsity)?,
            None => {}
        }
        if self.method != Quantizer::default() {
            write!(f, ",method:{}", self.method.name())?;
        }
        if self.pruner != Pruner::default() {
            write!(f, ",pruner:{}", self.pruner.name())?;
        }
        Ok(())
    }
}

/// The engine's twin of a source format, for a matrix of `rows` rows; nothing where there is none,
/// or where padding would take more bytes than the source.
fn twin_of(source: SourceType, rows: usize) -> Option<Twin> {
    let twin = match source {
        SourceType::Q8_0 => Twin::Q8_0,
        SourceType::Q4_1 => Twin::Q4_1,
        SourceType::Q4_K => Twin::Q4K,
        SourceType::Q6_K => Twin::Q6K,
        SourceType::F32
        | SourceType::F16
        | SourceType::BF16
        | SourceType::Q4_0
        | SourceType::Q5_0
        | SourceType::Q5_1
        | SourceType::Q2_K
        | SourceType::Q3_K
        | SourceType::Q5_K
        | SourceType::TQ1_0
        | SourceType::TQ2_0 => return None,
    };
    rows.is_multiple_of(BLOCK_ROWS).then_some(twin)
}
