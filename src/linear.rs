//! Dense linear algebra in 32-bit floats on all cores: the only door to `faer`.
//!
//! Every result is cut into tiles whose size does not depend on the machine, and a tile is computed by
//! one thread from beginning to end: the same input gives the same bits on any number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par, Side};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Rows of a result that one thread computes.
const TILE: usize = 256;
/// Columns of a product that one thread computes.
const TILE_COLUMNS: usize = 512;

/// `x · wᵀ`: what a linear map `w` `[outputs, inputs]` makes of the rows of `x` `[tokens, inputs]`;
/// `[tokens, outputs]`.
///
/// # Panics
/// When the widths differ, or a matrix is not row-major.
#[must_use]
pub fn times_transposed(x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>) -> Array2<f32> {
    assert_eq!(x.ncols(), w.ncols(), "widths of a product");
    let (tokens, outputs) = (x.nrows(), w.nrows());
    let mut out = Array2::zeros((tokens, outputs));
    let (x, w) = (view(x), view(w));
    if let Some(slice) = out.as_slice_mut().filter(|s| !s.is_empty()) {
        let tiles = tiles(MatMut::from_row_major_slice_mut(slice, tokens, outputs));
        tiles.into_par_iter().for_each(|(row, column, tile)| {
            let x = x.subrows(row, tile.nrows());
            let w = w.subrows(column, tile.ncols());
            matmul(tile, Accum::Replace, x, w.transpose(), 1.0, Par::Seq);
        });
    }
    out
}

/// A matrix in tiles, each with its first row and column.
fn tiles(matrix: MatMut<'_, f32>) -> Vec<(usize, usize, MatMut<'_, f32>)> {
    let mut tiles = Vec::new();
    let (mut rest, mut row) = (matrix, 0);
    while rest.nrows() > 0 {
        let height = rest.nrows().min(TILE);
        let (mut band, below) = rest.split_at_row_mut(height);
        let mut column = 0;
        while band.ncols() > 0 {
            let width = band.ncols().min(TILE_COLUMNS);
            let (tile, right) = band.split_at_col_mut(width);
            tiles.push((row, column, tile));
            (band, column) = (right, column + width);
        }
        (rest, row) = (below, row + height);
    }
    tiles
}

/// Adds `xᵀ · x` of `x` `[tokens, n]` to the lower triangle of `sum` `[n, n]`; what stands above the
/// diagonal afterwards means nothing.
///
/// # Panics
/// When the widths differ, or a matrix is not row-major.
pub fn add_gram(x: ArrayView2<'_, f32>, sum: &mut Array2<f32>) {
    let n = x.ncols();
    assert_eq!(sum.dim(), (n, n), "shape of the sum");
    let slice = sum.as_slice_mut().expect("row-major");
    let tiles = slice.par_chunks_mut(TILE * n).enumerate();
    tiles.for_each(|(index, tile)| {
        let (first, rows) = (index * TILE, tile.len() / n);
        let end = first + rows;
        let tile = MatMut::from_row_major_slice_mut(tile, rows, n).subcols_mut(0, end);
        let (left, right) = (view(x).subcols(first, rows), view(x).subcols(0, end));
        matmul(tile, Accum::Add, left.transpose(), right, 1.0, Par::Seq);
    });
}

/// Adds `leftᵀ · right` of `left` `[k, m]` and `right` `[k, n]`, both row-major, to `sum` `[m, n]`, on
/// the thread that calls.
///
/// # Panics
/// When the shapes do not fit.
pub fn add_transposed_times(left: ArrayView2<'_, f32>, right: &[f32], sum: &mut [f32]) {
    let (k, m) = left.dim();
    if k == 0 || m == 0 {
        return;
    }
    let n = right.len() / k;
    let sum = MatMut::from_row_major_slice_mut(sum, m, n);
    let right = MatRef::from_row_major_slice(right, k, n);
    matmul(
        sum,
        Accum::Add,
        view(left).transpose(),
        right,
        1.0,
        Par::Seq,
    );
}

