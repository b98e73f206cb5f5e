//! What a setting will cost before anything is computed: from what was measured of the same tensor, in
//! the time of a frame.

use super::candidate::{Candidate, Candidates};
use crate::recipe::{Precision, Setting};

/// The largest divergence in nats that is a number: above it, tensors do not add up, and it only ranks.
pub const LARGEST_KL: f64 = 0.5;

/// How a figure came about, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// This very setting was measured.
    Measured,
    /// It lies between settings that were.
    Interpolated,
    /// It follows from a rule of thumb.
    Expected,
}

/// A setting that takes fewer bytes of a tensor with a smaller error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Better {
    /// The better one, as it was measured.
    pub candidate: Candidate,
    /// Bytes that it saves.
    pub saved_bytes: u64,
    /// Relative squared error of the outputs in the present setting.
    pub error: f64,
    /// How that error is known.
    pub evidence: Evidence,
}

impl Candidates {
    /// Relative squared error of the outputs in a setting: what was measured of it, or what lies between
    /// settings that were; nothing where none is near.
    #[must_use]
    pub fn error_of(&self, setting: &Setting) -> Option<(f64, Evidence)> {
        if let Some(option) = self.options.iter().find(|o| is_same(&o.setting, setting)) {
            return Some((option.error, Evidence::Measured));
        }
        let (dense, evidence) = self.dense_error(setting)?;
        if setting.sparsity <= 0.0 {
            return Some((dense, evidence));
        }
        let pruned = dense + self.pruning_error(setting)?;
        Some((pruned.min(1.0), Evidence::Interpolated))
    }

    /// The best setting that was measured, among those with fewer bytes than `bytes` and a smaller error
    /// than `setting` has.
    #[must_use]
    pub fn better_than(&self, setting: &Setting, bytes: u64) -> Option<Better> {
        let (error, evidence) = self.error_of(setting)?;
        let better = self.options.iter();
        let better = better.filter(|option| option.bytes < bytes && option.error < error);
        let candidate = *better.min_by(|a, b| a.error.total_cmp(&b.error))?;
        Some(Better {
            candidate,
            saved_bytes: bytes - candidate.bytes,
            error,
            evidence,
        })
    }

