//! Finds the scales of a row whose weights all lie on a grid of their encoding.
//!
//! Training for low bits leaves `unit x scale x level`, a half times two small integers, and a file
//! keeps only the products. Weights are whole multiples of a power of two, so that the step of a
//! group divides the greatest common divisor of its weights, and the unit of a row that of its
//! groups: both are found in integers, without a search over real numbers. What is found reproduces
//! every weight; where nothing is found, no scales of the format do.

use super::scales::{GroupScale, Scales, code_unit, largest_scale};
use engine::encoding::{Encoding, Width};
use engine::float::{f16_from_f32, f32_from_f16};

/// Scales with which every weight of `row` is exact, `width` columns to a scale; `kept` tells the
/// columns that a sparse row stores. Nothing for a row of zeros, which any scales hold.
pub(super) fn scales(
    encoding: Encoding,
    width: usize,
    row: &[f32],
    kept: &[bool],
) -> Option<Scales> {
    // Other encodings store what is pruned too, as zeros.
    let is_stored = |kept: bool| kept || encoding.sparse_width().is_none();
    let levels = |(part, kept): (&[f32], &[bool]), exponent: i32| {
        let stored = part.iter().zip(kept).filter(|(_, kept)| is_stored(**kept));
        let weights: Option<Vec<i64>> = stored.map(|(w, _)| multiple(*w, exponent)).collect();
        Levels::new(encoding, &weights?)
    };
    let parts = || row.chunks(width).zip(kept.chunks(width));
    // Most rows of most models end at their first group, which is on no grid whatever the others are.
    if let Some((first, exponent)) = parts()
        .next()
        .zip(smallest_exponent(&row[..width.min(row.len())]))
    {
        levels(first, exponent)?;
    }
    let exponent = smallest_exponent(row)?;
    let groups: Vec<Levels> = parts()
        .map(|part| levels(part, exponent))
        .collect::<Option<_>>()?;
    let row_divisor = groups.iter().fold(0, |g, l| divisor(g, l.divisor));
    let most = groups.iter().map(|l| l.divisor / row_divisor).max()?;
    if most > MOST_PARTS {
        return None;
    }
    let with_unit = |(row, parts)| {
        let scale = |levels: &Levels| levels.scale(encoding, row_divisor, parts);
        let groups = groups.iter().map(scale).collect::<Option<_>>()?;
        Some(Scales { row, groups })
    };
    match row_scale(encoding, row_divisor, 1, exponent) {
        // A finer unit than one that a half can be holds nothing more.
        Some(whole @ (_, 1)) => return with_unit(whole),
        // One that was too large for a half and is halved: where levels are odd, a third of it may hold what it does not.
        Some(halved) => {
            if let Some(scales) = with_unit(halved) {
                return Some(scales);
            }
        }
        None => {}
    }
    (3..=MOST_PARTS.min(row_divisor))
        .step_by(2)
        .filter_map(|odd| row_scale(encoding, row_divisor, odd, exponent))
        .find_map(with_unit)
}

/// Most units in what the weights of a row have in common, and in a weight: a scale times a level.
const MOST_PARTS: i64 = 255 * 255;

/// The weights of one group, divided by what they have in common.
struct Levels {
    /// In units of the row's smallest power of two; 0 when all weights are zero.
    divisor: i64,
    /// The least weight over the divisor; in sixteenths beside a zero point.
    least: i64,
    /// The greatest.
    greatest: i64,
}

impl Levels {
    /// Nothing where even the coarsest step that the weights share is too fine for the encoding.
    fn new(encoding: Encoding, weights: &[i64]) -> Option<Self> {
        let (common, sixteenths) = if encoding.has_zero_point() {
            // Weights differ by whole steps, and stand whole sixteenths of one from zero.
            let first = *weights.first()?;
            let steps = weights.iter().map(|w| w - first);
            (common_divisor(16 * first, 15, steps)?, 16)
        } else {
            (common_divisor(0, 127, weights.iter().copied())?, 1)
        };
        let level = |weight: &i64| sixteenths * weight / common.max(1);
        let levels = Self {
            divisor: common,
            least: weights.iter().map(level).min().unwrap_or(0),
            greatest: weights.iter().map(level).max().unwrap_or(0),
        };
        let has_codes = common == 0
            || match encoding {
                // Their levels are odd.
                Encoding::Dense(Width::One)
                | Encoding::Sparse(
                    Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six,
                ) => weights.iter().all(|w| level(w) % 2 != 0),
                Encoding::OneOfFour => weights
                    .chunks(4)
                    .all(|four| four.iter().filter(|w| **w != 0).count() == 1),
                Encoding::F32
                | Encoding::F16
                | Encoding::Dense(_)
                | Encoding::Ternary
                | Encoding::Sparse(Width::Eight)
                | Encoding::Twin(_) => true,
            };
        (has_codes && levels.zero_point(encoding, 1).is_some()).then_some(levels)
    }

