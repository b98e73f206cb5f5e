//! From logits to a token: seeded, reproducible, ties broken by the lower number.

use crate::float::exp;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token; above, logits are divided by it.
    pub temperature: f32,
    /// Only the most likely tokens whose shares add up to this stay in the draw; 1 keeps all.
    pub top_p: f32,
    /// Start of the random sequence.
    pub seed: u64,
}

impl Sampling {
    /// The most likely token, always.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        seed: 0,
    };
}

/// Draws tokens; the same logits and seed give the same tokens on every machine.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    state: u64,
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    #[must_use]
    pub const fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            state: sampling.seed,
        }
    }

    /// Chooses a token from `logits` `[vocab]`, which it leaves changed.
    pub fn sample(&mut self, logits: &mut [f32]) -> u32 {
        let best = argmax(logits);
        let temperature = self.sampling.temperature;
        if temperature.is_nan() || temperature <= 0.0 {
            return best;
        }
        let top = logits[best as usize];
        let mut total = 0.0;
        for x in logits.iter_mut() {
            *x = exp((*x - top) / temperature);
            total += *x;
        }
        let cutoff = cutoff(logits, total, self.sampling.top_p);
        let kept: f32 = logits.iter().filter(|x| **x >= cutoff).sum();
        let mut draw = self.uniform() * kept;
        for (token, x) in (0u32..).zip(logits.iter()).filter(|(_, x)| **x >= cutoff) {
            draw -= x;
            if draw < 0.0 {
                return token;
            }
        }
        best
    }

    /// Uniform in [0, 1): SplitMix64 (Steele et al. 2014).
    fn uniform(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
        let top = ((z ^ z >> 31) >> 40) as f32;
        top / 16_777_216.0
    }
}

/// The number of the largest logit; the lowest of equals.
#[must_use]
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, x) in (0..).zip(logits) {
        if *x > best.1 {
            best = (token, *x);
        }
    }
    best.0
}

/// The largest weight so that all weights from it up hold the share `top_p`, found by bisection,
/// since an engine without a heap cannot sort a vocabulary.
fn cutoff(weights: &[f32], total: f32, top_p: f32) -> f32 {
    if top_p.is_nan() || top_p >= 1.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..24 {
        let middle = (low + high) * 0.5;
        let share: f32 = weights.iter().filter(|x| **x >= middle).sum();
        if share >= top_p * total {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// FNV-1a, 64 bits, over the little-endian bytes of every logit: equal hashes, equal computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogitsHash(pub u64);

impl Default for LogitsHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl LogitsHash {
    /// Takes in the logits of one step.
    pub fn update(&mut self, logits: &[f32]) {
        for byte in logits.iter().flat_map(|x| x.to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(
            Sampler::new(Sampling::GREEDY).sample(&mut [1.0, 3.0, 3.0, f32::NAN]),
            1
        );
    }

    #[test]
    fn a_seed_fixes_the_draw_and_shares_follow_the_softmax() {
        let sampling = Sampling {
            temperature: 1.0,
            top_p: 1.0,
            seed: 7,
        };
        let draw = |sampling| -> Vec<u32> {
            let mut sampler = Sampler::new(sampling);
            (0..4000)
                .map(|_| sampler.sample(&mut [0.0, 1.0, 2.0]))
                .collect()
        };
        let tokens = draw(sampling);
        assert_eq!(tokens, draw(sampling));
        assert_ne!(
            tokens,
            draw(Sampling {
                seed: 8,
                ..sampling
            })
        );
        let share = |t| tokens.iter().filter(|x| **x == t).count() as f64 / 4000.0;
        assert!((share(2) - 0.665).abs() < 0.03, "{}", share(2));
        assert!((share(0) - 0.090).abs() < 0.03, "{}", share(0));
        let narrow = draw(Sampling {
            top_p: 0.6,
            ..sampling
        });
        assert!(narrow.iter().all(|t| *t == 2));
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut hash = LogitsHash::default();
        hash.update(&[f32::from_bits(u32::from_le_bytes(*b"foob"))]);
        // FNV-1a of "foob" from the reference implementation's test vectors.
        assert_eq!(hash.0, 0xdd12_0e79_0c25_12af);
    }
}
