//! How one matrix is compressed, when it is settled what its methods have to work with.

use super::feedback::{Factor, Feedback, Order};
use crate::recipe::{NOfM, Pruner, Quantizer, Setting};
use engine::encoding::Encoding;

/// What is done to every row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    pub(super) encoding: Encoding,
    pub(super) cols: usize,
    /// Weights kept in each row.
    pub(super) kept: usize,
    /// Where they may stand.
    pub(super) pattern: Option<NOfM>,
    pub(super) quantizer: Quantizer,
    pub(super) pruner: Pruner,
}

impl Plan {
    /// The largest weights, rounded to nearest.
    pub(super) fn nearest(encoding: Encoding, cols: usize, kept: usize) -> Self {
        Self {
            encoding,
            cols,
            kept,
            pattern: match encoding {
                Encoding::OneOfFour => NOfM::new(1, 4),
                Encoding::F32
                | Encoding::F16
                | Encoding::Dense(_)
                | Encoding::Ternary
                | Encoding::Sparse(_)
                | Encoding::Twin(_) => None,
            },
            quantizer: Quantizer::Nearest,
            pruner: Pruner::Magnitude,
        }
    }

    /// What `setting` asks of a matrix, as far as it can be done: without a Hessian GPTQ becomes a search
    /// for scales, and Wanda and SparseGPT compare magnitudes; with one that has no factor SparseGPT
    /// becomes Wanda.
    pub(super) fn new<'a>(
        setting: &Setting,
        encoding: Encoding,
        cols: usize,
        feedback: Option<&'a Feedback<'a>>,
    ) -> (Self, Option<&'a Factor>) {
        let nearest = Self::nearest(encoding, cols, setting.kept(cols));
        let mut plan = Self {
            pattern: nearest.pattern.or(setting.pattern),
            quantizer: setting.method,
            pruner: setting.pruner,
            ..nearest
        };
        if plan.kept == cols {
            plan.pruner = Pruner::Magnitude;
        }
        let has_grid = encoding.record().is_some();
        match encoding {
            Encoding::F32 | Encoding::Twin(_) => plan.quantizer = Quantizer::Nearest,
            // Floats have no scales to search; what is pruned can still be made up for.
            Encoding::F16 if plan.kept == cols || plan.quantizer == Quantizer::Search => {
                plan.quantizer = Quantizer::Nearest;
            }
            Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_) => {}
        }
        let Some(feedback) = feedback else {
            plan.without_factor(has_grid);
            plan.pruner = Pruner::Magnitude;
            return (plan, None);
        };
        if !plan.needs_factor() {
            return (plan, None);
        }
        let factor = feedback.factor(plan.order());
        if factor.is_none() {
            plan.without_factor(has_grid);
        }
        (plan, factor)
    }

    fn without_factor(&mut self, has_grid: bool) {
        if self.quantizer == Quantizer::Gptq {
            self.quantizer = if has_grid {
                Quantizer::Search
            } else {
                Quantizer::Nearest
            };
        }
        if self.pruner == Pruner::SparseGpt {
            self.pruner = Pruner::Wanda;
        }
    }

    /// In which order the pass must visit columns.
    fn order(&self) -> Order {
        match (self.pruner, self.pattern) {
            (Pruner::SparseGpt, Some(_)) => Order::Natural,
            (Pruner::SparseGpt, None) | (Pruner::Magnitude | Pruner::Wanda, _) => Order::Descending,
        }
    }

    /// Whether errors go from column to column.
    pub(super) fn needs_factor(&self) -> bool {
        self.quantizer == Quantizer::Gptq || self.pruner == Pruner::SparseGpt
    }

    /// Whether it is the plan that needs to know nothing of the inputs.
    pub(super) fn is_simple(&self) -> bool {
        self.quantizer == Quantizer::Nearest && self.pruner == Pruner::Magnitude
    }

    /// The plan of the same shape that needs to know nothing of the inputs.
    pub(super) fn simple(&self) -> Self {
        Self {
            quantizer: Quantizer::Nearest,
            pruner: Pruner::Magnitude,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simple_plan_needs_to_know_nothing_of_the_inputs() {
        let plan = |quantizer, pruner| Plan {
            quantizer,
            pruner,
            ..Plan::nearest(Encoding::Ternary, 64, 32)
        };
        let simple = plan(Quantizer::Nearest, Pruner::Magnitude);
        for quantizer in [Quantizer::Nearest, Quantizer::Search, Quantizer::Gptq] {
            for pruner in [Pruner::Magnitude, Pruner::Wanda, Pruner::SparseGpt] {
                assert_eq!(plan(quantizer, pruner).simple(), simple);
            }
        }
    }
}
