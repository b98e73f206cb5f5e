//! What a recipe is to keep to: bytes, a board's memory and speed, tasks.

use super::{Point, TuneError, Tuned, Tuner};
use crate::board::Board;
use crate::estimate::{Estimate, ModelShape, Options, RuntimeMemory, estimate, plan};
use crate::evaluate::tasks::{MAX_TOKENS, Task, evaluate_tasks};
use crate::job::Job;
use crate::packed::PackedModel;
use crate::recipe::Recipe;
use engine::workers::Host;

/// Budgets between the smallest and the largest that a search looks at: 0.4 % apart.
const BUDGETS: u64 = 256;

/// A board, how the model is used on it, and the speed that it must keep.
#[derive(Debug, Clone)]
pub struct BoardGoal {
    /// The board.
    pub board: Board,
    /// How the model is used.
    pub options: Options,
    /// Tokens a second in the middle of the estimate's range, if there is a limit.
    pub min_tokens_per_second: Option<f64>,
}

/// That no recipe keeps to a board: what its smallest one, of so many bytes, lacks.
pub(super) fn board_refusal(goal: &BoardGoal, smallest: u64, estimate: &Estimate) -> TuneError {
    let speed = || match &estimate.tokens_per_second {
        Some(range) => format!("{:.3} tokens/s, {}", range.mid, estimate.validation.name()),
        None => "an unknown speed".to_owned(),
    };
    TuneError::Board {
        board: goal.board.id.clone(),
        smallest,
        reason: estimate.limit.clone().unwrap_or_else(speed),
    }
}

impl BoardGoal {
    /// What `recipe` costs on the board.
    pub(super) fn estimate(&self, shape: &ModelShape, recipe: &Recipe) -> Estimate {
        let layers = shape.hyperparameters.layers;
        let tensors = plan(shape, &|role, layer| recipe.setting(role, layer, layers));
        let memory = RuntimeMemory::of(shape, self.options.context_tokens, self.options.cache);
        estimate(shape, &tensors, memory, &self.board, &self.options)
    }

    fn is_kept(&self, estimate: &Estimate) -> bool {
        let speed = estimate.tokens_per_second.as_ref().map(|range| range.mid);
        let is_fast = self
            .min_tokens_per_second
            .is_none_or(|least| speed.is_some_and(|speed| speed >= least));
        estimate.fits && is_fast
    }
}

/// What a recipe for tasks kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Passed {
    /// Share of the tasks that held.
    pub share: f64,
    /// Budgets whose models were asked.
    pub tried: usize,
}

impl Tuner<'_> {
    /// Bytes of the packed file with so many bits for each weight of its matrices.
    #[must_use]
    pub fn bytes_at(&self, bits_per_weight: f64) -> u64 {
        let matrices = self.model.tensors.iter().filter(|t| t.role.is_matrix());
        let weights: u64 = matrices.map(crate::model::Tensor::parameters).sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bytes of a model are far below 2^52, and saturate at 0"
        )]
        let bytes = (bits_per_weight * weights as f64 / 8.0) as u64;
        self.fixed_bytes() + bytes
    }

    /// Bytes of the packed file in its smallest and in its largest settings.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        let ends = self.choices().into_iter().map(|choices| {
            let bytes = choices.iter().map(|c| c.bytes);
            (bytes.clone().min().unwrap_or(0), bytes.max().unwrap_or(0))
        });
        let sum = ends.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        (self.fixed_bytes() + sum.0, self.fixed_bytes() + sum.1)
    }

    /// The front at evenly spaced budgets.
    #[must_use]
    pub fn whole_front(&self, points: u64) -> Vec<Point> {
        let (smallest, largest) = self.range();
        let points = points.max(2);
        let budget = |i: u64| smallest + (largest - smallest) * i / (points - 1);
        let mut front = self.front(&(0..points).map(budget).collect::<Vec<_>>());
        front.dedup_by(|a, b| a.bytes == b.bytes);
        front
    }

    /// What `recipe` costs on a board.
    #[must_use]
    pub fn estimate(&self, recipe: &Recipe, goal: &BoardGoal) -> Estimate {
        goal.estimate(&self.shape, recipe)
    }

    /// The most bytes with which the board holds the model and is fast enough.
    ///
    /// # Errors
    /// When no recipe does, with what the smallest one lacks.
    pub fn bytes_for(&self, goal: &BoardGoal) -> Result<u64, TuneError> {
        let front = self.whole_front(BUDGETS);
        let kept = front
            .iter()
            .rev()
            .find(|point| goal.is_kept(&self.estimate(&point.recipe, goal)));
        if let Some(point) = kept {
            return Ok(point.bytes);
        }
        let Some(smallest) = front.first() else {
            return Err(TuneError::TooSmall {
                smallest: self.range().0,
                found: 0,
            });
        };
        let estimate = self.estimate(&smallest.recipe, goal);
        Err(board_refusal(goal, smallest.bytes, &estimate))
    }

    /// The fewest bytes, at most `largest`, with which a share of at least `min_pass` of the tasks hold:
    /// found by halving, as if more bytes never did worse.
    ///
    /// # Errors
    /// When not even `largest` keeps them, a file cannot be read, or the job is cancelled.
    pub fn tune_for_tasks(
        &self,
        largest: u64,
        tasks: &[Task],
        min_pass: f64,
        host: &Host<'_>,
        job: &Job<'_>,
    ) -> Result<(Tuned, Passed), TuneError> {
        let mut front = self.whole_front(BUDGETS);
        front.retain(|point| point.bytes <= largest);
        let mut tried = 0;
        let mut ask = |bytes: u64| -> Result<(Tuned, f64), TuneError> {
            tried += 1;
            let tuned = self.tune(bytes, job)?;
            let packed = PackedModel::pack(self.model, &tuned.compressed, &job.quiet())?;
            let cache = self.options.cache;
            let report = evaluate_tasks(&packed, cache, tasks, MAX_TOKENS, host, job)?;
            Ok((tuned, report.held.share))
        };
        let (mut low, mut high) = (0, front.len());
        let mut best: Option<(Tuned, f64)> = None;
        let mut closest = 0.0f64;
        // The largest first: without it there is nothing to search.
        let mut next = front.len().checked_sub(1);
        while let Some(at) = next {
            let (tuned, share) = ask(front[at].bytes)?;
            closest = closest.max(share);
            if share >= min_pass {
                best = Some((tuned, share));
                high = at;
            } else if best.is_none() {
                break;
            } else {
                low = at + 1;
            }
            next = (low < high)
                .then(|| low.midpoint(high))
                .filter(|m| *m < high);
        }
        match best {
            Some((tuned, share)) => Ok((tuned, Passed { share, tried })),
            None => Err(TuneError::Tasks {
                min_pass,
                found: closest,
                bytes: largest,
            }),
        }
    }
}
