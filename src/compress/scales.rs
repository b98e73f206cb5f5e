//! The scales of one row as they are stored, and those that round to nearest.
//!
//! Every group of columns that shares a scale gets one that just holds its extremes; scales are
//! themselves rounded to the integers of the format.

use crate::lanes::{Work, widest};
use engine::block::scale_unit;
use engine::encoding::{Encoding, Width};
use engine::float::{f16_from_f32, f32_from_f16};

/// The scales of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scales {
    /// Of the whole row, a half.
    pub(super) row: u16,
    /// Of the columns that share one.
    pub(super) groups: Vec<GroupScale>,
}

/// What some columns of a row share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupScale {
    /// Times the row's scale and its unit: the step between two levels.
    pub(super) scale: u8,
    /// The code that stands for zero, in sixteenths of a step; 0 where the encoding stores none.
    pub(super) zero_point: u8,
}

impl Scales {
    /// The step between two codes of the columns that share `group`.
    pub(super) fn step(&self, encoding: Encoding, group: GroupScale) -> f32 {
        f32_from_f16(self.row) * code_unit(encoding) * f32::from(group.scale)
    }
}

/// What a row scale of one and an integer scale of one are worth.
///
/// Zero points count sixteenths, and levels beside them too: one code is 16 of them.
pub(super) fn code_unit(encoding: Encoding) -> f32 {
    scale_unit(encoding) * if encoding.has_zero_point() { 16.0 } else { 1.0 }
}

/// The largest integer scale.
pub(super) const fn largest_scale(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Ternary => 16,
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::OneOfFour
        | Encoding::Sparse(_)
        | Encoding::Twin(_) => 255,
    }
}

/// Whether some weights of a row are pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeros {
    /// Zero must be one of the codes.
    Needed,
    /// Zero may lie between two codes.
    Rounded,
}

/// The scales that round a row to nearest, `width` columns to a scale.
pub(super) fn nearest(encoding: Encoding, width: usize, zeros: Zeros, row: &[f32]) -> Scales {
    widest(Nearest {
        encoding,
        width,
        zeros,
        row,
    })
}

/// [`nearest`].
struct Nearest<'a> {
    encoding: Encoding,
    width: usize,
    zeros: Zeros,
    row: &'a [f32],
}

impl Work for Nearest<'_> {
    type Output = Scales;

    #[inline(always)]
    fn call(self) -> Scales {
        let Self {
            encoding, zeros, ..
        } = self;
        let parts = self.row.chunks(self.width);
        let mut grids = Vec::with_capacity(parts.len());
        for part in parts {
            grids.push(grid(encoding, part));
        }
        let row = row_scale(encoding, grids.iter().map(|g| g.step));
        let unit = f32_from_f16(row) * code_unit(encoding);
        let mut groups = Vec::with_capacity(grids.len());
        for grid in grids {
            groups.push(GroupScale {
                scale: group_scale(encoding, grid.step, unit),
                zero_point: zero_point(encoding, zeros, grid.zero),
            });
        }
        Scales { row, groups }
    }
}

/// The grid of one group before rounding: the step, and the code that stands for zero.
#[derive(Clone, Copy)]
struct GroupGrid {
    step: f32,
    zero: f32,
}

