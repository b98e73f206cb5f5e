//! Every level against the definition, on random data, all lengths, and extreme values.

use super::*;
use crate::encoding::Width;
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

/// Random bytes that are a valid tensor: halves are finite, masks keep what the rows hold.
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
    let halves = |random: &mut Random, bytes: &mut [u8]| {
        let (halves, _) = bytes.as_chunks_mut::<2>();
        halves.iter_mut().for_each(|b| *b = half(random));
    };
    let Some(record) = encoding.record() else {
        match encoding {
            Encoding::F32 => {
                let (floats, _) = bytes.as_chunks_mut::<4>();
                floats
                    .iter_mut()
                    .for_each(|b| *b = random.float().to_le_bytes());
            }
            _ => halves(random, &mut bytes),
        }
        return bytes;
    };
    let row_scales = encoding.row_scale_bytes();
    let records = groups(cols).div_ceil(record.groups);
    for block in bytes.chunks_exact_mut(encoding.block_bytes(cols, kept)) {
        halves(random, &mut block[..row_scales]);
        for record_bytes in block[row_scales..]
            .chunks_exact_mut(record.bytes())
            .take(records)
        {
            if let Encoding::Twin(_) = encoding {
                halves(random, &mut record_bytes[..record.header]);
            }
            if let Encoding::Sparse(_) = encoding {
                record_bytes[record.header..].fill(0);
            }
        }
        if let Encoding::Sparse(_) = encoding {
            for lane in 0..BLOCK_ROWS {
                let mut set = 0;
                while set < kept {
                    let col = random.next() as usize % cols;
                    let (group, place) = (col / GROUP, lane * 4 + col % 4);
                    let at = row_scales
                        + group / record.groups * record.bytes()
                        + record.header
                        + group % record.groups * record.group
                        + col % GROUP / 4 * 8;
                    let byte = &mut block[at + place / 8];
                    if *byte >> (place % 8) & 1 == 0 {
                        *byte |= 1 << (place % 8);
                        set += 1;
                    }
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
    // Which of its many forms "not a number" takes is up to the processor.
    let form = |x: f32| if x.is_nan() { f32::NAN } else { x }.to_bits();
    out.into_iter().map(form).collect()
}

#[test]
fn every_level_equals_scalar_to_the_bit() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for encoding in Encoding::ALL {
        for cols in (1..=67).chain([576, 1031]) {
            let (rows, tokens, kept) = (1 + cols % 37, 1 + cols % 13, cols - cols / 3);
            let bytes = random_matrix(&mut random, encoding, rows, cols, kept);
            let matrix = Matrix::new(encoding, rows, cols, kept, &bytes).unwrap();
            let floats: Vec<f32> = (0..tokens * cols).map(|_| random.float()).collect();
            let expected = product(SimdLevel::scalar(), &matrix, &floats);
            for level in SimdLevel::available() {
                assert!(
                    product(level, &matrix, &floats) == expected,
                    "{} {encoding:?} {rows}x{cols}",
                    level.name()
                );
            }
        }
    }
}

/// A file may lie anywhere in memory.
#[test]
fn bytes_that_are_not_aligned_make_no_difference() {
    let mut random = Random(5);
    for encoding in Encoding::ALL {
        let (rows, cols, tokens) = (18, 130, 5);
        let bytes = random_matrix(&mut random, encoding, rows, cols, 64);
        let floats: Vec<f32> = (0..tokens * cols).map(|_| random.float()).collect();
        let at = |start: usize, level| {
            let mut moved = vec![0; start];
            moved.extend(&bytes);
            let matrix = Matrix::new(encoding, rows, cols, 64, &moved[start..]).unwrap();
            product(level, &matrix, &floats)
        };
        let expected = at(0, SimdLevel::scalar());
        for level in SimdLevel::available() {
            for start in 1..4 {
                assert!(
                    at(start, level) == expected,
                    "{} {encoding:?}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn extreme_values_neither_overflow_nor_differ() {
    for encoding in Encoding::ALL {
        for fill in [0x00, 0x7f, 0x80, 0x81, 0xff] {
            let (rows, cols) = (16, 2048);
            let mut bytes = vec![fill; encoding.bytes(rows, cols, cols)];
            if matches!(encoding, Encoding::F32 | Encoding::F16) {
                bytes.fill(0x33);
            }
            if encoding.record().is_some() {
                // Largest finite row scale.
                let scales = &mut bytes[..encoding.row_scale_bytes()];
                scales.as_chunks_mut::<2>().0.fill([0xff, 0x7b]);
            }
            let matrix = Matrix::new(encoding, rows, cols, cols, &bytes).unwrap();
            // Activations of one sign make the largest sums.
            for negative in [1, 3] {
                let floats: Vec<f32> = (0..cols * 11)
                    .map(|i| if i % negative == 0 { -1e4 } else { 1e4 })
                    .collect();
                let expected = product(SimdLevel::scalar(), &matrix, &floats);
                for level in SimdLevel::available() {
                    assert!(
                        product(level, &matrix, &floats) == expected,
                        "{} {encoding:?} {fill:#x}",
                        level.name()
                    );
                }
            }
        }
    }
}

/// A bitmap may claim more values than there are; those are code 0 at every level.
#[test]
fn bitmaps_that_keep_too_much_read_zeros() {
    let mut random = Random(31);
    for width in Width::ALL {
        let encoding = Encoding::Sparse(width);
        for (cols, kept, tokens) in [(64, 1, 1), (576, 30, 3), (1031, 100, 8)] {
            let bytes = vec![random.byte() | 0x55; encoding.bytes(16, cols, kept)];
            let matrix = Matrix::new(encoding, 16, cols, kept, &bytes).unwrap();
            let floats: Vec<f32> = (0..tokens * cols).map(|_| random.float()).collect();
            let expected = product(SimdLevel::scalar(), &matrix, &floats);
            for level in SimdLevel::available() {
                assert!(
                    product(level, &matrix, &floats) == expected,
                    "{} {encoding:?} {cols}",
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
