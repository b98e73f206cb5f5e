//! Norm, rotary embedding, gate: one pass over a row, in one written order.

use super::{LANES, fold};
use crate::float::{exp, sqrt};
use crate::shape::RopePairs;

/// `x += y`.
pub fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// RMS norm (Zhang and Sennrich 2019, arXiv:1910.07467) of each row of `x` `[tokens, width]`, with
/// `gain` `[width]`; the sum of squares runs over 16 strided lanes.
pub fn rms_norm(
    x: &[f32],
    gain: impl Fn(usize) -> f32,
    width: usize,
    epsilon: f32,
    out: &mut [f32],
) {
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let inverse = inverse_rms(x, epsilon);
        for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out = x * inverse * gain(i);
        }
    }
}

fn inverse_rms(x: &[f32], epsilon: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in x.chunks(LANES) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x * x;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
    let mean = fold(lanes) / x.len() as f32;
    1.0 / sqrt(mean + epsilon)
}

/// Turns every head of a row `[heads, head_dim]` by the angles of its position (RoPE, Su et al.
/// 2021, arXiv:2104.09864); `cosines` and `sines` are `[head_dim / 2]`.
pub fn rotate(row: &mut [f32], pairs: RopePairs, cosines: &[f32], sines: &[f32]) {
    let half = cosines.len();
    for head in row.chunks_exact_mut(2 * half) {
        for (i, (c, s)) in cosines.iter().zip(sines).enumerate() {
            let (a, b) = match pairs {
                RopePairs::Adjacent => (2 * i, 2 * i + 1),
                RopePairs::Halves => (i, i + half),
            };
            (head[a], head[b]) = (head[a] * c - head[b] * s, head[a] * s + head[b] * c);
        }
    }
}

/// `gate = silu(gate) * up`, where silu(x) = x / (1 + e^-x).
pub fn silu_times(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + exp(-*g)) * u;
    }
}