    /// The zero point, 0 where there is none, with which every weight has a code when the step is
    /// `1 / finer` of what the weights have in common.
    fn zero_point(&self, encoding: Encoding, finer: i64) -> Option<u8> {
        let least = self.least.checked_mul(finer)?;
        let greatest = self.greatest.checked_mul(finer)?;
        let within = |low: i64, high: i64| (low <= least && greatest <= high).then_some(0);
        match encoding {
            Encoding::Dense(width @ (Width::Two | Width::Three | Width::Four)) => {
                let top = (16 << width.bits()) - 16;
                let zero_point = if least < 0 {
                    least.checked_neg()?
                } else {
                    (-least).rem_euclid(16)
                };
                let is_held = greatest.checked_add(zero_point)? <= top;
                u8::try_from(zero_point).ok().filter(|_| is_held)
            }
            Encoding::Dense(Width::One) | Encoding::Ternary | Encoding::OneOfFour => within(-1, 1),
            Encoding::Dense(Width::Five) => within(-16, 15),
            Encoding::Dense(Width::Six) => within(-32, 31),
            Encoding::Dense(Width::Eight) | Encoding::Sparse(Width::Eight) => within(-127, 127),
            Encoding::Sparse(
                width @ (Width::One
                | Width::Two
                | Width::Three
                | Width::Four
                | Width::Five
                | Width::Six),
            ) => {
                let top = (1 << width.bits()) - 1;
                within(-top, top).filter(|_| finer % 2 == 1)
            }
            Encoding::F32 | Encoding::F16 | Encoding::Twin(_) => None,
        }
    }

    /// The integer scale and the zero point when a unit is `1 / parts` of `row_divisor`.
    fn scale(&self, encoding: Encoding, row_divisor: i64, parts: i64) -> Option<GroupScale> {
        if self.divisor == 0 {
            // All levels are zero, or the scale is; those of ternary weights begin at one.
            return Some(GroupScale {
                scale: u8::from(encoding == Encoding::Ternary),
                zero_point: 0,
            });
        }
        let units = self.divisor / row_divisor * parts;
        // The coarsest step that can be stored needs the fewest codes.
        (1..=largest_scale(encoding)).rev().find_map(|scale| {
            let step = i64::from(scale);
            let finer = (units % step == 0).then_some(units / step)?;
            let zero_point = self.zero_point(encoding, finer)?;
            Some(GroupScale { scale, zero_point })
        })
    }
}

/// Exponent of the largest power of two of which every weight is a multiple; nothing for zeros.
fn smallest_exponent(row: &[f32]) -> Option<i32> {
    let weights = row.iter().filter(|w| **w != 0.0);
    weights.map(|w| odd_part(*w).1).min()
}

/// A finite number other than 0 as an odd integer times a power of two, and the power's exponent.
fn odd_part(weight: f32) -> (i64, i32) {
    let bits = weight.to_bits();
    let (biased, fraction) = (bits >> 23 & 0xff, bits & 0x7f_ffff);
    let (mantissa, exponent) = match biased {
        0 => (fraction, -149),
        _ => (fraction | 1 << 23, biased.cast_signed() - 150),
    };
    let zeros = mantissa.trailing_zeros();
    let odd = i64::from(mantissa >> zeros);
    let signed = if weight < 0.0 { -odd } else { odd };
    (signed, exponent + zeros.cast_signed())
}

/// Bits of the largest multiple on any grid: 11 of the row's half, 8 of a scale, 8 of a level with
/// its sixteenths.
const MOST_BITS: u32 = 27;

/// How often two to the power of `exponent` is in `weight`; nothing for more than any grid holds.
fn multiple(weight: f32, exponent: i32) -> Option<i64> {
    if weight == 0.0 {
        return Some(0);
    }
    let (odd, own) = odd_part(weight);
    let shift = u32::try_from(own - exponent).ok()?;
    let is_held = weight.is_finite() && shift <= MOST_BITS && odd.abs() << shift >> MOST_BITS == 0;
    is_held.then_some(odd << shift)
}

/// The greatest common divisor, not negative; either number may be zero.
const fn divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

