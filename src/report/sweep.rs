//! Many recipes, each compressed, evaluated and estimated: the grid, and the rows it makes.
//!
//! [`Grid::load`] reads the grid and refuses one that is too large, [`Grid::points`] lists its recipes,
//! [`Grid::run`] measures them, [`Journal`] keeps the rows so that a sweep goes on where it was broken off.

mod journal;
mod run;

pub use journal::{Journal, csv};
pub use run::{Step, Swept, results};

use super::MeasureError;
use super::beside::beside;
use crate::packed::sha256_hex;
use crate::recipe::{Pattern, Precision, Pruner, Quantizer, Recipe, RecipeError};
use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Points of a grid that does not say how many it may have.
pub const MAX_POINTS: usize = 256;

/// Why a sweep cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// A newer Whittle wrote a file.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The grid is none.
    #[error("grid {path} is not valid: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// The grid has too many points.
    #[error(
        "the grid has {points} points, at most {most} are allowed: take values away, or raise max_points"
    )]
    Points {
        /// What it has.
        points: usize,
        /// What it may have.
        most: usize,
    },
    /// A recipe of the grid is none.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A point cannot be measured, or the work was cancelled.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// A line of the results is no row.
    #[error("{path}, line {line}: expected a row of a sweep: {message}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        message: String,
    },
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// The form of the file.
    #[serde(default)]
    pub format: Format<1>,
    /// Path or catalog name of the model.
    pub model: PathBuf,
    /// Preset or file that the axes vary; its own point where there are no axes.
    #[serde(default)]
    pub recipe: Option<PathBuf>,
    /// Presets or files that are points as they are.
    #[serde(default)]
    pub recipes: Vec<PathBuf>,
    /// What is varied; every combination is a point.
    #[serde(default, rename = "axis")]
    pub axes: Vec<Axis>,
    /// Text to score.
    #[serde(default)]
    pub text: Option<PathBuf>,
    /// Tokens of it.
    #[serde(default = "tokens")]
    pub tokens: usize,
    /// Ids of boards, or board files.
    #[serde(default)]
    pub boards: Vec<PathBuf>,
    /// Set or file of tasks.
    #[serde(default)]
    pub tasks: Option<PathBuf>,
    /// Bits of an element of keys and values.
    #[serde(default = "kv_bits")]
    pub kv_bits: usize,
    /// Points that the grid may have.
    #[serde(default = "max_points")]
    pub max_points: usize,
}

fn tokens() -> usize {
    2048
}

fn kv_bits() -> usize {
    16
}

fn max_points() -> usize {
    MAX_POINTS
}

/// What is varied of some tensors: each precision with each sparsity, method and pruner.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Which tensors.
    pub tensors: Pattern,
    /// Bits of each kept weight.
    pub bits: Vec<Precision>,
    /// Share of the weights of a row that become zero.
    #[serde(default = "dense")]
    pub sparsity: Vec<f64>,
    /// How kept weights are rounded; to nearest where it does not say.
    #[serde(default)]
    pub method: Vec<Quantizer>,
    /// How the others are chosen; by magnitude where it does not say.
    #[serde(default)]
    pub pruner: Vec<Pruner>,
}

fn dense() -> Vec<f64> {
    vec![0.0]
}

impl Axis {
    /// Its settings as `Recipe::set` takes them.
    fn settings(&self) -> Vec<String> {
        let mut all = vec![format!("{}=", String::from(self.tensors.clone()))];
        let mut vary = |values: Vec<String>| {
            if !values.is_empty() {
                let each = |start: &String| values.iter().map(|v| format!("{start}{v}")).collect();
                all = all
                    .iter()
                    .flat_map(|start| -> Vec<String> { each(start) })
                    .collect();
            }
        };
        vary(named(&self.bits, |b| format!("bits:{}", b.name())));
        vary(named(&self.sparsity, |s| format!(",sparsity:{s}")));
        vary(named(&self.method, |m| format!(",method:{}", m.name())));
        vary(named(&self.pruner, |p| format!(",pruner:{}", p.name())));
        all
    }

    /// How many there are; saturates.
    fn count(&self) -> usize {
        let lengths = [
            self.bits.len(),
            self.sparsity.len(),
            self.method.len().max(1),
            self.pruner.len().max(1),
        ];
        lengths.into_iter().fold(1, usize::saturating_mul)
    }
}

fn named<T>(values: &[T], name: impl Fn(&T) -> String) -> Vec<String> {
    values.iter().map(name).collect()
}

