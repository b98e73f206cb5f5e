//! Whisper's decoder: one token after another, the likeliest each time, from what the encoder heard.

use super::RecognizeError;
use super::container::Container;
use super::layers::{FeedForward, LayerNorm, Linear, Mask, attend};
use super::matrix::Matrix;
use super::vocabulary::Vocabulary;
use crate::job::{Cancelled, Job};
use ndarray::{Array2, Axis, s};

/// The mean log-probability given to a transcript that went round in circles: low enough to be
/// rejected.
const LOOPED: f32 = -9.0;

/// The decoder's weights.
#[derive(Debug)]
pub(super) struct Decoder {
    /// `[tokens, width]`; also the output layer.
    embedding: Matrix,
    /// `[most tokens, width]`
    positions: Matrix,
    blocks: Vec<DecoderBlock>,
    norm: LayerNorm,
}

#[derive(Debug)]
struct DecoderBlock {
    norm: LayerNorm,
    /// Queries, keys and values stacked: `[3 · width, width]`.
    query_key_value: Linear,
    output: Linear,
    cross_norm: LayerNorm,
    cross_query: Linear,
    /// Keys and values of what the encoder heard, stacked: `[2 · width, width]`.
    cross_key_value: Linear,
    cross_output: Linear,
    feed_forward: FeedForward,
}

/// What one block remembers of one utterance.
struct Memory {
    /// Keys and values of the tokens so far: `[most tokens, 2 · width]`.
    own: Array2<f32>,
    /// Keys and values of what was heard: `[positions, 2 · width]`.
    heard: Array2<f32>,
}

/// Decoded tokens, without the prompt and the end.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) tokens: Vec<usize>,
    /// Mean natural log-probability of a token, the end included.
    pub(super) mean_log_probability: f32,
}

