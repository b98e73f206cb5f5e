//! The number formats of model files, turned into 32-bit floats.
//!
//! Block layouts follow `ggml-common.h` and the arithmetic `ggml-quants.c` (`dequantize_row_*`) of
//! llama.cpp, in the same order of operations, so that values equal its values to the bit.

mod ternary;

/// How a tensor's values are stored in the file it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    non_camel_case_types,
    reason = "the names that model files and their tools use"
)]
pub enum SourceType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// The upper half of 32-bit floats.
    BF16,
    /// 8 bits and a 16-bit scale for 32 values.
    Q8_0,
    /// 4 bits and a scale for 32 values.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32 values.
    Q4_1,
    /// 5 bits and a scale for 32 values.
    Q5_0,
    /// 5 bits, a scale and a minimum for 32 values.
    Q5_1,
    /// 2 bits, 4-bit scales and minima for 16 values.
    Q2_K,
    /// 3 bits, 6-bit scales for 16 values.
    Q3_K,
    /// 4 bits, 6-bit scales and minima for 32 values.
    Q4_K,
    /// 5 bits, 6-bit scales and minima for 32 values.
    Q5_K,
    /// 6 bits, 8-bit scales for 16 values.
    Q6_K,
    /// -1, 0 and 1 in 1.6 bits, a scale for 256 values.
    TQ1_0,
    /// -1, 0 and 1 in 2 bits, a scale for 256 values.
    TQ2_0,
}

use SourceType::{
    BF16, F16, F32, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, TQ1_0, TQ2_0,
};

impl SourceType {
    /// Every type.
    pub const ALL: [Self; 15] = [
        F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, TQ1_0, TQ2_0,
    ];

    pub(super) const LIST: &'static str =
        "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, TQ1_0, TQ2_0";

    /// Its name: "Q4_1".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            F32 => "F32",
            F16 => "F16",
            BF16 => "BF16",
            Q8_0 => "Q8_0",
            Q4_0 => "Q4_0",
            Q4_1 => "Q4_1",
            Q5_0 => "Q5_0",
            Q5_1 => "Q5_1",
            Q2_K => "Q2_K",
            Q3_K => "Q3_K",
            Q4_K => "Q4_K",
            Q5_K => "Q5_K",
            Q6_K => "Q6_K",
            TQ1_0 => "TQ1_0",
            TQ2_0 => "TQ2_0",
        }
    }

    /// Values in one block; a row is a whole number of blocks.
    #[must_use]
    pub const fn block_values(self) -> usize {
        match self {
            F32 | F16 | BF16 => 1,
            Q8_0 | Q4_0 | Q4_1 | Q5_0 | Q5_1 => 32,
            Q2_K | Q3_K | Q4_K | Q5_K | Q6_K | TQ1_0 | TQ2_0 => 256,
        }
    }

    /// Bytes of one block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            F32 => 4,
            F16 | BF16 => 2,
            Q8_0 => 34,
            Q4_0 => 18,
            Q4_1 => 20,
            Q5_0 => 22,
            Q5_1 => 24,
            Q2_K => 84,
            Q3_K => 110,
            Q4_K => 144,
            Q5_K => 176,
            Q6_K => 210,
            TQ1_0 => 54,
            TQ2_0 => 66,
        }
    }

    /// Bytes of a `[rows, cols]` tensor; none when a row is no whole number of blocks or too long.
    #[must_use]
    pub fn bytes(self, rows: u64, cols: u64) -> Option<u64> {
        let values = self.block_values() as u64;
        if !cols.is_multiple_of(values) {
            return None;
        }
        (cols / values)
            .checked_mul(self.block_bytes() as u64)?
            .checked_mul(rows)
    }

    /// Its number in `ggml.h`.
    pub(crate) const fn ggml_type(self) -> u32 {
        match self {
            F32 => 0,
            F16 => 1,
            Q4_0 => 2,
            Q4_1 => 3,
            Q5_0 => 6,
            Q5_1 => 7,
            Q8_0 => 8,
            Q2_K => 10,
            Q3_K => 11,
            Q4_K => 12,
            Q5_K => 13,
            Q6_K => 14,
            BF16 => 30,
            TQ1_0 => 34,
            TQ2_0 => 35,
        }
    }

    /// The type of this number in `ggml.h`, or its name there for one that is not supported.
    pub(super) fn from_ggml(number: u32) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|source| source.ggml_type() == number);
        found.ok_or_else(|| unsupported_name(number))
    }
}

