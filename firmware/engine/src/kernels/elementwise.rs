//! Norm, rotary embedding, gate: one pass over a row, in one written order.

use super::lanes::leveled;
use super::rows::for_rows;
use super::{LANES, fold};
use crate::float::{exp, sin_cos, sqrt};
use crate::shape::RopePairs;
use crate::workers::Host;

/// 32-bit floats as packed files hold them.
type Floats<'a> = &'a [[u8; 4]];

/// `x += y`.
///
/// # Panics
/// When the lengths differ.
pub fn add(host: &Host<'_>, x: &mut [f32], y: &[f32]) {
    assert!(x.len() == y.len());
    add_all(host.level.0, x, y);
}

leveled! {
    fn add_all(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

/// Adds `bias` `[width]` to each row of `x` `[tokens, width]`.
pub fn add_bias(x: &mut [f32], bias: Floats<'_>) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, b) in row.iter_mut().zip(bias) {
            *x += f32::from_le_bytes(*b);
        }
    }
}

/// RMS norm (Zhang and Sennrich 2019, arXiv:1910.07467) of each row of `x` `[tokens, width]`, with
/// `gain` `[width]`; the sum of squares runs over 16 strided lanes.
///
/// # Panics
/// When `x` is not whole rows or `out` has another length.
pub fn rms_norm(host: &Host<'_>, x: &[f32], gain: Floats<'_>, epsilon: f32, out: &mut [f32]) {
    let width = gain.len();
    assert!(x.len() == out.len());
    for_rows(host, x.len() / width, [out], &|row, [out]| {
        let x = &x[row * width..][..width];
        scale(
            host.level.0,
            x,
            inverse_rms(host.level.0, x, epsilon),
            gain,
            out,
        );
    });
}

/// RMS norm of each head of `x` `[heads, head_dim]` by itself, in place, with `gain` `[head_dim]`.
pub fn rms_norm_heads(host: &Host<'_>, x: &mut [f32], gain: Floats<'_>, epsilon: f32) {
    for head in x.chunks_exact_mut(gain.len()) {
        let inverse = inverse_rms(host.level.0, head, epsilon);
        scale_own(host.level.0, head, inverse, gain);
    }
}

leveled! {
    fn inverse_rms(x: &[f32], epsilon: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane += x * x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += x * x;
        }
        #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
        let mean = fold(lanes) / x.len() as f32;
        1.0 / sqrt(mean + epsilon)
    }
}

leveled! {
    fn scale(x: &[f32], factor: f32, gain: Floats<'_>, out: &mut [f32]) {
        for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
            *out = x * factor * f32::from_le_bytes(*gain);
        }
    }
}

leveled! {
    fn scale_own(x: &mut [f32], factor: f32, gain: Floats<'_>) {
        for (x, gain) in x.iter_mut().zip(gain) {
            *x = *x * factor * f32::from_le_bytes(*gain);
        }
    }
}

/// Cosines and sines of the angles that a batch's heads turn by.
#[derive(Debug)]
pub struct Angles<'a> {
    cosines: &'a mut [f32],
    sines: &'a mut [f32],
    half: usize,
}

impl<'a> Angles<'a> {
    /// The angles of the positions from `position` on, each position times `frequencies`
    /// `[head_dim / 2]`, in room for `[tokens, head_dim / 2]` of each kind.
    #[must_use]
    pub fn new(
        cosines: &'a mut [f32],
        sines: &'a mut [f32],
        frequencies: Floats<'_>,
        position: usize,
    ) -> Self {
        let half = frequencies.len();
        let rows = cosines
            .chunks_exact_mut(half)
            .zip(sines.chunks_exact_mut(half));
        for (token, (cosines, sines)) in rows.enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^53")]
            let position = (position + token) as f64;
            let places = cosines.iter_mut().zip(sines);
            for ((c, s), frequency) in places.zip(frequencies) {
                (*s, *c) = sin_cos(position * f64::from(f32::from_le_bytes(*frequency)));
            }
        }
        Self {
            cosines,
            sines,
            half,
        }
    }

    /// Turns every head of `rows` `[tokens, heads, head_dim]` by the angles of its position (RoPE, Su
    /// et al. 2021, arXiv:2104.09864).
    pub fn rotate(&self, host: &Host<'_>, pairs: RopePairs, rows: &mut [f32]) {
        let tokens = self.cosines.len() / self.half;
        for_rows(host, tokens, [rows], &|token, [row]| {
            let cosines = &self.cosines[token * self.half..][..self.half];
            let sines = &self.sines[token * self.half..][..self.half];
            match pairs {
                RopePairs::Adjacent => rotate_adjacent(host.level.0, row, cosines, sines),
                RopePairs::Halves => rotate_halves(host.level.0, row, cosines, sines),
            }
        });
    }
}

leveled! {
    fn rotate_adjacent(row: &mut [f32], cosines: &[f32], sines: &[f32]) {
        for head in row.chunks_exact_mut(2 * cosines.len()) {
            let pairs = head.as_chunks_mut::<2>().0;
            for (([a, b], c), s) in pairs.iter_mut().zip(cosines).zip(sines) {
                (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
            }
        }
    }
}

leveled! {
    fn rotate_halves(row: &mut [f32], cosines: &[f32], sines: &[f32]) {
        for head in row.chunks_exact_mut(2 * cosines.len()) {
            let (low, high) = head.split_at_mut(cosines.len());
            let pairs = low.iter_mut().zip(high);
            for (((a, b), c), s) in pairs.zip(cosines).zip(sines) {
                (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
            }
        }
    }
}

/// `gate = silu(gate) * up`, where silu(x) = x / (1 + e^-x); both are `rows` rows.
///
/// # Panics
/// When the lengths differ or are not whole rows.
pub fn silu_times(host: &Host<'_>, rows: usize, gate: &mut [f32], up: &[f32]) {
    assert!(gate.len() == up.len());
    let width = gate.len() / rows.max(1);
    for_rows(host, rows, [gate], &|row, [gate]| {
        silu_times_row(host.level.0, gate, &up[row * width..][..width]);
    });
}

leveled! {
    fn silu_times_row(gate: &mut [f32], up: &[f32]) {
        for (g, u) in gate.iter_mut().zip(up) {
            *g = *g / (1.0 + exp(-*g)) * u;
        }
    }
}

#[cfg(test)]
mod tests;
