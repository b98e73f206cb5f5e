//! What stays in the draw: each filter changes logits `[vocab]` in place, without sorting them.
//!
//! A dropped token's logit becomes negative infinity. Among equal logits the lower token number
//! goes first.

use crate::float::exp;

/// Divides the positive and multiplies the other logits of the tokens in `said`, each token once:
/// CTRL (Keskar et al. 2019, arXiv:1909.05858), by the sign as its later users have it, since
/// dividing a negative logit would favour what was said.
pub(super) fn penalize(logits: &mut [f32], said: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    for (at, token) in said.iter().enumerate() {
        if said[..at].contains(token) {
            continue;
        }
        if let Some(x) = logits.get_mut(*token as usize) {
            *x = if *x > 0.0 { *x / penalty } else { *x * penalty };
        }
    }
}

/// Gives every logit a place in the order: not a number is impossible, infinity the largest float,
/// negative zero zero.
pub(super) fn make_finite(logits: &mut [f32]) {
    for x in logits {
        *x = if x.is_nan() {
            f32::NEG_INFINITY
        } else {
            x.min(f32::MAX) + 0.0
        };
    }
}

/// Keeps the `k` largest logits; all when `k` is 0.
pub(super) fn keep_top_k(logits: &mut [f32], k: u32) {
    if k > 0 && (k as usize) < logits.len() {
        #[expect(
            clippy::cast_precision_loss,
            reason = "below a vocabulary, and so below 2^24"
        )]
        keep_largest(logits, k as f32, |_| 1.0);
    }
}

/// Keeps the fewest of the largest logits whose shares add up to `p`, at least one: nucleus sampling
/// (Holtzman et al. 2020, arXiv:1904.09751). `top` is the largest logit.
pub(super) fn keep_top_p(logits: &mut [f32], top: f32, p: f32) {
    if p < 1.0 {
        let weight = |x: f32| exp(x - top);
        let total: f32 = logits.iter().map(|x| weight(*x)).sum();
        keep_largest(logits, (p * total).max(f32::MIN_POSITIVE), weight);
    }
}

/// Keeps tokens with at least the share `min_p` of the most likely one's (Nguyen et al. 2024,
/// arXiv:2407.01082). `top` is the largest logit.
pub(super) fn keep_min_p(logits: &mut [f32], top: f32, min_p: f32) {
    if min_p > 0.0 {
        for x in logits.iter_mut().filter(|x| exp(**x - top) < min_p) {
            *x = f32::NEG_INFINITY;
        }
    }
}

/// Keeps logits from the largest down until their weights have added up to `target`, above 0.
///
/// A radix selection: four passes of eight bits find the smallest logit to keep. Weights are added
/// in the order of tokens within each of 256 bins, and the bins from the highest down.
fn keep_largest(logits: &mut [f32], target: f32, weight: impl Fn(f32) -> f32) {
    let (mut prefix, mut above) = (0u64, 0.0f32);
    for shift in [24, 16, 8, 0] {
        let mut bins = [0.0f32; 256];
        for x in logits.iter() {
            let place = place(*x);
            if place >> (shift + 8) == prefix {
                bins[(place >> shift & 255) as usize] += weight(*x);
            }
        }
        let mut bins = (0..256u32).zip(bins).rev();
        let last = bins.find(|(_, sum)| {
            let is_last = above + sum >= target;
            above += if is_last { 0.0 } else { *sum };
            is_last
        });
        let Some((digit, _)) = last else {
            // Only rounding keeps the bins below a target that their common bin reached.
            let lowest = prefix << (shift + 8);
            return drop_where(logits, |x| place(x) < lowest);
        };
        prefix = prefix << 8 | u64::from(digit);
    }
    let lowest = prefix;
    drop_where(logits, |x| {
        if place(x) == lowest && above < target {
            above += weight(x);
            return false;
        }
        place(x) <= lowest
    });
}

fn drop_where(logits: &mut [f32], mut is_dropped: impl FnMut(f32) -> bool) {
    for x in logits {
        if is_dropped(*x) {
            *x = f32::NEG_INFINITY;
        }
    }
}