    /// The error with every weight kept.
    fn dense_error(&self, setting: &Setting) -> Option<(f64, Evidence)> {
        // Halves differ from the source by what no measurement tells apart from it.
        let precision = match setting.precision {
            Precision::Sixteen => Precision::Source,
            other => other,
        };
        let dense = || self.options.iter().filter(|o| o.setting.sparsity <= 0.0);
        let of = |o: &&Candidate| o.setting.precision == precision;
        let same_method = |o: &&Candidate| o.setting.method == setting.method;
        if precision == Precision::Source {
            return dense()
                .find(of)
                .map(|option| (option.error, Evidence::Measured));
        }
        if let Some(option) = dense().filter(of).find(same_method) {
            return Some((option.error, Evidence::Measured));
        }
        if let Some(option) = dense().find(of) {
            return Some((option.error, Evidence::Interpolated));
        }
        let bits = setting.precision.bits()?;
        let mut points: Vec<(f64, f64)> = dense()
            .filter(same_method)
            .filter_map(|o| Some((o.setting.precision.bits()?, o.error)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let error = between(&points, bits)?;
        Some((error, Evidence::Interpolated))
    }

    /// What pruning adds: between the sparsities that were measured with this pruner, from nothing at 0 to
    /// all at 1.
    fn pruning_error(&self, setting: &Setting) -> Option<f64> {
        // A pattern of few columns is no point of the curve of a share of them.
        let is_share = |o: &&Candidate| o.setting.sparsity > 0.0 && o.setting.pattern.is_none();
        let sparse = || self.options.iter().filter(is_share);
        let pruner = sparse()
            .map(|o| o.setting.pruner)
            .find(|pruner| *pruner == setting.pruner)
            .or_else(|| sparse().map(|o| o.setting.pruner).next())?;
        let mut points = vec![(0.0, 0.0), (1.0, 1.0)];
        points.extend(
            sparse()
                .filter(|o| o.setting.pruner == pruner)
                .filter_map(|o| {
                    let (dense, _) = self.dense_error(&o.setting)?;
                    Some((o.setting.sparsity, (o.error - dense).max(0.0)))
                }),
        );
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        between(&points, setting.sparsity)
    }
}

/// Whether both ask the same of a tensor: where nothing is pruned, pruners do not matter.
fn is_same(a: &Setting, b: &Setting) -> bool {
    let of = |s: &Setting| (s.precision, s.pattern, s.method);
    let is_whole = a.sparsity <= 0.0 && b.sparsity <= 0.0;
    of(a) == of(b) && (is_whole || (a.pruner == b.pruner && (a.sparsity - b.sparsity).abs() < 1e-9))
}

/// The straight line between the two points around `x`; nothing outside of them.
fn between(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let pair = points.windows(2).find(|p| p[0].0 <= x && x <= p[1].0)?;
    let (from, to) = (pair[0], pair[1]);
    let share = (x - from.0) / (to.0 - from.0).max(f64::MIN_POSITIVE);
    Some(from.1 + share * (to.1 - from.1))
}

/// Relative squared error of the weights in a setting, from the errors that the same tensor had in others:
/// a bit more is a quarter of the rounding error, and the smallest weights carry what they would if
/// magnitudes fell off exponentially.
///
/// With the measured error where `tried` has this very setting.
#[must_use]
pub fn expected_error(setting: &Setting, tried: &[(Setting, f64)]) -> (f64, Evidence) {
    if let Some((_, error)) = tried.iter().find(|(other, _)| is_same(other, setting)) {
        return (*error, Evidence::Measured);
    }
    let Some(bits) = setting.precision.bits().filter(|bits| *bits < 16.0) else {
        return (pruned_energy(setting.sparsity), Evidence::Expected);
    };
    // What is lost in rounding at 0 bits, as far as the nearest setting that was tried tells.
    let base = tried
        .iter()
        .filter_map(|(other, error)| {
            let other_bits = other.precision.bits().filter(|bits| *bits < 16.0)?;
            let rounding = error - pruned_energy(other.sparsity);
            (rounding > 0.0)
                .then_some(((other_bits - bits).abs(), rounding * 4f64.powf(other_bits)))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(USUAL_ROUNDING, |(_, base)| base);
    let rounding = (base * 4f64.powf(-bits)).min(1.0);
    let error = rounding + pruned_energy(setting.sparsity);
    (error.min(1.0), Evidence::Expected)
}

/// Relative squared error of rounding to nearest, times four to the power of the bits: what groups of
/// normally distributed weights have, to within a factor of two.
const USUAL_ROUNDING: f64 = 2.0;

/// Share of the squares in the smallest `share` of weights whose magnitudes are exponentially
/// distributed: `1 - (1 - s)(1 + t + t²/2)` with the threshold `t = -ln(1 - s)`.
fn pruned_energy(share: f64) -> f64 {
    let kept = (1.0 - share).clamp(f64::MIN_POSITIVE, 1.0);
    let threshold = -kept.ln();
    (1.0 - kept * (1.0 + threshold + threshold * threshold / 2.0)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Pruner, Quantizer};
    use engine::shape::Role;

    fn sparse(share: f64) -> Setting {
        Setting::sparse(Precision::Four, share)
    }

    fn candidates() -> Candidates {
        let option = |setting, bytes, error| Candidate {
            setting,
            bytes,
            error,
        };
        Candidates {
            name: "blk.0.ffn_up.weight".into(),
            role: Role::Up,
            layer: Some(0),
            options: vec![
                option(Setting::calibrated(Precision::Three), 300, 0.02),
                option(Setting::calibrated(Precision::Four), 400, 0.005),
                option(Setting::bits(Precision::Four), 400, 0.01),
                option(Setting::bits(Precision::Two), 200, 0.2),
                option(sparse(0.5), 350, 0.05),
                option(Setting::bits(Precision::Source), 1600, 0.0),
            ],
            sensitivity: 3.0,
        }
    }

    #[test]
    fn a_setting_costs_what_was_measured_or_what_lies_between() {
        let known = candidates();
        let check = |setting: Setting, expected: f64, evidence| {
            let (error, found) = known.error_of(&setting).unwrap();
            assert!((error - expected).abs() < 1e-12, "{setting}: {error}");
            assert_eq!(found, evidence, "{setting}");
        };
        check(Setting::bits(Precision::Four), 0.01, Evidence::Measured);
        check(sparse(0.5), 0.05, Evidence::Measured);
        check(Setting::REFERENCE, 0.0, Evidence::Measured);
        // A pruner that prunes nothing.
        let whole = Setting {
            pruner: Pruner::Wanda,
            ..Setting::bits(Precision::Four)
        };
        check(whole, 0.01, Evidence::Measured);
        // Half of what half the weights cost, on top of the rounding.
        check(sparse(0.25), 0.01 + 0.02, Evidence::Interpolated);
        check(
            sparse(0.75),
            0.01 + (0.04 + 1.0) / 2.0,
            Evidence::Interpolated,
        );
        let three = Setting::bits(Precision::Three);
        check(three, 0.02, Evidence::Interpolated);
        let searched = Setting {
            method: Quantizer::Search,
            ..Setting::bits(Precision::Eight)
        };
        assert_eq!(known.error_of(&searched), None);
    }

    #[test]
    fn more_bytes_with_a_larger_error_are_beaten() {
        let known = candidates();
        let better = known.better_than(&sparse(0.5), 350).unwrap();
        assert_eq!(
            better.candidate.setting,
            Setting::calibrated(Precision::Three)
        );
        assert_eq!((better.saved_bytes, better.error), (50, 0.05));
        for (setting, bytes) in [
            (Setting::calibrated(Precision::Three), 300),
            (Setting::calibrated(Precision::Four), 400),
            (Setting::bits(Precision::Two), 200),
            (Setting::bits(Precision::Source), 1600),
        ] {
            assert_eq!(known.better_than(&setting, bytes), None, "{setting}");
        }
    }

    #[test]
    fn without_a_measurement_a_bit_is_a_quarter_and_all_pruned_is_all_lost() {
        let four = Setting::bits(Precision::Four);
        let tried = [(four, 0.008)];
        let error = |setting: Setting| expected_error(&setting, &tried);
        assert_eq!(error(four), (0.008, Evidence::Measured));
        let (three, evidence) = error(Setting::bits(Precision::Three));
        assert!((three - 0.032).abs() < 1e-9 && evidence == Evidence::Expected);
        assert_eq!(error(Setting::bits(Precision::Source)).0, 0.0);
        let mut last = 0.0;
        for share in [0.1, 0.5, 0.9, 0.95] {
            let (pruned, _) = error(sparse(share));
            assert!(pruned > last && pruned <= 1.0, "{share}: {pruned}");
            last = pruned;
        }
        // Half the weights of the smallest magnitudes: 3 % of the squares.
        assert!((pruned_energy(0.5) - 0.0334).abs() < 1e-3);
        assert!(
            expected_error(&four, &[]).0 < expected_error(&Setting::bits(Precision::Two), &[]).0
        );
    }
}