/// The greatest common divisor of `first` and the numbers; nothing as soon as one of them is more than
/// `most` times as large.
fn common_divisor(first: i64, most: i64, mut numbers: impl Iterator<Item = i64>) -> Option<i64> {
    numbers.try_fold(first.abs(), |common, number| {
        let common = divisor(common, number);
        (number.abs() <= most * common).then_some(common)
    })
}

/// The half that makes a unit of `divisor / parts` times two to the power of `exponent`, and the
/// parts: `odd`, and as many times two as keep the half in range. Nothing where no half is that.
fn row_scale(encoding: Encoding, divisor: i64, odd: i64, exponent: i32) -> Option<(u16, i64)> {
    if divisor % odd != 0 {
        return None;
    }
    let whole =
        (divisor / odd) as f64 * f64::from(exponent).exp2() / f64::from(code_unit(encoding));
    (0..16).find_map(|halvings| {
        let scale = whole / f64::from(1 << halvings);
        let row = f16_from_f32(scale as f32);
        (f64::from(f32_from_f16(row)) == scale).then_some((row, odd << halvings))
    })
}

#[cfg(test)]
mod tests {
    use crate::compress::encode;
    use engine::block::scale_unit;
    use engine::encoding::{Encoding, Width};
    use engine::float::f32_from_f16;
    use engine::matrix::Matrix;
    use proptest::prelude::*;

    /// The weights `[1, cols]` that come back.
    fn packed(encoding: Encoding, kept: usize, row: &[f32]) -> Vec<f32> {
        let bytes = encode(encoding, row.len(), kept, row).unwrap();
        let matrix = Matrix::new(encoding, 1, row.len(), kept, &bytes).unwrap();
        let mut back = vec![0.0; row.len()];
        matrix.dequantize_row(0, &mut back);
        back
    }

    #[test]
    fn weights_on_the_grid_come_back_and_one_off_it_does_not() {
        let check = |encoding, kept, row: &[f32]| {
            assert_eq!(packed(encoding, kept, row), row, "{encoding:?}");
            let mut off = row.to_vec();
            *off.iter_mut().find(|w| **w != 0.0).unwrap() *= 1.015_625;
            assert_ne!(packed(encoding, kept, &off), off, "{encoding:?}");
        };
        // Groups whose largest codes, and whose extremes, do not occur.
        let four = |scale: f32| move |i: u16| scale * (f32::from(i * 5 % 7) - 3.0);
        let row: Vec<f32> = (0..32)
            .map(four(0.125))
            .chain((0..32).map(four(0.375)))
            .collect();
        check(Encoding::Dense(Width::Four), 64, &row);
        check(Encoding::Dense(Width::Three), 32, &row[..32]);
        // Signs, and two scales of which one is three times the other.
        let sign = |i: u16| if i * 7 % 5 < 2 { -0.75 } else { 0.75 };
        check(
            Encoding::Dense(Width::One),
            64,
            &(0..64).map(sign).collect::<Vec<_>>(),
        );
        let pick = |i: u16| {
            if i % 4 == i / 4 % 4 {
                sign(i) / f32::from(1 + i / 64 * 2)
            } else {
                0.0
            }
        };
        let picks: Vec<f32> = (0..128).map(pick).collect();
        check(Encoding::OneOfFour, 128, &picks);
        check(Encoding::Sparse(Width::One), 32, &picks);
        let trits: Vec<f32> = (0..96)
            .map(|i: u16| 1.5 * (f32::from(i * 5 % 3) - 1.0))
            .collect();
        check(Encoding::Ternary, 96, &trits);
    }

    /// All that a group keeps of levels -3 to 3 is its largest: their common step, 159 / 128, is beyond a half, and half of
    /// it gives even levels.
    #[test]
    fn a_common_step_beyond_a_half_is_taken_apart() {
        let unit = 53.0 / 128.0;
        let weight = |(i, scale): (usize, f32)| {
            let sign = if i % 3 == 0 { -1.0 } else { 1.0 };
            sign * 3.0 * unit * scale
        };
        let scales = [176.0, 250.0].into_iter().flat_map(|scale| [scale; 64]);
        let row: Vec<f32> = scales.enumerate().map(weight).collect();
        assert_eq!(packed(Encoding::Sparse(Width::Two), 128, &row), row);
    }

    #[test]
    fn a_pattern_that_the_encoding_lacks_is_no_grid() {
        let mut picks = [0.0; 64];
        picks.iter_mut().step_by(4).for_each(|w| *w = 0.5);
        assert_eq!(packed(Encoding::OneOfFour, 64, &picks), picks);
        // No sign in four columns, two signs in four columns.
        picks[8] = 0.0;
        assert_ne!(packed(Encoding::OneOfFour, 64, &picks), picks);
        picks[8] = 0.5;
        picks[9] = 0.5;
        assert_ne!(packed(Encoding::OneOfFour, 64, &picks), picks);
        assert_eq!(packed(Encoding::OneOfFour, 64, &[0.0; 64]), [0.0; 64]);
    }

