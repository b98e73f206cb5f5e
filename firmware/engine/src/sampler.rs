//! From logits to a token: seeded, reproducible, ties broken by the lower number.
//!
//! The steps and their order are those of llama.cpp's default chain: repetition penalty, top-k,
//! top-p, min-p, temperature, draw. So top-p and min-p judge the model's own probabilities, which
//! the temperature then bends. Nothing is sorted and nothing allocated: dropped tokens become
//! negative infinity in place. Sums are 32-bit floats added in an order that is written down, so a
//! board draws the tokens that the desktop draws.

mod filters;

use crate::float::exp;
use filters::{keep_min_p, keep_top_k, keep_top_p, make_finite, penalize};

/// How tokens are chosen. Start from [`Sampling::GREEDY`] and change what differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token; above, logits are divided by it.
    pub temperature: f32,
    /// Only so many of the most likely tokens stay in the draw; 0 keeps all.
    pub top_k: u32,
    /// Only the most likely tokens whose shares add up to this stay in the draw, at least one;
    /// 1 keeps all.
    pub top_p: f32,
    /// Only tokens with at least this share of the most likely one's stay in the draw; 0 keeps all.
    pub min_p: f32,
    /// Makes tokens of the window less likely when above 1, more likely when below; 1 changes none.
    pub repetition_penalty: f32,
    /// Latest tokens of the conversation that the penalty looks at, at most
    /// [`Sampling::LONGEST_WINDOW`].
    pub repetition_window: u32,
    /// Start of the random sequence.
    pub seed: u64,
}

/// A number that is no way to choose tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplingError {
    /// The field of [`Sampling`].
    pub field: &'static str,
    /// What it may be.
    pub expected: &'static str,
}

impl core::fmt::Display for SamplingError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} is out of range: expected {}",
            self.field, self.expected
        )
    }
}

impl core::error::Error for SamplingError {}

/// A logit that is no number, or an infinite one: its row says nothing about the next token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NotFinite {
    /// The token that it is of.
    pub token: u32,
    /// The logit.
    pub logit: f32,
}

impl core::fmt::Display for NotFinite {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Words, since printing floats takes 20 kB of a board's flash.
        let found = match self.logit {
            x if x.is_nan() => "NaN",
            x if x > 0.0 => "infinity",
            _ => "-infinity",
        };
        let token = self.token;
        write!(
            f,
            "expected a finite logit of every token, found {found} for token {token}"
        )
    }
}

impl core::error::Error for NotFinite {}

/// Checks that every one of `logits` is a finite number.
///
/// # Errors
/// The first that is not.
pub fn require_finite(logits: &[f32]) -> Result<(), NotFinite> {
    // Bits instead of floats: a board without a floating-point unit passes over them fast.
    const INFINITE: u32 = f32::INFINITY.to_bits();
    let is_finite = |x: &f32| x.to_bits() & INFINITE != INFINITE;
    // No early exit, so that the desktop checks a vector of them at a time.
    if logits.iter().fold(true, |all, x| all & is_finite(x)) {
        return Ok(());
    }
    let found = (0..).zip(logits).find(|(_, x)| !is_finite(x));
    found.map_or(Ok(()), |(token, logit)| {
        Err(NotFinite {
            token,
            logit: *logit,
        })
    })
}

