//! What a recipe will cost, said while a slider moves: from what a tune measured of each matrix, or else
//! from the errors that it had in other settings. Nothing here computes on weights.

use super::loaded::Loaded;
use super::table::Kind;
use super::units;
use crate::estimate::TensorPlan;
use crate::recipe::{Recipe, Setting};
use crate::tune::{Better, Candidates, Evidence, LARGEST_KL, expected_error};

/// Errors that a matrix had in the settings of late are kept, so many of them.
const TRIED: usize = 32;

/// What is known of the matrices of a model.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// For each matrix what a tune measured; empty before one did.
    measured: Vec<Candidates>,
    /// For each matrix the settings in which it was quantized, with the relative squared error of its
    /// weights.
    tried: Vec<Vec<(Setting, f64)>>,
}

/// What the figures of a [`Preview`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Mean KL divergence from the original, nats a token; the sum over matrices.
    Divergence,
    /// Squared error over squared weights; the mean by weights.
    WeightError,
}

/// A figure, and how it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predicted {
    /// See [`Measure`].
    pub value: f64,
    /// The weakest of all that went into it.
    pub evidence: Evidence,
    /// Its place among its like, from 1 for the largest, and how many there are.
    pub rank: (usize, usize),
}

/// What a candidate's recipe will cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// What the figures are.
    pub measure: Measure,
    /// Each of [`Loaded::rows`]; nothing for rows without matrices.
    pub rows: Vec<Option<Predicted>>,
    /// The whole model; ranked among the recipes that come with Whittle.
    pub total: Predicted,
    /// For each matrix a setting that takes less and errs less.
    pub better: Vec<Option<Better>>,
}

impl Knowledge {
    /// Nothing of so many matrices.
    pub(super) fn of(matrices: usize) -> Self {
        Self {
            measured: Vec::new(),
            tried: vec![Vec::new(); matrices],
        }
    }

    /// Takes over what a tune measured; ignored unless it is of every matrix.
    pub(super) fn measure(&mut self, loaded: &Loaded, candidates: &[Candidates]) {
        let of = |name: &String| candidates.iter().find(|c| c.name == *name).cloned();
        let measured: Option<Vec<Candidates>> =
            loaded.matrices.iter().map(|m| of(&m.name)).collect();
        self.measured = measured.unwrap_or_default();
    }

    /// Whether a tune has measured every matrix.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        !self.measured.is_empty()
    }

    /// Notes the error of a matrix that was quantized.
    pub(super) fn note(&mut self, matrix: usize, setting: Setting, nmse: f64) {
        if let Some(tried) = self.tried.get_mut(matrix) {
            tried.retain(|(other, _)| *other != setting);
            tried.truncate(TRIED - 1);
            tried.insert(0, (setting, nmse));
        }
    }

    /// What these settings, one for each matrix, will cost. `recipes` are others to rank with.
    pub(super) fn preview(
        &self,
        loaded: &Loaded,
        settings: &[Setting],
        planned: &[TensorPlan],
        recipes: &[Recipe],
    ) -> Preview {
        let measure = if self.is_measured() {
            Measure::Divergence
        } else {
            Measure::WeightError
        };
        let costs: Vec<(f64, Evidence)> = (0..settings.len())
            .map(|matrix| self.cost(matrix, &settings[matrix]))
            .collect();
        let sum = |members: &[usize]| self.sum(loaded, members, &costs);
        let mut rows: Vec<Option<Predicted>> =
            loaded.rows.iter().map(|row| sum(&row.members)).collect();
        rank_rows(loaded, &mut rows);
        let all: Vec<usize> = (0..settings.len()).collect();
        let mut total = sum(&all).unwrap_or(Predicted {
            value: 0.0,
            evidence: Evidence::Measured,
            rank: (1, 1),
        });
        if measure == Measure::Divergence && total.value > LARGEST_KL {
            let of = |recipe: &Recipe| self.total(loaded, recipe);
            total.rank = rank(total.value, recipes.iter().map(of));
        }
        let better = (0..settings.len()).map(|matrix| {
            let bytes = planned.get(matrix)?.bytes;
            self.measured
                .get(matrix)?
                .better_than(&settings[matrix], bytes)
        });
        Preview {
            measure,
            rows,
            total,
            better: better.collect(),
        }
    }

    /// What a setting of one matrix costs.
    fn cost(&self, matrix: usize, setting: &Setting) -> (f64, Evidence) {
        let tried = self.tried.get(matrix).map_or(&[][..], Vec::as_slice);
        match self.measured.get(matrix) {
            None => expected_error(setting, tried),
            Some(candidates) => {
                let found = candidates.error_of(setting);
                let (error, evidence) =
                    found.unwrap_or_else(|| (expected_error(setting, tried).0, Evidence::Expected));
                (candidates.sensitivity * error, evidence)
            }
        }
    }

    fn sum(
        &self,
        loaded: &Loaded,
        members: &[usize],
        costs: &[(f64, Evidence)],
    ) -> Option<Predicted> {
        let evidence = members.iter().map(|&matrix| costs[matrix].1).max()?;
        let total: u64 = members.iter().map(|&m| loaded.matrices[m].weights()).sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 weights")]
        let share = |matrix: usize| {
            if self.is_measured() {
                1.0
            } else {
                loaded.matrices[matrix].weights() as f64 / total.max(1) as f64
            }
        };
        Some(Predicted {
            value: members.iter().map(|&m| share(m) * costs[m].0).sum(),
            evidence,
            rank: (1, 1),
        })
    }

    fn total(&self, loaded: &Loaded, recipe: &Recipe) -> f64 {
        let layers = loaded.shape.hyperparameters.layers;
        let matrices = loaded.matrices.iter().enumerate();
        matrices
            .map(|(index, m)| self.cost(index, &recipe.setting(m.role, m.layer, layers)).0)
            .sum()
    }
}

