//! The weights of one group and how well a grid fits them: sums in lanes, inlined into whoever searches.

use super::grid::{Grid, Kind};
use super::scales::{Zeros, extremes};
use crate::lanes::Work;
use engine::encoding::GROUP;

/// Sums run in so many lanes, so that processors can add them at once.
const LANES: usize = 8;

/// The weights of one group with their importance, 0 for those that a mask makes zero.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) weights: &'a [f32],
    pub(super) importance: &'a [f32],
}

/// A step of the grid and the code that stands for zero, before rounding to what is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub(super) step: f32,
    pub(super) zero: f32,
}

/// Where zero may stand on the grids of an encoding.
#[derive(Clone, Copy)]
pub(super) struct ZeroRule {
    pub(super) kind: Kind,
    pub(super) zeros: Zeros,
}

impl ZeroRule {
    /// The nearest place to `zero` that is allowed.
    #[inline(always)]
    pub(super) fn nearest(self, zero: f32) -> f32 {
        match (self.kind.zero, self.zeros) {
            (Some(zero), _) => zero,
            (None, Zeros::Needed) => zero.round().clamp(0.0, self.kind.top),
            (None, Zeros::Rounded) => zero.clamp(0.0, 15.0),
        }
    }
}

impl Kind {
    pub(super) fn grid(self, fit: Fit) -> Grid {
        Grid {
            step: fit.step,
            zero: fit.zero,
            low: self.low,
            top: self.top,
        }
    }
}

/// Rounds to a whole number, halves to even, below 2^22: a sum that processors do in lanes.
#[inline(always)]
pub(super) fn whole(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}

/// One over the step, 0 for none.
#[inline(always)]
pub(super) fn inverse(step: f32) -> f32 {
    if step > 0.0 { 1.0 / step } else { 0.0 }
}

impl Part<'_> {
    /// The same where it is a whole group: its loops then have a length that the compiler knows.
    #[inline(always)]
    pub(super) fn whole_group(self) -> Option<Self> {
        let weights: &[f32; GROUP] = self.weights.try_into().ok()?;
        let importance: &[f32; GROUP] = self.importance.try_into().ok()?;
        Some(Self {
            weights: weights.as_slice(),
            importance: importance.as_slice(),
        })
    }

    /// The least and the greatest of zero and the weights.
    #[inline(always)]
    pub(super) fn extremes(self) -> (f32, f32) {
        extremes(self.weights)
    }

    /// Importance times squared difference, summed.
    #[inline(always)]
    pub(super) fn error(self, grid: &Grid) -> f32 {
        let Grid {
            step,
            zero,
            low,
            top,
        } = *grid;
        let inverse = inverse(step);
        let (weights, rest) = self.weights.as_chunks::<LANES>();
        let (importance, rest_importance) = self.importance.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for (w, h) in weights.iter().zip(importance) {
            for lane in 0..LANES {
                let code = whole((w[lane] * inverse + zero).clamp(low, top));
                let difference = w[lane] - step * (code - zero);
                sums[lane] += h[lane] * difference * difference;
            }
        }
        let mut rest_sum = 0.0;
        for (w, h) in rest.iter().zip(rest_importance) {
            let code = whole((w * inverse + zero).clamp(low, top));
            let difference = w - step * (code - zero);
            rest_sum += h * difference * difference;
        }
        sums.iter().sum::<f32>() + rest_sum
    }

    /// Sums of importance times 1, place, place squared, weight and their product, where places are
    /// codes less `zero`.
    #[inline(always)]
    pub(super) fn sums(self, grid: &Grid, zero: f32) -> [f64; 5] {
        let inverse = inverse(grid.step);
        let mut lanes = [[0.0f32; LANES]; 5];
        let (weights, rest) = self.weights.as_chunks::<LANES>();
        let (importance, rest_importance) = self.importance.as_chunks::<LANES>();
        let whole_parts = weights.iter().zip(importance);
        for (w, h) in whole_parts {
            for lane in 0..LANES {
                let terms = terms(grid, inverse, zero, w[lane], h[lane]);
                for (lanes, term) in lanes.iter_mut().zip(terms) {
                    lanes[lane] += term;
                }
            }
        }
        for (lane, (w, h)) in rest.iter().zip(rest_importance).enumerate() {
            for (lanes, term) in lanes.iter_mut().zip(terms(grid, inverse, zero, *w, *h)) {
                lanes[lane] += term;
            }
        }
        lanes.map(|lanes| lanes.iter().map(|x| f64::from(*x)).sum())
    }

    /// The step and zero that fit best the codes which `fit` gives.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to 32 bits is the result"
    )]
    #[inline(always)]
    pub(super) fn refit(self, rule: ZeroRule, fit: Fit) -> Fit {
        let kind = rule.kind;
        let fixed = kind.zero.unwrap_or(fit.zero);
        let [all, codes, squares, sum, products] = self.sums(&kind.grid(fit), fixed);
        let variance = squares * all - codes * codes;
        let free = (products * all - codes * sum) / variance;
        if kind.zero.is_none() && variance > 1e-9 * squares * all && free > 0.0 {
            let zero = f64::from(fixed) + codes / all - sum / (all * free);
            let rounded = rule.nearest(zero as f32);
            if f64::from(rounded) == zero {
                return Fit {
                    step: free as f32,
                    zero: rounded,
                };
            }
            // With the zero where it can be, the step follows.
            let shift = f64::from(fixed) - f64::from(rounded);
            let squares = squares + 2.0 * shift * codes + shift * shift * all;
            let step = (products + shift * sum) / squares;
            return Fit {
                step: if step > 0.0 { step as f32 } else { fit.step },
                zero: rounded,
            };
        }
        let step = products / squares;
        Fit {
            step: if step > 0.0 && step.is_finite() {
                step as f32
            } else {
                fit.step
            },
            zero: fixed,
        }
    }
}

/// [`Part::error`].
pub(super) struct ErrorOfPart<'a> {
    pub(super) part: Part<'a>,
    pub(super) grid: Grid,
}

impl Work for ErrorOfPart<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        self.part.error(&self.grid)
    }
}

/// What one weight adds to [`Part::sums`].
#[inline(always)]
fn terms(grid: &Grid, inverse: f32, zero: f32, w: f32, h: f32) -> [f32; 5] {
    let code = whole((w * inverse + grid.zero).clamp(grid.low, grid.top));
    let place = code - zero;
    [h, h * place, h * place * place, h * w, h * place * w]
}
