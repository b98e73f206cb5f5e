//! The rows of the layer table, and what a slider of a row does to the recipe.

use super::derived::{Bench, Loaded, Matrix};
use crate::recipe::{Pattern, Precision, Pruner, Quantizer, Recipe, Rule, Setting};
use engine::encoding::Encoding;
use engine::shape::Role;

/// The parts of a model that the byte meter tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The token embedding.
    Embedding,
    /// Query, key, value and output projections.
    Attention,
    /// Gate, up and down projections.
    FeedForward,
    /// An output head of its own.
    Output,
}

impl Group {
    /// All groups, in the order of the table.
    pub const ALL: [Self; 4] = [
        Self::Embedding,
        Self::Attention,
        Self::FeedForward,
        Self::Output,
    ];

    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Embedding => "Embedding",
            Self::Attention => "Attention",
            Self::FeedForward => "Feed-forward",
            Self::Output => "Output",
        }
    }

    /// Its name in recipes.
    const fn pattern(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention.*",
            Self::FeedForward => "feed-forward.*",
            Self::Output => "output",
        }
    }

    /// The group of a matrix; norms, biases and frequencies have none.
    #[must_use]
    pub const fn of(role: Role) -> Option<Self> {
        match role {
            Role::Embedding => Some(Self::Embedding),
            Role::Query | Role::Key | Role::Value | Role::AttentionOutput => Some(Self::Attention),
            Role::Gate | Role::Up | Role::Down => Some(Self::FeedForward),
            Role::Output => Some(Self::Output),
            Role::AttentionNorm
            | Role::QueryBias
            | Role::KeyBias
            | Role::ValueBias
            | Role::QueryNorm
            | Role::KeyNorm
            | Role::FeedForwardNorm
            | Role::OutputNorm
            | Role::RopeFrequencies => None,
        }
    }
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every matrix of a group.
    Group(Group),
    /// Every matrix of a layer.
    Layer(u32),
    /// One matrix of a layer.
    Tensor(u32),
}

/// A row of the layer table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it stands for.
    pub kind: Kind,
    /// Its name: "Attention, all layers", "Layer 3", "blk.3.attn_q".
    pub title: String,
    /// Indices of its matrices in [`Loaded::matrices`]; none for a head that is tied.
    pub members: Vec<usize>,
    pattern: Option<Pattern>,
}

/// The rows of a model: groups first, then each layer and its matrices.
pub(super) fn rows(matrices: &[Matrix], layers: u32) -> Vec<Row> {
    let members = |wanted: &dyn Fn(&Matrix) -> bool| -> Vec<usize> {
        (0..matrices.len())
            .filter(|&index| wanted(&matrices[index]))
            .collect()
    };
    let mut rows: Vec<Row> = Group::ALL
        .into_iter()
        .map(|group| {
            let members = members(&|m| Group::of(m.role) == Some(group));
            let title = match group {
                Group::Embedding => group.title().to_owned(),
                Group::Output if members.is_empty() => "Output, tied".to_owned(),
                Group::Output => group.title().to_owned(),
                Group::Attention | Group::FeedForward => format!("{}, all layers", group.title()),
            };
            Row {
                kind: Kind::Group(group),
                title,
                members,
                pattern: group.pattern().parse().ok(),
            }
        })
        .collect();
    for layer in 0..layers {
        let members = members(&|m| m.layer == Some(layer));
        let tensors: Vec<Row> = members
            .iter()
            .map(|&index| Row {
                kind: Kind::Tensor(layer),
                title: matrices[index].name.trim_end_matches(".weight").to_owned(),
                members: vec![index],
                pattern: Some(Pattern::one(matrices[index].role, Some(layer))),
            })
            .collect();
        rows.push(Row {
            kind: Kind::Layer(layer),
            title: format!("Layer {layer}"),
            members,
            pattern: format!("blk.{layer}.*").parse().ok(),
        });
        rows.extend(tensors);
    }
    rows
}

/// What a slider or a menu asks of every matrix of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    /// Bits of each kept weight.
    Precision(Precision),
    /// Share of pruned weights, 0 to 0.95.
    Sparsity(f64),
    /// How kept weights are rounded.
    Method(Quantizer),
    /// How the others are chosen.
    Pruner(Pruner),
    /// All of it.
    Setting(Setting),
}

