//! `config.json`: hyperparameters as `transformers` names them.

use super::OneOrMany;
use crate::model::ModelError;
use crate::model::rope::RopeScaling;
use engine::shape::{Hyperparameters, RopePairs};
use serde::Deserialize;

/// The fields that matter; others do not change what the engine computes.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    pub(super) model_type: String,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) eos_token_id: Option<OneOrMany>,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab_size: u32,
    max_position_embeddings: u32,
    rms_norm_eps: f64,
    hidden_act: Option<String>,
    sliding_window: Option<u32>,
    use_sliding_window: Option<bool>,
    partial_rotary_factor: Option<f64>,
    rope_interleaved: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    /// Where transformers 5 has both of the above.
    rope_parameters: Option<Rope>,
    quantization_config: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
struct Rope {
    rope_type: Option<String>,
    /// Its older name; some files have both.
    #[serde(rename = "type")]
    kind: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

impl Config {
    /// Not yet checked for range.
    pub(super) fn hyperparameters(&self) -> Result<Hyperparameters, ModelError> {
        self.check_kind()?;
        let heads = self.num_attention_heads;
        // Within its window, sliding attention is plain attention.
        let window = match self.use_sliding_window {
            Some(true) => self.sliding_window,
            Some(false) | None => None,
        };
        Ok(Hyperparameters {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            feed_forward: self.intermediate_size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim: match self.head_dim {
                Some(head_dim) => head_dim,
                None => self.hidden_size.checked_div(heads).unwrap_or(0),
            },
            vocab: self.vocab_size,
            context: self.max_position_embeddings.min(window.unwrap_or(u32::MAX)),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the engine computes in 32 bits"
            )]
            norm_epsilon: self.rms_norm_eps as f32,
            rope_pairs: RopePairs::Halves,
        })
    }

    /// Refuses what the engine would compute wrongly.
    fn check_kind(&self) -> Result<(), ModelError> {
        if let Some(other) = self.hidden_act.as_deref().filter(|&act| act != "silu") {
            return Err(ModelError::unsupported(
                "config.json: hidden_act",
                other,
                "silu",
            ));
        }
        let rope = [&self.rope_parameters, &self.rope_scaling];
        let partial = rope
            .into_iter()
            .flatten()
            .find_map(|rope| rope.partial_rotary_factor);
        if let Some(part) = partial
            .or(self.partial_rotary_factor)
            .filter(|&part| part != 1.0)
        {
            return Err(ModelError::unsupported(
                "config.json: partial_rotary_factor",
                part,
                "1",
            ));
        }
        if self.rope_interleaved == Some(true) {
            return Err(ModelError::unsupported(
                "config.json: rope_interleaved",
                true,
                "false",
            ));
        }
        if self.quantization_config.is_some() {
            return Err(ModelError::unsupported(
                "config.json:",
                "quantization_config",
                "weights in F32, F16 or BF16",
            ));
        }
        Ok(())
    }

    /// Base and scaling of the rotary embedding.
    pub(super) fn rope(&self) -> Result<(f64, RopeScaling), ModelError> {
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let base = rope
            .and_then(|rope| rope.rope_theta)
            .or(self.rope_theta)
            .unwrap_or(10_000.0);
        let Some(rope) = rope else {
            return Ok((base, RopeScaling::None));
        };
        let number = |name: &str, value: Option<f64>| {
            value.ok_or_else(|| {
                ModelError::malformed(
                    format_args!("config.json: rope {name}"),
                    "a number",
                    "nothing",
                )
            })
        };
        let scaling = match rope.rope_type.as_deref().or(rope.kind.as_deref()) {
            None | Some("default") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear {
                factor: number("factor", rope.factor)?,
            },
            Some("llama3") => RopeScaling::Llama3 {
                factor: number("factor", rope.factor)?,
                low: number("low_freq_factor", rope.low_freq_factor)?,
                high: number("high_freq_factor", rope.high_freq_factor)?,
                original_context: number(
                    "original_max_position_embeddings",
                    rope.original_max_position_embeddings,
                )?,
            },
            Some(other) => {
                return Err(ModelError::unsupported(
                    "rope scaling",
                    other,
                    "default, linear, llama3",
                ));
            }
        };
        Ok((base, scaling))
    }
}
