//! Floats in, the engine's bytes out.
//!
//! A row whose weights all lie on a grid of its encoding, as training for low bits leaves them, is
//! stored without error; any other is rounded to nearest, against the scales that were stored.

use super::scales::{GroupScale, Scales, Zeros, byte, nearest};
use super::{exact, prune};
use engine::codes::{Pick, write_code, write_pick, write_trits, write_value};
use engine::encoding::{BLOCK_ROWS, Encoding, GROUP, Record, Width};
use engine::float::f16_from_f32;
use rayon::prelude::*;

/// Encodes a matrix `[rows, cols]`, row-major, of which each row keeps `kept` weights.
///
/// The same input gives the same bytes on any number of threads. Twins of llama.cpp's formats are
/// not made of floats: `compress/twin.rs` makes them of the bytes of the source.
#[must_use]
pub fn encode(encoding: Encoding, cols: usize, kept: usize, weights: &[f32]) -> Vec<u8> {
    let rows = weights.len() / cols;
    let mut bytes = vec![0; encoding.bytes(rows, cols, kept)];
    if bytes.is_empty() {
        return bytes;
    }
    match encoding {
        Encoding::F32 => bytes
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(weights)
            .for_each(|(b, w)| *b = w.to_le_bytes()),
        Encoding::F16 => {
            let per_row = bytes
                .par_chunks_exact_mut(2 * cols)
                .zip(weights.par_chunks_exact(cols));
            per_row.for_each(|(bytes, row)| {
                let mut row = row.to_vec();
                prune::magnitude(&mut row, kept);
                bytes
                    .as_chunks_mut::<2>()
                    .0
                    .iter_mut()
                    .zip(row)
                    .for_each(|(b, w)| *b = f16_from_f32(w).to_le_bytes());
            });
        }
        Encoding::Dense(_) | Encoding::Ternary | Encoding::OneOfFour | Encoding::Sparse(_) => {
            let Some(record) = encoding.record() else {
                return bytes;
            };
            let blocks = bytes
                .par_chunks_exact_mut(encoding.block_bytes(cols, kept))
                .zip(weights.par_chunks(BLOCK_ROWS * cols));
            blocks.for_each(|(bytes, rows)| {
                let mut block = Block {
                    encoding,
                    record,
                    cols,
                    zeros: if kept < cols {
                        Zeros::Needed
                    } else {
                        Zeros::Rounded
                    },
                    bytes,
                };
                let mut kept_codes = vec![Vec::new(); cols.div_ceil(4)];
                for (lane, row) in rows.chunks_exact(cols).enumerate() {
                    let mut row = row.to_vec();
                    // A kept weight may be zero: what a sparse row keeps is told by its place.
                    let columns = match encoding.sparse_width() {
                        Some(_) => prune::kept_columns(&row, kept),
                        None => Vec::new(),
                    };
                    if encoding == Encoding::OneOfFour {
                        prune::one_of_four(&mut row);
                    } else {
                        prune::magnitude(&mut row, kept);
                    }
                    block.encode_row(lane, &row, &columns, &mut kept_codes);
                }
                if let Some(width) = encoding.sparse_width() {
                    block.write_values(width, kept, &kept_codes);
                }
            });
        }
        Encoding::Twin(_) => {}
    }
    bytes
}

/// Sixteen rows on their way into bytes.
struct Block<'a> {
    encoding: Encoding,
    record: Record,
    cols: usize,
    zeros: Zeros,
    bytes: &'a mut [u8],
}

/// Codes kept in four columns of a block, in the order of rows and columns.
type KeptCodes = [Vec<u8>];

