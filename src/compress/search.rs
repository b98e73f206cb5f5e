//! Scales with little error, weighted by how large the inputs of a linear map are on text.
//!
//! For each group candidates between the whole range of its weights and a part of it are tried, the
//! best is fitted in closed form to the codes that it gives (for signs and ternary weights the
//! alternation of ARB-LLM, Li et al. 2024, arXiv:2410.03129, without scales of columns, which the
//! format has not), and what is kept is the best of the scales and zero points that can be stored.

use super::grid::{Grid, Kind};
use super::row::scaled_cols;
use super::scales::{
    GroupScale, Scales, Zeros, byte, code_unit, extremes, largest_scale, row_scale,
};
use crate::lanes::{Work, widest};
use engine::encoding::Encoding;
use engine::float::{f16_from_f32, f32_from_f16};

/// Parts of the whole range that are tried for each group.
const CANDIDATES: u8 = 16;

/// Sums run in so many lanes, so that processors can add them at once.
const LANES: usize = 8;

/// The weights of one group with their importance, 0 for those that a mask makes zero.
#[derive(Clone, Copy)]
struct Part<'a> {
    weights: &'a [f32],
    importance: &'a [f32],
}

/// A step of the grid and the code that stands for zero, before rounding to what is stored.
#[derive(Debug, Clone, Copy)]
struct Fit {
    step: f32,
    zero: f32,
}

/// The scales of a row with the least error that the search finds: `importance` `[cols]` times the
/// squared differences of `weights` `[cols]`. Never worse than `nearest`.
///
/// The largest scale is `headroom` times smaller than the largest that can be stored.
pub(super) fn scales(
    encoding: Encoding,
    zeros: Zeros,
    weights: &[f32],
    importance: &[f32],
    headroom: f32,
    nearest: Scales,
) -> Scales {
    let kind = Kind::of(encoding);
    let width = scaled_cols(encoding);
    let parts = || {
        let pairs = weights.chunks(width).zip(importance.chunks(width));
        pairs.map(|(weights, importance)| Part {
            weights,
            importance,
        })
    };
    let fits: Vec<Fit> = parts().map(|part| fit(kind, zeros, part)).collect();
    // The sixteen scales of ternary weights are too few to leave any for later.
    let headroom = if encoding == Encoding::Ternary {
        1.0
    } else {
        headroom
    };
    let largest = row_scale(
        encoding,
        fits.iter().map(|f| f.step * headroom / kind.stride),
    );
    let store = |row: u16| {
        let groups = parts().zip(&fits);
        let mut total = 0.0;
        let groups = groups.map(|(part, fit)| {
            let (group, error) = stored(encoding, kind, zeros, row, *fit, part);
            total += error;
            group
        });
        let groups = groups.collect();
        (Scales { row, groups }, total)
    };
    let mut best = store(largest);
    let mut keep = |row: u16| {
        let other = store(row);
        if other.1 < best.1 {
            best = other;
            true
        } else {
            false
        }
    };
    if encoding == Encoding::Ternary {
        // Sixteen scales are few: where they fall matters.
        for part in 1..CANDIDATES {
            let factor = 1.0 - 0.4 * f32::from(part) / f32::from(CANDIDATES);
            keep(f16_from_f32(f32_from_f16(largest) * factor));
        }
    }
    let error = |scales: &Scales| -> f64 {
        let groups = parts().zip(&scales.groups);
        groups
            .map(|(part, group)| f64::from(part.error(&Grid::new(encoding, scales, *group))))
            .sum()
    };
    if encoding == Encoding::Ternary {
        let refitted = refitted_row(encoding, parts(), &best.0);
        let other = store(refitted);
        if other.1 < best.1 {
            best = other;
        }
    }
    if best.1 < error(&nearest) {
        best.0
    } else {
        nearest
    }
}

