//! Rotary frequencies: how far each pair of a head turns from one position to the next.

use super::ModelError;
use std::f64::consts::TAU;

/// How a model stretches its rotary embedding beyond the context it was first trained with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RopeScaling {
    /// Not at all.
    None,
    /// Every frequency divided by the same number.
    Linear { factor: f64 },
    /// Low frequencies divided, high ones kept, a ramp between them (Llama 3.1).
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original_context: f64,
    },
    /// Each frequency divided by its own number: the `rope_freqs.weight` tensor of a GGUF.
    Divisors(Vec<f32>),
}

/// Radians per position of each of the `head_dim / 2` pairs.
///
/// # Errors
/// When a frequency comes out as zero, negative or no number at all.
pub(super) fn rope_frequencies(
    head_dim: u32,
    base: f64,
    scaling: &RopeScaling,
) -> Result<Vec<f32>, ModelError> {
    let pairs = head_dim / 2;
    if let RopeScaling::Divisors(divisors) = scaling
        && divisors.len() != pairs as usize
    {
        return Err(ModelError::malformed(
            "rope_freqs.weight",
            format_args!("{pairs} values, half of a head"),
            divisors.len(),
        ));
    }
    (0..pairs)
        .map(|pair| {
            let plain = base.powf(-2.0 * f64::from(pair) / f64::from(head_dim));
            let scaled = match scaling {
                RopeScaling::None => plain,
                RopeScaling::Linear { factor } => plain / factor,
                RopeScaling::Llama3 {
                    factor,
                    low,
                    high,
                    original_context,
                } => llama3(plain, *factor, *low, *high, *original_context),
                RopeScaling::Divisors(divisors) => plain / f64::from(divisors[pair as usize]),
            };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounded to the engine's floats"
            )]
            let frequency = scaled as f32;
            if frequency.is_finite() && frequency > 0.0 {
                Ok(frequency)
            } else {
                Err(ModelError::malformed(
                    format_args!("rotary frequency {pair}"),
                    "a positive number",
                    scaled,
                ))
            }
        })
        .collect()
}

/// `_compute_llama3_parameters` of Hugging Face's `modeling_rope_utils.py`.
fn llama3(plain: f64, factor: f64, low: f64, high: f64, original_context: f64) -> f64 {
    let wavelength = TAU / plain;
    if wavelength < original_context / high {
        plain
    } else if wavelength > original_context / low {
        plain / factor
    } else {
        let smooth = (original_context / wavelength - low) / (high - low);
        (1.0 - smooth) * plain / factor + smooth * plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_pair_turns_one_radian_and_the_last_almost_none() {
        let plain = rope_frequencies(64, 100_000.0, &RopeScaling::None).unwrap();
        assert_eq!((plain.len(), plain[0]), (32, 1.0));
        assert!((f64::from(plain[16]) - 100_000_f64.sqrt().recip()).abs() < 1e-9);
    }

    #[test]
    fn llama_3_keeps_high_and_divides_low_frequencies() {
        // Llama 3.2 1B: base 500000, factor 32, 1 and 4, trained with 8192.
        let scaling = RopeScaling::Llama3 {
            factor: 32.0,
            low: 1.0,
            high: 4.0,
            original_context: 8192.0,
        };
        let plain = rope_frequencies(64, 500_000.0, &RopeScaling::None).unwrap();
        let scaled = rope_frequencies(64, 500_000.0, &scaling).unwrap();
        assert_eq!(scaled[..14], plain[..14]);
        assert!((plain[20..].iter().zip(&scaled[20..])).all(|(p, s)| (p / s - 32.0).abs() < 1e-3));
        assert!(scaled[16] < plain[16] && scaled[16] > plain[16] / 32.0);

        // A GGUF carries the same scaling as divisors.
        let divisors: Vec<f32> = plain.iter().zip(&scaled).map(|(p, s)| p / s).collect();
        let same = rope_frequencies(64, 500_000.0, &RopeScaling::Divisors(divisors)).unwrap();
        assert!(
            same.iter()
                .zip(&scaled)
                .all(|(a, b)| (a / b - 1.0).abs() < 1e-6)
        );
    }

    #[test]
    fn refuses_frequencies_that_are_no_numbers() {
        for scaling in [
            RopeScaling::Linear { factor: 0.0 },
            RopeScaling::Linear { factor: -2.0 },
            RopeScaling::Divisors(vec![1.0, f32::NAN]),
            RopeScaling::Divisors(vec![1.0]),
        ] {
            assert!(
                rope_frequencies(4, 10_000.0, &scaling).is_err(),
                "{scaling:?}"
            );
        }
        assert!(rope_frequencies(4, f64::NAN, &RopeScaling::None).is_err());
    }
}
