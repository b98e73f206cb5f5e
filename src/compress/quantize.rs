//! Floats in, the engine's bytes out: chooses what each row is stored as and has it written.
//!
//! A row whose weights all lie on a grid of its encoding, as training for low bits leaves them, is
//! stored without error whatever the method; any other is rounded, against the scales that are stored.

use super::feedback::{Factor, Feedback};
use super::row::Row;
use super::rows::Rows;
use super::solve::{self, Solved};
use super::unstorable::{can_store, first_beyond, refusal, rows_beyond, scale_refusal};
use super::{CompressError, Plan, columns, outputs, prune, rounding, write};
use crate::job::{Cancelled, Job};
use crate::lanes::{Work, sum_of_pairs, widest};
use engine::encoding::{BLOCK_ROWS, Encoding};
use engine::float::{f16_from_f32, f32_from_f16};
use rayon::prelude::*;

/// Encodes a matrix `[rows, cols]`, row-major, of which each row keeps the `kept` largest weights,
/// rounded to nearest.
///
/// The same input gives the same bytes on any number of threads. Twins of llama.cpp's formats are
/// not made of floats: `compress/twin.rs` makes them of the bytes of the source.
///
/// # Errors
/// When weights cannot be stored.
pub fn encode(
    encoding: Encoding,
    cols: usize,
    kept: usize,
    weights: &[f32],
) -> Result<Vec<u8>, CompressError> {
    let plan = Plan::nearest(encoding, cols, kept);
    let values = weights;
    let encoded = encode_as(&plan, None, Rows::Floats { values, cols }, &Job::silent());
    Ok(encoded?.bytes)
}

/// Bytes of a matrix, and how far they are from the weights.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// Sum of squared errors over sum of squared weights.
    pub(super) nmse: f64,
    /// `tr(E H Eᵀ) / tr(W H Wᵀ)` with the errors `E`, where there was a Hessian `H`.
    pub(super) output_error: Option<f64>,
}

impl Encoded {
    /// Without an error of weights or outputs, if anybody asked for that.
    fn exact(bytes: Vec<u8>, guide: Option<Guide<'_>>) -> Self {
        Self {
            bytes,
            nmse: 0.0,
            output_error: guide.map(|_| 0.0),
        }
    }
}

/// A Hessian, and its factor where the methods of a plan go from column to column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guide<'a> {
    pub(super) feedback: &'a Feedback<'a>,
    pub(super) factor: Option<&'a Factor>,
    /// `tr(W H Wᵀ)` where it is known.
    pub(super) output_squares: Option<f64>,
}

/// What became of the rows of one tile.
struct TileOutcome {
    /// Rows that need a larger scale than there is: the first, and how many.
    beyond: Option<(usize, usize)>,
    /// Squared error and square of the weights of each row.
    weights: Vec<(f64, f64)>,
    /// The same of their outputs together; the square is 0 where it is known.
    outputs: (f64, f64),
}

/// Why a tile was not encoded.
enum Stopped {
    Cancelled(Cancelled),
    Unstorable,
}

