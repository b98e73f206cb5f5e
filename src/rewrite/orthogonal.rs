//! Random orthogonal matrices, the same for the same seed.

use crate::linear::orthogonal_factor;
use ndarray::Array2;

/// An orthogonal matrix `[size, size]` of even distribution: the QR factor of a Gaussian matrix with the
/// signs that make it one (Mezzadri 2007, arXiv:math-ph/0609050).
pub(super) fn orthogonal(size: usize, seed: u64) -> Array2<f32> {
    let mut random = Random(seed);
    let gaussian = Array2::from_shape_simple_fn((size, size), || random.gaussian());
    orthogonal_factor(gaussian.view())
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, up to 1.
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, variance 1 (Box and Muller 1958; the second number is not used).
    fn gaussian(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The seed of one of many matrices that belong to one seed.
pub(super) const fn seed_of(seed: u64, index: u64) -> u64 {
    Random(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95)).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_angles_stay() {
        for size in [1, 2, 16, 63] {
            let turn = orthogonal(size, 7);
            let product = turn.t().dot(&turn);
            let off = product - Array2::<f32>::eye(size);
            assert!(off.iter().all(|x| x.abs() < 1e-5), "{size}");
        }
    }

    #[test]
    fn a_seed_names_one_matrix() {
        assert_eq!(orthogonal(12, 3), orthogonal(12, 3));
        assert_ne!(orthogonal(12, 3), orthogonal(12, 4));
        assert_ne!(seed_of(3, 1), seed_of(3, 2));
    }

    #[test]
    fn no_direction_is_preferred() {
        // Without fixed signs the diagonal of a Householder QR leans to one side.
        let sum: f32 = (0..400).map(|seed| orthogonal(2, seed)[[0, 0]]).sum();
        assert!((sum / 400.0).abs() < 0.1, "{sum}");
    }
}