/// One recipe of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Name of the recipe it starts from.
    pub base: String,
    /// What the axes change in it, as `Recipe::set` takes it.
    pub set: Vec<String>,
    /// Both together.
    pub recipe: Recipe,
}

/// What was found at one point; absent is what the grid did not ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "as in `Evaluation`, `TaskReport` and `Estimate`"
)]
pub struct Row {
    /// The form of the row.
    #[serde(default)]
    pub format: Format<1>,
    /// Hash of all that decides the row.
    pub point: String,
    pub model: String,
    pub recipe: String,
    /// What the axes changed, separated by spaces.
    pub set: String,
    pub bytes: usize,
    pub bits_per_weight: f64,
    pub tokens: Option<usize>,
    /// Rows of before do not say.
    #[serde(default)]
    pub window_tokens: Option<usize>,
    pub kl_mean: Option<f64>,
    pub kl_mean_standard_error: Option<f64>,
    pub kl_p99: Option<f64>,
    pub same_top: Option<f64>,
    pub perplexity: Option<f64>,
    pub reference_perplexity: Option<f64>,
    pub ln_perplexity_ratio: Option<f64>,
    pub ln_perplexity_ratio_standard_error: Option<f64>,
    pub tasks_held: Option<f64>,
    pub tasks_low: Option<f64>,
    pub tasks_high: Option<f64>,
    pub boards: Vec<BoardRow>,
    pub seconds: f64,
}

impl Row {
    /// What is special about it: what the axes changed, or else its recipe.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.set.is_empty() {
            &self.recipe
        } else {
            &self.set
        }
    }
}

/// What a point costs on one board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `Estimate`")]
pub struct BoardRow {
    pub id: String,
    pub fits: bool,
    pub flash_bytes: u64,
    pub ram_bytes: u64,
    pub tokens_per_second: Option<f64>,
    /// Rows of before do not say.
    #[serde(default)]
    pub tokens_per_second_low: Option<f64>,
    #[serde(default)]
    pub tokens_per_second_high: Option<f64>,
    #[serde(default)]
    pub validation: Option<String>,
}

impl Grid {
    /// Reads a grid; what it names is looked for in its folder first.
    ///
    /// # Errors
    /// When it cannot be read, has a key that there is not, no point, or too many.
    pub fn load(path: &Path) -> Result<Self, SweepError> {
        let read = |source| SweepError::Io {
            action: "read",
            path: path.into(),
            source,
        };
        let syntax = |message: String| SweepError::Syntax {
            path: path.into(),
            message,
        };
        let text = text_file::read(path, text_file::WRITTEN_BYTES).map_err(read)?;
        Format::<1>::check_toml("grid", &path.to_string_lossy(), &text)?;
        let grid: Self = toml::from_str(&text)
            .map_err(|e| syntax(e.to_string().trim_end().replace('\n', " ")))?;
        if let Some(message) = grid.lack() {
            return Err(syntax(message.into()));
        }
        let (points, most) = (grid.count(), grid.max_points);
        if points > most {
            return Err(SweepError::Points { points, most });
        }
        Ok(grid.beside(path))
    }

    /// What it names is found from here, where it lies beside the grid.
    fn beside(self, path: &Path) -> Self {
        let found = |spec: PathBuf| beside(path, spec);
        let all = |specs: Vec<PathBuf>| specs.into_iter().map(found).collect();
        Self {
            model: found(self.model),
            recipe: self.recipe.map(found),
            tasks: self.tasks.map(found),
            text: self.text.map(found),
            recipes: all(self.recipes),
            boards: all(self.boards),
            ..self
        }
    }

    fn lack(&self) -> Option<&'static str> {
        if self.recipe.is_none() && self.recipes.is_empty() {
            Some("expected a recipe, or recipes")
        } else if self.recipe.is_none() && !self.axes.is_empty() {
            Some("an axis needs the recipe that it varies")
        } else if self
            .axes
            .iter()
            .any(|a| a.bits.is_empty() || a.sparsity.is_empty())
        {
            Some("expected at least one value of bits and of sparsity in each axis")
        } else {
            None
        }
    }

    /// How many points it has; saturates.
    #[must_use]
    pub fn count(&self) -> usize {
        let varied = self
            .axes
            .iter()
            .fold(1_usize, |points, axis| points.saturating_mul(axis.count()));
        let varied = if self.recipe.is_some() { varied } else { 0 };
        varied.saturating_add(self.recipes.len())
    }

    /// Its points, in the order of the file; the last axis changes fastest.
    ///
    /// # Errors
    /// When a recipe cannot be read, or a sparsity is out of range.
    pub fn points(&self) -> Result<Vec<Point>, SweepError> {
        let mut points = Vec::new();
        if let Some(base) = &self.recipe {
            let recipe = Recipe::open(base)?;
            points.push(Point {
                base: recipe.name.clone(),
                set: Vec::new(),
                recipe,
            });
        }
        for axis in &self.axes {
            let mut varied = Vec::new();
            for point in &points {
                for setting in axis.settings() {
                    let mut point = point.clone();
                    point.recipe.set(&setting)?;
                    point.set.push(setting);
                    varied.push(point);
                }
            }
            points = varied;
        }
        for name in &self.recipes {
            let recipe = Recipe::open(name)?;
            points.push(Point {
                base: recipe.name.clone(),
                set: Vec::new(),
                recipe,
            });
        }
        Ok(points)
    }
}

