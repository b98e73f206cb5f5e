//! Every level and every cut against the plain definition, and that against 64-bit arithmetic.

use super::*;
use crate::kernels::SimdLevel;
use std::vec;
use std::vec::Vec;

/// Runs tasks last to first: what depends on their order shows.
struct Backwards;

impl Workers for Backwards {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).rev().for_each(task);
    }
}

struct Random(u64);

impl Random {
    fn float(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let x = (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0;
        if self.0.is_multiple_of(61) {
            x * 30.0
        } else {
            x
        }
    }

    fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

/// One layer's input: queries `[tokens, heads, head_dim]`, keys and values of as many tokens.
struct Case {
    shape: CacheShape,
    heads: usize,
    tokens: usize,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Case {
    fn new(
        precision: CachePrecision,
        [heads, kv_heads, head_dim]: [usize; 3],
        tokens: usize,
    ) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + tokens as u64);
        let shape = CacheShape {
            precision,
            kv_heads,
            head_dim,
            context: tokens + 3,
        };
        Self {
            shape,
            heads,
            tokens,
            queries: random.floats(tokens * heads * head_dim),
            keys: random.floats(tokens * kv_heads * head_dim),
            values: random.floats(tokens * kv_heads * head_dim),
        }
    }

    /// Attends `cut` tokens at a time.
    fn run(&self, host: &Host<'_>, cut: usize) -> Vec<f32> {
        let mut words = vec![u32::MAX; self.shape.words()];
        let mut scores = vec![f32::NAN; score_floats(self.heads, cut, self.shape.context)];
        let mut out = vec![f32::NAN; self.queries.len()];
        let mut cache = LayerCache::new(self.shape, &mut words);
        let (width, kv_width) = (
            self.heads * self.shape.head_dim,
            self.shape.kv_heads * self.shape.head_dim,
        );
        for position in (0..self.tokens).step_by(cut) {
            let end = self.tokens.min(position + cut);
            let kv = position * kv_width..end * kv_width;
            cache.store(host, &self.keys[kv.clone()], &self.values[kv], position);
            let attention = CachedAttention {
                heads: self.heads,
                position,
                prefix: None,
                cache: cache.view(0),
            };
            let rows = position * width..end * width;
            let queries = &self.queries[rows.clone()];
            attend_cached(host, &attention, queries, &mut scores, &mut out[rows]);
        }
        out
    }

    /// Attends `cut` tokens at a time, after the first `prefix` of them, which lie elsewhere.
    fn run_after(&self, prefix: usize, host: &Host<'_>, cut: usize) -> Vec<f32> {
        let kv_width = self.shape.kv_heads * self.shape.head_dim;
        let with = |context| CacheShape {
            context,
            ..self.shape
        };
        let (own, rest) = (with(prefix), with(self.tokens - prefix));
        let mut words = vec![u32::MAX; own.words()];
        let end = prefix * kv_width;
        let mut stored = LayerCache::new(own, &mut words);
        stored.store(host, &self.keys[..end], &self.values[..end], 0);
        let prefix_words = words;
        let mut words = vec![u32::MAX; rest.words()];
        let room = score_floats_after(prefix, self.heads, cut, rest.context);
        let mut scores = vec![f32::NAN; room];
        let width = self.heads * self.shape.head_dim;
        let mut out = vec![f32::NAN; self.queries.len() - prefix * width];
        let mut cache = LayerCache::new(rest, &mut words);
        for position in (prefix..self.tokens).step_by(cut) {
            let end = self.tokens.min(position + cut);
            let kv = position * kv_width..end * kv_width;
            let (keys, values) = (&self.keys[kv.clone()], &self.values[kv]);
            cache.store(host, keys, values, position - prefix);
            let attention = CachedAttention {
                heads: self.heads,
                position,
                prefix: Some(LayerView::new(own, &prefix_words)),
                cache: cache.view(prefix),
            };
            let queries = &self.queries[position * width..end * width];
            let out = &mut out[(position - prefix) * width..(end - prefix) * width];
            attend_cached(host, &attention, queries, &mut scores, out);
        }
        out
    }

    /// The same in 64 bits, without a cache.
    fn exact(&self) -> Vec<f64> {
        let (dim, group) = (self.shape.head_dim, self.heads / self.shape.kv_heads);
        let row = |rows: &[f32], width: usize, token: usize, head: usize| -> Vec<f64> {
            let at = (token * width + head) * dim;
            rows[at..at + dim].iter().map(|x| f64::from(*x)).collect()
        };
        let mut out = Vec::new();
        for token in 0..self.tokens {
            for head in 0..self.heads {
                let query = row(&self.queries, self.heads, token, head);
                let side = |rows: &[f32], p| row(rows, self.shape.kv_heads, p, head / group);
                let scores: Vec<f64> = (0..=token)
                    .map(|p| {
                        let key = side(&self.keys, p);
                        let dot: f64 = query.iter().zip(&key).map(|(q, k)| q * k).sum();
                        dot / (dim as f64).sqrt()
                    })
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let mut mean = vec![0.0; dim];
                for (p, weight) in weights.iter().enumerate() {
                    for (mean, v) in mean.iter_mut().zip(side(&self.values, p)) {
                        *mean += weight / sum * v;
                    }
                }
                out.extend(mean);
            }
        }
        out
    }
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

const SHAPES: [[usize; 3]; 9] = [
    [1, 1, 2],
    [8, 4, 8],
    [3, 3, 30],
    [9, 3, 64],
    [4, 1, 48],
    [2, 2, 100],
    [4, 2, 128],
    [16, 2, 16],
    [5, 5, 34],
];

#[test]
fn every_level_and_cut_equals_scalar_to_the_bit() {
    for precision in CachePrecision::ALL {
        for shape in SHAPES {
            for tokens in [1, 2, 15, 16, 17, 67, 131] {
                let case = Case::new(precision, shape, tokens);
                let expected = bits(&case.run(&Host::serial(), 1));
                for level in SimdLevel::available() {
                    let host = Host {
                        level,
                        workers: &Backwards,
                    };
                    for cut in [1, 2, 7, 64, tokens] {
                        assert_eq!(
                            bits(&case.run(&host, cut)),
                            expected,
                            "{} {precision:?} {shape:?} {tokens} tokens, {cut} at a time",
                            level.name()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_body_for_other_processors_equals_scalar_to_the_bit() {
    fn check<C: Codec>(case: &Case) {
        let host = Host::serial();
        let expected = case.run(&host, 1);
        let mut words = vec![0; case.shape.words()];
        let mut cache = LayerCache::new(case.shape, &mut words);
        cache.store(&host, &case.keys, &case.values, 0);
        let (dim, group) = (case.shape.head_dim, case.heads / case.shape.kv_heads);
        let padded = case.shape.context.next_multiple_of(LANES);
        for head in 0..case.shape.kv_heads {
            let codes = cache.view(0).head::<C>(head);
            let codes = [cache.view(0).head::<C>(head).none(), codes];
            for first in (0..case.tokens * group).step_by(TILE) {
                let mut scores = vec![vec![f32::NAN; padded]; TILE];
                let mut outs = vec![vec![f32::NAN; dim]; TILE];
                let count = TILE.min(case.tokens * group - first);
                let at = |index: usize| {
                    (index / group * case.heads + head * group + index % group) * dim
                };
                let rows = scores.iter_mut().zip(&mut outs).take(count).enumerate();
                let mut rows: Vec<Row<'_>> = rows
                    .map(|(i, (scores, out))| Row {
                        query: &case.queries[at(first + i)..][..dim],
                        out,
                        scores,
                        seen: (first + i) / group + 1,
                        scale: 1.0 / sqrt(dim as f32),
                    })
                    .collect();
                match rows.as_mut_array::<TILE>() {
                    Some(rows) => attend_plain::<C, TILE>(Level::Scalar, &codes, rows),
                    None => rows.iter_mut().for_each(|row| {
                        attend_plain::<C, 1>(Level::Scalar, &codes, core::array::from_mut(row));
                    }),
                }
                for (i, out) in outs.iter().take(count).enumerate() {
                    assert_eq!(bits(out), bits(&expected[at(first + i)..][..dim]));
                }
            }
        }
    }
    for shape in SHAPES {
        check::<Sixteen>(&Case::new(CachePrecision::Sixteen, shape, 67));
        check::<Eight>(&Case::new(CachePrecision::Eight, shape, 67));
        check::<Four>(&Case::new(CachePrecision::Four, shape, 67));
    }
}

#[test]
fn a_cache_is_as_exact_as_its_bits() {
    for (precision, bound) in [
        (CachePrecision::Sixteen, 0.0005),
        (CachePrecision::Eight, 0.03),
        (CachePrecision::Four, 0.2),
    ] {
        for shape in SHAPES {
            let mut case = Case::new(precision, shape, 40);
            // Without outliers, whose softmax takes one position alone.
            for x in case.queries.iter_mut().chain(&mut case.keys) {
                *x = x.clamp(-1.0, 1.0);
            }
            let (own, exact) = (case.run(&Host::serial(), 40), case.exact());
            let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
            let error = norm(&mut own.iter().zip(&exact).map(|(a, b)| f64::from(*a) - b));
            let relative = error / norm(&mut exact.iter().copied());
            assert!(relative < bound, "{precision:?} {shape:?}: {relative}");
        }
    }
}

#[test]
fn a_prefix_that_lies_elsewhere_changes_no_bit() {
    for precision in CachePrecision::ALL {
        for shape in SHAPES {
            let case = Case::new(precision, shape, 83);
            let expected = bits(&case.run(&Host::serial(), 1));
            for (prefix, cut) in [(1, 1), (13, 4), (16, 7), (17, 20), (40, 43), (82, 1)] {
                let expected = &expected[prefix * case.heads * case.shape.head_dim..];
                for level in SimdLevel::available() {
                    let workers = &Backwards;
                    let found = bits(&case.run_after(prefix, &Host { level, workers }, cut));
                    assert!(
                        found == expected,
                        "{} {precision:?} {shape:?} after {prefix}",
                        level.name()
                    );
                }
            }
        }
    }
}

#[test]
fn extremes_stay_finite_and_equal() {
    for precision in CachePrecision::ALL {
        for extreme in [0.0, -0.0, 1e-45, 1e-7, 6e4, 1e30, f32::MAX] {
            let mut case = Case::new(precision, [4, 1, 64], 35);
            case.keys[64..128].fill(extreme);
            case.values[200..300].fill(-extreme);
            case.values[7] = extreme;
            if precision == CachePrecision::Sixteen && extreme > 65_504.0 {
                continue;
            }
            let expected = case.run(&Host::serial(), 1);
            assert!(expected.iter().all(|x| x.is_finite()), "{extreme}");
            for level in SimdLevel::available() {
                let host = Host {
                    level,
                    workers: &Backwards,
                };
                assert_eq!(bits(&case.run(&host, 35)), bits(&expected), "{extreme}");
            }
        }
    }
}

#[test]
fn a_cache_takes_the_bytes_that_its_precision_says() {
    let bytes = |precision| {
        let shape = CacheShape {
            precision,
            kv_heads: 3,
            head_dim: 64,
            context: 512,
        };
        4 * shape.words()
    };
    let elements = 2 * 3 * 512 * 64;
    assert_eq!(bytes(CachePrecision::Sixteen), 2 * elements);
    assert_eq!(bytes(CachePrecision::Eight), elements + 2 * elements / 64);
    assert_eq!(
        bytes(CachePrecision::Four),
        elements / 2 + 2 * elements / 32
    );
}

#[test]
fn every_level_narrows_floats_alike() {
    let edges = [
        0.0,
        -0.0,
        1.0 + 1.0 / 2048.0,
        1.0 + 3.0 / 2048.0,
        65_519.0,
        65_520.0,
        2f32.powi(-25),
        1.1 * 2f32.powi(-25),
        2f32.powi(-14),
        f32::MAX,
        f32::NEG_INFINITY,
        1e-45,
    ];
    let mut random = Random(3);
    for _ in 0..2000 {
        let x: [f32; LANES] = core::array::from_fn(|i| match edges.get(i) {
            Some(edge) => edge * random.float().signum(),
            None => random.float() * 2f32.powi((random.float() * 28.0) as i32),
        });
        for level in SimdLevel::available() {
            let own = Sixteen::codes(level.0, &x, 1.0);
            assert_eq!(own, x.map(crate::float::f16_from_f32), "{}", level.name());
        }
    }
}
