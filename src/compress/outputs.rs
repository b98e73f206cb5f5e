//! How far the outputs of a linear map move with its weights: by the second moments of what it reads.

use crate::calibrate::Hessian;
use crate::linear::quadratic_forms;
use engine::encoding::BLOCK_ROWS;

/// Rows that are weighed together, for the sake of the product of matrices.
pub(super) const TILE: usize = 8 * BLOCK_ROWS;

/// `tr(E H Eᵀ)` of the errors `E` of some rows, `weights` less `values`, both `[rows, cols]`, and
/// `tr(W H Wᵀ)` of the weights; 0 for that where it is known.
pub(super) fn squares(
    hessian: &Hessian,
    weights: &[f32],
    values: &[f32],
    is_known: bool,
) -> (f64, f64) {
    let moments = hessian.moments().view();
    let cols = moments.ncols();
    let rows = weights.len() / cols.max(1);
    // Errors in the first columns, then the weights.
    let width = if is_known { rows } else { 2 * rows };
    let mut columns = vec![0.0; cols * width];
    by_columns(weights, cols, |row, col, weight| {
        let place = col * width + row;
        columns[place] = weight - values[row * cols + col];
        if !is_known {
            columns[place + rows] = weight;
        }
    });
    let forms = quadratic_forms(moments, &columns);
    let (errors, sizes) = forms.split_at(rows.min(forms.len()));
    (errors.iter().sum(), sizes.iter().sum())
}

/// Visits every number of a matrix of `cols` columns, square by square: so that caches serve whoever
/// reads along rows and writes down columns.
fn by_columns(matrix: &[f32], cols: usize, mut visit: impl FnMut(usize, usize, f32)) {
    const SQUARE: usize = 16;
    for (band, rows) in matrix.chunks(SQUARE * cols.max(1)).enumerate() {
        for start in (0..cols).step_by(SQUARE) {
            let end = cols.min(start + SQUARE);
            for (row, numbers) in rows.chunks_exact(cols).enumerate() {
                for (col, number) in (start..end).zip(&numbers[start..end]) {
                    visit(band * SQUARE + row, col, *number);
                }
            }
        }
    }
}
