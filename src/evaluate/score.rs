//! One position: how two rows of logits differ.

use engine::sampler::{NotFinite, argmax, require_finite};

/// How far below zero rounding may leave a divergence, in nats: sums of a hundred thousand terms in
/// 64 bits are off by less than 1e-12. What is further below is no rounding.
const ROUNDING: f64 = 1e-9;

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

/// Why two rows of logits cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The reference predicts nothing.
    #[error("{0} of the reference")]
    Reference(NotFinite),
    /// The candidate predicts nothing.
    #[error("{0} of the candidate")]
    Candidate(NotFinite),
    /// A divergence that none can be.
    #[error(transparent)]
    Divergence(#[from] NotADivergence),
}

/// A number that no KL divergence can be: a defect of the program that computed it.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("expected a KL divergence of at least 0, found {0}: a defect of Whittle")]
pub struct NotADivergence(pub f64);

/// A computed divergence as the divergence that it is: what rounding left below zero, by at most
/// `rounding` nats, is zero.
///
/// # Errors
/// When it is no finite number, or below zero by more than rounding.
pub fn divergence_from(computed: f64, rounding: f64) -> Result<f64, NotADivergence> {
    if computed.is_finite() && computed >= -rounding {
        Ok(computed.max(0.0))
    } else {
        Err(NotADivergence(computed))
    }
}

impl Score {
    /// The change of the probability of the text's next token: llama.cpp's Δp, -1 to 1.
    #[must_use]
    pub fn delta_p(&self) -> f64 {
        (-self.nll).exp() - (-self.reference_nll).exp()
    }
}

/// Compares two rows of logits `[vocab]`; sums run in 64 bits over the vocabulary in order.
pub(super) fn score(
    reference: &[f32],
    candidate: &[f32],
    next: usize,
) -> Result<Score, ScoreError> {
    require_finite(reference).map_err(ScoreError::Reference)?;
    require_finite(candidate).map_err(ScoreError::Candidate)?;
    let (r, c) = (log_sum_exp(reference), log_sum_exp(candidate));
    let kl = reference.iter().zip(candidate).map(|(a, b)| {
        let log_p = f64::from(*a) - r;
        log_p.exp() * (log_p - (f64::from(*b) - c))
    });
    Ok(Score {
        kl: divergence_from(kl.sum(), ROUNDING)?,
        reference_nll: r - f64::from(reference[next]),
        nll: c - f64::from(candidate[next]),
        same_top: argmax(reference) == argmax(candidate),
    })
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
        let score = score(&[0.0, 0.0], &[0.0, 3f32.ln()], 1).unwrap();
        assert!((score.kl - (2f64.ln() - 0.5 * 3f64.ln())).abs() < 1e-7);
        assert!((score.nll - (4.0f64 / 3.0).ln()).abs() < 1e-7);
        assert!((score.reference_nll - 2f64.ln()).abs() < 1e-7);
        assert!((score.delta_p() - 0.25).abs() < 1e-7);
        assert!(!score.same_top);
    }

    #[test]
    fn what_is_no_number_is_an_error_and_never_a_divergence_of_zero() {
        let good = [0.5, 1.0, -2.0];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..3 {
                let mut row = good;
                row[at] = bad;
                let token = u32::try_from(at).unwrap();
                let of = |error: ScoreError| match error {
                    ScoreError::Reference(found) => ("reference", found.token),
                    ScoreError::Candidate(found) => ("candidate", found.token),
                    ScoreError::Divergence(_) => ("divergence", 0),
                };
                let candidate = score(&good, &row, 0).unwrap_err();
                assert_eq!(of(candidate), ("candidate", token), "{bad}");
                let reference = score(&row, &good, 0).unwrap_err();
                assert_eq!(of(reference), ("reference", token), "{bad}");
            }
        }
        // As far apart as finite logits can be: large, and still a number.
        let far = score(&[f32::MAX, f32::MIN], &[f32::MIN, f32::MAX], 0).unwrap();
        assert!(far.kl.is_finite() && far.kl > 1e38 && far.nll.is_finite());
    }

    #[test]
    fn rounding_below_zero_is_zero_and_what_is_further_below_a_defect() {
        assert_eq!(divergence_from(0.25, ROUNDING), Ok(0.25));
        assert_eq!(divergence_from(-1e-12, ROUNDING), Ok(0.0));
        assert_eq!(divergence_from(-9e-10, ROUNDING), Ok(0.0));
        for wrong in [-2e-9, -1.0, f64::NEG_INFINITY, f64::INFINITY] {
            assert_eq!(divergence_from(wrong, ROUNDING), Err(NotADivergence(wrong)));
        }
        assert!(divergence_from(f64::NAN, ROUNDING).is_err());
    }
}
