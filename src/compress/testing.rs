//! Numbers for the tests of this module.

use crate::calibrate::Hessian;
use ndarray::Array2;

/// Numbers without a pattern.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From -1 to 1.
    fn even(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Around 0, of variance 1: mostly small, as weights are.
    pub(super) fn next(&mut self) -> f32 {
        (0..3).map(|_| self.even()).sum()
    }
}

/// Moments of inputs that depend on each other and are of very different size.
pub(super) fn hessian(cols: usize, tokens: usize, seed: u64) -> Hessian {
    let mut noise = Noise::new(seed);
    let hidden = cols / 4 + 1;
    let mix = Array2::from_shape_simple_fn((hidden, cols), || noise.next());
    let sizes: Vec<f32> = (0..cols)
        .map(|col| {
            if col % 37 == 5 {
                8.0
            } else {
                1.0 + noise.next().abs()
            }
        })
        .collect();
    let causes = Array2::from_shape_simple_fn((tokens, hidden), || noise.next());
    let mut inputs = causes.dot(&mix) / (hidden as f32).sqrt();
    for ((_, col), x) in inputs.indexed_iter_mut() {
        *x = (*x + 0.7 * noise.next()) * sizes[col];
    }
    Hessian::new(inputs.t().dot(&inputs) / tokens as f32, tokens)
}

/// Weights `[rows, cols]` of rows of different size.
pub(super) fn weights(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
    let mut noise = Noise::new(seed);
    let weight = |i: usize| noise.next() * 0.02 * (1 + i / cols % 3) as f32;
    (0..rows * cols).map(weight).collect()
}
