//! A group's product on cores without floating point: the bits of three operations of IEEE 754 at a
//! third of their price.
//!
//! A compiler's routines for a conversion, a product and a sum unpack and pack each number anew and
//! are ready for every special one. Here the parts stay apart, and whatever is not a normal number
//! goes to those routines.

/// Bits of a significand, the leading one among them.
const BITS: u32 = 24;
/// The leading one.
const ONE: u32 = 1 << (BITS - 1);
/// Exponents of normal numbers are above 0 and below this.
const INFINITE: u32 = 255;
/// Bits below a significand while a sum is computed: enough to round it, the lowest for all beneath.
const GUARD: u32 = 3;

/// A normal number without its sign: `significand x 2^(exponent - 150)`, 24 bits.
#[derive(Clone, Copy)]
struct Normal {
    exponent: u32,
    significand: u32,
}

impl Normal {
    const fn from_bits(bits: u32) -> Option<Self> {
        let exponent = bits >> (BITS - 1) & INFINITE;
        if exponent == 0 || exponent == INFINITE {
            return None;
        }
        Some(Self {
            exponent,
            significand: bits & (ONE - 1) | ONE,
        })
    }

    /// The bits without a sign. A significand that was rounded up to 25 bits carries into the exponent.
    const fn bits(self) -> Option<u32> {
        let bits = ((self.exponent - 1) << (BITS - 1)) + self.significand;
        if bits < INFINITE << (BITS - 1) {
            Some(bits)
        } else {
            None
        }
    }
}

/// `sum + integer as f32 * scale`, each of the three rounded half to even.
#[inline]
pub(super) fn add_product(sum: f32, integer: i32, scale: f32) -> f32 {
    match add_normal(sum.to_bits(), integer, scale.to_bits()) {
        Some(bits) => f32::from_bits(bits),
        None => add_any(sum, integer, scale),
    }
}

/// The definition.
#[cold]
#[inline(never)]
#[expect(
    clippy::cast_precision_loss,
    reason = "the rounding is part of the definition"
)]
fn add_any(sum: f32, integer: i32, scale: f32) -> f32 {
    sum + integer as f32 * scale
}

/// The bits of the sum, if every number on the way is normal or a plain zero.
#[inline(always)]
fn add_normal(sum: u32, integer: i32, scale: u32) -> Option<u32> {
    let factor = Normal::from_bits(scale)?;
    let magnitude = integer.unsigned_abs();
    if magnitude == 0 || magnitude >> BITS != 0 {
        // Below normal numbers are those whose exponent is 0: adding zero to them changes nothing but -0.
        return (magnitude == 0 && sum != 1 << 31).then_some(sum);
    }
    let product = product(magnitude, factor)?;
    let sign = (integer.cast_unsigned() ^ scale) & 1 << 31;
    if sum == 0 {
        return Some(product.bits()? | sign);
    }
    let other = Normal::from_bits(sum)?;
    let (product_bits, other_bits) = (product.bits()?, sum & !(1 << 31));
    // Adding in order of size.
    let (large, small, large_sign) = if product_bits > other_bits {
        (Normal::from_bits(product_bits)?, other, sign)
    } else {
        (other, Normal::from_bits(product_bits)?, sum & 1 << 31)
    };
    let is_difference = (sum ^ sign) >> 31 != 0;
    Some(combine(large, small, is_difference)? | large_sign)
}

/// An integer of at most 24 bits times a number, rounded.
#[inline(always)]
fn product(magnitude: u32, factor: Normal) -> Option<Normal> {
    let length = length(magnitude);
    // Both with their leading one on top: the product has 63 or 64 bits.
    let a = magnitude << (32 - length);
    let b = factor.significand << (32 - BITS);
    let wide = u64::from(a) * u64::from(b);
    let (mut high, mut low) = ((wide >> 32) as u32, wide as u32);
    let mut exponent = factor.exponent + length;
    if high >> 31 == 0 {
        high = high << 1 | low >> 31;
        low <<= 1;
        exponent -= 1;
    }
    let rest = high & 0xff;
    let kept = high >> 8;
    let is_up = rest > 0x80 || rest == 0x80 && (low != 0 || kept & 1 != 0);
    (exponent < INFINITE).then_some(Normal {
        exponent,
        significand: kept + u32::from(is_up),
    })
}

