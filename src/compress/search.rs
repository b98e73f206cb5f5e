//! Scales with little error, weighted by how large the inputs of a linear map are on text.
//!
//! For each group candidates between the whole range of its weights and a part of it are tried, the
//! best is fitted in closed form to the codes that it gives (for signs and ternary weights the
//! alternation of ARB-LLM, Li et al. 2024, arXiv:2410.03129, without scales of columns, which the
//! format has not), and what is kept is the best of the scales and zero points that can be stored.

use super::grid::{Grid, Kind};
use super::part::{ErrorOfPart, Fit, Part, ZeroRule};
use super::row::scaled_cols;
use super::scales::{GroupScale, Scales, Zeros, byte, code_unit, largest_scale, row_scale};
use crate::lanes::{Work, widest};
use engine::encoding::Encoding;
use engine::float::{f16_from_f32, f32_from_f16};

/// Parts of the whole range that are tried for each group.
const CANDIDATES: u8 = 16;

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
    let fit = |part| widest(FitOfPart { kind, zeros, part });
    let fits: Vec<Fit> = parts().map(fit).collect();
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
            let (group, error) = widest(StoredPart {
                encoding,
                kind,
                zeros,
                row,
                fit: *fit,
                part,
            });
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
    if encoding == Encoding::Ternary {
        let refitted = refitted_row(encoding, parts(), &best.0);
        let other = store(refitted);
        if other.1 < best.1 {
            best = other;
        }
    }
    if best.1 < error(encoding, parts(), &nearest) {
        best.0
    } else {
        nearest
    }
}

/// The error of the parts of a row with given scales.
fn error<'a>(encoding: Encoding, parts: impl Iterator<Item = Part<'a>>, scales: &Scales) -> f64 {
    let groups = parts.zip(&scales.groups);
    groups
        .map(|(part, group)| {
            let grid = Grid::new(encoding, scales, *group);
            f64::from(widest(ErrorOfPart { part, grid }))
        })
        .sum()
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

/// The best fit so far and its error.
struct Best {
    fit: Fit,
    error: f32,
}

impl Best {
    /// Whether `fit` is better, and then the best.
    #[inline(always)]
    fn keep(&mut self, kind: Kind, part: Part<'_>, fit: Fit) -> bool {
        let error = part.error(&kind.grid(fit));
        let is_better = error < self.error;
        if is_better {
            *self = Self { fit, error };
        }
        is_better
    }
}

/// The step and zero that fit one group best, of those that are tried.
struct FitOfPart<'a> {
    kind: Kind,
    zeros: Zeros,
    part: Part<'a>,
}

impl Work for FitOfPart<'_> {
    type Output = Fit;

    #[inline(always)]
    fn call(self) -> Fit {
        match self.part.whole_group() {
            Some(part) => Self { part, ..self }.search(),
            None => self.search(),
        }
    }
}

impl FitOfPart<'_> {
    #[inline(always)]
    fn search(self) -> Fit {
        let Self { kind, zeros, part } = self;
        let rule = ZeroRule { kind, zeros };
        let (low, high) = part.extremes();
        let levels = kind.top - kind.low;
        let whole = match kind.zero {
            Some(zero) => (-low).max(high) / (zero - kind.low).max(0.5),
            None => (high - low) / levels,
        };
        let zero = rule.nearest(if whole > 0.0 { -low / whole } else { 0.0 });
        let first = Fit { step: whole, zero };
        let mut best = Best {
            fit: first,
            error: part.error(&kind.grid(first)),
        };
        // Signs are the same on every grid.
        let candidates = if levels <= 1.0 { 1 } else { CANDIDATES };
        for candidate in 0..candidates {
            let cut = (1.0 - least_part(kind)) * f32::from(candidate) / f32::from(CANDIDATES - 1);
            let step = whole * (1.0 - cut);
            let fit = Fit { step, zero };
            if candidate > 0 {
                best.keep(kind, part, fit);
            }
            if levels <= 7.0 {
                best.keep(kind, part, part.refit(rule, fit));
            }
        }
        for _ in 0..2 {
            let next = part.refit(rule, best.fit);
            if !best.keep(kind, part, next) {
                break;
            }
        }
        best.fit
    }
}