/// The row scale that is best for the codes which `scales` give.
fn refitted_row<'a>(
    encoding: Encoding,
    parts: impl Iterator<Item = Part<'a>>,
    scales: &Scales,
) -> u16 {
    let (mut product, mut square) = (0.0, 0.0);
    for (part, group) in parts.zip(&scales.groups) {
        let grid = Grid::new(encoding, scales, *group);
        let [_, _, s, _, p] = part.sums(&grid, grid.zero);
        let step = f64::from(grid.step);
        product += step * p;
        square += step * step * s;
    }
    let factor = if square > 0.0 { product / square } else { 1.0 };
    let row = f64::from(f32_from_f16(scales.row)) * factor;
    #[expect(clippy::cast_possible_truncation, reason = "a half follows")]
    f16_from_f32((row as f32).clamp(0.0, 65_504.0))
}

/// The least part of the range that is worth a try: the fewer levels, the more is cut off.
fn least_part(kind: Kind) -> f32 {
    match kind.top - kind.low {
        levels if levels <= 3.0 => 0.4,
        levels if levels <= 7.0 => 0.55,
        levels if levels <= 15.0 => 0.7,
        levels if levels <= 63.0 => 0.8,
        _ => 0.94,
    }
}

fn fit(kind: Kind, zeros: Zeros, part: Part<'_>) -> Fit {
    let (low, high) = extremes(part.weights);
    let levels = kind.top - kind.low;
    let whole = match kind.zero {
        Some(zero) => (-low).max(high) / (zero - kind.low).max(0.5),
        None => (high - low) / levels,
    };
    let zero_of = |zero: f32| match (kind.zero, zeros) {
        (Some(zero), _) => zero,
        (None, Zeros::Needed) => zero.round().clamp(0.0, kind.top),
        (None, Zeros::Rounded) => zero.clamp(0.0, 15.0),
    };
    // Signs are the same on every grid.
    let candidates = if levels <= 1.0 { 1 } else { CANDIDATES };
    let mut best: Option<(Fit, f32)> = None;
    let mut keep = |fit: Fit| {
        let error = part.error(&kind.grid(fit));
        let is_better = best.is_none_or(|(_, least)| error < least);
        if is_better {
            best = Some((fit, error));
        }
        is_better
    };
    for candidate in 0..candidates {
        let cut = (1.0 - least_part(kind)) * f32::from(candidate) / f32::from(CANDIDATES - 1);
        let step = whole * (1.0 - cut);
        let zero = if whole > 0.0 { -low / whole } else { 0.0 };
        let fit = Fit {
            step,
            zero: zero_of(zero),
        };
        keep(fit);
        if levels <= 7.0 {
            keep(part.refit(kind, fit, zero_of));
        }
    }
    let mut fit = best.map_or(
        Fit {
            step: 0.0,
            zero: 0.0,
        },
        |b| b.0,
    );
    for _ in 0..2 {
        let next = part.refit(kind, fit, zero_of);
        let (old, new) = (part.error(&kind.grid(fit)), part.error(&kind.grid(next)));
        if new >= old || new.is_nan() {
            break;
        }
        fit = next;
    }
    fit
}

/// The best of what can be stored near `fit`, and its error.
fn stored(
    encoding: Encoding,
    kind: Kind,
    zeros: Zeros,
    row: u16,
    fit: Fit,
    part: Part<'_>,
) -> (GroupScale, f64) {
    let unit = f32_from_f16(row) * code_unit(encoding) * kind.stride;
    let least = u8::from(encoding == Encoding::Ternary);
    let mut best = (
        GroupScale {
            scale: least,
            zero_point: 0,
        },
        f32::INFINITY,
    );
    let near = if fit.step > 0.0 && unit > 0.0 {
        (fit.step / unit).round()
    } else {
        f32::from(least)
    };
    for scale in [near, near - 1.0, near + 1.0] {
        let scale = byte(scale.clamp(f32::from(least), f32::from(largest_scale(encoding))));
        let step = unit * f32::from(scale);
        let mut keep = |zero_point: u8| {
            let zero = kind.zero.unwrap_or(f32::from(zero_point) / 16.0);
            let error = part.error(&kind.grid(Fit { step, zero }));
            if error < best.1 {
                best = (GroupScale { scale, zero_point }, error);
            }
            zero
        };
        if kind.zero.is_some() {
            keep(0);
            continue;
        }
        let zero_point = |zero: f32| match zeros {
            Zeros::Needed => byte(zero.round().clamp(0.0, kind.top)) * 16,
            Zeros::Rounded => byte((zero * 16.0).round()),
        };
        // The same place of zero in another step, then the mean of what remains.
        let same = if step > 0.0 {
            fit.zero * fit.step / step
        } else {
            0.0
        };
        let zero = keep(zero_point(if step > 0.0 { same } else { 0.0 }));
        if step > 0.0 {
            keep(zero_point(fit.zero));
            let [all, codes, _, sum, _] = part.sums(&kind.grid(Fit { step, zero }), 0.0);
            if all > 0.0 {
                #[expect(clippy::cast_possible_truncation, reason = "a byte follows")]
                keep(zero_point(((codes - sum / f64::from(step)) / all) as f32));
            }
        }
    }
    (best.0, f64::from(best.1))
}