/// Encodes a matrix; a job that is cancelled stops it between two tiles of rows.
pub(super) fn encode_as(
    plan: &Plan,
    guide: Option<Guide<'_>>,
    matrix: Rows<'_>,
    job: &Job<'_>,
) -> Result<Encoded, CompressError> {
    let Plan { encoding, cols, .. } = *plan;
    let rows = matrix.count();
    let mut bytes = vec![0; encoding.bytes(rows, cols, plan.kept)];
    if bytes.is_empty() {
        return Ok(Encoded::exact(bytes, guide));
    }
    if encoding == Encoding::F32 {
        let mut buffer = Vec::new();
        let weights = matrix.part(0..rows, &mut buffer);
        if !can_store(encoding, weights) {
            return Err(refusal(encoding, matrix).into());
        }
        for (bytes, w) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(weights) {
            *bytes = w.to_le_bytes();
        }
        return Ok(Encoded::exact(bytes, guide));
    }
    let block_bytes = match encoding.record() {
        Some(_) => encoding.block_bytes(cols, plan.kept),
        None => BLOCK_ROWS * cols * 2,
    };
    let blocks = match guide.map(|guide| guide.factor) {
        Some(Some(_)) => columns::TILE / BLOCK_ROWS,
        Some(None) => outputs::TILE / BLOCK_ROWS,
        None => 1,
    };
    let parts = bytes.par_chunks_mut(blocks * block_bytes).enumerate();
    let tiles: Result<Vec<TileOutcome>, Stopped> = parts
        .map_init(Vec::new, |buffer, (index, bytes)| {
            job.check().map_err(Stopped::Cancelled)?;
            let first = index * blocks * BLOCK_ROWS;
            let weights = matrix.part(first..rows.min(first + blocks * BLOCK_ROWS), buffer);
            if !can_store(encoding, weights) {
                return Err(Stopped::Unstorable);
            }
            let mut outcome = tile(plan, guide, weights, (block_bytes, bytes));
            if let Some((row, _)) = &mut outcome.beyond {
                *row += first;
            }
            Ok(outcome)
        })
        .collect();
    let tiles = match tiles {
        Ok(tiles) => tiles,
        Err(Stopped::Cancelled(cancelled)) => return Err(cancelled.into()),
        Err(Stopped::Unstorable) => return Err(refusal(encoding, matrix).into()),
    };
    let mut beyond = tiles.iter().filter_map(|tile| tile.beyond);
    if let Some((first, count)) = beyond.next() {
        let all = beyond.fold(count, |all, (_, count)| all + count);
        return Err(scale_refusal(encoding, matrix, (first, all)).into());
    }
    let sum = |a: (f64, f64), b: (f64, f64)| (a.0 + b.0, a.1 + b.1);
    let share = |(error, size): (f64, f64)| match size {
        size if size > 0.0 || size.is_nan() => error / size,
        _ => 0.0,
    };
    let weights = tiles.iter().flat_map(|tile| tile.weights.iter().copied());
    let nmse = share(weights.fold((0.0, 0.0), sum));
    let output_error = guide.map(|guide| {
        let found = tiles.iter().map(|tile| tile.outputs);
        let (error, size) = found.fold((0.0, 0.0), sum);
        // What is no number stays none: a caller that took it for 0 would take it for the best.
        let error = if error < 0.0 { 0.0 } else { error };
        share((error, guide.output_squares.unwrap_or(size)))
    });
    Ok(Encoded {
        bytes,
        nmse,
        output_error,
    })
}

/// Encodes some rows; `block_bytes` of `bytes` are a block of them.
fn tile(
    plan: &Plan,
    guide: Option<Guide<'_>>,
    weights: &[f32],
    (block_bytes, bytes): (usize, &mut [u8]),
) -> TileOutcome {
    let Plan { encoding, cols, .. } = *plan;
    let mut beyond = None;
    let factor = guide.and_then(|g| g.factor.map(|factor| (g.feedback, factor)));
    let solved = match factor {
        Some((feedback, factor)) => solve::tile(plan, feedback, factor, weights),
        None => alone(plan, guide.map(|g| g.feedback), weights),
    };
    let values = match solved {
        Solved::Rows(rows) => {
            beyond = first_beyond(&rows).map(|row| (row, rows_beyond(&rows)));
            write_rows(encoding, block_bytes, &rows, bytes);
            widest(Values {
                encoding,
                rows: &rows,
                cols,
            })
        }
        Solved::Halves(mut halves) => {
            for (bytes, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(&mut halves) {
                let half = f16_from_f32(*value);
                *bytes = half.to_le_bytes();
                *value = f32_from_f16(half);
            }
            halves
        }
    };
    TileOutcome {
        beyond,
        weights: widest(Errors {
            cols,
            weights,
            values: &values,
        }),
        outputs: guide.map_or((0.0, 0.0), |guide| {
            let hessian = guide.feedback.hessian();
            let is_known = guide.output_squares.is_some();
            outputs::squares(hessian, weights, &values, is_known)
        }),
    }
}

/// Rows of which none knows of the others, nor a column of those before it.
fn alone(plan: &Plan, feedback: Option<&Feedback<'_>>, weights: &[f32]) -> Solved {
    let rows = weights.chunks_exact(plan.cols);
    if plan.encoding.record().is_some() {
        return Solved::Rows(
            rows.map(|weights| rounding::row(plan, feedback, weights))
                .collect(),
        );
    }
    let mut halves = weights.to_vec();
    for row in halves.chunks_exact_mut(plan.cols) {
        prune::prune(plan, feedback, row);
    }
    Solved::Halves(halves)
}

fn write_rows(encoding: Encoding, block_bytes: usize, rows: &[Row], bytes: &mut [u8]) {
    let Some(record) = encoding.record() else {
        return;
    };
    let blocks = bytes.chunks_exact_mut(block_bytes);
    for (bytes, rows) in blocks.zip(rows.chunks(BLOCK_ROWS)) {
        write::block(encoding, record, rows, bytes);
    }
}

/// The weights `[rows, cols]` that the engine will read.
struct Values<'a> {
    encoding: Encoding,
    rows: &'a [Row],
    cols: usize,
}

