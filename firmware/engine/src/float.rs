//! Floating point that is the same on every machine: plain IEEE adds, multiplies and divisions.
//!
//! No function of the platform's mathematics library, no fused multiply-add. What is not exact by
//! IEEE (exp, sine, cosine) is spelled out here, so that desktop and board agree to the bit.

/// Adding and subtracting it rounds a float below 2^22 to an integer, half to even.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// Rounds half to even; exact for magnitudes below 2^22.
#[inline(always)]
#[must_use]
pub fn round_half_even(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

/// Square root, correctly rounded.
#[inline]
#[must_use]
pub fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}

/// Widens a 16-bit float; exact.
#[inline(always)]
#[must_use]
pub fn f32_from_f16(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10) & 31;
    let mantissa = u32::from(half) & 1023;
    let bits = match exponent {
        0 => {
            // Subnormal: the mantissa counts steps of 2^-24; the product is exact.
            #[expect(clippy::cast_precision_loss, reason = "a 10-bit integer is exact")]
            let magnitude = mantissa as f32 * f32::from_bits((127 - 24) << 23);
            magnitude.to_bits()
        }
        31 => 0x7f80_0000 | mantissa << 13,
        _ => (exponent + 112) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | bits)
}

/// Narrows to a 16-bit float, half to even; values past the range become infinite.
#[inline(always)]
#[must_use]
pub fn f16_from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = u16::try_from(bits >> 16 & 0x8000).unwrap_or(0);
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x477f_f000 {
        0x7c00
    } else if magnitude >= 0x3880_0000 {
        // Normal: drop 13 bits of mantissa, half to even, and rebias the exponent.
        let odd = magnitude >> 13 & 1;
        (magnitude + 0xfff + odd - (112 << 23)) >> 13
    } else {
        // Subnormal: adding 0.5 leaves the rounded count of 2^-24 steps in the low bits.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()
    };
    sign | u16::try_from(half & 0xffff).unwrap_or(0)
}

/// e to the power of x, within 2 units in the last place; 0 below -87.3, infinite above 88.7.
///
/// Cody and Waite's reduction by ln 2 in two parts, then a polynomial of degree 6; without branches,
/// so that 16 go side by side.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_66;
    p = p * r + 0.5;
    let p = (p * r * r + r) + 1.0;
    // The low bits of the shifted float are n. Past the range they are anything, and not looked at.
    let n = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .cast_signed();
    // 2^n in two halves, since n = 128 alone is past the range of an exponent.
    let half = n >> 1;
    let power = p * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    let power = if x < -87.3 { 0.0 } else { power };
    if x > 88.7 { f32::INFINITY } else { power }
}

/// 2^n for n from -126 to 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23).cast_unsigned())
}

