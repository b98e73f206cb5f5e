//! Round to nearest: floats in, the engine's bytes out.
//!
//! Every group of 32 columns gets a scale so that its extremes are just held; scales are themselves
//! rounded to 8 bits of the row's largest, and the weights are rounded against what was stored.

use super::prune;
use engine::encoding::{BLOCK_ROWS, Encoding, GROUP, Width};
use engine::float::{f16_from_f32, f32_from_f16};
use engine::matrix::{plane_byte, scale_unit};
use rayon::prelude::*;

/// Encodes a matrix `[rows, cols]`, row-major, of which each row keeps `kept` weights.
///
/// The same input gives the same bytes on any number of threads.
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
        Encoding::Dense(_) | Encoding::Ternary => {
            let block_bytes = encoding.bytes(BLOCK_ROWS, cols, kept);
            let blocks = bytes
                .par_chunks_exact_mut(block_bytes)
                .zip(weights.par_chunks(BLOCK_ROWS * cols));
            blocks.for_each(|(block, rows)| {
                for (lane, row) in rows.chunks_exact(cols).enumerate() {
                    let mut row = row.to_vec();
                    prune::magnitude(&mut row, kept);
                    encode_dense_row(encoding, &row, kept < cols, lane, block);
                }
            });
        }
        Encoding::Sparse(width) => {
            let row_bytes = encoding.bytes(1, cols, kept);
            let per_row = bytes
                .par_chunks_exact_mut(row_bytes)
                .zip(weights.par_chunks_exact(cols));
            per_row.for_each(|(bytes, row)| encode_sparse_row(width, row, kept, bytes));
        }
    }
    bytes
}

/// The grid of one group before rounding: the step, and the code that stands for zero.
#[derive(Clone, Copy)]
struct Grid {
    step: f32,
    zero: f32,
}

fn encode_dense_row(
    encoding: Encoding,
    row: &[f32],
    has_zeros: bool,
    lane: usize,
    block: &mut [u8],
) {
    let grids: Vec<Grid> = row
        .chunks(GROUP)
        .map(|group| grid(encoding, group))
        .collect();
    let row_scale = row_scale(encoding, grids.iter().map(|g| g.step));
    block[2 * lane..2 * lane + 2].copy_from_slice(&row_scale.to_le_bytes());
    let unit = f32_from_f16(row_scale) * scale_unit(encoding);
    let header = BLOCK_ROWS * if encoding.has_zero_point() { 2 } else { 1 };
    // Zero points count sixteenths, and levels beside them too: one code is 16 of them.
    let code_step = if encoding.has_zero_point() { 16.0 } else { 1.0 };
    let record_bytes = (block.len() - 2 * BLOCK_ROWS) / row.len().div_ceil(GROUP);
    let records = block[2 * BLOCK_ROWS..].chunks_exact_mut(record_bytes);
    for ((group, grid), record) in row.chunks(GROUP).zip(grids).zip(records) {
        let group_scale = group_scale(grid.step, unit * code_step);
        record[lane] = group_scale;
        let step = unit * code_step * f32::from(group_scale);
        let zero = if encoding.has_zero_point() {
            // With pruned weights zero must be one of the codes.
            let sixteenths = if has_zeros {
                grid.zero.round() * 16.0
            } else {
                grid.zero * 16.0
            };
            let zero = byte(sixteenths.round());
            record[BLOCK_ROWS + lane] = zero;
            f32::from(zero) / 16.0
        } else {
            grid.zero
        };
        for (col, weight) in group.iter().enumerate() {
            let position = if step > 0.0 { weight / step } else { 0.0 };
            put_code(encoding, &mut record[header..], lane, col, position, zero);
        }
        // Columns past the end meet activations that are zero; any code will do.
    }
}

/// The grid that just holds a group.
fn grid(encoding: Encoding, group: &[f32]) -> Grid {
    let magnitudes = || group.iter().map(|w| w.abs());
    let largest = magnitudes().fold(0.0, f32::max);
    let symmetric = |top: f32, zero: f32| Grid {
        step: largest / top,
        zero,
    };
    match encoding {
        Encoding::Dense(Width::One) => Grid {
            step: mean(magnitudes()),
            zero: 0.5,
        },
        // Ternary weight networks (Li et al. 2016, arXiv:1605.04711): what is above 0.7 of the mean
        // magnitude keeps a sign, at the mean of those; pruned weights are not counted.
        Encoding::Ternary => {
            let threshold = 0.7 * mean(magnitudes().filter(|m| *m > 0.0));
            Grid {
                step: mean(magnitudes().filter(|m| *m > threshold)),
                zero: 1.0,
            }
        }
        Encoding::Dense(Width::Five) => symmetric(15.0, 16.0),
        Encoding::Dense(Width::Six) => symmetric(31.0, 32.0),
        Encoding::Dense(Width::Eight) => symmetric(127.0, 0.0),
        Encoding::Dense(width @ (Width::Two | Width::Three | Width::Four)) => {
            let top = f32::from((1u8 << width.bits()) - 1);
            let low = group.iter().copied().fold(0.0, f32::min);
            let high = group.iter().copied().fold(0.0, f32::max);
            let step = (high - low) / top;
            Grid {
                step,
                zero: if step > 0.0 { -low / step } else { 0.0 },
            }
        }
        Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) => Grid {
            step: 0.0,
            zero: 0.0,
        },
    }
}

