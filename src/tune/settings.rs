//! Which settings a tune tries.

use crate::recipe::{NOfM, Precision, Pruner, Quantizer, Setting};

/// The settings that a tune tries if none are named: every width, calibrated, and a sign in one of four.
///
/// Other sparse settings mostly lose to narrower dense ones of the same bytes, once masks are counted:
/// [`sparse_settings`] has them.
#[must_use]
pub fn default_settings() -> Vec<Setting> {
    let one_of_four = NOfM::new(1, 4).map(|pattern| Setting {
        pruner: Pruner::SparseGpt,
        ..Setting::calibrated(Precision::One).with_pattern(pattern)
    });
    let dense = [
        Precision::One,
        Precision::Ternary,
        Precision::Two,
        Precision::Three,
        Precision::Four,
        Precision::Five,
        Precision::Six,
        Precision::Eight,
        Precision::Source,
    ]
    .map(Setting::calibrated);
    one_of_four.into_iter().chain(dense).collect()
}

/// Pruned settings, for a tune that spreads sparsity over the model too: two to four bits with shares
/// that take from 1.4 to 3 bits a weight, masks counted.
#[must_use]
pub fn sparse_settings() -> Vec<Setting> {
    let widths = [Precision::Two, Precision::Three, Precision::Four];
    let pruned = |precision| {
        [0.5, 0.65, 0.8].map(|sparsity| Setting {
            method: Quantizer::Gptq,
            pruner: Pruner::SparseGpt,
            ..Setting::sparse(precision, sparsity)
        })
    };
    widths.into_iter().flat_map(pruned).collect()
}

/// Shares of pruned weights that [`preview_settings`] tries.
const PREVIEWED_SPARSITIES: [f64; 4] = [0.25, 0.5, 0.75, 0.9];

/// The settings that a tune tries when every slider is to be previewed from it: those of
/// [`default_settings`], each width by the other methods, and four bits with four sparsities.
#[must_use]
pub fn preview_settings() -> Vec<Setting> {
    let mut settings = default_settings();
    let widths: Vec<Precision> = settings
        .iter()
        .filter(|setting| setting.pattern.is_none())
        .map(|setting| setting.precision)
        .filter(|precision| *precision != Precision::Source)
        .collect();
    for method in [Quantizer::Nearest, Quantizer::Search] {
        settings.extend(widths.iter().map(|precision| Setting {
            method,
            ..Setting::bits(*precision)
        }));
    }
    for (method, pruner) in [
        (Quantizer::Nearest, Pruner::Magnitude),
        (Quantizer::Gptq, Pruner::SparseGpt),
    ] {
        settings.extend(PREVIEWED_SPARSITIES.map(|sparsity| Setting {
            method,
            pruner,
            ..Setting::sparse(Precision::Four, sparsity)
        }));
    }
    settings
}
