//! The compression recipe: weight precision and sparsity of every tensor.
//!
//! A recipe is a list of rules over tensor patterns; the last rule that matches a tensor decides.
//! Tensors that no rule matches keep 16 bits. Recipes are small, comparable, and saved as TOML.

mod method;
mod pattern;
mod setting;

pub use method::{NOfM, Pruner, Quantizer};
pub use pattern::{Layers, Pattern, role_name};
pub use setting::{MAX_SPARSITY, Precision, Setting};

use crate::model::Model;
use crate::number;
use crate::renamed::{Named, today};
use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use crate::warning::Warning;
use engine::shape::Role;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A newer Whittle wrote it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// The file cannot be read.
    #[error("cannot read recipe {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a recipe.
    #[error("recipe {name} is not valid: {message}")]
    Syntax {
        /// Preset or file.
        name: String,
        /// Where and why.
        message: String,
    },
    /// The number of bits is not one that can be stored.
    #[error("expected bits of 1, 1.58, 2, 3, 4, 5, 6, 8, 16 or source, found {0}")]
    Bits(String),
    /// The sparsity is out of range.
    #[error("expected a sparsity from 0 to {MAX_SPARSITY}, found {0}")]
    Sparsity(f64),
    /// No quantizer has this name.
    #[error("expected a method of nearest, search or gptq, found `{0}`")]
    Method(String),
    /// No pruner has this name.
    #[error("expected a pruner of magnitude, wanda or sparsegpt, found `{0}`")]
    Pruner(String),
    /// Not a number of kept weights and of columns.
    #[error("expected a pattern N:M such as 2:4, with 0 < N < M and M up to {max}, found `{0}`", max = NOfM::MAX_COLUMNS)]
    Structure(String),
    /// A sparsity and a pattern.
    #[error("expected a sparsity or a pattern, found both: {0} and {1}")]
    Both(f64, NOfM),
    /// The pattern matches no kind of tensor.
    #[error(
        "expected a pattern such as `attention.*`, `feed-forward.down@0..4` or `blk.3.*`, found `{0}`"
    )]
    Pattern(String),
    /// A command-line setting is not of the right form.
    #[error(
        "expected PATTERN=bits:B,sparsity:S,method:Q,pruner:P,pattern:N:M or some of these, found `{0}`"
    )]
    Set(String),
    /// No preset or file has this name.
    #[error("no recipe named `{name}`: presets are {presets}, or give a path")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The presets there are.
        presets: String,
    },
}

/// Weight precision and sparsity of every tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenRecipe")]
pub struct Recipe {
    /// Short name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Rules in order; the last one that matches a tensor decides.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A recipe as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Recipe")]
struct WrittenRecipe {
    /// Of a file of its own; what stands in another file has that one's.
    #[serde(default, rename = "format")]
    _format: Format<1>,
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

impl From<WrittenRecipe> for Recipe {
    fn from(written: WrittenRecipe) -> Self {
        Self {
            name: written.name,
            description: written.description,
            rules: written.rules,
        }
    }
}

/// What a recipe asks of the tensors that a pattern matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "WrittenRule")]
pub struct Rule {
    /// Which tensors.
    pub tensors: Pattern,
    /// Bits of each kept weight.
    pub bits: Precision,
    /// Share of the weights of every row that become zero, 0 to 0.95; 0 beside a pattern.
    #[serde(skip_serializing_if = "is_default")]
    pub sparsity: f64,
    /// Kept weights of so many consecutive columns.
    #[serde(skip_serializing_if = "is_default")]
    pub pattern: Option<NOfM>,
    /// How kept weights are rounded.
    #[serde(skip_serializing_if = "is_default")]
    pub method: Quantizer,
    /// How the others are chosen.
    #[serde(skip_serializing_if = "is_default")]
    pub pruner: Pruner,
}

/// A rule as it is written, before what must agree is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    tensors: Pattern,
    bits: Precision,
    #[serde(default)]
    sparsity: f64,
    pattern: Option<NOfM>,
    #[serde(default)]
    method: Quantizer,
    #[serde(default)]
    pruner: Pruner,
}

impl TryFrom<WrittenRule> for Rule {
    type Error = RecipeError;