impl Kind {
    fn grid(self, fit: Fit) -> Grid {
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
    /// Importance times squared difference, summed.
    fn error(&self, grid: &Grid) -> f32 {
        let (part, grid) = (*self, *grid);
        widest(ErrorOfPart { part, grid })
    }

    /// Sums of importance times 1, place, place squared, weight and their product, where places are
    /// codes less `zero`.
    fn sums(&self, grid: &Grid, zero: f32) -> [f64; 5] {
        let (part, grid) = (*self, *grid);
        widest(SumsOfPart { part, grid, zero })
    }

    /// The step and zero that fit best the codes which `fit` gives.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to 32 bits is the result"
    )]
    fn refit(&self, kind: Kind, fit: Fit, zero_of: impl Fn(f32) -> f32) -> Fit {
        let fixed = kind.zero.unwrap_or(fit.zero);
        let [all, codes, squares, sum, products] = self.sums(&kind.grid(fit), fixed);
        let variance = squares * all - codes * codes;
        let free = (products * all - codes * sum) / variance;
        if kind.zero.is_none() && variance > 1e-9 * squares * all && free > 0.0 {
            let zero = f64::from(fixed) + codes / all - sum / (all * free);
            let rounded = zero_of(zero as f32);
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
struct ErrorOfPart<'a> {
    part: Part<'a>,
    grid: Grid,
}

impl Work for ErrorOfPart<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let Grid {
            step,
            zero,
            low,
            top,
        } = self.grid;
        let inverse = inverse(step);
        let one = |w: f32, h: f32| {
            let code = whole((w * inverse + zero).clamp(low, top));
            let difference = w - step * (code - zero);
            h * difference * difference
        };
        let (weights, rest) = self.part.weights.as_chunks::<LANES>();
        let (importance, rest_importance) = self.part.importance.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for (w, h) in weights.iter().zip(importance) {
            for lane in 0..LANES {
                sums[lane] += one(w[lane], h[lane]);
            }
        }
        let mut rest_sum = 0.0;
        for (w, h) in rest.iter().zip(rest_importance) {
            rest_sum += one(*w, *h);
        }
        sums.iter().sum::<f32>() + rest_sum
    }
}

/// [`Part::sums`].
struct SumsOfPart<'a> {
    part: Part<'a>,
    grid: Grid,
    zero: f32,
}

impl Work for SumsOfPart<'_> {
    type Output = [f64; 5];

    #[inline(always)]
    fn call(self) -> [f64; 5] {
        let Self { part, grid, zero } = self;
        let inverse = inverse(grid.step);
        let mut lanes = [[0.0f32; LANES]; 5];
        let mut add = |lane: usize, w: f32, h: f32| {
            let code = whole((w * inverse + grid.zero).clamp(grid.low, grid.top));
            let place = code - zero;
            lanes[0][lane] += h;
            lanes[1][lane] += h * place;
            lanes[2][lane] += h * place * place;
            lanes[3][lane] += h * w;
            lanes[4][lane] += h * place * w;
        };
        let (weights, rest) = part.weights.as_chunks::<LANES>();
        let (importance, rest_importance) = part.importance.as_chunks::<LANES>();
        for (w, h) in weights.iter().zip(importance) {
            for lane in 0..LANES {
                add(lane, w[lane], h[lane]);
            }
        }
        for (lane, (w, h)) in rest.iter().zip(rest_importance).enumerate() {
            add(lane, *w, *h);
        }
        lanes.map(|lanes| lanes.iter().map(|x| f64::from(*x)).sum())
    }
}
