//! The multiple-choice knapsack: one option for every tensor, the least cost within a number of bytes.
//!
//! Solved exactly by dynamic programming over pages (Dudzinski and Walukiewicz 1987), which also gives
//! the answer for every smaller budget: the whole front costs no more than one of its points.

/// One way to store a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    /// Bytes in the file, alignment counted.
    pub(super) bytes: u64,
    /// What it costs in quality.
    pub(super) cost: f64,
}

impl Choice {
    /// Whether no budget ever prefers `other`: what is dropped so costs the solver no pass.
    fn beats(&self, other: &Self) -> bool {
        self.bytes < other.bytes && self.cost < other.cost
    }
}

/// Budgets are cut into at most so many pages: 43 MB of decisions for 200 tensors.
const MOST_PAGES: u64 = 1 << 18;
/// Tensors start at multiples of it, so it is the finest page.
const FINEST_PAGE: u64 = 4096;

/// The best allocation for every budget up to one.
#[derive(Debug)]
pub(super) struct Front<'a> {
    tensors: &'a [Vec<Choice>],
    page: u64,
    /// For each tensor and number of pages: the option taken, or [`NONE`].
    decisions: Vec<Vec<u8>>,
    costs: Vec<f64>,
}

/// No option fits.
const NONE: u8 = u8::MAX;

impl<'a> Front<'a> {
    /// Solves for every number of bytes up to `budget`; each tensor has at most 254 options.
    #[must_use]
    pub(super) fn solve(tensors: &'a [Vec<Choice>], budget: u64) -> Self {
        let page = budget
            .div_ceil(MOST_PAGES)
            .next_multiple_of(FINEST_PAGE)
            .max(FINEST_PAGE);
        let pages = usize::try_from(budget / page).unwrap_or(0);
        let mut costs = vec![0.0; pages + 1];
        let mut decisions = Vec::with_capacity(tensors.len());
        for options in tensors {
            let mut next = vec![f64::INFINITY; pages + 1];
            let mut taken = vec![NONE; pages + 1];
            let useful = |option: &Choice| !options.iter().any(|other| other.beats(option));
            for (number, option) in (0..NONE).zip(options).filter(|(_, o)| useful(o)) {
                let needed = usize::try_from(option.bytes.div_ceil(page)).unwrap_or(usize::MAX);
                for at in needed..=pages {
                    let cost = costs[at - needed] + option.cost;
                    if cost < next[at] {
                        (next[at], taken[at]) = (cost, number);
                    }
                }
            }
            decisions.push(taken);
            costs = next;
        }
        Self {
            tensors,
            page,
            decisions,
            costs,
        }
    }

    /// The option of each tensor that costs least within `bytes`, nothing when not even the smallest fit
    /// or `bytes` is above the budget that was solved for.
    #[must_use]
    pub(super) fn within(&self, bytes: u64) -> Option<Vec<usize>> {
        let mut at = usize::try_from(bytes / self.page).ok()?;
        if !self.costs.get(at)?.is_finite() {
            return None;
        }
        let mut chosen = vec![0; self.tensors.len()];
        for (tensor, taken) in self.decisions.iter().enumerate().rev() {
            let option = usize::from(taken[at]);
            chosen[tensor] = option;
            let bytes = self.tensors[tensor][option].bytes;
            at -= usize::try_from(bytes.div_ceil(self.page)).ok()?;
        }
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tries every combination.
    fn best(tensors: &[Vec<Choice>], budget: u64) -> Option<f64> {
        let mut found = vec![(0, 0.0)];
        for options in tensors {
            found = found
                .iter()
                .flat_map(|(bytes, cost)| {
                    options
                        .iter()
                        .map(move |o| (bytes + o.bytes, cost + o.cost))
                })
                .collect();
        }
        let fitting = found.into_iter().filter(|(bytes, _)| *bytes <= budget);
        fitting.map(|(_, cost)| cost).min_by(f64::total_cmp)
    }

    fn totals(tensors: &[Vec<Choice>], chosen: &[usize]) -> (u64, f64) {
        let picked = tensors.iter().zip(chosen).map(|(options, c)| options[*c]);
        picked.fold((0, 0.0), |(b, c), o| (b + o.bytes, c + o.cost))
    }

    proptest! {
        #[test]
        fn no_combination_is_better_and_none_is_too_large(
            tensors in prop::collection::vec(
                prop::collection::vec((1u64..30, 0.0f64..10.0), 1..5), 1..5),
            budget in 0u64..80,
        ) {
            let choice = |(pages, cost)| Choice { bytes: pages * FINEST_PAGE, cost };
            let tensors: Vec<Vec<Choice>> = tensors
                .into_iter()
                .map(|options| options.into_iter().map(choice).collect())
                .collect();
            let front = Front::solve(&tensors, 80 * FINEST_PAGE);
            let budget = budget * FINEST_PAGE;
            let expected = best(&tensors, budget);
            match front.within(budget) {
                None => prop_assert_eq!(expected, None),
                Some(chosen) => {
                    let (bytes, cost) = totals(&tensors, &chosen);
                    prop_assert!(bytes <= budget);
                    prop_assert!((cost - expected.unwrap()).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn a_large_budget_is_cut_into_coarser_pages_and_still_kept() {
        let options = vec![
            Choice {
                bytes: 3 << 30,
                cost: 1.0,
            },
            Choice {
                bytes: 9 << 30,
                cost: 0.1,
            },
        ];
        let tensors = vec![options.clone(), options];
        let front = Front::solve(&tensors, 13 << 30);
        let chosen = front.within(13 << 30).unwrap();
        assert_eq!(totals(&tensors, &chosen).0, 12 << 30);
        assert_eq!(front.within(5 << 30), None);
        assert_eq!(front.within(14 << 30), None);
    }
}
