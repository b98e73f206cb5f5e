//! Attention of one layer over the KV cache.
//!
//! Tasks are tiles: a few queries, of one token or several, that read the same key head. What is
//! summed in which order does not depend on how queries are cut into tiles or tiles into tasks.

mod cache;
mod codec;
mod scalar;
mod vector;

pub use cache::{CachePrecision, CacheShape, LayerCache, LayerView};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", test))]
use super::lanes;
use super::lanes::leveled;
use super::{LANES, Shared, TILE, fold};
use crate::float::{exp, sqrt};
use crate::workers::{Host, Level, Serial, Workers};
use cache::Head;
use codec::{Codec, Eight, Four, Sixteen};

/// Products below which handing work to another thread takes longer than doing it.
const WORTH_SHARING: usize = 1 << 17;
/// Tiles below which queries go one by one, so that there are tasks for several threads.
const FEW_TILES: usize = 8;
/// Rows of scores that tasks share at most, unless the model has more heads.
const SCORE_ROWS: usize = 128;

/// Floats that [`attend_cached`] needs for its scores, of at most `batch` tokens, in a cache of
/// `context` positions; saturates.
#[must_use]
pub const fn score_floats(heads: usize, batch: usize, context: usize) -> usize {
    score_floats_after(0, heads, batch, context)
}

/// As [`score_floats`], for a cache that begins after `prefix` positions.
#[must_use]
pub const fn score_floats_after(
    prefix: usize,
    heads: usize,
    batch: usize,
    context: usize,
) -> usize {
    let rows = heads.saturating_mul(batch);
    let most = if heads > SCORE_ROWS {
        heads
    } else {
        SCORE_ROWS
    };
    let rows = if rows < most { rows } else { most };
    rows.saturating_mul(whole_blocks(prefix.saturating_add(whole_blocks(context))))
}

/// Positions in whole blocks of 16; saturates.
const fn whole_blocks(positions: usize) -> usize {
    positions.div_ceil(LANES).saturating_mul(LANES)
}

/// One query: a head of a token.
#[derive(Debug)]
struct Row<'a> {
    /// `[head_dim]`.
    query: &'a [f32],
    /// `[head_dim]`.
    out: &'a mut [f32],
    /// A float for each position of the context, in whole blocks of 16.
    scores: &'a mut [f32],
    /// Positions that it may look at.
    seen: usize,
    /// 1 / sqrt(head_dim).
    scale: f32,
}

/// The attention of one layer.
#[derive(Debug)]
pub struct CachedAttention<'a> {
    /// Query heads, a multiple of the cache's.
    pub heads: usize,
    /// Position of the first query's token.
    pub position: usize,
    /// Keys and values of the tokens before those of `cache`, or none.
    pub prefix: Option<LayerView<'a>>,
    /// Keys and values of the tokens after the prefix, those of the queries among them.
    pub cache: LayerView<'a>,
}

/// Causal attention of `queries` `[tokens, heads, head_dim]` into `out` of the same shape.
///
/// `scores` is room for [`score_floats`].
///
/// # Panics
/// When a length does not fit.
pub fn attend_cached(
    host: &Host<'_>,
    attention: &CachedAttention<'_>,
    queries: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    match attention.cache.shape.precision {
        CachePrecision::Sixteen => attend_as::<Sixteen>(host, attention, queries, scores, out),
        CachePrecision::Eight => attend_as::<Eight>(host, attention, queries, scores, out),
        CachePrecision::Four => attend_as::<Four>(host, attention, queries, scores, out),
    }
}