    fn try_from(written: WrittenRule) -> Result<Self, RecipeError> {
        let WrittenRule {
            tensors,
            bits,
            sparsity,
            pattern,
            method,
            pruner,
        } = written;
        let sparsity = check_sparsity(sparsity)?;
        match pattern {
            Some(pattern) if sparsity > 0.0 => Err(RecipeError::Both(sparsity, pattern)),
            Some(_) | None => Ok(Self {
                tensors,
                bits,
                sparsity,
                pattern,
                method,
                pruner,
            }),
        }
    }
}

impl Rule {
    /// Asks `setting` of `tensors`.
    #[must_use]
    pub fn new(tensors: Pattern, setting: Setting) -> Self {
        Self {
            tensors,
            bits: setting.precision,
            sparsity: match setting.pattern {
                Some(_) => 0.0,
                None => setting.sparsity,
            },
            pattern: setting.pattern,
            method: setting.method,
            pruner: setting.pruner,
        }
    }

    /// What it asks of each tensor.
    #[must_use]
    pub fn setting(&self) -> Setting {
        Setting {
            precision: self.bits,
            sparsity: self.pattern.map_or(self.sparsity, NOfM::sparsity),
            pattern: self.pattern,
            method: self.method,
            pruner: self.pruner,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn check_sparsity(sparsity: f64) -> Result<f64, RecipeError> {
    if (0.0..=MAX_SPARSITY).contains(&sparsity) {
        Ok(sparsity)
    } else {
        Err(RecipeError::Sparsity(sparsity))
    }
}

const PRESETS: [&str; 5] = [
    include_str!("../../presets/recipes/original.toml"),
    include_str!("../../presets/recipes/reference-8bit.toml"),
    include_str!("../../presets/recipes/balanced-4bit.toml"),
    include_str!("../../presets/recipes/small-3bit.toml"),
    include_str!("../../presets/recipes/seed-extreme.toml"),
];

impl Recipe {
    /// Everything in 16 bits: the reference path.
    #[must_use]
    pub fn original() -> Self {
        Self {
            name: "original".into(),
            description: String::new(),
            rules: Vec::new(),
        }
    }

    /// The recipes that come with Whittle.
    #[must_use]
    pub fn presets() -> Vec<Self> {
        PRESETS
            .iter()
            .map(|text| Self::parse("preset", text).expect("presets are tested"))
            .collect()
    }

    /// Reads a recipe from TOML; `name` is used in the error only.
    ///
    /// # Errors
    /// When the text is not a recipe, or a newer Whittle wrote it.
    pub fn parse(name: &str, text: &str) -> Result<Self, RecipeError> {
        Format::<1>::check_toml("recipe", name, text)?;
        toml::from_str(text).map_err(|e| RecipeError::Syntax {
            name: name.into(),
            message: e.to_string().replace('\n', " "),
        })
    }

    /// The preset of this name, or else the file at this path.
    ///
    /// # Errors
    /// When there is neither, or the file is not a recipe.
    pub fn open(spec: impl AsRef<Path>) -> Result<Self, RecipeError> {
        let path = spec.as_ref();
        let name = &*path.to_string_lossy();
        let today = today(Named::Recipe, name);
        if let Some(preset) = Self::presets().into_iter().find(|r| r.name == today) {
            return Ok(preset);
        }
        if !path.exists() {
            let presets = Self::presets()
                .into_iter()
                .map(|r| r.name)
                .collect::<Vec<_>>()
                .join(", ");
            return Err(RecipeError::Unknown {
                name: name.into(),
                presets,
            });
        }
        let text = text_file::read(path, text_file::WRITTEN_BYTES);
        let text = text.map_err(|source| RecipeError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(name, &text)
    }

    /// The recipe as a file of its own, which says its format.
    #[must_use]
    pub fn file_text(&self) -> String {
        format!("format = 1\n{}", self.to_toml())
    }

    /// The recipe as TOML, as packed files hold it and hashes are taken of it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has no value that TOML lacks")
    }

    /// Adds a rule written as `PATTERN=bits:B,sparsity:S,method:Q,pruner:P,pattern:N:M`; any part may be
    /// left out.
    ///
    /// # Errors
    /// When the text has another form or a number is out of range.
    pub fn set(&mut self, text: &str) -> Result<(), RecipeError> {
        let wrong = || RecipeError::Set(text.into());
        let (pattern, settings) = text.split_once('=').ok_or_else(wrong)?;
        // A part without a colon is what a decimal comma leaves: the number before it is not what was meant.
        if !settings.split(',').all(|setting| setting.contains(':')) {
            return Err(wrong());
        }
        let mut rule = Rule::new(pattern.parse()?, Setting::REFERENCE);
        for setting in settings.split(',') {
            let (key, value) = setting.split_once(':').ok_or_else(wrong)?;
            match key {
                "bits" => rule.bits = value.parse()?,
                "sparsity" => {
                    let share = number::share(value).map_err(|_| wrong())?;
                    rule.sparsity = check_sparsity(share)?;
                }
                "method" => rule.method = value.parse()?,
                "pruner" => rule.pruner = value.parse()?,
                "pattern" => rule.pattern = Some(value.parse()?),
                _ => return Err(wrong()),
            }
        }
        if let (Some(pattern), true) = (rule.pattern, rule.sparsity > 0.0) {
            return Err(RecipeError::Both(rule.sparsity, pattern));
        }
        self.rules.push(rule);
        Ok(())
    }

    /// What it asks of the tensor with this role and layer in a model of `layers` layers.
    #[must_use]
    pub fn setting(&self, role: Role, layer: Option<u32>, layers: u32) -> Setting {
        let rule = self
            .rules
            .iter()
            .rev()
            .find(|rule| rule.tensors.matches(role, layer, layers));
        rule.map_or(Setting::REFERENCE, Rule::setting)
    }

    /// A warning for each rule that matches none of `matrices`, those of a model of `layers` layers. The
    /// rules of a preset are for models of every kind: theirs are passed over.
    #[must_use]
    pub fn idle_rules(
        &self,
        matrices: impl Iterator<Item = (Role, Option<u32>)> + Clone,
        layers: u32,
    ) -> Vec<Warning> {
        let presets = Self::presets();
        let preset = presets
            .iter()
            .find(|p| self.rules.starts_with(&p.rules) && p.name == self.name);
        let own = &self.rules[preset.map_or(0, |p| p.rules.len())..];
        let is_idle = |rule: &&Rule| {
            let mut all = matrices.clone();
            !all.any(|(role, layer)| rule.tensors.matches(role, layer, layers))
        };
        let warning = |rule: &Rule| Warning::IdleRule {
            tensors: rule.tensors.to_string(),
            layers,
            why: rule.tensors.why_idle(),
        };
        own.iter().filter(is_idle).map(warning).collect()
    }

    /// [`Self::idle_rules`] of a model.
    #[must_use]
    pub fn warnings_for(&self, model: &Model) -> Vec<Warning> {
        let matrices = model.tensors.iter().filter(|t| t.role.is_matrix());
        let matrices = matrices.map(|t| (t.role, t.layer));
        self.idle_rules(matrices, model.hyperparameters.layers)
    }

    /// Whether a rule weighs errors by what a calibration knows of the inputs.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        self.rules.iter().any(|rule| rule.setting().is_calibrated())
    }

    /// The rules that mean one layer by its number: in another model that layer is another.
    #[must_use]
    pub fn numbered_rules(&self) -> usize {
        let of_one_layer = |rule: &&Rule| rule.tensors.is_of_one_layer();
        self.rules.iter().filter(of_one_layer).count()
    }

    /// The recipe without its [numbered rules](Self::numbered_rules).
    #[must_use]
    pub fn without_numbered_rules(mut self) -> Self {
        self.rules.retain(|rule| !rule.tensors.is_of_one_layer());
        self
    }

    /// Asks `setting` of one tensor, whatever the other rules say; replaces an earlier exception.
    pub fn except(&mut self, role: Role, layer: Option<u32>, setting: Setting) {
        let tensors = Pattern::one(role, layer);
        self.rules.retain(|rule| rule.tensors != tensors);
        self.rules.push(Rule::new(tensors, setting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_survive_a_round_trip() {
        let presets = Recipe::presets();
        assert_eq!(presets.len(), PRESETS.len());
        for preset in presets {
            assert_eq!(Recipe::parse("again", &preset.to_toml()).unwrap(), preset);
        }
    }

    #[test]
    fn rules_of_a_layer_by_its_number_are_told_from_those_of_a_group() {
        let check = |tensors: &str, expected: bool| {
            let pattern: Pattern = tensors.parse().unwrap();
            assert_eq!(pattern.is_of_one_layer(), expected, "{tensors}");
        };
        check("blk.3.attn_q.weight", true);
        check("blk.0.*", true);
        check("feed-forward.down@4..5", true);
        check("attention@-1..0", true);
        check("blk.*.attn_q.weight", false);
        check("feed-forward.down@0..4", false);
        check("attention@-2..", false);
        check("embedding", false);
        check("*", false);
        let mut recipe = Recipe::open("balanced-4bit").unwrap();
        let preset = recipe.clone();
        recipe.set("blk.1.attn_q.weight=bits:2").unwrap();
        recipe.set("blk.0.*=bits:3").unwrap();
        assert_eq!(recipe.numbered_rules(), 2);
        assert_eq!(recipe.without_numbered_rules(), preset);
    }

    #[test]
    fn the_seed_recipe_is_the_one_that_the_product_started_from() {
        let seed = Recipe::open("seed-extreme").unwrap();
        let bits = |role, layer| {
            (
                seed.setting(role, layer, 30).precision.name(),
                seed.setting(role, layer, 30).sparsity,
            )
        };
        assert_eq!(bits(Role::Embedding, None), ("8", 0.8));
        assert_eq!(bits(Role::Value, Some(3)), ("4", 0.8));
        assert_eq!(bits(Role::Down, Some(29)), ("1", 0.8));
        assert_eq!(bits(Role::OutputNorm, None), ("16", 0.0));
    }

    #[test]
    fn the_recipe_of_the_low_bit_training_takes_at_most_a_bit_and_a_half_between() {
        let text = include_str!("../../training/low-bit.toml");
        let recipe = Recipe::parse("low-bit", text).unwrap();
        // As in `Shape` of training/model.py.
        let (hidden, wide) = (192, 448);
        let feed_forward = [
            (Role::Gate, wide, hidden),
            (Role::Up, wide, hidden),
            (Role::Down, hidden, wide),
        ];
        for (role, rows, cols) in feed_forward {
            let setting = recipe.setting(role, Some(0), 5);
            let encoding = setting.encoding(rows, cols, None);
            assert_eq!(encoding.name(), "1of4");
            let bytes = encoding.bytes(rows, cols, setting.kept(cols));
            assert!(bytes * 8 * 2 <= rows * cols * 3, "{role:?}: {bytes}");
        }
        let bits = |role, layer| recipe.setting(role, layer, 5).precision.name();
        assert_eq!(bits(Role::Key, Some(4)), "4");
        assert_eq!(bits(Role::Embedding, None), "4");
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let mut recipe = Recipe::open("balanced-4bit").unwrap();
        recipe.set("feed-forward.down@0..2=bits:6").unwrap();
        recipe.set("blk.1.*=bits:3,sparsity:50%").unwrap();
        let bits = |layer| recipe.setting(Role::Down, Some(layer), 8).precision.bits();
        assert_eq!([bits(0), bits(1), bits(2)], [6.0, 3.0, 4.0].map(Some));
        recipe.except(Role::Down, Some(1), Setting::bits(Precision::Eight));
        assert_eq!(
            recipe.setting(Role::Down, Some(1), 8).precision,
            Precision::Eight
        );
        let rules = recipe.rules.len();
        recipe.except(Role::Down, Some(1), Setting::REFERENCE);
        assert_eq!(recipe.rules.len(), rules);
    }

    #[test]
    fn rules_that_match_no_tensor_are_told_and_those_of_presets_are_not() {
        let tied = [Role::Embedding].into_iter().map(|role| (role, None));
        let layers = (0..30).flat_map(|l| [(Role::Down, Some(l)), (Role::Query, Some(l))]);
        let all = tied.chain(layers);
        let mut recipe = Recipe::open("balanced-4bit").unwrap();
        assert!(recipe.idle_rules(all.clone(), 30).is_empty());
        for set in [
            "feed-forward.down@0..4=bits:6",
            "blk.99.*=bits:2",
            "attention.*@90..99=bits:2",
            "attention.*@-2..=bits:6",
            "output=bits:8",
            "embedding@0..2=bits:8",
        ] {
            recipe.set(set).unwrap();
        }
        let told: Vec<String> = recipe
            .idle_rules(all.clone(), 30)
            .iter()
            .map(Warning::to_string)
            .collect();
        assert_eq!(told.len(), 4, "{told:?}");
        let starts = ["blk.99.*", "attention.*@90..99", "output", "embedding@0..2"];
        for (told, name) in told.iter().zip(starts) {
            let start = format!("the rule for {name} matches no tensor: ");
            assert!(told.starts_with(&start), "{told}");
        }
        assert!(told[0].contains("30 layers") && told[2].contains("is its embedding"));
        let with_head = all.chain([(Role::Output, None)]);
        assert_eq!(recipe.idle_rules(with_head, 30).len(), 3);
    }

    #[test]
    fn methods_are_written_only_where_they_are_not_the_simplest() {
        let mut recipe = Recipe::original();
        recipe
            .set("*=bits:3,method:gptq,pruner:sparsegpt,pattern:2:4")
            .unwrap();
        let setting = recipe.setting(Role::Down, Some(0), 2);
        assert_eq!(setting.method, Quantizer::Gptq);
        assert_eq!(setting.pruner, Pruner::SparseGpt);
        assert_eq!((setting.sparsity, setting.kept(10)), (0.5, 6));
        recipe.set("output=bits:8,sparsity:25%").unwrap();
        let text = recipe.to_toml();
        assert!(text.contains("method = \"gptq\"\n") && text.contains("pattern = \"2:4\"\n"));
        assert_eq!(text.matches("method").count(), 1, "{text}");
        assert_eq!(text.matches("sparsity").count(), 1, "{text}");
        assert_eq!(Recipe::parse("again", &text).unwrap(), recipe);
        recipe.except(Role::Down, Some(0), setting);
        assert_eq!(recipe.setting(Role::Down, Some(0), 2), setting);
    }

    #[test]
    fn wrong_recipes_get_one_clear_sentence() {
        let mut recipe = Recipe::original();
        let mut message = |text: &str| recipe.set(text).unwrap_err().to_string();
        assert_eq!(
            message("*=bits:7"),
            "expected bits of 1, 1.58, 2, 3, 4, 5, 6, 8, 16 or source, found 7"
        );
        assert_eq!(
            message("*=sparsity:96%"),
            "expected a sparsity from 0 to 0.95, found 0.96"
        );
        // A decimal comma would end the setting: none of these is read as a number before it.
        for text in ["*=bits:4,sparsity:0,5", "*=sparsity:12,5%", "*=bits:1,58"] {
            let expected = format!("or some of these, found `{text}`");
            assert!(message(text).ends_with(&expected), "{}", message(text));
        }
        assert_eq!(
            message("*=bits"),
            "expected PATTERN=bits:B,sparsity:S,method:Q,pruner:P,pattern:N:M or some of these, found `*=bits`"
        );
        assert_eq!(
            message("*=bits:3,method:best"),
            "expected a method of nearest, search or gptq, found `best`"
        );
        assert_eq!(
            message("*=bits:3,pruner:axe"),
            "expected a pruner of magnitude, wanda or sparsegpt, found `axe`"
        );
        assert_eq!(
            message("*=bits:3,pattern:4:4"),
            "expected a pattern N:M such as 2:4, with 0 < N < M and M up to 32, found `4:4`"
        );
        assert_eq!(
            message("*=bits:3,pattern:2:4,sparsity:0.5"),
            "expected a sparsity or a pattern, found both: 0.5 and 2:4"
        );
        assert!(message("attentive=bits:4").contains("found `attentive`"));
        let message = Recipe::parse("mine", "name = 'x'\n[[rule]]\ntensors = '*'\nbits = 7")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("recipe mine is not valid") && message.contains("found 7"),
            "{message}"
        );
        assert!(
            Recipe::open("no-such")
                .unwrap_err()
                .to_string()
                .contains("balanced-4bit")
        );
    }
}
