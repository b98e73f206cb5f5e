//! Every level against plain loops, at all lengths.

use super::*;
use crate::kernels::SimdLevel;
use crate::workers::Serial;
use std::vec::Vec;

fn floats(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 20) as f32 - 8.0
        })
        .collect()
}

fn bytes(floats: &[f32]) -> Vec<[u8; 4]> {
    floats.iter().map(|x| x.to_le_bytes()).collect()
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

fn hosts() -> impl Iterator<Item = Host<'static>> {
    SimdLevel::available().map(|level| Host {
        level,
        workers: &Serial,
    })
}

#[test]
fn every_level_equals_plain_loops_to_the_bit() {
    for len in (1..=67).chain([576, 1536, 2051]) {
        let (x, y, gain) = (floats(1, 3 * len), floats(2, 3 * len), floats(3, len));
        for host in hosts() {
            let mut sum = x.clone();
            add(&host, &mut sum, &y);
            let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
            assert_eq!(bits(&sum), bits(&expected), "add {len}");

            let mut gate = x.clone();
            silu_times(&host, 3, &mut gate, &y);
            let silu = x.iter().zip(&y).map(|(x, y)| x / (1.0 + exp(-x)) * y);
            assert_eq!(bits(&gate), bits(&silu.collect::<Vec<_>>()), "silu {len}");

            let mut normed = floats(4, 3 * len);
            rms_norm(&host, &x, &bytes(&gain), 1e-5, &mut normed);
            let mut in_place = x.clone();
            rms_norm_heads(&host, &mut in_place, &bytes(&gain), 1e-5);
            assert_eq!(bits(&in_place), bits(&normed), "norm in place {len}");
            for (x, normed) in x.chunks_exact(len).zip(normed.chunks_exact(len)) {
                let mut lanes = [0.0; LANES];
                for (i, x) in x.iter().enumerate() {
                    lanes[i % LANES] += x * x;
                }
                let inverse = 1.0 / sqrt(fold(lanes) / len as f32 + 1e-5);
                let expected = x.iter().zip(&gain).map(|(x, g)| x * inverse * g);
                assert_eq!(bits(normed), bits(&expected.collect::<Vec<_>>()), "{len}");
            }
        }
    }
}

#[test]
fn every_level_turns_heads_as_the_formula_says() {
    for half in (1..=35).chain([64, 512]) {
        let frequencies: Vec<f32> = floats(5, half).iter().map(|x| x.abs() / 8.0).collect();
        let x = floats(6, 2 * 3 * 2 * half);
        for host in hosts() {
            for pairs in [RopePairs::Adjacent, RopePairs::Halves] {
                let (mut cosines, mut sines) = (floats(7, 2 * half), floats(8, 2 * half));
                let angles = Angles::new(&mut cosines, &mut sines, &bytes(&frequencies), 11);
                let mut turned = x.clone();
                angles.rotate(&host, pairs, &mut turned);
                let mut expected = x.clone();
                for (row, head) in expected.chunks_exact_mut(2 * half).enumerate() {
                    for (i, frequency) in frequencies.iter().enumerate() {
                        let position = (11 + row / 3) as f64;
                        let (s, c) = sin_cos(position * f64::from(*frequency));
                        let (a, b) = match pairs {
                            RopePairs::Adjacent => (2 * i, 2 * i + 1),
                            RopePairs::Halves => (i, i + half),
                        };
                        (head[a], head[b]) = (head[a] * c - head[b] * s, head[a] * s + head[b] * c);
                    }
                }
                assert_eq!(bits(&turned), bits(&expected), "{pairs:?} {half}");
            }
        }
    }
}

#[test]
fn a_gate_takes_every_float() {
    let strange = [
        f32::NEG_INFINITY,
        f32::MIN,
        -200.0,
        -88.8,
        -87.31,
        -1e-45,
        -0.0,
        0.0,
        1e-45,
        87.31,
        88.8,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    for host in hosts() {
        for len in 1..=strange.len() {
            let mut gate = strange[..len].to_vec();
            silu_times(&host, 1, &mut gate, &strange.map(|_| 2.0)[..len]);
            for (own, x) in gate.iter().zip(strange) {
                let expected = x / (1.0 + exp(-x)) * 2.0;
                assert!(
                    own.to_bits() == expected.to_bits() || own.is_nan() && expected.is_nan(),
                    "{x}: {own}, not {expected}"
                );
            }
        }
    }
}