impl Point {
    /// The hash of this point among all; `measured` says, in one text, all else that decides its row.
    #[must_use]
    pub fn hash(&self, measured: &str) -> String {
        let text = format!("{measured}\n{}", self.recipe.to_toml());
        sha256_hex(text.as_bytes())[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(text: &str) -> Grid {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_combination_is_a_point_and_recipes_are_points_as_they_are() {
        let grid = grid(
            "model = 'm'\nrecipe = 'balanced-4bit'\nrecipes = ['small-3bit']\n\
             [[axis]]\ntensors = 'feed-forward.*'\nbits = [2, 3]\nsparsity = [0, 0.5]\n\
             [[axis]]\ntensors = 'embedding'\nbits = ['source', 1.58]",
        );
        let points = grid.points().unwrap();
        assert_eq!((points.len(), grid.count()), (9, 9));
        assert_eq!(
            points[2].set,
            [
                "feed-forward.*=bits:2,sparsity:0.5",
                "embedding=bits:source,sparsity:0"
            ]
        );
        assert_eq!(points[8].recipe, Recipe::open("small-3bit").unwrap());
        let mut hashes: Vec<_> = points.iter().map(|p| p.hash("x")).collect();
        hashes.push(points[0].hash("y"));
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), 10);
    }

    #[test]
    fn methods_and_pruners_are_varied_too() {
        let grid = grid(
            "model = 'm'\nrecipe = 'balanced-4bit'\n\
             [[axis]]\ntensors = '*'\nbits = [3]\nsparsity = [0.5]\n\
             method = ['nearest', 'gptq']\npruner = ['magnitude', 'sparsegpt']",
        );
        let points = grid.points().unwrap();
        let set: Vec<&str> = points.iter().map(|p| p.set[0].as_str()).collect();
        let [first, .., last] = &set[..] else {
            panic!("{set:?}")
        };
        assert_eq!((set.len(), grid.count()), (4, 4));
        assert_eq!(
            *first,
            "*=bits:3,sparsity:0.5,method:nearest,pruner:magnitude"
        );
        assert_eq!(*last, "*=bits:3,sparsity:0.5,method:gptq,pruner:sparsegpt");
        assert!(!points[0].recipe.is_calibrated() && points[3].recipe.is_calibrated());
    }

    #[test]
    fn the_grid_in_the_docs_is_one() {
        let page = include_str!("../../docs/command-line.md");
        let start = page.find("model = \"hearth\"\nrecipe = ").unwrap();
        let example = grid(page[start..].split("```").next().unwrap());
        assert_eq!((example.count(), example.points().unwrap().len()), (8, 8));
    }

    #[test]
    fn a_grid_that_is_too_large_or_lacks_something_is_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.toml");
        let check = |text: &str, expected: &str| {
            std::fs::write(&path, text).unwrap();
            let message = Grid::load(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        };
        let axis = "[[axis]]\ntensors = '*'\nbits = [1, 2, 3, 4, 5, 6, 8, 16]\n";
        let start = "model = 'm'\nrecipe = 'balanced-4bit'\n";
        check(
            &format!("{start}{}", axis.repeat(3)),
            "has 512 points, at most 256",
        );
        check(
            &format!("{start}{}", axis.repeat(80)),
            "points, at most 256",
        );
        check("model = 'm'", "expected a recipe");
        check(
            &format!("model = 'm'\nrecipes = ['x']\n{axis}"),
            "needs the recipe",
        );
        check(
            &format!("{start}[[axis]]\ntensors = '*'\nbits = []"),
            "at least one value",
        );
        check(&format!("{start}colour = 'red'"), "unknown field `colour`");
        check("model = 3", "grid ");
    }
}