impl Block<'_> {
    /// Columns that share a scale.
    fn scaled_cols(&self) -> usize {
        self.record.groups * GROUP
    }

    /// The header of the record with this column, and the bytes of its group.
    fn parts(&mut self, col: usize) -> (&mut [u8], &mut [u8]) {
        let at = self.encoding.row_scale_bytes() + col / self.scaled_cols() * self.record.bytes();
        let group = col % self.scaled_cols() / GROUP * self.record.group;
        let record = &mut self.bytes[at..at + self.record.bytes()];
        let (header, groups) = record.split_at_mut(self.record.header);
        (header, &mut groups[group..group + self.record.group])
    }

    fn encode_row(
        &mut self,
        lane: usize,
        row: &[f32],
        columns: &[usize],
        kept_codes: &mut KeptCodes,
    ) {
        let encoding = self.encoding;
        let width = self.scaled_cols();
        let scales = exact::scales(encoding, width, row, columns)
            .unwrap_or_else(|| nearest(encoding, width, self.zeros, row));
        self.write_scales(lane, &scales);
        let mut columns = columns.iter().copied().peekable();
        for (index, (part, group)) in row.chunks(width).zip(&scales.groups).enumerate() {
            let start = index * width;
            let step = scales.step(encoding, *group);
            let positions: Vec<f32> = part
                .iter()
                .map(|w| if step > 0.0 { w / step } else { 0.0 })
                .collect();
            match encoding {
                Encoding::Dense(width) => {
                    for (number, positions) in positions.chunks(GROUP).enumerate() {
                        let (_, codes) = self.parts(start + number * GROUP);
                        for (col, position) in positions.iter().enumerate() {
                            let code = dense_code(width, *position, *group);
                            write_code(codes, width, lane, col, code);
                        }
                    }
                }
                Encoding::Ternary => {
                    let trit = |i: usize| {
                        let position = positions.get(i).copied().unwrap_or(0.0);
                        byte((position + 1.0).round().clamp(0.0, 2.0))
                    };
                    for first in (0..part.len()).step_by(GROUP) {
                        for col in 0..4 {
                            let trits = std::array::from_fn(|i| trit(first + 4 * i + col));
                            write_trits(self.parts(start + first).1, lane, col, trits);
                        }
                    }
                }
                Encoding::OneOfFour => {
                    for (chunk, four) in part.chunks(4).enumerate() {
                        let column = four.iter().position(|w| *w != 0.0).unwrap_or(0);
                        let is_negative = four[column] < 0.0;
                        let pick = Pick {
                            column,
                            is_negative,
                        };
                        let (_, codes) = self.parts(start + 4 * chunk);
                        write_pick(codes, lane, chunk % (GROUP / 4), pick);
                    }
                }
                Encoding::Sparse(width) => {
                    while let Some(col) = columns.next_if(|col| *col < start + part.len()) {
                        let code = kept_code(width, positions[col - start]);
                        kept_codes[col / 4].push(code);
                        let place = 4 * lane + col % 4;
                        let (_, bitmap) = self.parts(col);
                        bitmap[col % GROUP / 4 * 8 + place / 8] |= 1 << (place % 8);
                    }
                }
                Encoding::F32 | Encoding::F16 | Encoding::Twin(_) => {}
            }
        }
    }

    /// Stores the scales of a row, and zero points where there are any.
    fn write_scales(&mut self, lane: usize, scales: &Scales) {
        self.bytes[2 * lane..2 * lane + 2].copy_from_slice(&scales.row.to_le_bytes());
        let encoding = self.encoding;
        let width = self.scaled_cols();
        for (index, group) in scales.groups.iter().enumerate() {
            let (header, _) = self.parts(index * width);
            match encoding {
                Encoding::Ternary => header[lane % 8] |= (group.scale - 1) << (lane / 8 * 4),
                Encoding::F32
                | Encoding::F16
                | Encoding::Dense(_)
                | Encoding::OneOfFour
                | Encoding::Sparse(_)
                | Encoding::Twin(_) => header[lane] = group.scale,
            }
            if encoding.has_zero_point() {
                header[BLOCK_ROWS + lane] = group.zero_point;
            }
        }
    }

    /// Writes the values of all rows behind the records, four columns after four columns.
    fn write_values(&mut self, width: Width, kept: usize, kept_codes: &KeptCodes) {
        let records = self.cols.div_ceil(self.scaled_cols()) * self.record.bytes();
        let at = self.encoding.row_scale_bytes() + records;
        let values = &mut self.bytes[at..];
        for (index, code) in kept_codes.iter().flatten().enumerate() {
            write_value(values, width, BLOCK_ROWS * kept, index, *code);
        }
    }
}