impl Sampling {
    /// The most likely token, always.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        repetition_window: 64,
        seed: 0,
    };

    /// Longest window of the repetition penalty: its work grows with the square.
    pub const LONGEST_WINDOW: u32 = 2048;

    /// Whether every number makes sense.
    ///
    /// # Errors
    /// The first field that is out of range, with what it may be.
    pub fn check(&self) -> Result<(), SamplingError> {
        let share = |x: f32| (0.0..=1.0).contains(&x);
        let positive = |x: f32| x.is_finite() && x > 0.0;
        let fields = [
            (
                "temperature",
                self.temperature == 0.0 || positive(self.temperature),
                "a number from 0 up",
            ),
            ("top_p", share(self.top_p), "a share from 0 to 1"),
            ("min_p", share(self.min_p), "a share from 0 to 1"),
            (
                "repetition_penalty",
                positive(self.repetition_penalty),
                "a number above 0",
            ),
            (
                "repetition_window",
                self.repetition_window <= Self::LONGEST_WINDOW,
                "0 to 2048 tokens",
            ),
        ];
        match fields.into_iter().find(|(_, is_valid, _)| !is_valid) {
            Some((field, _, expected)) => Err(SamplingError { field, expected }),
            None => Ok(()),
        }
    }
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

    /// Chooses a token from `logits` `[vocab]`, which it leaves changed. `said` are the tokens of the
    /// conversation so far, oldest first, for the repetition penalty.
    ///
    /// With numbers that [`Sampling::check`] refuses it still chooses some token.
    ///
    /// # Errors
    /// When a logit is not finite; then none is changed, and nothing is drawn.
    pub fn sample(&mut self, logits: &mut [f32], said: &[u32]) -> Result<u32, NotFinite> {
        require_finite(logits)?;
        let Sampling {
            temperature,
            repetition_penalty,
            repetition_window,
            ..
        } = self.sampling;
        let window = said.len().min(repetition_window as usize);
        penalize(logits, &said[said.len() - window..], repetition_penalty);
        // The most likely token passes every filter.
        let best = argmax(logits);
        if temperature.is_nan() || temperature <= 0.0 || logits.is_empty() {
            return Ok(best);
        }
        make_finite(logits);
        let top = logits[best as usize];
        self.filter(logits, top);
        let mut total = 0.0;
        for x in logits.iter_mut() {
            *x = exp((*x - top) / temperature);
            total += *x;
        }
        Ok(self.draw(logits, total).unwrap_or(best))
    }

    /// Makes all tokens impossible that top-k, top-p and min-p drop; `top` is the largest logit.
    fn filter(&self, logits: &mut [f32], top: f32) {
        keep_top_k(logits, self.sampling.top_k);
        keep_top_p(logits, top, self.sampling.top_p);
        keep_min_p(logits, top, self.sampling.min_p);
    }

    /// The token at a random place of the row of `weights`, whose sum in order is `total`.
    fn draw(&mut self, weights: &[f32], total: f32) -> Option<u32> {
        // Below `total`, since the random number is at most 1 - 2^-24: the sum comes to pass it.
        let place = self.uniform() * total;
        let mut passed = 0.0;
        (0..).zip(weights).find_map(|(token, weight)| {
            passed += weight;
            (passed > place).then_some(token)
        })
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
    use std::string::ToString as _;
    use std::vec::Vec;

    const HOT: Sampling = Sampling {
        temperature: 1.0,
        ..Sampling::GREEDY
    };

    fn draws(sampling: Sampling, logits: &[f32], said: &[u32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        (0..count)
            .map(|_| sampler.sample(&mut logits.to_vec(), said).unwrap())
            .collect()
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let logits = [1.0, 3.0, 3.0, 2.0];
        assert_eq!(draws(Sampling::GREEDY, &logits, &[], 1), [1]);
        let repeated = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::GREEDY
        };
        assert_eq!(draws(repeated, &logits, &[1], 1), [2]);
    }

    #[test]
    fn a_seed_fixes_the_draw_and_shares_follow_the_softmax() {
        let logits = [0.0, 1.0, 2.0];
        let seven = Sampling { seed: 7, ..HOT };
        let tokens = draws(seven, &logits, &[], 4000);
        assert_eq!(tokens, draws(seven, &logits, &[], 4000));
        assert_ne!(tokens, draws(HOT, &logits, &[], 4000));
        // The same on every machine: these are part of what a seed means.
        assert_eq!(
            tokens[..16],
            [2, 0, 2, 2, 2, 1, 2, 1, 1, 2, 1, 2, 2, 2, 2, 2]
        );
        let share = |t| tokens.iter().filter(|x| **x == t).count() as f64 / 4000.0;
        assert!((share(2) - 0.665).abs() < 0.03, "{}", share(2));
        assert!((share(0) - 0.090).abs() < 0.03, "{}", share(0));
        let cold = Sampling {
            temperature: 0.5,
            ..seven
        };
        let colder = draws(cold, &logits, &[], 4000);
        let share = |t| colder.iter().filter(|x| **x == t).count() as f64 / 4000.0;
        assert!((share(2) - 0.867).abs() < 0.03, "{}", share(2));
    }

    #[test]
    fn each_filter_narrows_the_draw_before_the_temperature_widens_it() {
        // Shares 0.665, 0.245, 0.090.
        let logits = [0.0, 1.0, 2.0];
        let check = |sampling: Sampling, expected: &[u32]| {
            let hot = Sampling {
                temperature: 50.0,
                ..sampling
            };
            let mut found = draws(hot, &logits, &[], 200);
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, expected, "{sampling:?}");
        };
        check(HOT, &[0, 1, 2]);
        check(Sampling { top_k: 1, ..HOT }, &[2]);
        check(Sampling { top_k: 2, ..HOT }, &[1, 2]);
        check(Sampling { top_p: 0.0, ..HOT }, &[2]);
        check(Sampling { top_p: 0.6, ..HOT }, &[2]);
        check(Sampling { top_p: 0.7, ..HOT }, &[1, 2]);
        check(Sampling { min_p: 0.3, ..HOT }, &[1, 2]);
        check(Sampling { min_p: 1.0, ..HOT }, &[2]);
    }

    #[test]
    fn whatever_the_logits_and_numbers_are_some_possible_token_is_chosen() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let all = Sampling {
            top_k: 3,
            top_p: 0.9,
            min_p: 0.01,
            repetition_penalty: 1.3,
            ..HOT
        };
        let check = |logits: &[f32], expected: &[u32]| {
            for sampling in [Sampling::GREEDY, HOT, all] {
                for token in draws(sampling, logits, &[0, 7], 50) {
                    assert!(
                        expected.contains(&token),
                        "{token} of {logits:?}, {sampling:?}"
                    );
                }
            }
        };
        check(&[3.4e38, -3.4e38], &[0]);
        check(&[-3.4e38, -3.4e38], &[0, 1]);
        check(&[], &[0]);
        for odd in [nan, inf, -1.0] {
            let wild = Sampling {
                temperature: odd,
                top_p: odd,
                min_p: odd,
                repetition_penalty: odd,
                ..HOT
            };
            assert!(wild.check().is_err());
            assert!(draws(wild, &[1.0, 2.0], &[0], 5).iter().all(|t| *t < 2));
        }
    }

    #[test]
    fn a_row_with_a_logit_that_is_not_finite_gives_no_token() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let check = |logits: &[f32], token: u32| {
            for sampling in [Sampling::GREEDY, HOT] {
                let mut row = logits.to_vec();
                let refused = Sampler::new(sampling).sample(&mut row, &[]).unwrap_err();
                assert_eq!(refused.token, token, "{logits:?}");
                assert_eq!(
                    refused.logit.to_bits(),
                    logits[token as usize].to_bits(),
                    "{logits:?}"
                );
                let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&row), bits(logits), "the row was changed");
            }
        };
        check(&[nan, 1.0, nan], 0);
        check(&[0.0, -inf, nan], 1);
        check(&[0.0, 2.0, 1.0, inf], 3);
        check(&[nan, nan], 0);
        check(&[0.0, -nan], 1);
        // Far into a row, past whole vectors.
        let mut long = std::vec![0.0; 1000];
        long[999] = nan;
        check(&long, 999);
        let message = require_finite(&[1.0, nan]).unwrap_err().to_string();
        assert_eq!(
            message,
            "expected a finite logit of every token, found NaN for token 1"
        );
        assert_eq!(
            require_finite(&[f32::MAX, f32::MIN, 0.0, -0.0, 1e-45]),
            Ok(())
        );
    }

    #[test]
    fn a_number_out_of_range_is_named() {
        assert_eq!(Sampling::GREEDY.check(), Ok(()));
        let check = |sampling: Sampling, expected: &str| {
            assert_eq!(sampling.check().unwrap_err().to_string(), expected);
        };
        check(
            Sampling {
                temperature: -0.5,
                ..HOT
            },
            "temperature is out of range: expected a number from 0 up",
        );
        check(
            Sampling {
                top_p: f32::NAN,
                ..HOT
            },
            "top_p is out of range: expected a share from 0 to 1",
        );
        check(
            Sampling { min_p: 1.5, ..HOT },
            "min_p is out of range: expected a share from 0 to 1",
        );
        check(
            Sampling {
                repetition_penalty: 0.0,
                ..HOT
            },
            "repetition_penalty is out of range: expected a number above 0",
        );
        check(
            Sampling {
                repetition_window: Sampling::LONGEST_WINDOW + 1,
                ..HOT
            },
            "repetition_window is out of range: expected 0 to 2048 tokens",
        );
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut hash = LogitsHash::default();
        hash.update(&[f32::from_bits(u32::from_le_bytes(*b"foob"))]);
        // FNV-1a of "foob" from the reference implementation's test vectors.
        assert_eq!(hash.0, 0xdd12_0e79_0c25_12af);
    }
}