/// The place of `value` among itself and others, from 1 for the largest, and how many they are.
fn rank(value: f64, others: impl Iterator<Item = f64>) -> (usize, usize) {
    others.fold((1, 1), |(place, count), other| {
        (place + usize::from(other > value), count + 1)
    })
}

/// Ranks groups among groups, layers among layers, matrices among all matrices.
fn rank_rows(loaded: &Loaded, rows: &mut [Option<Predicted>]) {
    for of_kind in [
        |kind: &Kind| matches!(kind, Kind::Group(_)),
        |kind: &Kind| matches!(kind, Kind::Layer(_)),
        |kind: &Kind| matches!(kind, Kind::Tensor(_)),
    ] {
        let mut places: Vec<(usize, f64)> = loaded
            .rows
            .iter()
            .zip(rows.iter())
            .enumerate()
            .filter(|(_, (row, _))| of_kind(&row.kind))
            .filter_map(|(index, (_, predicted))| Some((index, predicted.as_ref()?.value)))
            .collect();
        places.sort_by(|a, b| b.1.total_cmp(&a.1));
        let count = places.len();
        for (place, (index, _)) in places.into_iter().enumerate() {
            if let Some(predicted) = &mut rows[index] {
                predicted.rank = (place + 1, count);
            }
        }
    }
}

impl Predicted {
    /// As a row or the top bar shows it: a number where it is one, else a rank.
    #[must_use]
    pub fn text(&self, measure: Measure) -> String {
        match measure {
            Measure::Divergence if self.value > LARGEST_KL => {
                format!("#{}/{}", self.rank.0, self.rank.1)
            }
            Measure::Divergence => units::short(self.value),
            Measure::WeightError => format!("err {:.1e}", self.value),
        }
    }

    /// What the figure is and where it comes from, for a hint.
    #[must_use]
    pub fn hint(&self, measure: Measure) -> String {
        let evidence = match self.evidence {
            Evidence::Measured => "measured in this very setting",
            Evidence::Interpolated => "between settings that were measured",
            Evidence::Expected => {
                "expected from other settings: a bit more is a quarter of the error"
            }
        };
        match measure {
            Measure::Divergence => {
                let above = if self.value > LARGEST_KL {
                    "\nAbove 0.5 nats it ranks, worst first, and is no number"
                } else {
                    ""
                };
                format!(
                    "Predicted KL from the original, nats a token: what an error of each matrix costs, \
                     times its error; {evidence}{above}"
                )
            }
            Measure::WeightError => format!(
                "Squared error over squared weights, not a divergence; {evidence}\nTune… measures what \
                 it costs the model"
            ),
        }
    }
}

/// A setting as people say it: "3 bits by gptq at 50 %".
#[must_use]
pub fn setting_text(setting: &Setting) -> String {
    let mut text = match setting.precision.bits() {
        Some(_) => format!("{} bits", setting.precision.name()),
        None => "the source's own format".to_owned(),
    };
    if setting.precision.bits().is_some_and(|bits| bits < 16.0) {
        text += &format!(" by {}", setting.method.name());
    }
    if setting.sparsity > 0.0 {
        let pruner = setting.pruner.name();
        text += &format!(" at {:.0} % {pruner}", setting.sparsity * 100.0);
    }
    text
}

/// Why a setting is dominated: "3 bits by gptq beats it: 1.2 MB less, error 0.02 instead of 0.05".
#[must_use]
pub fn better_text(better: &Better) -> String {
    let about = match better.evidence {
        Evidence::Measured => "",
        Evidence::Interpolated | Evidence::Expected => "about ",
    };
    format!(
        "{} beats it: {} less, error {} instead of {about}{}",
        setting_text(&better.candidate.setting),
        units::bytes(better.saved_bytes),
        units::short(better.candidate.error),
        units::short(better.error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Precision;
    use crate::tune::Candidate;

    #[test]
    fn a_large_divergence_is_a_rank_and_a_small_one_a_number() {
        let predicted = |value| Predicted {
            value,
            evidence: Evidence::Measured,
            rank: (2, 7),
        };
        let text = |value, measure| predicted(value).text(measure);
        assert_eq!(text(0.031, Measure::Divergence), "0.031");
        assert_eq!(text(0.5, Measure::Divergence), "0.50");
        assert_eq!(text(0.51, Measure::Divergence), "#2/7");
        assert_eq!(text(0.51, Measure::WeightError), "err 5.1e-1");
        assert_eq!(rank(3.0, [5.0, 1.0, 3.0].into_iter()), (2, 4));
        assert!(!predicted(0.3).hint(Measure::Divergence).contains("ranks"));
    }

    #[test]
    fn the_better_setting_is_named_with_what_it_saves() {
        let better = Better {
            candidate: Candidate {
                setting: Setting::calibrated(Precision::Three),
                bytes: 300,
                error: 0.02,
            },
            saved_bytes: 1_200_000,
            error: 0.05,
            evidence: Evidence::Measured,
        };
        assert_eq!(
            better_text(&better),
            "3 bits by gptq beats it: 1.20 MB less, error 0.020 instead of 0.050"
        );
        let sparse = setting_text(&Setting::sparse(Precision::Four, 0.5));
        assert_eq!(sparse, "4 bits by nearest at 50 % magnitude");
        assert_eq!(
            setting_text(&Setting::bits(Precision::Source)),
            "the source's own format"
        );
    }
}
