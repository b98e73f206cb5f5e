//! Any bytes as a matrix: read row by row, multiplied at every SIMD level with the same bits.
//!
//! The input is a header (encoding u8, rows, cols and kept u16, tokens u8, form of the activations
//! u8, bytes of the activations u16), the activations, and the matrix; both are repeated up to the
//! length that the shape takes.

use super::bits::{Numbers, bits, repeated};
use engine::encoding::{Encoding, GROUP};
use engine::kernels::{ActivationScratch, Activations, multiply};
use engine::matrix::Matrix;
use engine::workers::{Host, Serial, SimdLevel};

/// A block and a half at most, and a task and a half.
const MOST_ROWS: usize = 56;
/// More than a record of each encoding.
const MOST_COLS: usize = 600;
/// More than the block kernels take at once.
const MOST_TOKENS: usize = 20;

/// Reads and multiplies the matrix of these bytes.
///
/// # Panics
/// When a level differs from the scalar one, or a wrong length is accepted.
pub fn check(data: &[u8]) {
    let mut numbers = Numbers::new(data);
    let encoding = Encoding::ALL[usize::from(numbers.byte()) % Encoding::ALL.len()];
    let rows = 1 + numbers.below(MOST_ROWS);
    let cols = 1 + numbers.below(MOST_COLS);
    let kept = numbers.below(cols + 1);
    let tokens = 1 + usize::from(numbers.byte()) % MOST_TOKENS;
    let form = numbers.byte();
    let activation_bytes = numbers.below(512);
    let activations = numbers.take(activation_bytes);
    let floats = floats(form, activations, tokens * cols);
    let bytes = repeated(numbers.rest(), encoding.bytes(rows, cols, kept));

    assert!(Matrix::new(encoding, rows, cols, kept, &bytes[1..]).is_err());
    assert!(Matrix::new(encoding, rows, cols, cols + 1, &bytes).is_err());
    let matrix = Matrix::new(encoding, rows, cols, kept, &bytes).expect("as long as its shape");
    let mut row = vec![0.0; cols];
    (0..rows).for_each(|r| matrix.dequantize_row(r, &mut row));
    let expected = product(SimdLevel::scalar(), &matrix, &floats);
    for level in SimdLevel::available() {
        let found = product(level, &matrix, &floats);
        let differs = (0..found.len()).find(|i| found[*i] != expected[*i]);
        assert!(
            differs.is_none(),
            "{} {encoding:?} [{rows}, {cols}] kept {kept}, {tokens} tokens: differs at {differs:?}",
            level.name()
        );
    }
}

/// Activations: any floats, or small ones, or small integers.
fn floats(form: u8, pattern: &[u8], len: usize) -> Vec<f32> {
    match form % 3 {
        0 => {
            let bytes = repeated(pattern, 4 * len);
            let (words, _) = bytes.as_chunks();
            words.iter().map(|w| f32::from_le_bytes(*w)).collect()
        }
        1 => {
            let bytes = repeated(pattern, 2 * len);
            let (words, _) = bytes.as_chunks();
            let small = |w: &[u8; 2]| f32::from(i16::from_le_bytes(*w)) / 4096.0;
            words.iter().map(small).collect()
        }
        _ => repeated(pattern, len)
            .into_iter()
            .map(|b| f32::from(b.cast_signed()))
            .collect(),
    }
}

fn product(level: SimdLevel, matrix: &Matrix<'_>, floats: &[f32]) -> Vec<u32> {
    let workers = &Serial;
    let host = Host { level, workers };
    let tokens = floats.len() / matrix.cols();
    let groups = tokens * matrix.groups();
    let (mut values, mut scales, mut sums) =
        (vec![0; groups * GROUP], vec![0.0; groups], vec![0; groups]);
    let mut scratch = ActivationScratch {
        values: &mut values,
        scales: &mut scales,
        sums: &mut sums,
    };
    let input = Activations::quantize_on(&host, matrix.cols(), floats, &mut scratch);
    let mut out = vec![0.0; tokens * matrix.rows()];
    multiply(&host, matrix, &input, &mut out);
    bits(&out)
}

/// One input for each encoding.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let one = |(number, encoding): (u8, Encoding)| {
        // [18, 70], 35 kept, 5 tokens of small floats from 40 bytes.
        let mut seed = vec![number, 17, 0, 69, 0, 35, 0, 4, 1, 40, 0];
        seed.extend((0..40u8).map(|i| i.wrapping_mul(37)));
        // Finite halves, codes of all kinds.
        seed.extend((0..96u8).map(|i| match i % 2 {
            0 => i.wrapping_mul(89),
            _ => 0x30 | i.wrapping_mul(53) & 0x87,
        }));
        (encoding.name().to_owned(), seed)
    };
    (0..).zip(Encoding::ALL).map(one).collect()
}