fn attend_as<C: Codec>(
    host: &Host<'_>,
    attention: &CachedAttention<'_>,
    queries: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    let CachedAttention {
        heads,
        position,
        prefix,
        cache,
    } = *attention;
    let CacheShape {
        kv_heads,
        head_dim,
        context,
        ..
    } = cache.shape;
    // Queries of one key head: token by token, the heads of a token side by side.
    let group = heads / kv_heads;
    let tokens = queries.len() / (heads * head_dim);
    let per_head = tokens * group;
    let padded = whole_blocks(cache.first + whole_blocks(context));
    let score_rows = scores.len() / padded;
    let tile = if score_rows >= TILE && per_head.div_ceil(TILE) * kv_heads >= FEW_TILES {
        TILE
    } else {
        1
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "a head has at most 1024 elements"
    )]
    let scale = 1.0 / sqrt(head_dim as f32);
    let (scores, out) = (Shared::new(scores), Shared::new(out));
    let row = |task: usize, head: usize, index: usize| {
        let token = index / group;
        let at = (token * heads + head * group + index % group) * head_dim;
        // SAFETY: an output belongs to one tile, and scores to one task.
        let (out, scores) = unsafe {
            (
                out.slice(at, head_dim),
                scores.slice((task * tile + index % tile) * padded, padded),
            )
        };
        Row {
            query: &queries[at..][..head_dim],
            out,
            scores,
            seen: position + token + 1,
            scale,
        }
    };
    let tiles = per_head.div_ceil(tile) * kv_heads;
    let tasks = tiles.min(score_rows / tile);
    let work = |task: usize| {
        // Dealt out in turn: later tokens see more.
        for index in (task..tiles).step_by(tasks) {
            let (head, first) = (index % kv_heads, index / kv_heads * tile);
            // Without a prefix its place is taken by no positions of the cache.
            let before = prefix.map_or_else(|| cache.head::<C>(head).none(), |p| p.head(head));
            let codes = [before, cache.head::<C>(head)];
            if tile == TILE && first + TILE <= per_head {
                let mut rows = core::array::from_fn(|i| row(task, head, first + i));
                attend_rows::<C, TILE>(host.level.0, &codes, &mut rows);
            } else {
                for index in first..per_head.min(first + tile) {
                    let mut rows = [row(task, head, index)];
                    attend_rows::<C, 1>(host.level.0, &codes, &mut rows);
                }
            }
        }
    };
    if queries.len() * (position + tokens) < WORTH_SHARING {
        Serial.run(tasks, &work);
    } else {
        host.workers.run(tasks, &work);
    }
}

fn attend_rows<C: Codec, const T: usize>(
    level: Level,
    heads: &[Head<'_, C>; 2],
    rows: &mut [Row<'_>; T],
) {
    match level {
        Level::Scalar | Level::Paired => rows.iter_mut().for_each(|row| scalar::attend(heads, row)),
        // SAFETY: this level is made only where the processor has AVX2 and F16C.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { attend_avx2(level, heads, rows) },
        // SAFETY: this level is made only where the processor has AVX-512.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { attend_avx512(level, heads, rows) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => attend_plain(level, heads, rows),
    }
}

/// As many sums as 16 registers of 256 bits hold.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,bmi2,popcnt")]
fn attend_avx2<C: Codec, const T: usize>(
    level: Level,
    heads: &[Head<'_, C>; 2],
    rows: &mut [Row<'_>; T],
) {
    if T == 1 {
        vector::attend::<lanes::Avx2, C, T, 4, 4>(level, heads, rows);
    } else {
        vector::attend::<lanes::Avx2, C, T, 1, 1>(level, heads, rows);
    }
}

/// As many sums as 32 registers of 512 bits hold.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_avx512<C: Codec, const T: usize>(
    level: Level,
    heads: &[Head<'_, C>; 2],
    rows: &mut [Row<'_>; T],
) {
    if T == 1 {
        vector::attend::<lanes::Avx512, C, T, 4, 4>(level, heads, rows);
    } else {
        vector::attend::<lanes::Avx512, C, T, 2, 4>(level, heads, rows);
    }
}

/// As many sums as 32 registers of 128 bits hold.
#[cfg(any(target_arch = "aarch64", test))]
fn attend_plain<C: Codec, const T: usize>(
    level: Level,
    heads: &[Head<'_, C>; 2],
    rows: &mut [Row<'_>; T],
) {
    if T == 1 {
        vector::attend::<lanes::Plain, C, T, 4, 4>(level, heads, rows);
    } else {
        vector::attend::<lanes::Plain, C, T, 1, 1>(level, heads, rows);
    }
}

leveled! {
    /// Turns scores into exponentials above the largest, summed over 16 strided lanes; returns
    /// 1 / sum.
    fn softmax(scores: &mut [f32]) -> f32 {
        let mut most = [f32::NEG_INFINITY; LANES];
        let (chunks, rest) = scores.as_chunks::<LANES>();
        for chunk in chunks {
            for (most, x) in most.iter_mut().zip(chunk) {
                *most = if *x > *most { *x } else { *most };
            }
        }
        for (most, x) in most.iter_mut().zip(rest) {
            *most = if *x > *most { *x } else { *most };
        }
        let mut largest = f32::NEG_INFINITY;
        for x in most {
            largest = if x > largest { x } else { largest };
        }
        for x in scores.iter_mut() {
            *x = exp(*x - largest);
        }
        let mut lanes = [0.0; LANES];
        let (chunks, rest) = scores.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane += x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += x;
        }
        1.0 / fold(lanes)
    }
}

#[cfg(test)]
mod tests;
