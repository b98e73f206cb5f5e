//! How a recipe wants weights rounded and pruned.

use super::RecipeError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How kept weights become what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Quantizer {
    /// Each to the nearest value of a grid that holds the extremes.
    #[default]
    Nearest,
    /// Each to the nearest value of the grid with the least error, by how large inputs are on text.
    Search,
    /// Column by column, each making up for the errors of those before it (arXiv:2210.17323).
    Gptq,
}

/// How the weights that become zero are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Pruner {
    /// The smallest.
    #[default]
    Magnitude,
    /// The smallest times the size of their inputs on text (arXiv:2306.11695).
    Wanda,
    /// Those that the others make up for best, while these are rounded (arXiv:2301.00774).
    SparseGpt,
}

impl Quantizer {
    /// Every quantizer, the fastest first.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::Search, Self::Gptq];

    /// What a recipe file, the command line and the window write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Search => "search",
            Self::Gptq => "gptq",
        }
    }
}

impl Pruner {
    /// Every pruner, the fastest first.
    pub const ALL: [Self; 3] = [Self::Magnitude, Self::Wanda, Self::SparseGpt];

    /// What a recipe file, the command line and the window write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Wanda => "wanda",
            Self::SparseGpt => "sparsegpt",
        }
    }
}

impl FromStr for Quantizer {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let named = Self::ALL.into_iter().find(|q| q.name() == text);
        named.ok_or_else(|| RecipeError::Method(text.to_owned()))
    }
}

impl FromStr for Pruner {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let named = Self::ALL.into_iter().find(|p| p.name() == text);
        named.ok_or_else(|| RecipeError::Pruner(text.to_owned()))
    }
}

/// At most `kept` weights of `of` consecutive columns: `2:4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NOfM {
    kept: u8,
    of: u8,
}

impl NOfM {
    /// Most columns that a pattern may span.
    pub const MAX_COLUMNS: u8 = 32;

    /// `kept` of `of`; nothing unless some are kept, some are not, and columns are at most
    /// [`Self::MAX_COLUMNS`].
    #[must_use]
    pub const fn new(kept: u8, of: u8) -> Option<Self> {
        if kept > 0 && kept < of && of <= Self::MAX_COLUMNS {
            Some(Self { kept, of })
        } else {
            None
        }
    }

    /// Weights kept of consecutive columns.
    #[must_use]
    pub const fn kept(self) -> usize {
        self.kept as usize
    }

    /// Consecutive columns.
    #[must_use]
    pub const fn columns(self) -> usize {
        self.of as usize
    }

    /// Weights kept in a row of `cols`; a rest of the row keeps as many as a whole pattern, if it has
    /// them.
    #[must_use]
    pub fn kept_of_row(self, cols: usize) -> usize {
        let (whole, rest) = (cols / self.columns(), cols % self.columns());
        whole * self.kept() + rest.min(self.kept())
    }

    /// Share of the weights that become zero.
    #[must_use]
    pub fn sparsity(self) -> f64 {
        1.0 - f64::from(self.kept) / f64::from(self.of)
    }
}

impl FromStr for NOfM {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let parsed = || {
            let (kept, of) = text.split_once(':')?;
            Self::new(kept.parse().ok()?, of.parse().ok()?)
        };
        parsed().ok_or_else(|| RecipeError::Structure(text.to_owned()))
    }
}

impl fmt::Display for NOfM {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kept, self.of)
    }
}

impl From<Quantizer> for &'static str {
    fn from(quantizer: Quantizer) -> Self {
        quantizer.name()
    }
}

impl From<Pruner> for &'static str {
    fn from(pruner: Pruner) -> Self {
        pruner.name()
    }
}

impl From<NOfM> for String {
    fn from(pattern: NOfM) -> Self {
        pattern.to_string()
    }
}

impl TryFrom<String> for Quantizer {
    type Error = RecipeError;

    fn try_from(text: String) -> Result<Self, RecipeError> {
        text.parse()
    }
}

impl TryFrom<String> for Pruner {
    type Error = RecipeError;

    fn try_from(text: String) -> Result<Self, RecipeError> {
        text.parse()
    }
}

impl TryFrom<String> for NOfM {
    type Error = RecipeError;

    fn try_from(text: String) -> Result<Self, RecipeError> {
        text.parse()
    }
}