/// Writes the code nearest to `position` steps from zero.
fn put_code(
    encoding: Encoding,
    values: &mut [u8],
    lane: usize,
    col: usize,
    position: f32,
    zero: f32,
) {
    let code = |top: f32| byte((position + zero).round().clamp(0.0, top));
    let mut put = |at: usize, bits: usize, code: u8| {
        let (byte, shift) = plane_byte(col, lane, bits);
        values[at + byte] |= code << shift;
    };
    match encoding {
        Encoding::Dense(Width::One) => put(0, 1, u8::from(position >= 0.0)),
        Encoding::Ternary => put(0, 2, code(2.0)),
        Encoding::Dense(Width::Two) => put(0, 2, code(3.0)),
        Encoding::Dense(Width::Three) => {
            put(0, 2, code(7.0) & 3);
            put(64, 1, code(7.0) >> 2);
        }
        Encoding::Dense(Width::Four) => put(0, 4, code(15.0)),
        Encoding::Dense(Width::Five) => {
            put(0, 4, code(31.0) & 15);
            put(128, 1, code(31.0) >> 4);
        }
        Encoding::Dense(Width::Six) => {
            put(0, 4, code(63.0) & 15);
            put(128, 2, code(63.0) >> 4);
        }
        Encoding::Dense(Width::Eight) => put(0, 8, signed_byte(position)),
        Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) => {}
    }
}

fn encode_sparse_row(width: Width, row: &[f32], kept: usize, bytes: &mut [u8]) {
    let encoding = Encoding::Sparse(width);
    let columns = prune::kept_columns(row, kept);
    let groups = row.len().div_ceil(GROUP);
    let mut in_group: Vec<Vec<f32>> = vec![Vec::new(); groups];
    columns
        .iter()
        .for_each(|c| in_group[c / GROUP].push(row[*c]));
    let top = match width {
        Width::Eight => 127.0,
        Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => {
            f32::from((1u8 << width.bits()) - 1)
        }
    };
    let steps: Vec<f32> = in_group
        .iter()
        .map(|group| match width {
            Width::One => mean(group.iter().map(|w| w.abs())),
            Width::Two | Width::Three | Width::Four | Width::Five | Width::Six | Width::Eight => {
                group.iter().fold(0.0, |m: f32, w| m.max(w.abs())) / top
            }
        })
        .collect();
    let row_scale = row_scale(encoding, steps.iter().copied());
    let unit = f32_from_f16(row_scale) * scale_unit(encoding);
    let (scale, rest) = bytes.split_at_mut(2);
    let (scales, rest) = rest.split_at_mut(groups);
    let (bitmap, values) = rest.split_at_mut(groups * GROUP / 8);
    scale.copy_from_slice(&row_scale.to_le_bytes());
    scales
        .iter_mut()
        .zip(&steps)
        .for_each(|(s, step)| *s = group_scale(*step, unit));
    for (i, col) in columns.iter().enumerate() {
        bitmap[col / 8] |= 1 << (col % 8);
        let step = unit * f32::from(scales[col / GROUP]);
        let position = if step > 0.0 { row[*col] / step } else { 0.0 };
        let code = match width {
            Width::Eight => signed_byte(position),
            // Levels are odd: code c stands for 2c - top.
            Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => {
                byte(((position + top) / 2.0).round().clamp(0.0, top))
            }
        };
        put_bits(values, i * width as usize, code);
    }
}

/// Puts a code of at most 8 bits at a bit position, lowest bits first.
fn put_bits(bytes: &mut [u8], position: usize, code: u8) {
    let window = u16::from(code) << (position % 8);
    let [low, high] = window.to_le_bytes();
    bytes[position / 8] |= low;
    if let Some(byte) = bytes.get_mut(position / 8 + 1) {
        *byte |= high;
    }
}

/// The row scale, as a half, that gives the largest step a group scale of 255.
fn row_scale(encoding: Encoding, steps: impl Iterator<Item = f32>) -> u16 {
    let largest = steps.fold(0.0, f32::max);
    let code_step = if encoding.has_zero_point() { 16.0 } else { 1.0 };
    let scale = largest / (255.0 * scale_unit(encoding) * code_step);
    f16_from_f32(scale.min(65_504.0))
}

fn group_scale(step: f32, unit: f32) -> u8 {
    if step > 0.0 && unit > 0.0 {
        byte((step / unit).round()).max(1)
    } else {
        0
    }
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (mut sum, mut count) = (0.0f64, 0u32);
    for value in values {
        sum += f64::from(value);
        count += 1;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to 32 bits is the result"
    )]
    if count == 0 {
        0.0
    } else {
        (sum / f64::from(count)) as f32
    }
}

/// Saturates to 0..=255; not a number becomes 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturating is the intent"
)]
fn byte(x: f32) -> u8 {
    x as u8
}

/// Rounds to -127..=127 as two's complement.
#[expect(clippy::cast_possible_truncation, reason = "saturating is the intent")]
fn signed_byte(x: f32) -> u8 {
    (x.round().clamp(-127.0, 127.0) as i8).cast_unsigned()
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
            if matches!(encoding, Encoding::F32 | Encoding::Dense(Width::One)) {
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
