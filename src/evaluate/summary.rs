//! What the positions of a text say together: means with their errors, and the tail.
//!
//! Figures and their names are those of llama.cpp's `perplexity` tool with `--kl-divergence`; errors
//! are not: it takes positions as independent, and neighbours in a text are not.

use super::{EvaluateError, Score, scored_positions};
use serde::Serialize;

/// What standard errors take as independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Independent {
    /// Windows: the errors of a window's positions are added up before they are squared, so that
    /// whatever correlation is inside a window counts (Liang and Zeger 1986, "Longitudinal data
    /// analysis using generalized linear models", with the factor of few clusters).
    Windows,
    /// Positions, as there is one window only; too small an error where neighbours are alike.
    Positions,
}

/// Quality of a model against its reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Positions scored.
    pub tokens: usize,
    /// Windows that they are in.
    pub windows: usize,
    /// Tokens of a window, whose second half is scored: 512, or the model's context.
    pub window_tokens: usize,
    /// What the standard errors below take as independent.
    pub independent: Independent,
    /// e to the mean negative log-likelihood of the text: `PPL(Q)`.
    pub perplexity: f64,
    /// Its standard error.
    pub perplexity_standard_error: f64,
    /// The reference's: `PPL(base)`.
    pub reference_perplexity: f64,
    /// Its standard error.
    pub reference_perplexity_standard_error: f64,
    /// Mean `ln(PPL(Q)/PPL(base))`.
    pub ln_perplexity_ratio: f64,
    /// Its standard error; far below those of the two, which rise and fall with the text together.
    pub ln_perplexity_ratio_standard_error: f64,
    /// Mean of KL(reference || model) over positions, in nats: `Mean KLD`.
    pub kl_mean: f64,
    /// Standard error of `kl_mean`.
    pub kl_mean_standard_error: f64,
    /// `Median KLD`.
    pub kl_median: f64,
    /// 95th percentile of KL.
    pub kl_p95: f64,
    /// 99th percentile of KL.
    pub kl_p99: f64,
    /// `Maximum KLD`.
    pub kl_max: f64,
    /// `RMS Δp`: root of the mean squared change of the probability of the text's next token, 0 to 1.
    pub delta_p_rms: f64,
    /// Its standard error.
    pub delta_p_rms_standard_error: f64,
    /// `Same top p`: share of positions where both have the same most likely token.
    pub same_top: f64,
    /// Its standard error.
    pub same_top_standard_error: f64,
}