/// Names of the other types of `ggml.h`, for the refusal.
fn unsupported_name(number: u32) -> String {
    let name = match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        28 => "F64",
        29 => "IQ1_M",
        39 => "MXFP4",
        _ => return format!("number {number}"),
    };
    name.to_owned()
}

/// Turns whole blocks into floats.
///
/// # Panics
/// When `bytes` are not exactly the blocks of `out.len()` values.
pub(super) fn dequantize(source: SourceType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(
        source.bytes(1, out.len() as u64),
        Some(bytes.len() as u64),
        "{} values of {}",
        out.len(),
        source.name()
    );
    let decode: fn(&[u8], &mut [f32]) = match source {
        F32 => |b, y| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        F16 => |b, y| y[0] = half(b, 0),
        BF16 => |b, y| y[0] = f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16),
        Q8_0 => q8_0,
        Q4_0 => q4_0,
        Q4_1 => q4_1,
        Q5_0 => q5_0,
        Q5_1 => q5_1,
        Q2_K => q2_k,
        Q3_K => q3_k,
        Q4_K => q4_k,
        Q5_K => q5_k,
        Q6_K => q6_k,
        TQ1_0 => ternary::tq1_0,
        TQ2_0 => ternary::tq2_0,
    };
    let blocks = bytes.chunks_exact(source.block_bytes());
    for (block, y) in blocks.zip(out.chunks_exact_mut(source.block_values())) {
        decode(block, y);
    }
}

/// The 16-bit float at `at`.
fn half(block: &[u8], at: usize) -> f32 {
    f32_from_f16(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// An IEEE 754 half as a float; exact.
pub(super) fn f32_from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 31;
    let fraction = u32::from(bits) & 0x3ff;
    let magnitude = match exponent {
        // Subnormal: a whole number of 2^-24.
        0 => (fraction as f32 * (1.0 / 16_777_216.0)).to_bits(),
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

// Each function below decodes one block `b` into the values `y`. `d` is the block's scale.

/// d, 32 signed bytes.
fn q8_0(b: &[u8], y: &mut [f32]) {
    let d = half(b, 0);
    for (y, &q) in y.iter_mut().zip(&b[2..34]) {
        *y = f32::from(q.cast_signed()) * d;
    }
}

/// d, 16 bytes: low nibbles are values 0 to 15, high nibbles 16 to 31.
fn q4_0(b: &[u8], y: &mut [f32]) {
    let d = half(b, 0);
    for (i, &q) in b[2..18].iter().enumerate() {
        y[i] = (f32::from(q & 15) - 8.0) * d;
        y[i + 16] = (f32::from(q >> 4) - 8.0) * d;
    }
}

/// d, minimum, 16 bytes as in [`q4_0`].
fn q4_1(b: &[u8], y: &mut [f32]) {
    let (d, minimum) = (half(b, 0), half(b, 2));
    for (i, &q) in b[4..20].iter().enumerate() {
        y[i] = f32::from(q & 15) * d + minimum;
        y[i + 16] = f32::from(q >> 4) * d + minimum;
    }
}

/// The 5-bit values of a block: bit 4 of value i is bit i of the little-endian word at `at`, the
/// nibbles follow as in [`q4_0`].
fn five_bits(b: &[u8], at: usize) -> impl Iterator<Item = (usize, f32, f32)> + use<'_> {
    let high = u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
    b[at + 4..at + 20].iter().enumerate().map(move |(i, &q)| {
        let low = u32::from(q & 15) | (high >> i & 1) << 4;
        let upper = u32::from(q >> 4) | (high >> (i + 16) & 1) << 4;
        (i, low as f32, upper as f32)
    })
}

/// d, 4 bytes of high bits, 16 bytes.
fn q5_0(b: &[u8], y: &mut [f32]) {
    let d = half(b, 0);
    for (i, low, upper) in five_bits(b, 2) {
        y[i] = (low - 16.0) * d;
        y[i + 16] = (upper - 16.0) * d;
    }
}

/// d, minimum, 4 bytes of high bits, 16 bytes.
fn q5_1(b: &[u8], y: &mut [f32]) {
    let (d, minimum) = (half(b, 0), half(b, 2));
    for (i, low, upper) in five_bits(b, 4) {
        y[i] = low * d + minimum;
        y[i + 16] = upper * d + minimum;
    }
}

/// 16 bytes of scale and minimum nibbles, 64 bytes of pairs of bits, d, scale of the minima.
fn q2_k(b: &[u8], y: &mut [f32]) {
    let (scales, bits) = (&b[..16], &b[16..80]);
    let (d, d_minimum) = (half(b, 80), half(b, 82));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        let (part, shift, start) = k_group(group);
        let scale = d * f32::from(scales[group] & 15);
        let minimum = d_minimum * f32::from(scales[group] >> 4);
        for (y, &q) in y.iter_mut().zip(&bits[part * 32 + start..]) {
            *y = scale * f32::from(q >> shift & 3) - minimum;
        }
    }
}

/// Where group `group` of 16 values has its two bits: which 32 bytes, shifted by how much, from
/// which byte. 128 values share 32 bytes, in four layers of two bits.
fn k_group(group: usize) -> (usize, usize, usize) {
    (group / 8, group % 8 / 2 * 2, group % 2 * 16)
}

/// 32 bytes of third bits, 64 bytes of pairs of bits, 12 bytes of 6-bit scales, d.
fn q3_k(b: &[u8], y: &mut [f32]) {
    let (high, bits, packed, d) = (&b[..32], &b[32..96], &b[96..108], half(b, 108));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        let (part, shift, start) = k_group(group);
        // Low nibbles of the first eight bytes are groups 0 to 7, high nibbles 8 to 15; the upper
        // two bits of four groups share one of the last four bytes.
        let low = packed[group % 8] >> (group / 8 * 4) & 15;
        let upper = packed[8 + group % 4] >> (group / 4 * 2) & 3;
        let scale = d * (f32::from(low | upper << 4) - 32.0);
        // The third bit's layer counts on through both halves. It is stored inverted.
        let layer = part * 4 + shift / 2;
        let values = y
            .iter_mut()
            .zip(&bits[part * 32 + start..])
            .zip(&high[start..]);
        for ((y, &q), &h) in values {
            let offset = if h >> layer & 1 == 1 { 0.0 } else { 4.0 };
            *y = scale * (f32::from(q >> shift & 3) - offset);
        }
    }
}

