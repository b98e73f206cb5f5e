//! The values that one group of weights can take, as they are stored.

use super::scales::{GroupScale, Scales};
use engine::encoding::{Encoding, Width};

/// Evenly spaced values: code `c` from `low` to `top` stands for `step x (c - zero)`.
///
/// The products are those of the engine to the bit: a step is a half times two integers, so that only
/// the product with the level rounds, and where levels are odd a step is two of the scale's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// Distance of two neighbours; 0 when everything is zero.
    pub(super) step: f32,
    /// The code that stands for zero; between two codes it is a place and no code.
    pub(super) zero: f32,
    /// The smallest code.
    pub(super) low: f32,
    /// The largest.
    pub(super) top: f32,
}

impl Grid {
    /// The grid of the columns that share `group` in a row with these scales.
    pub(super) fn new(encoding: Encoding, scales: &Scales, group: GroupScale) -> Self {
        let kind = Kind::of(encoding);
        Self {
            step: scales.step(encoding, group) * kind.stride,
            zero: kind.zero.unwrap_or(f32::from(group.zero_point) / 16.0),
            low: kind.low,
            top: kind.top,
        }
    }

    /// The code whose value is nearest to each weight, of two as near the one further from zero; the
    /// smallest for what is not a number.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low byte of a number below 256 in the low bits"
    )]
    pub(super) fn codes(&self, weights: &[f32], codes: &mut [u8]) {
        let Self {
            step,
            zero,
            low,
            top,
        } = *self;
        if step <= 0.0 {
            codes.fill(rounded_half_up(zero.clamp(low, top)) as u8);
        } else if low + 1.0 == top {
            // A sum with the zero would lose the sign of the smallest.
            for (code, w) in codes.iter_mut().zip(weights) {
                *code = u8::from(w / step >= 0.5 - zero);
            }
        } else {
            for (code, w) in codes.iter_mut().zip(weights) {
                let place = w / step + zero;
                let place = if place > low { place } else { low };
                let place = if place < top { place } else { top };
                *code = rounded_half_up(place) as u8;
            }
        }
    }

    /// What a code stands for.
    #[inline(always)]
    pub(super) fn value(&self, code: u8) -> f32 {
        self.step * (f32::from(code) - self.zero)
    }
}

/// The nearest whole number in the low bits, halves upwards, of a number from 0 to 2^22: a sum that
/// processors do in lanes, where `round` may be a call.
#[inline(always)]
fn rounded_half_up(place: f32) -> u32 {
    const SHIFT: f32 = 8_388_608.0;
    // Halves go to the even neighbour first.
    let even = place + SHIFT;
    (even + f32::from(u8::from(place - (even - SHIFT) >= 0.5))).to_bits()
}

/// What the grids of an encoding have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kind {
    /// Steps of the scale from one code to the next: 2 where levels are odd.
    pub(super) stride: f32,
    /// The code that stands for zero; none where groups store it.
    pub(super) zero: Option<f32>,
    /// The smallest code.
    pub(super) low: f32,
    /// The largest.
    pub(super) top: f32,
}

impl Kind {
    /// Kept weights of 1:4 are signs.
    pub(super) fn of(encoding: Encoding) -> Self {
        let odd = |width: Width| {
            let top = f32::from((1u8 << width.bits()) - 1);
            (2.0, Some(top / 2.0), 0.0, top)
        };
        let (stride, zero, low, top) = match encoding {
            Encoding::Dense(Width::One) | Encoding::OneOfFour => odd(Width::One),
            Encoding::Dense(width @ (Width::Two | Width::Three | Width::Four)) => {
                (1.0, None, 0.0, f32::from((1u8 << width.bits()) - 1))
            }
            Encoding::Dense(Width::Five) => (1.0, Some(16.0), 0.0, 31.0),
            Encoding::Dense(Width::Six) => (1.0, Some(32.0), 0.0, 63.0),
            // -128 is not a level.
            Encoding::Dense(Width::Eight) | Encoding::Sparse(Width::Eight) => {
                (1.0, Some(128.0), 1.0, 255.0)
            }
            Encoding::Ternary => (1.0, Some(1.0), 0.0, 2.0),
            Encoding::Sparse(
                width @ (Width::One
                | Width::Two
                | Width::Three
                | Width::Four
                | Width::Five
                | Width::Six),
            ) => odd(width),
            Encoding::F32 | Encoding::F16 | Encoding::Twin(_) => (0.0, Some(0.0), 0.0, 0.0),
        };
        Self {
            stride,
            zero,
            low,
            top,
        }
    }
}

/// Whether the encoding tells by place, and not by value, which weights are zero.
pub(super) const fn has_mask(encoding: Encoding) -> bool {
    match encoding {
        Encoding::OneOfFour | Encoding::Sparse(_) => true,
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(_)
        | Encoding::Ternary
        | Encoding::Twin(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_nearest_and_halves_go_up() {
        let check = |grid: Grid, weights: &[f32], expected: &[u8]| {
            let mut codes = vec![0; weights.len()];
            grid.codes(weights, &mut codes);
            assert_eq!(codes, expected, "{grid:?}");
        };
        let grid = Grid {
            step: 0.5,
            zero: 3.0,
            low: 0.0,
            top: 15.0,
        };
        let weights = [0.0, 0.25, -0.25, 0.2499, 5.75, 6.0, 99.0, -1.5, -9.0];
        check(grid, &weights, &[3, 4, 3, 3, 15, 15, 15, 0, 0]);
        check(
            grid,
            &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0],
            &[0, 15, 0, 3],
        );
        let signs = Grid {
            step: 2.0,
            zero: 0.5,
            low: 0.0,
            top: 1.0,
        };
        check(signs, &[1e-30, -1e-30, 0.0, -3.0], &[1, 0, 1, 0]);
        let flat = Grid { step: 0.0, ..grid };
        check(flat, &[7.0, -7.0], &[3, 3]);
        // The largest float below a half stays down.
        let unit = Grid {
            step: 1.0,
            zero: 0.0,
            low: 0.0,
            top: 255.0,
        };
        check(
            unit,
            &[0.499_999_97, 0.5, 1.5, 2.5, 254.5],
            &[0, 1, 2, 3, 255],
        );
    }
}