/// A number of 32 bits for each float, in the order of the floats.
fn place(x: f32) -> u64 {
    let bits = x.to_bits();
    u64::from(if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Logits about as a model makes them, some of them equal: from -12 to 12 in steps of 1/64.
    fn random_logits(seed: &mut u64, count: usize) -> Vec<f32> {
        let mut next = || {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) as f32 / (1u64 << 31) as f32
        };
        (0..count)
            .map(|_| {
                let sum = next() + next() + next() - 1.5;
                (sum * 512.0).round() / 64.0 + 0.0
            })
            .collect()
    }

    /// Tokens from the most likely down.
    fn sorted(logits: &[f32]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        order
    }

    fn kept(logits: &[f32]) -> Vec<usize> {
        (0..logits.len())
            .filter(|i| logits[*i] > f32::NEG_INFINITY)
            .collect()
    }

    fn first_of(order: &[usize], count: usize) -> Vec<usize> {
        let mut first = order[..count].to_vec();
        first.sort_unstable();
        first
    }

    #[test]
    fn top_k_is_the_head_of_the_sorted_vocabulary() {
        let mut seed = 1;
        for count in [1, 2, 3, 17, 300, 5000] {
            for k in [1, 2, 5, 40, 299, 4999, 5000, 9000] {
                let logits = random_logits(&mut seed, count);
                let mut found = logits.clone();
                keep_top_k(&mut found, k);
                let expected = first_of(&sorted(&logits), count.min(k as usize));
                assert_eq!(kept(&found), expected, "{k} of {count}");
            }
        }
        let mut equal = [2.0; 9];
        keep_top_k(&mut equal, 4);
        assert_eq!(kept(&equal), [0, 1, 2, 3]);
        let mut all = [1.0, 2.0];
        keep_top_k(&mut all, 0);
        assert_eq!(all, [1.0, 2.0]);
    }

    #[test]
    fn top_p_is_the_shortest_head_with_that_share() {
        // Sums of 5000 floats may be off by this.
        const TOLERANCE: f64 = 1e-5;
        let mut seed = 2;
        for count in [1, 2, 3, 17, 300, 5000] {
            for p in [0.0, 0.1, 0.5, 0.8, 0.9, 0.95, 0.99, 0.9999] {
                let logits = random_logits(&mut seed, count);
                let order = sorted(&logits);
                let top = logits[order[0]];
                let mut found = logits.clone();
                keep_top_p(&mut found, top, p);
                let found = kept(&found);
                assert_eq!(found, first_of(&order, found.len()), "{p} of {count}");
                let weight = |i: &usize| f64::from(logits[*i] - top).exp();
                let total: f64 = order.iter().map(weight).sum();
                let share = |n: usize| order[..n].iter().map(weight).sum::<f64>() / total;
                let p = f64::from(p);
                assert!(share(found.len()) >= p - TOLERANCE, "{p} of {count}");
                assert!(
                    found.len() == 1 || share(found.len() - 1) < p + TOLERANCE,
                    "{p} of {count}"
                );
            }
        }
        let mut equal = [2.0; 10];
        keep_top_p(&mut equal, 2.0, 0.45);
        assert_eq!(kept(&equal), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn min_p_compares_with_the_most_likely() {
        let mut seed = 3;
        for min_p in [0.01, 0.05, 0.3, 1.0] {
            let logits = random_logits(&mut seed, 400);
            let top = logits[sorted(&logits)[0]];
            let mut found = logits.clone();
            keep_min_p(&mut found, top, min_p);
            let expected: Vec<usize> = (0..400)
                .filter(|i| f64::from(logits[*i] - top).exp() >= f64::from(min_p))
                .collect();
            assert_eq!(kept(&found), expected, "{min_p}");
        }
    }

    #[test]
    fn the_penalty_moves_each_said_token_once_and_always_down() {
        let mut logits = [2.0, -2.0, 1.0, 0.0, f32::NEG_INFINITY];
        penalize(&mut logits, &[0, 1, 0, 3, 4, 0, 99], 2.0);
        assert_eq!(logits, [1.0, -4.0, 1.0, 0.0, f32::NEG_INFINITY]);
    }

    #[test]
    fn the_order_of_places_is_the_order_of_floats() {
        let floats = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -1e-40,
            0.0,
            1e-40,
            1.0,
            1.0 + f32::EPSILON,
            f32::MAX,
        ];
        assert!(floats.is_sorted_by(|a, b| place(*a) < place(*b)));
    }
}
