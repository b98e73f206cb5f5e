//! Arguments that say how tokens are chosen, for every command that answers.

use crate::number;
use engine::sampler::{Sampling, SamplingError};

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct SamplingArgs {
    /// Start of the random sequence
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// 0 takes the most likely token
    #[arg(long, visible_alias = "temp", value_name = "T", default_value_t = 0.0)]
    #[arg(value_parser = float(|temperature| Sampling { temperature, ..Sampling::GREEDY }))]
    temperature: f32,
    /// Keep only so many of the most likely tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Keep only the most likely tokens that together have this share
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    #[arg(value_parser = float(|top_p| Sampling { top_p, ..Sampling::GREEDY }))]
    top_p: f32,
    /// Keep only tokens with this share of the most likely one's
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    #[arg(value_parser = float(|min_p| Sampling { min_p, ..Sampling::GREEDY }))]
    min_p: f32,
    /// Make tokens that were said lately less likely; 1 does not
    #[arg(
        long,
        visible_alias = "repeat-penalty",
        value_name = "X",
        default_value_t = 1.0
    )]
    #[arg(value_parser = float(|repetition_penalty| Sampling { repetition_penalty, ..Sampling::GREEDY }))]
    repetition_penalty: f32,
    /// Tokens that count as said lately
    #[arg(
        long,
        visible_alias = "repeat-last-n",
        value_name = "N",
        default_value_t = 64
    )]
    #[arg(value_parser = window)]
    repetition_window: u32,
}

impl SamplingArgs {
    pub(super) const fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            repetition_window: self.repetition_window,
            seed: self.seed,
        }
    }
}

/// Reads a number that `place` puts where the engine checks it.
fn float(place: fn(f32) -> Sampling) -> impl Fn(&str) -> Result<f32, String> + Clone {
    move |text| {
        let number = number::decimal(text).map_err(|error| error.to_string())? as f32;
        place(number).check().map_err(expected)?;
        Ok(number)
    }
}

fn window(text: &str) -> Result<u32, String> {
    let tokens = number::whole(text).map_err(|error| error.to_string())?;
    // More than the engine's ring holds is refused below.
    let repetition_window = u32::try_from(tokens).unwrap_or(u32::MAX);
    let sampling = Sampling {
        repetition_window,
        ..Sampling::GREEDY
    };
    sampling.check().map_err(expected)?;
    Ok(repetition_window)
}

/// The argument's name stands before it already.
fn expected(error: SamplingError) -> String {
    format!("expected {}", error.expected)
}
