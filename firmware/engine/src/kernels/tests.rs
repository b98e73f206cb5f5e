//! Every level against the definition, on random data, all lengths, and extreme values.

use super::*;
use crate::encoding::Width;
use crate::matrix::level;
use std::vec;
use std::vec::Vec;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// Between -1 and 1, now and then an outlier.
    fn float(&mut self) -> f32 {
        let x = (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        if self.next().is_multiple_of(97) {
            x * 300.0
        } else {
            x
        }
    }
}

/// Random bytes that are a valid tensor: halves are finite, masks keep what the row holds.
fn random_matrix(
    random: &mut Random,
    encoding: Encoding,
    rows: usize,
    cols: usize,
    kept: usize,
) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..encoding.bytes(rows, cols, kept))
        .map(|_| random.byte())
        .collect();
    let half = |random: &mut Random| crate::float::f16_from_f32(random.float()).to_le_bytes();
    match encoding {
        Encoding::F32 => bytes
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .for_each(|b| *b = random.float().to_le_bytes()),
        Encoding::F16 => bytes
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .for_each(|b| *b = half(random)),
        Encoding::Dense(_) | Encoding::Ternary => {
            let block = 2 * BLOCK_ROWS + groups(cols) * encoding.record_bytes();
            for block in bytes.chunks_exact_mut(block) {
                block[..16]
                    .as_chunks_mut::<2>()
                    .0
                    .iter_mut()
                    .for_each(|b| *b = half(random));
                if encoding == Encoding::Dense(Width::Eight) {
                    // -128 is not a level.
                    block[16..]
                        .iter_mut()
                        .for_each(|b| *b = (*b).max(1) | u8::from(*b == 128));
                }
            }
        }
        Encoding::Sparse(width) => {
            for row in bytes.chunks_exact_mut(Encoding::sparse_row_bytes(width, cols, kept)) {
                row[..2].copy_from_slice(&half(random));
                let bitmap = &mut row[2 + groups(cols)..][..groups(cols) * 4];
                bitmap.fill(0);
                let mut set = 0;
                while set < kept {
                    let col = random.next() as usize % cols;
                    if bitmap[col / 8] >> (col % 8) & 1 == 0 {
                        bitmap[col / 8] |= 1 << (col % 8);
                        set += 1;
                    }
                }
                if width == Width::Eight {
                    row[2 + groups(cols) * 5..]
                        .iter_mut()
                        .for_each(|b| *b |= u8::from(*b == 128));
                }
            }
        }
    }
    bytes
}

fn product(level: SimdLevel, matrix: &Matrix<'_>, floats: &[f32]) -> Vec<u32> {
    let host = Host {
        level,
        workers: &crate::workers::Serial,
    };
    let (tokens, per_token) = (floats.len() / matrix.cols(), matrix.groups());
    let mut values = vec![0; tokens * per_token * GROUP];
    let mut scales = vec![0.0; tokens * per_token];
    let mut sums = vec![0; tokens * per_token];
    let mut scratch = ActivationScratch {
        values: &mut values,
        scales: &mut scales,
        sums: &mut sums,
    };
    let input = Activations::quantize(matrix.cols(), floats, &mut scratch);
    let mut out = vec![0.0; tokens * matrix.rows()];
    multiply(&host, matrix, &input, &mut out);
    out.into_iter().map(f32::to_bits).collect()
}