/// Sine and cosine of an angle in radians, reduced and evaluated in 64 bits, rounded once.
///
/// Exact to the last place of `f32` for angles up to about 10^6.
#[must_use]
pub fn sin_cos(angle: f64) -> (f32, f32) {
    const QUARTERS_PER_RADIAN: f64 = core::f64::consts::FRAC_2_PI;
    const ROUND_64: f64 = 6_755_399_441_055_744.0;
    let quarter = (angle * QUARTERS_PER_RADIAN + ROUND_64) - ROUND_64;
    // pi/2 in two parts: the first has 33 bits, so its product with a small integer is exact.
    let r = (angle - quarter * 1.570_796_326_734_125_6) - quarter * 6.077_100_506_506_192e-11;
    let z = r * r;
    let sine = r + r
        * z
        * (-1.0 / 6.0
            + z * (1.0 / 120.0
                + z * (-1.0 / 5040.0 + z * (1.0 / 362_880.0 + z * (-1.0 / 39_916_800.0)))));
    let cosine = 1.0 - z * 0.5
        + z * z
            * (1.0 / 24.0
                + z * (-1.0 / 720.0
                    + z * (1.0 / 40_320.0 + z * (-1.0 / 3_628_800.0 + z * (1.0 / 479_001_600.0)))));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to 32 bits is the result; the quarter is taken modulo 4"
    )]
    let (s, c, quarter) = (sine as f32, cosine as f32, quarter as i64 & 3);
    match quarter {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units in the last place that `exp` may be off.
    const EXP_UNITS: f64 = 1.0;
    /// Units in the last place that sine and cosine may be off.
    const SIN_UNITS: f64 = 0.51;

    #[test]
    fn halves_round_trip() {
        for half in 0..=u16::MAX {
            let wide = f32_from_f16(half);
            if !wide.is_nan() {
                assert_eq!(f16_from_f32(wide), half, "{half:#06x}");
            }
        }
        assert_eq!(f16_from_f32(f32::NAN), 0x7e00);
        assert_eq!(f16_from_f32(-f32::NAN), 0xfe00);
    }

    #[test]
    fn halves_are_worth_what_ieee_says() {
        for half in 0..=u16::MAX {
            let (exponent, mantissa) = (i32::from(half >> 10 & 31), f64::from(half & 1023));
            let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
            let expected = sign
                * match exponent {
                    0 => mantissa * 2.0f64.powi(-24),
                    31 if mantissa > 0.0 => f64::NAN,
                    31 => f64::INFINITY,
                    _ => (1.0 + mantissa / 1024.0) * 2.0f64.powi(exponent - 15),
                };
            let found = f64::from(f32_from_f16(half));
            let is_same = found == expected && found.is_sign_negative() == (sign < 0.0);
            assert!(
                is_same || found.is_nan() && expected.is_nan(),
                "{half:#06x}"
            );
        }
    }

    /// Between two halves a float goes to the nearer, in the middle to the even one.
    #[test]
    fn floats_round_to_the_nearest_half() {
        // From the last half on up, the next step would be 65536.
        for half in 0..0x7c00u16 {
            let (low, next) = (f32_from_f16(half), f32_from_f16(half + 1));
            let high = if next.is_infinite() { 65_536.0 } else { next };
            // Exact: halves have 11 bits, their middle one more.
            let middle = f32::midpoint(low, high);
            let even = half + (half & 1);
            let cases = [
                (middle.next_down(), half),
                (middle, even),
                (middle.next_up(), half + 1),
            ];
            for (x, expected) in cases {
                assert_eq!(f16_from_f32(x), expected, "{x}");
                assert_eq!(f16_from_f32(-x), expected | 0x8000, "-{x}");
            }
        }
        for x in [65_536.0, 1e9, f32::MAX, f32::INFINITY] {
            assert_eq!((f16_from_f32(x), f16_from_f32(-x)), (0x7c00, 0xfc00));
        }
    }

    /// Floats of every exponent and sign, the same everywhere, without those that are no numbers.
    fn inputs() -> impl Iterator<Item = f32> {
        // A prime: no bit of the mantissa stands still.
        let bits = (0..=u32::MAX).step_by(40_009);
        bits.map(f32::from_bits).filter(|x| !x.is_nan())
    }

    /// From one number to another in equal steps.
    fn steps(from: f32, to: f32, count: u16) -> impl Iterator<Item = f32> {
        let step = (to - from) / f32::from(count);
        (0..=count).map(move |i| from + step * f32::from(i))
    }

    /// How far a float is from a number, in units of the float's last place.
    fn units(found: f32, exact: f64) -> f64 {
        let exponent = (found.to_bits() >> 23 & 255).max(1).cast_signed();
        (f64::from(found) - exact).abs() / 2.0f64.powi(exponent - 150)
    }

    /// The largest error of a function in units of the last place.
    fn worst(results: impl Iterator<Item = (f32, f64)>) -> f64 {
        results.fold(0.0, |worst, (found, exact)| worst.max(units(found, exact)))
    }

    #[test]
    fn exp_is_within_one_unit_in_the_last_place() {
        // Beyond it would be no normal number, or none.
        let range = -87.3..=88.7;
        let inputs = inputs().filter(|x| range.contains(x));
        let results = inputs.chain(steps(-87.3, 88.7, 60_000));
        let worst = worst(results.map(|x| (exp(x), f64::from(x).exp())));
        assert!(worst < EXP_UNITS, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn exp_has_no_gap_at_its_edges() {
        for x in [-0.0, f32::MIN_POSITIVE, -1e-40, 1e-45, -1e-8, 5e-8] {
            assert_eq!(exp(x), 1.0, "{x}");
        }
        for x in [-87.300_01f32, -88.0, -104.0, -1e9, f32::MIN] {
            assert_eq!(exp(x).to_bits(), 0, "{x}");
        }
        for x in [88.700_01f32, 89.0, 128.0, 1e9, f32::MAX] {
            assert_eq!(exp(x), f32::INFINITY, "{x}");
        }
        for x in [-87.3f32, -87.299_99, 88.699_99, 88.7] {
            let (own, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((own - exact).abs() <= exact * 2.4e-7, "exp({x}) = {own}");
        }
    }

    #[test]
    fn sine_and_cosine_are_rounded_once() {
        // Half a unit is what rounding costs.
        let angles = (0..200_000).map(|i| f64::from(i) * 0.173);
        let near = (0..100_000).map(|i| f64::from(i - 50_000) * 1.3e-4);
        let results = angles.chain(near).flat_map(|angle| {
            let (s, c) = sin_cos(angle);
            [(s, angle.sin()), (c, angle.cos())]
        });
        let worst = worst(results);
        assert!(worst < SIN_UNITS, "{worst}");
    }

    #[test]
    fn square_roots_and_whole_numbers_are_those_of_ieee() {
        for x in inputs() {
            let (own, ieee) = (sqrt(x.abs()), x.abs().sqrt());
            assert_eq!(own.to_bits(), ieee.to_bits(), "{x}");
        }
        assert!(sqrt(-1.0).is_nan());
        let halves = (-20_000i16..20_000).map(|i| f32::from(i) / 2.0);
        for x in halves.chain(inputs()).filter(|x| x.abs() < 4_194_304.0) {
            assert_eq!(round_half_even(x), x.round_ties_even(), "{x}");
        }
    }
}
