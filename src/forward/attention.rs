//! Causal attention within each window.

use super::Frame;
use crate::lanes::{largest, sum, widest};
use engine::float::exp;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// Queries that look at the same keys: those behind the last of them are not computed.
const QUERIES: usize = 128;

/// What queries `[tokens, query_width]` find among the keys and values `[tokens, kv_width]` of their own
/// window up to their own position; `[tokens, query_width]`.
pub(super) fn attend(
    frame: &Frame,
    query: &Array2<f32>,
    key: &Array2<f32>,
    value: &Array2<f32>,
) -> Array2<f32> {
    let window = frame.window;
    let heads = frame.shape.heads as usize;
    let head_dim = frame.shape.head_dim as usize;
    let shared = heads / frame.shape.kv_heads as usize;
    let windows = query.nrows() / window;
    let of = |x: &Array2<f32>, w: usize, head: usize| {
        let columns = head * head_dim..(head + 1) * head_dim;
        x.slice(s![w * window..(w + 1) * window, columns])
            .to_owned()
    };
    let parts: Vec<Array2<f32>> = (0..windows * heads)
        .into_par_iter()
        .map(|index| {
            let (w, head) = (index / heads, index % heads);
            one_head(
                of(query, w, head).view(),
                of(key, w, head / shared).view(),
                of(value, w, head / shared).view(),
            )
        })
        .collect();
    let mut out = Array2::zeros(query.dim());
    for (index, part) in parts.iter().enumerate() {
        let (w, head) = (index / heads, index % heads);
        let columns = head * head_dim..(head + 1) * head_dim;
        out.slice_mut(s![w * window..(w + 1) * window, columns])
            .assign(part);
    }
    out
}

/// One head of one window: softmax(q kᵀ / √d) v, each `[window, head_dim]`.
fn one_head(
    query: ArrayView2<'_, f32>,
    key: ArrayView2<'_, f32>,
    value: ArrayView2<'_, f32>,
) -> Array2<f32> {
    let mut out = Array2::zeros(query.dim());
    for start in (0..query.nrows()).step_by(QUERIES) {
        let end = query.nrows().min(start + QUERIES);
        let found = some_queries(
            start,
            query.slice(s![start..end, ..]),
            key.slice(s![..end, ..]),
            value.slice(s![..end, ..]),
        );
        out.slice_mut(s![start..end, ..]).assign(&found);
    }
    out
}

/// The queries `[queries, head_dim]` from position `start` on among the keys and values up to the last
/// of them, `[start + queries, head_dim]`.
fn some_queries(
    start: usize,
    query: ArrayView2<'_, f32>,
    key: ArrayView2<'_, f32>,
    value: ArrayView2<'_, f32>,
) -> Array2<f32> {
    let scale = 1.0 / (query.ncols() as f32).sqrt();
    let mut scores = query.dot(&key.t());
    for (index, mut row) in scores.rows_mut().into_iter().enumerate() {
        let row = row.as_slice_mut().expect("row-major");
        let (seen, later) = row.split_at_mut(start + index + 1);
        later.fill(0.0);
        widest(|| {
            let top = largest(seen);
            seen.iter_mut()
                .for_each(|score| *score = exp((*score - top) * scale));
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounding to 32 bits is meant"
            )]
            let total = sum(seen, |x| x) as f32;
            seen.iter_mut().for_each(|score| *score /= total);
        });
    }
    scores.dot(&value)
}