/// The 6-bit scale and minimum of group `group` of 32 values, from 12 packed bytes.
fn k_scale_and_minimum(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, minimum) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        (
            packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
            packed[group + 4] >> 4 | packed[group] >> 6 << 4,
        )
    };
    (f32::from(scale), f32::from(minimum))
}

/// d, scale of the minima, 12 bytes of 6-bit scales and minima, 128 bytes: 32 bytes hold one group
/// in their low nibbles and the next in their high nibbles.
fn q4_k(b: &[u8], y: &mut [f32]) {
    let (d, d_minimum, packed, bits) = (half(b, 0), half(b, 2), &b[4..16], &b[16..144]);
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = k_scale_and_minimum(packed, group);
        let (scale, minimum) = (d * scale, d_minimum * minimum);
        for (y, &q) in y.iter_mut().zip(&bits[group / 2 * 32..]) {
            *y = scale * f32::from(q >> (group % 2 * 4) & 15) - minimum;
        }
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the nibbles: bit g belongs to group g.
fn q5_k(b: &[u8], y: &mut [f32]) {
    let (d, d_minimum, packed) = (half(b, 0), half(b, 2), &b[4..16]);
    let (high, bits) = (&b[16..48], &b[48..176]);
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = k_scale_and_minimum(packed, group);
        let (scale, minimum) = (d * scale, d_minimum * minimum);
        for ((y, &q), &h) in y.iter_mut().zip(&bits[group / 2 * 32..]).zip(high) {
            let q = q >> (group % 2 * 4) & 15 | (h >> group & 1) << 4;
            *y = scale * f32::from(q) - minimum;
        }
    }
}

