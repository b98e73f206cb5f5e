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

    /// The code whose value is nearest to `weight`, of two as near the one further from zero; 0 for
    /// what is not a number.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "codes are clamped to 0..=255"
    )]
    pub(super) fn code(&self, weight: f32) -> u8 {
        let position = if self.step > 0.0 {
            weight / self.step
        } else {
            0.0
        };
        if self.low + 1.0 == self.top {
            // A sum with the zero would lose the sign of the smallest.
            return u8::from(position >= 0.5 - self.zero);
        }
        let place = (position + self.zero).clamp(self.low, self.top);
        // `round` is a call where a processor may lack the instruction.
        let whole = place as u8;
        whole + u8::from(place - f32::from(whole) >= 0.5)
    }

    /// What a code stands for.
    #[inline]
    pub(super) fn value(&self, code: u8) -> f32 {
        self.step * (f32::from(code) - self.zero)
    }
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
