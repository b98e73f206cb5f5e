//! One position: how two rows of logits differ.

use engine::sampler::argmax;

/// How a candidate's prediction of one token differs from the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// KL(reference || candidate) in nats, at least 0.
    pub kl: f64,
    /// Negative log-likelihood of the text's next token under the reference, in nats.
    pub reference_nll: f64,
    /// The same under the candidate.
    pub nll: f64,
    /// Whether both have the same most likely token.
    pub same_top: bool,
}

impl Score {
    /// The change of the probability of the text's next token: llama.cpp's Δp, -1 to 1.
    #[must_use]
    pub fn delta_p(&self) -> f64 {
        (-self.nll).exp() - (-self.reference_nll).exp()
    }
}

/// Compares two rows of logits `[vocab]`; sums run in 64 bits over the vocabulary in order.
pub(super) fn score(reference: &[f32], candidate: &[f32], next: usize) -> Score {
    let (r, c) = (log_sum_exp(reference), log_sum_exp(candidate));
    let kl = reference.iter().zip(candidate).map(|(a, b)| {
        let log_p = f64::from(*a) - r;
        log_p.exp() * (log_p - (f64::from(*b) - c))
    });
    Score {
        kl: kl.sum::<f64>().max(0.0),
        reference_nll: r - f64::from(reference[next]),
        nll: c - f64::from(candidate[next]),
        same_top: argmax(reference) == argmax(candidate),
    }
}

/// Logarithm of the sum of the exponentials of `logits` `[vocab]`, in 64 bits.
#[must_use]
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + logits
        .iter()
        .map(|x| (f64::from(*x) - top).exp())
        .sum::<f64>()
        .ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kl_is_that_of_the_two_distributions() {
        // P = (1/2, 1/2), Q = (1/4, 3/4): KL = ln 2 - ln 3 / 2.
        let score = score(&[0.0, 0.0], &[0.0, 3f32.ln()], 1);
        assert!((score.kl - (2f64.ln() - 0.5 * 3f64.ln())).abs() < 1e-7);
        assert!((score.nll - (4.0f64 / 3.0).ln()).abs() < 1e-7);
        assert!((score.reference_nll - 2f64.ln()).abs() < 1e-7);
        assert!((score.delta_p() - 0.25).abs() < 1e-7);
        assert!(!score.same_top);
    }
}