/// A mean and its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl Evaluation {
    /// Sums up the scores of windows of `window_tokens` tokens, one after the other.
    ///
    /// # Errors
    /// When a figure is no finite number, as the perplexity of a model that expects nothing of the text.
    ///
    /// # Panics
    /// When there is no score.
    pub fn new(scores: &[Score], window_tokens: usize) -> Result<Self, EvaluateError> {
        let evaluation = Self::of_scores(scores, window_tokens, scored_positions(window_tokens));
        evaluation.require_finite()?;
        Ok(evaluation)
    }

    fn of_scores(scores: &[Score], window_tokens: usize, per_window: usize) -> Self {
        let mean = |value: fn(&Score) -> f64| {
            mean(&scores.iter().map(value).collect::<Vec<_>>(), per_window)
        };
        let (nll, reference_nll) = (mean(|s| s.nll), mean(|s| s.reference_nll));
        let ln_ratio = mean(|s| s.nll - s.reference_nll);
        let kl = mean(|s| s.kl);
        let same_top = mean(|s| f64::from(u8::from(s.same_top)));
        let squared = mean(|s| s.delta_p().powi(2));
        let delta_p_rms = squared.mean.sqrt();
        let mut kls: Vec<f64> = scores.iter().map(|s| s.kl).collect();
        kls.sort_unstable_by(f64::total_cmp);
        let windows = scores.len().div_ceil(per_window.max(1));
        Self {
            tokens: scores.len(),
            windows,
            window_tokens,
            independent: if windows > 1 {
                Independent::Windows
            } else {
                Independent::Positions
            },
            perplexity: nll.mean.exp(),
            // By the derivatives of exp and of the root.
            perplexity_standard_error: nll.mean.exp() * nll.standard_error,
            reference_perplexity: reference_nll.mean.exp(),
            reference_perplexity_standard_error: reference_nll.mean.exp()
                * reference_nll.standard_error,
            ln_perplexity_ratio: ln_ratio.mean,
            ln_perplexity_ratio_standard_error: ln_ratio.standard_error,
            kl_mean: kl.mean,
            kl_mean_standard_error: kl.standard_error,
            kl_median: percentile(&kls, 0.5),
            kl_p95: percentile(&kls, 0.95),
            kl_p99: percentile(&kls, 0.99),
            kl_max: percentile(&kls, 1.0),
            delta_p_rms,
            delta_p_rms_standard_error: if delta_p_rms > 0.0 {
                squared.standard_error / (2.0 * delta_p_rms)
            } else {
                0.0
            },
            same_top: same_top.mean,
            same_top_standard_error: same_top.standard_error,
        }
    }

    /// Names the first figure that is no finite number: JSON would write `null` for it, and no limit
    /// hold it.
    fn require_finite(&self) -> Result<(), EvaluateError> {
        let figures = [
            ("perplexity", self.perplexity),
            (
                "standard error of the perplexity",
                self.perplexity_standard_error,
            ),
            ("perplexity of the reference", self.reference_perplexity),
            (
                "standard error of the perplexity of the reference",
                self.reference_perplexity_standard_error,
            ),
            ("ln of the ratio of perplexities", self.ln_perplexity_ratio),
            (
                "standard error of the ln of the ratio of perplexities",
                self.ln_perplexity_ratio_standard_error,
            ),
            ("ratio of perplexities", self.perplexity_ratio()),
            ("mean KL", self.kl_mean),
            ("standard error of the mean KL", self.kl_mean_standard_error),
            ("median KL", self.kl_median),
            ("95th percentile of KL", self.kl_p95),
            ("99th percentile of KL", self.kl_p99),
            ("largest KL", self.kl_max),
            ("RMS change of probability", self.delta_p_rms),
            (
                "standard error of the RMS change of probability",
                self.delta_p_rms_standard_error,
            ),
        ];
        match figures.into_iter().find(|(_, found)| !found.is_finite()) {
            Some((figure, found)) => Err(EvaluateError::NotFinite { figure, found }),
            None => Ok(()),
        }
    }

    /// The perplexity over the reference's.
    #[must_use]
    pub fn perplexity_ratio(&self) -> f64 {
        self.ln_perplexity_ratio.exp()
    }
}

/// How much larger the mean KL of `a` is than that of `b`, which scored the same positions: what the
/// text does to both alike cancels out, so that the error is far below those of the two means.
///
/// # Panics
/// When they scored different numbers of positions, or none.
#[must_use]
pub fn kl_difference(a: &[Score], b: &[Score], per_window: usize) -> Mean {
    assert_eq!(a.len(), b.len(), "both score the same positions");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a.kl - b.kl).collect();
    mean(&differences, per_window)
}

/// The mean of `values`, `per_window` of each window one after the other. Its error takes windows as
/// independent where there are several, else the values.
fn mean(values: &[f64], per_window: usize) -> Mean {
    let n = count(values.len());
    let mean = values.iter().sum::<f64>() / n;
    let cluster = if values.len() > per_window {
        per_window.max(1)
    } else {
        1
    };
    let clusters = count(values.len().div_ceil(cluster));
    let squares = values.chunks(cluster).map(|window| {
        let error: f64 = window.iter().map(|value| value - mean).sum();
        error.powi(2)
    });
    let variance = squares.sum::<f64>() / (n * n) * clusters / (clusters - 1.0).max(1.0);
    Mean {
        mean,
        standard_error: variance.sqrt(),
    }
}