/// Writes a change of a row into the recipe: as one rule where that says it all.
///
/// `settings` are what the recipe asks of each matrix of the model before the change.
pub(super) fn change(
    recipe: &mut Recipe,
    loaded: &Loaded,
    row: &Row,
    settings: &[Setting],
    change: Change,
) {
    let changed = |setting: Setting| match change {
        Change::Precision(precision) => Setting {
            precision,
            ..setting
        },
        // A share in place of a pattern.
        Change::Sparsity(sparsity) => Setting {
            sparsity,
            pattern: None,
            ..setting
        },
        Change::Method(method) => Setting { method, ..setting },
        Change::Pruner(pruner) => Setting { pruner, ..setting },
        Change::Setting(setting) => setting,
    };
    let Some(first) = row.members.first().map(|&index| changed(settings[index])) else {
        return;
    };
    let uniform = row
        .members
        .iter()
        .all(|&index| changed(settings[index]) == first);
    match &row.pattern {
        Some(pattern) if uniform => {
            drop_covered(recipe, loaded, row);
            recipe.rules.push(Rule::new(pattern.clone(), first));
        }
        Some(_) | None => {
            for &index in &row.members {
                let matrix = &loaded.matrices[index];
                recipe.except(matrix.role, matrix.layer, changed(settings[index]));
            }
        }
    }
}

/// Drops the rules that mean nothing outside of `row`: the next rule overrides them all.
fn drop_covered(recipe: &mut Recipe, loaded: &Loaded, row: &Row) {
    let layers = loaded.shape.hyperparameters.layers;
    recipe.rules.retain(|rule| {
        loaded.matrices.iter().enumerate().any(|(index, m)| {
            rule.tensors.matches(m.role, m.layer, layers) && !row.members.contains(&index)
        })
    });
}

/// A value that all matrices of a row share, or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shared<T> {
    /// All have it.
    Same(T),
    /// They differ; the first has it.
    Mixed(T),
}

impl<T: Copy + PartialEq> Shared<T> {
    fn of(mut values: impl Iterator<Item = T>) -> Option<Self> {
        let first = values.next()?;
        Some(if values.all(|value| value == first) {
            Self::Same(first)
        } else {
            Self::Mixed(first)
        })
    }

    pub(super) const fn first(self) -> T {
        match self {
            Self::Same(value) | Self::Mixed(value) => value,
        }
    }
}

/// What a row shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub(super) precision: Shared<Precision>,
    pub(super) sparsity: Shared<f64>,
    pub(super) method: Shared<Quantizer>,
    pub(super) pruner: Shared<Pruner>,
    pub(super) encoding: Shared<Encoding>,
    pub(super) bytes: u64,
    pub(super) weights: u64,
    /// Mean over the weights; nothing until every matrix was quantized once.
    pub(super) nmse: Option<f64>,
    /// Whether the error is that of an earlier setting.
    pub(super) stale: bool,
}

/// Sums up a row; nothing for a row without matrices.
pub(super) fn summary(row: &Row, loaded: &Loaded, bench: &Bench) -> Option<Summary> {
    let members = || row.members.iter().copied();
    let weights = |index: usize| loaded.matrices[index].weights();
    let total: u64 = members().map(weights).sum();
    let mut error = Some(0.0);
    let mut stale = false;
    for index in members() {
        let built = bench.built.get(index).copied().flatten();
        stale |= built.is_none_or(|built| built.setting != bench.settings[index]);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 weights")]
        let share = weights(index) as f64 / total.max(1) as f64;
        error = error
            .zip(built)
            .map(|(sum, built)| sum + share * built.nmse);
    }
    Some(Summary {
        precision: Shared::of(members().map(|i| bench.settings[i].precision))?,
        sparsity: Shared::of(members().map(|i| bench.settings[i].sparsity))?,
        method: Shared::of(members().map(|i| bench.settings[i].method))?,
        pruner: Shared::of(members().map(|i| bench.settings[i].pruner))?,
        encoding: Shared::of(members().map(|i| bench.planned[i].encoding))?,
        bytes: members().map(|i| bench.planned[i].bytes).sum(),
        weights: total,
        nmse: error,
        stale,
    })
}