/// Bits of the larger number plus or less the smaller one, without a sign.
#[inline(always)]
fn combine(large: Normal, small: Normal, is_difference: bool) -> Option<u32> {
    let mut exponent = large.exponent;
    let a = large.significand << GUARD;
    let b = small.significand << GUARD;
    let distance = exponent - small.exponent;
    let b = if distance < 32 {
        let lost = b & ((1 << distance) - 1);
        b >> distance | u32::from(lost != 0)
    } else {
        1
    };
    let mut total;
    if is_difference {
        total = a - b;
        if total == 0 {
            return None;
        }
        while total < ONE << GUARD {
            total <<= 1;
            exponent -= 1;
            if exponent == 0 {
                return None;
            }
        }
    } else {
        total = a + b;
        if total >= ONE << (GUARD + 1) {
            total = total >> 1 | total & 1;
            exponent += 1;
        }
    }
    let rest = total & ((1 << GUARD) - 1);
    let kept = total >> GUARD;
    let half = 1 << (GUARD - 1);
    let is_up = rest > half || rest == half && kept & 1 != 0;
    Normal {
        exponent,
        significand: kept + u32::from(is_up),
    }
    .bits()
}

/// Bits of a number of at most 24 bits.
#[inline(always)]
const fn length(x: u32) -> u32 {
    if x >> 16 != 0 {
        16 + LENGTHS[(x >> 16 & 0xff) as usize] as u32
    } else if x >> 8 != 0 {
        8 + LENGTHS[(x >> 8 & 0xff) as usize] as u32
    } else {
        LENGTHS[(x & 0xff) as usize] as u32
    }
}

/// Bits of every number of 8 bits: such cores count no leading zeros.
const LENGTHS: [u8; 256] = {
    let mut lengths = [0; 256];
    let mut x = 1;
    while x < 256 {
        lengths[x] = lengths[x / 2] + 1;
        x += 1;
    }
    lengths
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sum: f32, integer: i32, scale: f32) {
        let (fast, right) = (
            add_product(sum, integer, scale),
            add_any(sum, integer, scale),
        );
        assert!(
            fast.to_bits() == right.to_bits() || fast.is_nan() && right.is_nan(),
            "{sum:e} + {integer} x {scale:e}: {fast:e}, not {right:e}"
        );
    }

    #[test]
    fn every_special_number_has_the_bits_of_the_definition() {
        let floats = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            f32::MIN_POSITIVE,
            -f32::MIN_POSITIVE,
            f32::MIN_POSITIVE / 8.0,
            1e-45,
            f32::MAX,
            -f32::MAX,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            16_777_215.0,
            1.000_000_1,
            0.999_999_94,
        ];
        let integers = [
            0,
            1,
            -1,
            2,
            3,
            255,
            256,
            65_535,
            65_536,
            (1 << 24) - 1,
            1 << 24,
            (1 << 24) + 1,
            -264_261_600,
            i32::MAX,
            i32::MIN,
        ];
        for sum in floats {
            for scale in floats {
                integers.iter().for_each(|n| check(sum, *n, scale));
            }
        }
    }

    #[test]
    fn numbers_of_all_sizes_have_the_bits_of_the_definition() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2_000_000 {
            let [a, b, c] = [random(), random(), random()];
            // Sums and products of like size, where digits cancel, and of any size.
            let near = |x: u64| (x as u32 & 0x807f_ffff) | (120 + (x >> 40) as u32 % 16) << 23;
            let integer = (c as i32) >> (c >> 59);
            check(
                f32::from_bits(near(a)),
                integer >> 8,
                f32::from_bits(near(b) >> 1 & !(1 << 31) | 1 << 29),
            );
            check(f32::from_bits(near(a)), integer, f32::from_bits(near(b)));
            check(f32::from_bits(a as u32), integer, f32::from_bits(b as u32));
        }
    }
}