/// The grid that just holds a group.
#[inline(always)]
fn grid(encoding: Encoding, group: &[f32]) -> GroupGrid {
    let magnitudes = || group.iter().map(|w| w.abs());
    let symmetric = |top: f32, zero: f32| {
        let (low, high) = extremes(group);
        GroupGrid {
            step: high.max(-low) / top,
            zero,
        }
    };
    match encoding {
        Encoding::Dense(Width::One) => GroupGrid {
            step: mean(magnitudes()),
            zero: 0.5,
        },
        // Ternary weight networks (Li et al. 2016, arXiv:1605.04711): what is above 0.7 of the mean
        // magnitude keeps a sign, at the mean of those; pruned weights are not counted.
        Encoding::Ternary => {
            let threshold = 0.7 * mean(magnitudes().filter(|m| *m > 0.0));
            GroupGrid {
                step: mean(magnitudes().filter(|m| *m > threshold)),
                zero: 1.0,
            }
        }
        // The mean of what is kept has the least error.
        Encoding::OneOfFour | Encoding::Sparse(Width::One) => GroupGrid {
            step: mean(magnitudes().filter(|m| *m > 0.0)),
            zero: 1.0,
        },
        Encoding::Dense(Width::Five) => symmetric(15.0, 16.0),
        Encoding::Dense(Width::Six) => symmetric(31.0, 32.0),
        Encoding::Dense(Width::Eight) | Encoding::Sparse(Width::Eight) => symmetric(127.0, 128.0),
        Encoding::Dense(width @ (Width::Two | Width::Three | Width::Four)) => {
            let top = f32::from((1u8 << width.bits()) - 1);
            let (low, high) = extremes(group);
            let step = (high - low) / top;
            GroupGrid {
                step,
                zero: if step > 0.0 { -low / step } else { 0.0 },
            }
        }
        // Levels are odd numbers up to the largest code.
        Encoding::Sparse(
            width @ (Width::Two | Width::Three | Width::Four | Width::Five | Width::Six),
        ) => symmetric(f32::from((1u8 << width.bits()) - 1), 0.0),
        Encoding::F32 | Encoding::F16 | Encoding::Twin(_) => GroupGrid {
            step: 0.0,
            zero: 0.0,
        },
    }
}

/// The least and the greatest of zero and the weights, in lanes; what is not a number is neither.
#[inline(always)]
pub(super) fn extremes(group: &[f32]) -> (f32, f32) {
    const LANES: usize = 8;
    let (parts, rest) = group.as_chunks::<LANES>();
    let (mut low, mut high) = ([0.0f32; LANES], [0.0f32; LANES]);
    for part in parts {
        for lane in 0..LANES {
            let w = part[lane];
            low[lane] = if w < low[lane] { w } else { low[lane] };
            high[lane] = if w > high[lane] { w } else { high[lane] };
        }
    }
    let all = |lanes: [f32; LANES]| lanes.into_iter().chain(rest.iter().copied());
    (all(low).fold(0.0, f32::min), all(high).fold(0.0, f32::max))
}

/// The row scale, as a half, that gives the largest step the largest integer scale.
pub(super) fn row_scale(encoding: Encoding, steps: impl Iterator<Item = f32>) -> u16 {
    let largest = steps.fold(0.0, f32::max);
    let scale = largest / (f32::from(largest_scale(encoding)) * code_unit(encoding));
    f16_from_f32(scale.min(65_504.0))
}

/// The integer scale nearest to `step`.
fn group_scale(encoding: Encoding, step: f32, unit: f32) -> u8 {
    let has_step = step > 0.0 && unit > 0.0;
    let scale = if has_step { (step / unit).round() } else { 0.0 };
    match encoding {
        Encoding::Ternary => byte(scale.clamp(1.0, f32::from(largest_scale(encoding)))),
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::OneOfFour
        | Encoding::Sparse(_)
        | Encoding::Twin(_) => {
            if has_step {
                byte(scale).max(1)
            } else {
                0
            }
        }
    }
}

/// The zero point where there is one.
fn zero_point(encoding: Encoding, zeros: Zeros, zero: f32) -> u8 {
    if !encoding.has_zero_point() {
        return 0;
    }
    match zeros {
        Zeros::Needed => byte(zero.round() * 16.0),
        Zeros::Rounded => byte((zero * 16.0).round()),
    }
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (mut sum, mut count) = (0.0f64, 0u32);
    for value in values {
        sum += f64::from(value);
        count += 1;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to 32 bits is the result"
    )]
    if count == 0 {
        0.0
    } else {
        (sum / f64::from(count)) as f32
    }
}

/// Saturates to 0..=255; not a number becomes 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturating is the intent"
)]
pub(super) fn byte(x: f32) -> u8 {
    x as u8
}