/// The best of what can be stored near a fit, and its error.
struct StoredPart<'a> {
    encoding: Encoding,
    kind: Kind,
    zeros: Zeros,
    /// The row's scale.
    row: u16,
    fit: Fit,
    part: Part<'a>,
}

impl Work for StoredPart<'_> {
    type Output = (GroupScale, f64);

    #[inline(always)]
    fn call(self) -> (GroupScale, f64) {
        match self.part.whole_group() {
            Some(part) => Self { part, ..self }.search(),
            None => self.search(),
        }
    }
}

impl StoredPart<'_> {
    #[inline(always)]
    fn search(self) -> (GroupScale, f64) {
        let Self {
            encoding,
            kind,
            zeros,
            row,
            fit,
            part,
        } = self;
        let unit = f32_from_f16(row) * code_unit(encoding) * kind.stride;
        let least = u8::from(encoding == Encoding::Ternary);
        let mut best = BestStored {
            group: GroupScale {
                scale: least,
                zero_point: 0,
            },
            error: f32::INFINITY,
        };
        let near = if fit.step > 0.0 && unit > 0.0 {
            (fit.step / unit).round()
        } else {
            f32::from(least)
        };
        for scale in [near, near - 1.0, near + 1.0] {
            let scale = byte(scale.clamp(f32::from(least), f32::from(largest_scale(encoding))));
            let step = unit * f32::from(scale);
            if let Some(zero) = kind.zero {
                let zero_point = 0;
                best.keep(
                    kind,
                    part,
                    Fit { step, zero },
                    GroupScale { scale, zero_point },
                );
                continue;
            }
            // The same place of zero in another step, then the mean of what remains.
            let same = if step > 0.0 {
                fit.zero * fit.step / step
            } else {
                0.0
            };
            let stored = StoredZero { kind, zeros };
            let first = stored.point(same);
            let mut tried = [first; 3];
            let mut count = 1;
            if step > 0.0 {
                tried[1] = stored.point(fit.zero);
                count = 2;
                let zero = stored.place(first);
                let [all, codes, _, sum, _] = part.sums(&kind.grid(Fit { step, zero }), 0.0);
                if all > 0.0 {
                    #[expect(clippy::cast_possible_truncation, reason = "a byte follows")]
                    let rest = ((codes - sum / f64::from(step)) / all) as f32;
                    tried[2] = stored.point(rest);
                    count = 3;
                }
            }
            for zero_point in &tried[..count] {
                let zero = stored.place(*zero_point);
                let group = GroupScale {
                    scale,
                    zero_point: *zero_point,
                };
                best.keep(kind, part, Fit { step, zero }, group);
            }
        }
        (best.group, f64::from(best.error))
    }
}

/// How zero is stored.
#[derive(Clone, Copy)]
struct StoredZero {
    kind: Kind,
    zeros: Zeros,
}

impl StoredZero {
    /// The zero point that can be stored next to `zero`.
    #[inline(always)]
    fn point(self, zero: f32) -> u8 {
        match self.zeros {
            Zeros::Needed => byte(zero.round().clamp(0.0, self.kind.top)) * 16,
            Zeros::Rounded => byte((zero * 16.0).round()),
        }
    }

    /// The code that stands for zero then.
    #[inline(always)]
    fn place(self, point: u8) -> f32 {
        self.kind.zero.unwrap_or(f32::from(point) / 16.0)
    }
}

/// The best of what can be stored so far.
struct BestStored {
    group: GroupScale,
    error: f32,
}

impl BestStored {
    #[inline(always)]
    fn keep(&mut self, kind: Kind, part: Part<'_>, fit: Fit, group: GroupScale) {
        let error = part.error(&kind.grid(fit));
        if error < self.error {
            *self = Self { group, error };
        }
    }
}
