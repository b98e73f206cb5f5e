//! How much of a text is scored: all that is given, or what fits in a time.

use serde::Serialize;

/// How many of the windows are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All.
    All,
    /// As many as fit in a time on this machine, judged by the first.
    Within(Budget),
}

/// A time to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// About 30 seconds: to see which of two recipes is better.
    Quick,
    /// About five minutes: for figures to report.
    Full,
}

impl Budget {
    /// Seconds to fill.
    #[must_use]
    pub const fn seconds(self) -> f64 {
        match self {
            Self::Quick => 30.0,
            Self::Full => 300.0,
        }
    }
}

/// How many windows were taken and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Chosen {
    /// Windows that were scored, at least one.
    pub windows: usize,
    /// Their tokens: with so many the same is computed again.
    pub tokens: usize,
    /// What the first window took, all models together.
    pub seconds_per_window: f64,
    /// The time to fill.
    pub budget_seconds: f64,
    /// Whether the text ended before the time did.
    pub whole_text: bool,
}

impl Chosen {
    /// What fits in `budget` of `available` windows of `window` tokens, if each takes as long as the
    /// first did.
    pub(super) fn after(
        budget: Budget,
        seconds_per_window: f64,
        (available, window): (usize, usize),
    ) -> Self {
        let fitting = budget.seconds() / seconds_per_window.max(1e-9);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturates"
        )]
        let fitting = (fitting as usize).max(1);
        let windows = fitting.min(available);
        Self {
            windows,
            tokens: windows * window,
            seconds_per_window,
            budget_seconds: budget.seconds(),
            whole_text: fitting >= available,
        }
    }

    /// In one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self {
            windows,
            tokens,
            seconds_per_window,
            budget_seconds,
            whole_text,
        } = self;
        let why = if *whole_text {
            "which is the whole text"
        } else {
            "as many as fit"
        };
        format!(
            "chose {tokens} tokens: the first window took {seconds_per_window:.2} s, {windows} windows in about {budget_seconds:.0} s, {why}; --tokens {tokens} repeats it"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_filled_and_takes_one_window_at_least() {
        let after = |budget, seconds, available| {
            let chosen = Chosen::after(budget, seconds, (available, 256));
            assert_eq!(chosen.tokens, chosen.windows * 256);
            (chosen.windows, chosen.whole_text)
        };
        assert_eq!(after(Budget::Quick, 0.5, 100), (60, false));
        assert_eq!(after(Budget::Full, 0.5, 100), (100, true));
        assert_eq!(after(Budget::Quick, 90.0, 100), (1, false));
        assert_eq!(after(Budget::Quick, 0.0, 7), (7, true));
    }
}