    /// Significant bits of a row scale with which every product of the encoding is an f32.
    fn row_bits(encoding: Encoding) -> u32 {
        match encoding {
            Encoding::Dense(Width::Two | Width::Three | Width::Four) => 8,
            Encoding::Dense(Width::Eight) | Encoding::Sparse(Width::Six | Width::Eight) => 9,
            Encoding::Dense(Width::One | Width::Five | Width::Six)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_)
            | Encoding::F32
            | Encoding::F16
            | Encoding::Twin(_) => 11,
        }
    }

    /// Any weights `[cols]` on a grid of `encoding`, of which `kept` are not zero where it is sparse.
    fn on_grid(encoding: Encoding, cols: usize, kept: usize, seed: u64) -> Vec<f32> {
        let mut state = seed | 1;
        let mut random = |top: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % top
        };
        let exponent = 1 + random(29) as u16;
        let fraction =
            (random(1024) >> (11 - row_bits(encoding)) << (11 - row_bits(encoding))) as u16;
        let unit = f32_from_f16(exponent << 10 | fraction) * scale_unit(encoding);
        let scaled = encoding.record().unwrap().groups * 32;
        let (mut scale, mut zero_point, mut pick) = (0, 0, 0);
        let mut row: Vec<f32> = (0..cols)
            .map(|col| {
                if col % scaled == 0 {
                    scale = 1 + random(if encoding == Encoding::Ternary {
                        16
                    } else {
                        255
                    });
                    zero_point = random(256) as i64;
                }
                if col % 4 == 0 {
                    pick = random((cols - col).min(4) as u64);
                }
                let code = |bits: u32, random: &mut dyn FnMut(u64) -> u64| random(1 << bits) as i64;
                let level = match encoding {
                    Encoding::Dense(Width::One) => 2 * code(1, &mut random) - 1,
                    Encoding::Dense(width @ (Width::Two | Width::Three | Width::Four)) => {
                        16 * code(width.bits(), &mut random) - zero_point
                    }
                    Encoding::Dense(Width::Eight) | Encoding::Sparse(Width::Eight) => {
                        let level = 1 + random(127) as i64;
                        if random(2) == 0 { level } else { -level }
                    }
                    Encoding::Dense(width) => {
                        code(width.bits(), &mut random) - (1 << (width.bits() - 1))
                    }
                    Encoding::Ternary => random(3) as i64 - 1,
                    Encoding::OneOfFour if col as u64 % 4 == pick => 2 * random(2) as i64 - 1,
                    Encoding::OneOfFour => 0,
                    Encoding::Sparse(width) => {
                        2 * code(width.bits(), &mut random) - ((1 << width.bits()) - 1)
                    }
                    Encoding::F32 | Encoding::F16 | Encoding::Twin(_) => {
                        unreachable!("blocks only")
                    }
                };
                unit * scale as f32 * level as f32
            })
            .collect();
        if encoding.sparse_width().is_some() {
            let plan = crate::compress::Plan::nearest(encoding, cols, kept);
            crate::compress::prune::prune(&plan, None, &mut row);
        }
        row
    }

    proptest! {
        #[test]
        fn whatever_an_encoding_holds_it_gives_back(
            index in 0..Encoding::ALL.len(),
            cols in 1usize..300,
            share in 0.05f64..1.0,
            seed: u64,
        ) {
            let encoding = Encoding::ALL[index];
            if encoding.row_scale_bytes() > 0 {
                let kept = match encoding.sparse_width() {
                    Some(_) => ((cols as f64 * share) as usize).max(1),
                    None => cols,
                };
                let row = on_grid(encoding, cols, kept, seed);
                prop_assert_eq!(packed(encoding, kept, &row), row);
            }
        }

        #[test]
        fn rounding_twice_is_rounding_once(
            index in 0..Encoding::ALL.len(),
            row in prop::collection::vec(-3.0f32..3.0, 1..200),
        ) {
            let encoding = Encoding::ALL[index];
            // The others' products may need more bits than an f32 has.
            if encoding.row_scale_bytes() > 0 && row_bits(encoding) == 11 {
                let once = packed(encoding, row.len(), &row);
                prop_assert_eq!(packed(encoding, row.len(), &once), once);
            }
        }
    }
}
