//! What a row of the layer table shows, and what its sliders do to the recipe.

use super::bench::Bench;
use super::loaded::Loaded;
use super::table::Row;
use crate::recipe::{Precision, Pruner, Quantizer, Recipe, Rule, Setting};
use engine::encoding::Encoding;

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