/// `xᵀ h x` for each column of `x` `[n, m]`, row-major, with a symmetric `h` `[n, n]` of which only the
/// lower triangle and the blocks on its diagonal are read; on the thread that calls.
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn quadratic_forms(h: ArrayView2<'_, f32>, x: &[f32]) -> Vec<f64> {
    let n = h.nrows();
    let m = x.len().checked_div(n).unwrap_or(0);
    if m == 0 {
        return Vec::new();
    }
    let (h, columns) = (view(h), MatRef::from_row_major_slice(x, n, m));
    let mut sums = vec![0.0; m];
    let mut products = vec![0.0; TILE.min(n) * m];
    for start in (0..n).step_by(TILE) {
        let rows = TILE.min(n - start);
        let products = &mut products[..rows * m];
        let mut product = |columns_before: usize, columns: MatRef<'_, f32>, factor| {
            let block = h.submatrix(start, columns_before, rows, columns.nrows());
            let out = MatMut::from_row_major_slice_mut(products, rows, m);
            let accum = if columns_before == start {
                Accum::Replace
            } else {
                Accum::Add
            };
            matmul(out, accum, block, columns, factor, Par::Seq);
        };
        product(start, columns.subrows(start, rows), 1.0);
        // What stands above the diagonal is the same once more.
        if start > 0 {
            product(0, columns.subrows(0, start), 2.0);
        }
        let x = x[start * m..].chunks_exact(m);
        for (x, products) in x.zip(products.chunks_exact(m)) {
            for ((sum, x), product) in sums.iter_mut().zip(x).zip(products) {
                *sum += f64::from(*x) * f64::from(*product);
            }
        }
    }
    sums
}

/// Copies the lower triangle of a square matrix over the upper one.
///
/// # Panics
/// When the matrix is not square.
pub fn mirror_lower(matrix: &mut Array2<f32>) {
    let n = matrix.nrows();
    assert_eq!(matrix.ncols(), n, "a square matrix");
    upper_places(n, |row, col| matrix[[row, col]] = matrix[[col, row]]);
}

/// Visits row and column of every place on and above the diagonal of a matrix `[n, n]`, square by
/// square: so that caches serve whoever reads along rows and writes down columns.
fn upper_places(n: usize, mut visit: impl FnMut(usize, usize)) {
    const SQUARE: usize = 32;
    for rows in (0..n).step_by(SQUARE) {
        for cols in (rows..n).step_by(SQUARE) {
            for row in rows..n.min(rows + SQUARE) {
                for col in cols.max(row)..n.min(cols + SQUARE) {
                    visit(row, col);
                }
            }
        }
    }
}

/// The upper triangular `u` `[n, n]` with `h = u · uᵀ`, of a symmetric positive definite `h` of which
/// the lower triangle is read; nothing when it is not positive definite.
///
/// With `u = (I + s) · diag(d)`, column `k` of the strictly upper `s` is what the errors of the columns
/// before `k` are fed back with (LDLQ, Chee et al. 2023, arXiv:2307.13304; the same as GPTQ's inverse
/// of the Hessian, without inverting).
#[must_use]
pub fn upper_factor(h: ArrayView2<'_, f32>) -> Option<Array2<f32>> {
    let n = h.nrows();
    // Turned by half a circle, the lower triangle is an upper one, and the factor found is lower.
    let turned = view(h).reverse_rows_and_cols().transpose();
    let factor = turned.llt(Side::Lower).ok()?;
    let lower = factor.L();
    let mut u = Array2::zeros((n, n));
    upper_places(n, |row, col| {
        u[[row, col]] = lower[(n - 1 - row, n - 1 - col)];
    });
    Some(u)
}

/// The orthogonal `q` `[n, n]` of `x = q · r` for a square `x`, where `r` is upper triangular with no
/// negative number on its diagonal.
///
/// # Panics
/// When `x` is not square or not row-major.
#[must_use]
pub fn orthogonal_factor(x: ArrayView2<'_, f64>) -> Array2<f32> {
    let n = x.nrows();
    assert_eq!(x.ncols(), n, "a square matrix");
    let factors = MatRef::from_row_major_slice(x.to_slice().expect("row-major"), n, n).qr();
    let (q, r) = (factors.compute_Q(), factors.R());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to 32 bits is meant"
    )]
    Array2::from_shape_fn((n, n), |(row, col)| {
        if r[(col, col)] < 0.0 {
            -q[(row, col)] as f32
        } else {
            q[(row, col)] as f32
        }
    })
}