/// The value below which a share of `sorted` lies, between two of them by their distance, as in
/// llama.cpp.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * count(sorted.len() - 1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to the last index"
    )]
    let below = place as usize;
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    let part = place - count(below);
    (1.0 - part) * sorted[below] + part * above
}

#[expect(
    clippy::cast_precision_loss,
    reason = "token counts are far below 2^52"
)]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(kl: impl Fn(u32) -> f64, n: u32) -> Vec<Score> {
        let score = |i| Score {
            kl: kl(i),
            reference_nll: 1.0,
            nll: 2.0,
            same_top: i % 4 == 0,
        };
        (0..n).map(score).collect()
    }

    /// Of windows of 202 tokens, which have 100 scored positions each.
    fn summed(scores: &[Score]) -> Evaluation {
        Evaluation::new(scores, 202).unwrap()
    }

    #[test]
    fn a_figure_that_is_no_number_is_an_error_by_name() {
        let mut all = scores(|_| 0.5, 100);
        let of = |scores: &[Score]| Evaluation::new(scores, 202).unwrap_err().to_string();
        all[7].nll = 1e5;
        // e to the thousandth is no number of 64 bits.
        assert!(
            of(&all).starts_with("expected a finite perplexity, found inf"),
            "{}",
            of(&all)
        );
        all[7].nll = f64::NAN;
        assert!(of(&all).starts_with("expected a finite perplexity, found NaN"));
        all[7].nll = 1.0;
        all[7].kl = f64::NAN;
        assert!(of(&all).starts_with("expected a finite mean KL, found NaN"));
    }

    #[test]
    fn a_summary_has_the_mean_its_error_and_the_tail() {
        let e = summed(&scores(f64::from, 100));
        assert_eq!((e.tokens, e.windows, e.same_top), (100, 1, 0.25));
        assert_eq!(e.independent, Independent::Positions);
        assert_eq!((e.kl_mean, e.kl_median, e.kl_max), (49.5, 49.5, 99.0));
        assert!((e.kl_p95 - 94.05).abs() < 1e-9 && (e.kl_p99 - 98.01).abs() < 1e-9);
        assert!((e.kl_mean_standard_error - 2.901_149).abs() < 1e-5);
        assert!((e.perplexity - 2f64.exp()).abs() < 1e-12);
        assert!((e.perplexity_ratio() - 1f64.exp()).abs() < 1e-12);
        let delta = (-1f64).exp() - (-2f64).exp();
        assert!((e.delta_p_rms - delta).abs() < 1e-12 && e.delta_p_rms_standard_error < 1e-9);
        // 25 of 100: the root of p (1 - p) / (n - 1).
        assert!((e.same_top_standard_error - (0.25 * 0.75 / 99.0f64).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn an_error_counts_what_the_positions_of_a_window_have_in_common() {
        // Four windows whose positions are all alike are four values, not 400.
        let alike = scores(|i| f64::from(i / 100), 400);
        let e = summed(&alike);
        assert_eq!((e.windows, e.independent), (4, Independent::Windows));
        assert_eq!(e.kl_mean, 1.5);
        assert!((e.kl_mean_standard_error - (5.0 / 3.0 / 4.0f64).sqrt()).abs() < 1e-12);
        // The same values in an order that makes every window alike leave no error between windows.
        let mixed = scores(|i| f64::from(i % 4), 400);
        assert!(summed(&mixed).kl_mean_standard_error < 1e-12);
    }

    #[test]
    fn a_difference_of_two_on_the_same_text_has_a_smaller_error_than_either() {
        let text = |i: u32| f64::from(i / 100 * 3 % 7);
        let (a, b) = (scores(|i| text(i) + 1.0, 1000), scores(text, 1000));
        let difference = kl_difference(&a, &b, 100);
        assert!((difference.mean - 1.0).abs() < 1e-9 && difference.standard_error < 1e-9);
        assert!(summed(&a).kl_mean_standard_error > 0.1);
    }
}