/// The code nearest to `position` steps from zero.
fn dense_code(width: Width, position: f32, group: GroupScale) -> u8 {
    let code = |zero: f32, low: f32, top: f32| byte((position + zero).round().clamp(low, top));
    match width {
        Width::One => u8::from(position >= 0.0),
        Width::Two | Width::Three | Width::Four => {
            let top = f32::from((1u8 << width.bits()) - 1);
            code(f32::from(group.zero_point) / 16.0, 0.0, top)
        }
        Width::Five => code(16.0, 0.0, 31.0),
        Width::Six => code(32.0, 0.0, 63.0),
        // -128 is not a level.
        Width::Eight => code(128.0, 1.0, 255.0),
    }
}

/// The code of a kept weight. Levels are odd, so that none is zero: code c stands for 2c - top.
fn kept_code(width: Width, position: f32) -> u8 {
    match width {
        Width::Eight => byte((position + 128.0).round().clamp(1.0, 255.0)),
        Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => {
            let top = f32::from((1u8 << width.bits()) - 1);
            byte(((position + top) / 2.0).round().clamp(0.0, top))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::matrix::Matrix;

    /// Smooth, signed, of very different size from group to group.
    fn weights(rows: usize, cols: usize) -> Vec<f32> {
        (0..rows * cols)
            .map(|i| {
                let x = i as f32;
                (x * 0.7).sin() * (1.0 + (x / 50.0).cos().abs() * 3.0) * 0.02
                    + (x * 1.3).cos() * 0.004
            })
            .collect()
    }

    fn error(encoding: Encoding, rows: usize, cols: usize, kept: usize) -> (f64, usize) {
        let weights = weights(rows, cols);
        let bytes = encode(encoding, cols, kept, &weights);
        let matrix = Matrix::new(encoding, rows, cols, kept, &bytes).unwrap();
        let (mut error, mut size, mut zeros) = (0.0, 0.0, 0);
        let mut row = vec![0.0; cols];
        for (i, weights) in weights.chunks_exact(cols).enumerate() {
            matrix.dequantize_row(i, &mut row);
            for (w, q) in weights.iter().zip(&row) {
                error += f64::from(w - q).powi(2);
                size += f64::from(*w).powi(2);
                zeros += usize::from(*q == 0.0);
            }
        }
        (error / size, zeros)
    }

    #[test]
    fn each_bit_more_costs_less_error() {
        let dense = |width| error(Encoding::Dense(width), 13, 200, 200).0;
        let errors: Vec<f64> = Width::ALL.into_iter().map(dense).collect();
        assert!(errors.windows(2).all(|e| e[1] < e[0] * 0.6), "{errors:?}");
        // A step of range / 15 rounded to nearest leaves step² / 12.
        assert!(dense(Width::Four) < 0.006, "{}", dense(Width::Four));
        assert!(dense(Width::Eight) < 3e-5, "{}", dense(Width::Eight));
        assert!(error(Encoding::F16, 3, 40, 40).0 < 1e-7);
    }

    #[test]
    fn pruned_weights_are_exactly_zero_in_every_encoding() {
        let (rows, cols, kept) = (9, 96, 24);
        for encoding in Encoding::ALL {
            // Floats of 32 bits are never pruned, signs have no zero, twins are not made here.
            if matches!(
                encoding,
                Encoding::F32 | Encoding::Dense(Width::One) | Encoding::Twin(_)
            ) {
                continue;
            }
            let (error, zeros) = error(encoding, rows, cols, kept);
            assert!(zeros >= rows * (cols - kept), "{encoding:?}: {zeros} zeros");
            assert!(error < 0.8, "{encoding:?}: {error}");
        }
    }

    #[test]
    fn sparse_values_have_the_precision_of_their_width() {
        let sparse = |width| error(Encoding::Sparse(width), 7, 160, 160).0;
        assert!(sparse(Width::One) < 0.4);
        assert!(
            sparse(Width::Four) < sparse(Width::Three) && sparse(Width::Three) < sparse(Width::Two)
        );
        assert!(sparse(Width::Eight) < 3e-5);
    }

    #[test]
    fn odd_values_do_not_panic() {
        for encoding in Encoding::ALL {
            for value in [0.0, f32::NAN, f32::INFINITY, -1e30, 1e-40] {
                let bytes = encode(encoding, 40, 40, &[value; 40]);
                assert_eq!(bytes.len(), encoding.bytes(1, 40, 40));
            }
        }
    }
}
