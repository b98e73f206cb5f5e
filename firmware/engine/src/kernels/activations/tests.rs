//! Every level against the definition, group by group.

use super::*;
use crate::kernels::SimdLevel;
use std::vec;
use std::vec::Vec;

/// `(values, scales, sums)` of one row.
fn quantized(host: &Host<'_>, cols: usize, floats: &[f32]) -> (Vec<i8>, Vec<u32>, Vec<i32>) {
    let groups = floats.len() / cols * groups(cols);
    let (mut values, mut scales, mut sums) =
        (vec![77; groups * GROUP], vec![7.0; groups], vec![7; groups]);
    let mut scratch = ActivationScratch {
        values: &mut values,
        scales: &mut scales,
        sums: &mut sums,
    };
    let _activations = Activations::quantize_on(host, cols, floats, &mut scratch);
    let scales = scales.iter().map(|x| x.to_bits()).collect();
    (values, scales, sums)
}

/// The same by the definition alone.
fn expected(cols: usize, floats: &[f32]) -> (Vec<i8>, Vec<u32>, Vec<i32>) {
    let (mut values, mut scales, mut sums) = (vec![], vec![], vec![]);
    for group in floats.chunks_exact(cols).flat_map(|row| row.chunks(GROUP)) {
        let mut padded = [0.0; GROUP];
        padded[..group.len()].copy_from_slice(group);
        let mut own = [0; GROUP];
        let (scale, sum) = quantize_strange(&padded, &mut own);
        values.extend(own);
        scales.push(scale.to_bits());
        sums.push(sum);
    }
    (values, scales, sums)
}

#[test]
fn every_level_equals_the_definition_to_the_bit() {
    let mut state = 1u32;
    let mut float = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let x = (state >> 8) as f32 / (1 << 20) as f32 - 8.0;
        if state.is_multiple_of(31) {
            x * 1e4
        } else {
            // Halves of steps are frequent: they round to even.
            (x * 16.0).trunc() / 16.0
        }
    };
    for cols in (1..=67).chain([576, 2051]) {
        let floats: Vec<f32> = (0..7 * cols).map(|_| float()).collect();
        for level in SimdLevel::available() {
            let host = Host {
                level,
                workers: &Serial,
            };
            assert_eq!(
                quantized(&host, cols, &floats),
                expected(cols, &floats),
                "{} {cols}",
                level.name()
            );
        }
    }
}

#[test]
fn what_is_not_finite_leaves_a_scale_that_is_no_number_in_its_group_alone() {
    for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut floats = [0.5; 3 * GROUP];
        floats[GROUP + 7] = strange;
        let host = Host {
            level: SimdLevel::available().next().unwrap(),
            workers: &Serial,
        };
        let (values, scales, _) = quantized(&host, 3 * GROUP, &floats);
        let is_number = |bits: &u32| !f32::from_bits(*bits).is_nan();
        let found: Vec<bool> = scales.iter().map(is_number).collect();
        assert_eq!(found, [true, false, true], "{strange}");
        assert_eq!(values[GROUP..2 * GROUP], [0; GROUP]);
    }
}

#[test]
fn strange_floats_are_quantized_alike() {
    let strange = [
        0.0,
        -0.0,
        1e-45,
        -1e-40,
        3e-37,
        3.8e-37,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    for a in strange {
        for b in strange {
            for place in 0..GROUP {
                let mut floats = [0.0; GROUP];
                floats[place] = a;
                floats[(place + 5) % GROUP] = b;
                floats[(place + 9) % GROUP] = a / 3.0;
                for level in SimdLevel::available() {
                    let host = Host {
                        level,
                        workers: &Serial,
                    };
                    let (own, expected) =
                        (quantized(&host, GROUP, &floats), expected(GROUP, &floats));
                    assert_eq!(own, expected, "{} {a} {b} {place}", level.name());
                }
            }
        }
    }
}
