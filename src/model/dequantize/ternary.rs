//! -1, 0 and 1 with one scale for 256 values: llama.cpp's TQ1_0 and TQ2_0.
//!
//! The engine's own ternary weights have one scale a row, times 1 to 16 for each 64 columns: they hold
//! such a tensor exactly where the blocks of each row allow it, as those of models that were trained
//! with one scale for all do. Floats of 16 bits always hold it, since each value is a scale or none.

use super::half;

/// Five trits in a byte: those of value i, i + 32 and so on in bytes 0 to 31, of i + 16 and so on in
/// bytes 32 to 47; four in each of bytes 48 to 51; d.
pub(super) fn tq1_0(b: &[u8], y: &mut [f32]) {
    let d = half(b, 52);
    let (first, rest) = y.split_at_mut(160);
    let (second, last) = rest.split_at_mut(80);
    layers(&b[..32], d, first);
    layers(&b[32..48], d, second);
    layers(&b[48..52], d, last);
}

/// One trit of each byte after the other, the most significant first.
///
/// A byte is the fraction `n / 243` of 256, rounded up; multiplied by 3 it carries the first digit of
/// `n` in base 3 out of its eight bits.
fn layers(bytes: &[u8], d: f32, y: &mut [f32]) {
    let mut power = 1_u8;
    for y in y.chunks_exact_mut(bytes.len()) {
        for (y, byte) in y.iter_mut().zip(bytes) {
            let trit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
            *y = (f32::from(trit) - 1.0) * d;
        }
        power = power.wrapping_mul(3);
    }
}

/// 64 bytes of pairs of bits: four layers of 32 values in each 32 bytes; d.
pub(super) fn tq2_0(b: &[u8], y: &mut [f32]) {
    let d = half(b, 64);
    for (i, y) in y.iter_mut().enumerate() {
        let (part, layer, place) = (i / 128, i % 128 / 32, i % 32);
        let code = b[part * 32 + place] >> (2 * layer) & 3;
        *y = (f32::from(code) - 1.0) * d;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks_exact(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    /// 256 values `((7 i² + 3 i) mod 11 - 5) x 0.03` through llama.cpp's `ggml_quantize_chunk`, and
    /// what its `to_float` makes of them.
    #[test]
    fn blocks_of_llama_cpp_have_its_values() {
        let check = |decode: fn(&[u8], &mut [f32]), hex: &str| {
            let mut y = vec![0.0; 256];
            decode(&bytes(hex), &mut y);
            let signs = b"-+-0000-+-0".iter().cycle();
            for (y, sign) in y.into_iter().zip(signs) {
                let expected = match sign {
                    b'+' => 0.150_024_41,
                    b'-' => -0.150_024_41,
                    _ => 0.0,
                };
                assert_eq!(y, expected);
            }
        };
        check(
            tq1_0,
            "23b73d6a797e7f2bb93e6a23b73d6a797e7f2bb93e6a23b73d6a797e7f2bb93e\
             6444b330782acc1791667d6444b330780d7236c8cd30",
        );
        check(
            tq2_0,
            "8412482185155554524821841248218515555452482184124821851555545248\
             5452482184124821851555545248218412482185155554524821841248218515cd30",
        );
    }
}