#[test]
fn every_level_equals_scalar_to_the_bit() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for encoding in Encoding::ALL {
        for cols in (1..=67).chain([576, 1031]) {
            let (rows, tokens, kept) = (1 + cols % 19, 1 + cols % 6, cols - cols / 3);
            let bytes = random_matrix(&mut random, encoding, rows, cols, kept);
            let matrix = Matrix::new(encoding, rows, cols, kept, &bytes).unwrap();
            let floats: Vec<f32> = (0..tokens * cols).map(|_| random.float()).collect();
            let expected = product(SimdLevel::scalar(), &matrix, &floats);
            for level in SimdLevel::available() {
                assert_eq!(
                    product(level, &matrix, &floats),
                    expected,
                    "{} {encoding:?} {rows}x{cols}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn extreme_values_neither_overflow_nor_differ() {
    for encoding in Encoding::ALL {
        for fill in [0x00, 0x7f, 0x81, 0xff] {
            let (rows, cols) = (8, 2048);
            let mut bytes = vec![fill; encoding.bytes(rows, cols, cols)];
            if encoding == Encoding::Dense(Width::Eight) {
                bytes.iter_mut().for_each(|b| *b |= u8::from(*b == 128));
            }
            if matches!(encoding, Encoding::F32 | Encoding::F16) {
                bytes.fill(0x33);
            }
            if matches!(encoding, Encoding::Dense(_) | Encoding::Ternary) {
                // Largest finite row scale.
                let block = 2 * BLOCK_ROWS + groups(cols) * encoding.record_bytes();
                bytes
                    .chunks_exact_mut(block)
                    .for_each(|b| b[..16].as_chunks_mut::<2>().0.fill([0xff, 0x7b]));
            }
            let matrix = Matrix::new(encoding, rows, cols, cols, &bytes).unwrap();
            let floats: Vec<f32> = (0..cols * 5)
                .map(|i| if i % 3 == 0 { -1e4 } else { 1e4 })
                .collect();
            let expected = product(SimdLevel::scalar(), &matrix, &floats);
            for level in SimdLevel::available() {
                assert_eq!(
                    product(level, &matrix, &floats),
                    expected,
                    "{} {encoding:?} {fill:#x}",
                    level.name()
                );
            }
        }
    }
}

/// The product is that of the dequantized weights with the activations, up to their int8 rounding.
#[test]
fn products_are_those_of_the_dequantized_weights() {
    let mut random = Random(77);
    for encoding in Encoding::ALL {
        let (rows, cols, kept) = (11, 160, 90);
        let bytes = random_matrix(&mut random, encoding, rows, cols, kept);
        let matrix = Matrix::new(encoding, rows, cols, kept, &bytes).unwrap();
        let floats: Vec<f32> = (0..cols)
            .map(|i| {
                if i % 5 == 0 {
                    127.0
                } else {
                    (random.byte() % 100).into()
                }
            })
            .collect();
        let out = product(SimdLevel::scalar(), &matrix, &floats);
        for (row, out) in out.into_iter().enumerate() {
            let mut weights = vec![0.0; cols];
            matrix.dequantize_row(row, &mut weights);
            // The activations are integers up to 127 with 127 in each group: int8 holds them exactly.
            let exact: f64 = weights
                .iter()
                .zip(&floats)
                .map(|(w, x)| f64::from(*w) * f64::from(*x))
                .sum();
            let size: f64 = weights
                .iter()
                .zip(&floats)
                .map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs())
                .sum();
            let found = f64::from(f32::from_bits(out));
            assert!(
                (found - exact).abs() <= size * 1e-5 + 1e-30,
                "{encoding:?} row {row}: {found}, not {exact}"
            );
        }
    }
}

#[test]
fn levels_stay_in_their_range() {
    let check = |encoding, fill: u8, expected: i16| {
        let mut record = vec![fill; encoding_record(encoding)];
        if encoding.has_zero_point() {
            record[BLOCK_ROWS..2 * BLOCK_ROWS].fill(3);
        }
        for (lane, col) in [(0, 0), (7, 31), (3, 17)] {
            assert_eq!(
                level(encoding, &record, lane, col),
                expected,
                "{encoding:?} {fill:#x}"
            );
        }
    };
    check(Encoding::Dense(Width::One), 0x00, -1);
    check(Encoding::Dense(Width::One), 0xff, 1);
    check(Encoding::Ternary, 0x00, -1);
    check(Encoding::Ternary, 0xaa, 1);
    check(Encoding::Dense(Width::Two), 0xff, 45);
    check(Encoding::Dense(Width::Three), 0xff, 109);
    check(Encoding::Dense(Width::Four), 0xff, 237);
    check(Encoding::Dense(Width::Five), 0xff, 15);
    check(Encoding::Dense(Width::Five), 0x00, -16);
    check(Encoding::Dense(Width::Six), 0xff, 31);
    check(Encoding::Dense(Width::Eight), 0x81, -127);
}

fn encoding_record(encoding: Encoding) -> usize {
    encoding.record_bytes()
}

#[test]
fn attention_is_the_same_on_every_level_and_weighs_values_by_softmax() {
    let mut random = Random(5);
    let (heads, kv_heads, head_dim, context, tokens, position) = (4, 2, 24, 40, 3, 30);
    let cache = |random: &mut Random| -> Vec<u16> {
        (0..kv_heads * context * head_dim)
            .map(|_| crate::float::f16_from_f32(random.float() / 30.0))
            .collect()
    };
    let (keys, values) = (cache(&mut random), cache(&mut random));
    let queries: Vec<f32> = (0..tokens * heads * head_dim)
        .map(|_| random.float())
        .collect();
    let run = |level| {
        let a = Attention {
            heads,
            kv_heads,
            head_dim,
            context,
            position,
            keys: &keys,
            values: &values,
        };
        let (mut scores, mut out) = (vec![0.0; heads * context], vec![0.0; queries.len()]);
        attend(
            &Host {
                level,
                workers: &crate::workers::Serial,
            },
            &a,
            &queries,
            &mut scores,
            &mut out,
        );
        out
    };
    let out = run(SimdLevel::scalar());
    for level in SimdLevel::available() {
        assert_eq!(run(level), out, "{}", level.name());
    }
    // The slow obvious version, for the last head of the last token.
    let (head, token) = (heads - 1, tokens - 1);
    let query = &queries[(token * heads + head) * head_dim..][..head_dim];
    let at = |cache: &[u16], i: usize, d: usize| {
        f64::from(crate::float::f32_from_f16(
            cache[(context + i) * head_dim + d],
        ))
    };
    let weights: Vec<f64> = (0..=position + token)
        .map(|i| {
            ((0..head_dim)
                .map(|d| at(&keys, i, d) * f64::from(query[d]))
                .sum::<f64>()
                / (head_dim as f64).sqrt())
            .exp()
        })
        .collect();
    for d in 0..head_dim {
        let exact = weights
            .iter()
            .enumerate()
            .map(|(i, w)| w * at(&values, i, d))
            .sum::<f64>()
            / weights.iter().sum::<f64>();
        assert!((f64::from(out[(token * heads + head) * head_dim + d]) - exact).abs() < 1e-4);
    }
}