fn view(x: ArrayView2<'_, f32>) -> MatRef<'_, f32> {
    let (rows, cols) = x.dim();
    MatRef::from_row_major_slice(x.to_slice().expect("row-major"), rows, cols)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    /// Numbers without a pattern, from -1 to 1.
    fn noise(rows: usize, cols: usize, seed: u32) -> Array2<f32> {
        let mut state = seed;
        Array2::from_shape_simple_fn((rows, cols), || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
    }

    fn largest_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
        (a - b).iter().fold(0.0, |most, x| x.abs().max(most))
    }

    #[test]
    fn products_are_those_of_the_definition() {
        let (x, w) = (noise(300, 70, 1), noise(90, 70, 2));
        let product = times_transposed(x.view(), w.view());
        assert!(largest_difference(&product, &x.dot(&w.t())) < 1e-4);
        let rows = times_transposed(x.slice(s![10..20, ..]), w.view());
        assert!(largest_difference(&rows, &product.slice(s![10..20, ..]).to_owned()) < 1e-5);
        assert_eq!(
            times_transposed(x.slice(s![..0, ..]), w.view()).dim(),
            (0, 90)
        );
    }

    #[test]
    fn a_product_with_a_transposed_matrix_is_added() {
        let (left, right) = (noise(70, 30, 7), noise(70, 20, 8));
        let mut sum = noise(30, 20, 9);
        let expected = &sum + &left.t().dot(&right);
        let (right, slice) = (right.as_slice().unwrap(), sum.as_slice_mut().unwrap());
        add_transposed_times(left.view(), right, slice);
        add_transposed_times(left.slice(s![..0, ..]), &[], slice);
        assert!(largest_difference(&sum, &expected) < 1e-4);
    }

    #[test]
    fn quadratic_forms_are_those_of_the_definition_and_of_the_lower_triangle() {
        for n in [1, 30, 256, 600] {
            let x = noise(n, 20, 12);
            let a = noise(n, n, 11);
            let mut h = a.t().dot(&a);
            let expected = (&x * &h.dot(&x)).sum_axis(ndarray::Axis(0));
            for row in 0..n {
                h.slice_mut(s![row, n.min((row / TILE + 1) * TILE)..])
                    .fill(f32::NAN);
            }
            let found = quadratic_forms(h.view(), x.as_slice().unwrap());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found / f64::from(*expected) - 1.0).abs() < 1e-4, "{n}");
            }
        }
        assert_eq!(
            quadratic_forms(noise(3, 3, 1).view(), &[]),
            Vec::<f64>::new()
        );
    }

    #[test]
    fn a_gram_matrix_grows_by_each_batch() {
        let x = noise(200, 300, 3);
        let mut sum = Array2::zeros((300, 300));
        add_gram(x.slice(s![..120, ..]), &mut sum);
        add_gram(x.slice(s![120.., ..]), &mut sum);
        mirror_lower(&mut sum);
        assert!(largest_difference(&sum, &x.t().dot(&x)) < 1e-3);
    }

    #[test]
    fn the_same_bits_on_any_number_of_threads() {
        let (x, w) = (noise(700, 130, 4), noise(210, 130, 5));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let mut sum = Array2::zeros((130, 130));
                add_gram(x.view(), &mut sum);
                (times_transposed(x.view(), w.view()), sum)
            })
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn an_orthogonal_factor_leaves_an_upper_triangle() {
        let x = noise(40, 40, 10);
        let q = orthogonal_factor(x.mapv(f64::from).view());
        assert!(largest_difference(&q.t().dot(&q), &Array2::eye(40)) < 1e-5);
        let r = q.t().dot(&x);
        assert!(
            r.indexed_iter()
                .all(|((row, col), v)| row <= col || v.abs() < 1e-5)
        );
        assert!(r.diag().iter().all(|v| *v > -1e-5));
    }

    #[test]
    fn an_upper_factor_gives_the_matrix_back() {
        let x = noise(200, 150, 6);
        let h = x.t().dot(&x);
        let u = upper_factor(h.view()).unwrap();
        assert!(u.indexed_iter().all(|((r, c), v)| r <= c || *v == 0.0));
        assert!(largest_difference(&u.dot(&u.t()), &h) < 1e-3);
        assert_eq!(upper_factor(Array2::zeros((3, 3)).view()), None);
    }
}