/// 128 bytes of low nibbles, 64 bytes of upper pairs of bits, 16 signed scales, d.
fn q6_k(b: &[u8], y: &mut [f32]) {
    let (low, upper, scales, d) = (&b[..128], &b[128..192], &b[192..208], half(b, 208));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        // 128 values: 32 values in each of four layers; layers 0 and 2 share 32 bytes of nibbles,
        // and so do 1 and 3.
        let (part, layer, start) = (group / 8, group % 8 / 2, group % 2 * 16);
        let scale = d * f32::from(scales[group].cast_signed());
        let nibbles = &low[part * 64 + layer % 2 * 32 + start..];
        let pairs = &upper[part * 32 + start..];
        for ((y, &l), &u) in y.iter_mut().zip(nibbles).zip(pairs) {
            let q = l >> (layer / 2 * 4) & 15 | (u >> (layer * 2) & 3) << 4;
            *y = scale * (f32::from(q) - 32.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A half, by the definition of IEEE 754.
    fn slow_half(bits: u16) -> f32 {
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff));
        sign * match exponent {
            0 => fraction / 1024.0 * 2_f32.powi(-14),
            31 if fraction == 0.0 => f32::INFINITY,
            31 => f32::NAN,
            _ => (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
        }
    }

    fn slow_half_at(b: &[u8], at: usize) -> f32 {
        slow_half(u16::from(b[at]) | u16::from(b[at + 1]) << 8)
    }

    /// `count` bits from bit `at`, counting from the low end of the first byte.
    fn bits(b: &[u8], at: usize, count: usize) -> u8 {
        (0..count)
            .map(|i| (b[(at + i) / 8] >> ((at + i) % 8) & 1) << i)
            .sum()
    }

    /// Scale and minimum of group `g`, straight from the layout of the 12 bytes of Q4_K and Q5_K.
    fn slow_k_scale(b: &[u8], g: usize) -> (f32, f32) {
        let (scale, minimum) = if g < 4 {
            (bits(b, 8 * g, 6), bits(b, 8 * (g + 4), 6))
        } else {
            (
                bits(b, 8 * (g + 4), 4) + 16 * bits(b, 8 * (g - 4) + 6, 2),
                bits(b, 8 * (g + 4) + 4, 4) + 16 * bits(b, 8 * g + 6, 2),
            )
        };
        (scale.into(), minimum.into())
    }

    /// Value `i` of one block, each bit looked up where the layout has it.
    fn slow_value(source: SourceType, b: &[u8], i: usize) -> f32 {
        let d = |at| slow_half_at(b, at);
        let nibble = |at: usize| f32::from(bits(b, 8 * (at + i % 16) + i / 16 * 4, 4));
        let fifth = |at: usize| f32::from(16 * bits(b, 8 * at + i, 1));
        // K types: which half of 128, which layer of 32 in it, which value of the layer.
        let (half, layer, l) = (i / 128, i % 128 / 32, i % 32);
        let pair = |at: usize| f32::from(bits(b, 8 * (at + half * 32 + l) + 2 * layer, 2));
        let k_nibble =
            |at: usize| f32::from(bits(b, 8 * (at + i / 64 * 32 + l) + i / 32 % 2 * 4, 4));
        match source {
            F32 => f32::from_bits(
                u32::from(b[0])
                    | u32::from(b[1]) << 8
                    | u32::from(b[2]) << 16
                    | u32::from(b[3]) << 24,
            ),
            F16 => d(0),
            BF16 => f32::from_bits(u32::from(b[0]) << 16 | u32::from(b[1]) << 24),
            Q8_0 => f32::from(b[2 + i] as i8) * d(0),
            Q4_0 => (nibble(2) - 8.0) * d(0),
            Q4_1 => nibble(4) * d(0) + d(2),
            Q5_0 => (nibble(6) + fifth(2) - 16.0) * d(0),
            Q5_1 => (nibble(8) + fifth(4)) * d(0) + d(2),
            Q2_K => {
                let (scale, minimum) = (f32::from(b[i / 16] % 16), f32::from(b[i / 16] / 16));
                d(80) * scale * pair(16) - d(82) * minimum
            }
            Q3_K => {
                // Scale g: four low bits in one of eight bytes, two upper bits in one of four.
                let g = i / 16;
                let low = bits(b, 8 * (96 + g % 8) + g / 8 * 4, 4);
                let scale = low + 16 * bits(b, 8 * (104 + g % 4) + g / 4 * 2, 2);
                let third = bits(b, 8 * l + half * 4 + layer, 1);
                d(108) * (f32::from(scale) - 32.0) * (pair(32) - 4.0 + 4.0 * f32::from(third))
            }
            Q4_K => {
                let (scale, minimum) = slow_k_scale(&b[4..16], i / 32);
                d(0) * scale * k_nibble(16) - d(2) * minimum
            }
            Q5_K => {
                let (scale, minimum) = slow_k_scale(&b[4..16], i / 32);
                let fifth = f32::from(16 * bits(b, 8 * (16 + l) + i / 32, 1));
                d(0) * scale * (k_nibble(48) + fifth) - d(2) * minimum
            }
            Q6_K => {
                let low = bits(b, 8 * (half * 64 + layer % 2 * 32 + l) + layer / 2 * 4, 4);
                let q = low + 16 * bits(b, 8 * (128 + half * 32 + l) + 2 * layer, 2);
                d(208) * f32::from(b[192 + i / 16] as i8) * (f32::from(q) - 32.0)
            }
            TQ1_0 => {
                // A byte holds values a number of bytes apart, its first digit the lowest.
                let (start, bytes) = match i {
                    0..160 => (0, 32),
                    160..240 => (32, 16),
                    _ => (48, 4),
                };
                let of_part = i - [0, 160, 240][usize::from(i >= 160) + usize::from(i >= 240)];
                let mut fraction = u32::from(b[start + of_part % bytes]);
                for _ in 0..of_part / bytes {
                    fraction = fraction * 3 % 256;
                }
                ((fraction * 3 / 256) as f32 - 1.0) * d(52)
            }
            TQ2_0 => (pair(0) - 1.0) * d(64),
        }
    }

    proptest! {
        #[test]
        fn every_type_equals_its_layout_read_bit_by_bit(
            source in proptest::sample::select(SourceType::ALL.to_vec()),
            bytes in proptest::collection::vec(any::<u8>(), 2 * 210),
        ) {
            let bytes = &bytes[..2 * source.block_bytes()];
            let mut fast = vec![0.0; 2 * source.block_values()];
            dequantize(source, bytes, &mut fast);
            for (i, fast) in fast.into_iter().enumerate() {
                let (block, i) = (i / source.block_values(), i % source.block_values());
                let slow = slow_value(source, &bytes[block * source.block_bytes()..], i);
                prop_assert!(
                    fast.to_bits() == slow.to_bits() || fast.is_nan() && slow.is_nan(),
                    "{} value {i} of block {block}: {fast} but {slow}", source.name()
                );
            }
        }
    }

    #[test]
    fn every_half_has_its_value() {
        for bits in 0..=u16::MAX {
            let (fast, slow) = (f32_from_f16(bits), slow_half(bits));
            assert!(
                fast.to_bits() == slow.to_bits() || fast.is_nan() && slow.is_nan(),
                "{bits:#x}"
            );
        }
    }

    /// Values of `gguf-py` 0.19's `quants.dequantize` for a block of bytes `(37 i + 11) mod 256`
    /// with scales 0.5 and 0.25: some of them, and the sum of all, each times its place.
    #[test]
    fn every_block_type_equals_the_values_of_gguf_py() {
        type Golden = (SourceType, &'static [usize], [f32; 4], f64);
        let golden: [Golden; 12] = [
            (Q8_0, &[0], [42.5, 61.0, -45.5, -24.0], -4040.0),
            (Q4_0, &[0], [-1.5, 1.0, -1.5, 0.0], -259.0),
            (Q4_1, &[0, 2], [7.75, 2.25, 4.75, 6.25], 2123.5),
            (Q5_0, &[0], [4.5, -1.0, 7.0, 0.5], 56.0),
            (Q5_1, &[0, 2], [9.75, 12.25, 9.75, 2.75], 4082.5),
            (Q2_K, &[80, 82], [16.5, 0.0, 3.75, 2.25], 121_565.0),
            (Q3_K, &[108], [40.5, -54.0, 1.0, 21.0], 88_572.5),
            (Q4_K, &[0, 2], [157.75, -12.75, 211.5, 24.25], 3_786_420.0),
            (Q5_K, &[0, 2], [405.75, -12.75, 523.5, 54.25], 8_013_724.0),
            (Q6_K, &[208], [-715.5, 848.0, -175.5, -30.0], 392_210.0),
            (TQ1_0, &[52], [-0.5, -0.5, 0.0, -0.5], -65.5),
            (TQ2_0, &[64], [1.0, -0.5, 1.0, -0.5], 8622.5),
        ];
        for (source, scales, some, sum) in golden {
            let mut block: Vec<u8> = (0..source.block_bytes())
                .map(|i| ((i * 37 + 11) % 256) as u8)
                .collect();
            for (&at, half) in scales.iter().zip([0x3800_u16, 0x3400]) {
                block[at..at + 2].copy_from_slice(&half.to_le_bytes());
            }
            let n = source.block_values();
            let mut y = vec![0.0; n];
            dequantize(source, &block, &mut y);
            assert_eq!([y[0], y[1], y[n / 2], y[n - 1]], some, "{}", source.name());
            let found: f64 = y
                .iter()
                .zip(1_u32..)
                .map(|(&v, i)| f64::from(v) * f64::from(i))
                .sum();
            assert_eq!(found, sum, "{}", source.name());
        }
    }

    #[test]
    fn sizes_are_whole_blocks() {
        assert_eq!(Q4_1.bytes(2, 64), Some(80));
        assert_eq!(Q4_1.bytes(2, 65), None);
        assert_eq!(Q6_K.bytes(u64::MAX, 256), None);
        assert_eq!(SourceType::from_ggml(23), Err("IQ4_XS".to_owned()));
        assert_eq!(
            SourceType::LIST,
            SourceType::ALL.map(SourceType::name).join(", ")
        );
    }
}