impl Work for Values<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn call(self) -> Vec<f32> {
        let mut values = vec![0.0; self.rows.len() * self.cols];
        for (row, values) in self.rows.iter().zip(values.chunks_exact_mut(self.cols)) {
            row.values(self.encoding, values);
        }
        values
    }
}

/// [`squared_error`] of each row of `cols`.
struct Errors<'a> {
    cols: usize,
    weights: &'a [f32],
    values: &'a [f32],
}

impl Work for Errors<'_> {
    type Output = Vec<(f64, f64)>;

    #[inline(always)]
    fn call(self) -> Vec<(f64, f64)> {
        let weights = self.weights.chunks_exact(self.cols);
        let mut errors = Vec::with_capacity(weights.len());
        for (weights, values) in weights.zip(self.values.chunks_exact(self.cols)) {
            errors.push(squared_error(weights, values));
        }
        errors
    }
}

/// Squared error of the values of a row, and its squared weights; sums run in lanes.
#[inline(always)]
#[must_use]
pub fn squared_error(weights: &[f32], values: &[f32]) -> (f64, f64) {
    let square = |x: f32| f64::from(x) * f64::from(x);
    (
        sum_of_pairs(weights, values, |w, q| square(w - q)),
        sum_of_pairs(weights, weights, |w, _| square(w)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::encoding::Width;
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
        let bytes = encode(encoding, cols, kept, &weights).unwrap();
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
    fn odd_values_are_stored_or_refused_and_never_panic() {
        for encoding in Encoding::ALL {
            for value in [0.0, 1e-40, 0.5] {
                let bytes = encode(encoding, 40, 40, &[value; 40]).unwrap();
                assert_eq!(bytes.len(), encoding.bytes(1, 40, 40));
            }
            // Twins are not made of floats.
            if matches!(encoding, Encoding::Twin(_)) {
                continue;
            }
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut weights = [0.5; 80];
                (weights[43], weights[50]) = (value, value);
                let refused = encode(encoding, 40, 40, &weights).unwrap_err().to_string();
                let expected = format!("2 that are not, the first {value} in row 1, column 3");
                assert!(refused.contains(&expected), "{encoding:?}: {refused}");
            }
            let refused = encode(encoding, 40, 40, &[-1e30; 40]);
            assert_eq!(refused.is_err(), encoding != Encoding::F32, "{encoding:?}");
        }
    }

    #[test]
    fn weights_beyond_sixteen_bits_or_their_scales_are_refused_with_their_place() {
        let check = |encoding: Encoding, value: f32, expected: &str| {
            let mut weights = [0.25; 120];
            weights[87] = value;
            match encode(encoding, 40, 40, &weights) {
                Ok(bytes) => {
                    assert_eq!(expected, "", "{encoding:?} stores {value}");
                    let matrix = Matrix::new(encoding, 3, 40, 40, &bytes).unwrap();
                    let mut row = [0.0; 40];
                    matrix.dequantize_row(2, &mut row);
                    let off = (row[7] - value).abs() / value.abs();
                    assert!(off < 0.1, "{encoding:?} stores {value} as {}", row[7]);
                }
                Err(refused) => {
                    let refused = refused.to_string();
                    assert!(
                        !expected.is_empty(),
                        "{encoding:?} refuses {value}: {refused}"
                    );
                    assert!(refused.contains(expected), "{refused}");
                }
            }
        };
        check(Encoding::F16, 65_504.0, "");
        check(Encoding::F16, 65_519.0, "");
        check(
            Encoding::F16,
            65_520.0,
            "within ±65504, which f16 holds, found 65520 in row 2, column 7",
        );
        check(Encoding::F16, -70_000.0, "-70000 in row 2, column 7");
        check(Encoding::F32, 70_000.0, "");
        // 127 steps of at most 65504 · 255 / 65536.
        check(Encoding::Dense(Width::Eight), 32_000.0, "");
        check(
            Encoding::Dense(Width::Eight),
            70_000.0,
            "1 rows beyond them, the first with 70000 in row 2, column 7",
        );
        check(Encoding::Dense(Width::Four), -70_000.0, "the scales of");
        check(Encoding::Sparse(Width::Eight), 70_000.0, "the scales of");
    }
}