impl Decoder {
    /// Takes the variables under `decoder/`.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub(super) fn take(
        container: &mut Container,
        tokens: usize,
        width: usize,
        most_tokens: usize,
    ) -> Result<Self, RecognizeError> {
        let mut blocks = Vec::new();
        while container.has(&format!(
            "decoder/layer_{}/ffn/linear_0/weight",
            blocks.len()
        )) {
            let name = format!("decoder/layer_{}", blocks.len());
            blocks.push(DecoderBlock {
                norm: LayerNorm::take(
                    container,
                    &format!("{name}/self_attention/layer_norm"),
                    width,
                )?,
                query_key_value: Linear::take(
                    container,
                    &format!("{name}/self_attention/linear_0"),
                    3 * width,
                    width,
                )?,
                output: Linear::take(
                    container,
                    &format!("{name}/self_attention/linear_1"),
                    width,
                    width,
                )?,
                cross_norm: LayerNorm::take(
                    container,
                    &format!("{name}/attention/layer_norm"),
                    width,
                )?,
                cross_query: Linear::take(
                    container,
                    &format!("{name}/attention/linear_0"),
                    width,
                    width,
                )?,
                cross_key_value: Linear::take(
                    container,
                    &format!("{name}/attention/linear_1"),
                    2 * width,
                    width,
                )?,
                cross_output: Linear::take(
                    container,
                    &format!("{name}/attention/linear_2"),
                    width,
                    width,
                )?,
                feed_forward: FeedForward::take(container, &format!("{name}/ffn"), width)?,
            });
        }
        Ok(Self {
            embedding: container.matrix("decoder/embeddings/weight", tokens, width)?,
            positions: container.matrix(
                "decoder/position_encodings/encodings",
                most_tokens,
                width,
            )?,
            blocks,
            norm: LayerNorm::take(container, "decoder/layer_norm", width)?,
        })
    }

    /// Writes down what was `heard`, `[positions, width]`, in at most `limit` tokens.
    ///
    /// # Errors
    /// [`Cancelled`] between two tokens.
    pub(super) fn decode(
        &self,
        heard: &Array2<f32>,
        vocabulary: &Vocabulary,
        limit: usize,
        job: &Job<'_>,
    ) -> Result<Decoded, Cancelled> {
        let limit = limit.min(self.positions.rows.saturating_sub(vocabulary.prompt.len()));
        let width = self.embedding.cols;
        let mut memories: Vec<Memory> = self
            .blocks
            .iter()
            .map(|block| Memory {
                own: Array2::zeros((self.positions.rows, 2 * width)),
                heard: block.cross_key_value.apply(heard),
            })
            .collect();
        let mut input = vocabulary.prompt.clone();
        let mut position = 0;
        let mut tokens = Vec::new();
        let mut log_probability = 0.0;
        while tokens.len() < limit {
            job.check()?;
            let mut logits = self.step(&input, position, &mut memories);
            position += input.len();
            let suppressed = vocabulary.suppressed.iter().chain(
                vocabulary
                    .suppressed_first
                    .iter()
                    .filter(|_| tokens.is_empty()),
            );
            for &token in suppressed {
                logits[token] = f32::NEG_INFINITY;
            }
            logits[vocabulary.first_special..].fill(f32::NEG_INFINITY);
            let (token, log_of_chosen) = likeliest(&logits);
            log_probability += log_of_chosen;
            if token == vocabulary.end {
                break;
            }
            tokens.push(token);
            if goes_round(&tokens) {
                return Ok(Decoded {
                    tokens,
                    mean_log_probability: LOOPED,
                });
            }
            input = vec![token];
        }
        let mean_log_probability = log_probability / (tokens.len() + 1) as f32;
        Ok(Decoded {
            tokens,
            mean_log_probability,
        })
    }

    /// Reads `tokens` from `position` on and returns the logits after the last, `[tokens]`.
    fn step(&self, tokens: &[usize], position: usize, memories: &mut [Memory]) -> Vec<f32> {
        let width = self.embedding.cols;
        let mut x = Array2::zeros((tokens.len(), width));
        let mut encoding = vec![0.0; width];
        for (index, &token) in tokens.iter().enumerate() {
            let mut row = x.row_mut(index);
            self.embedding
                .row(token, row.as_slice_mut().expect("a row is contiguous"));
            self.positions.row(position + index, &mut encoding);
            row.iter_mut()
                .zip(&encoding)
                .for_each(|(value, encoding)| *value += encoding);
        }
        for (block, memory) in self.blocks.iter().zip(memories) {
            let qkv = block.query_key_value.apply(&block.norm.apply(&x));
            let (q, key_value) = qkv.view().split_at(Axis(1), width);
            let known = position + tokens.len();
            memory
                .own
                .slice_mut(s![position..known, ..])
                .assign(&key_value);
            let (k, v) = memory.own.slice(s![..known, ..]).split_at(Axis(1), width);
            x += &block
                .output
                .apply(&attend(q, k, v, Mask::Causal { first: position }));

            let q = block.cross_query.apply(&block.cross_norm.apply(&x));
            let (k, v) = memory.heard.view().split_at(Axis(1), width);
            x += &block.cross_output.apply(&attend(q.view(), k, v, Mask::All));
            block.feed_forward.add_to(&mut x);
        }
        let last = x.slice(s![tokens.len() - 1.., ..]).to_owned();
        self.embedding
            .apply(&self.norm.apply(&last))
            .into_raw_vec_and_offset()
            .0
    }
}

/// The index of the largest logit and its log-probability.
fn likeliest(logits: &[f32]) -> (usize, f32) {
    let (best, max) =
        logits
            .iter()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (index, &logit)| {
                if logit > best.1 { (index, logit) } else { best }
            });
    let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
    (best, -sum.ln())
}

/// Whether the tokens end in the same run three times over, of six tokens or more in all.
///
/// Whisper falls into such loops when it is given too little context; a person hardly ever does.
fn goes_round(tokens: &[usize]) -> bool {
    (2..=tokens.len() / 3).any(|length| {
        let tail = &tokens[tokens.len() - 3 * length..];
        tail[..length] == tail[length..2 * length] && tail[length..2 * length] == tail[2 * length..]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found_and_repeated_words_are_not() {
        let check =
            |tokens: &[usize], expected| assert_eq!(goes_round(tokens), expected, "{tokens:?}");
        check(&[], false);
        check(&[5, 5, 5], false);
        check(&[5, 5, 5, 5, 5, 5], true);
        check(&[9, 1, 2, 1, 2, 1, 2], true);
        check(&[1, 2, 1, 2, 1, 3], false);
        check(&[1, 2, 3, 1, 2, 3, 1, 2, 3], true);
    }

    #[test]
    fn the_likeliest_token_comes_with_its_log_probability() {
        let (token, log_probability) = likeliest(&[0.0, 1.0, f32::NEG_INFINITY]);
        assert_eq!(token, 1);
        assert!((log_probability - -(1.0 + (-1.0_f32).exp()).ln()).abs() < 1e-6);
    }
}
