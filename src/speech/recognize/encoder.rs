//! Whisper's encoder: two convolutions and a stack of transformer blocks over the mel spectrum.

use super::RecognizeError;
use super::container::Container;
use super::layers::{FeedForward, LayerNorm, Linear, Mask, attend, gelu};
use super::matrix::Matrix;
use crate::job::{Cancelled, Job};
use ndarray::{Array2, s};

/// Taps of both convolutions.
const TAPS: usize = 3;

/// The encoder's weights.
#[derive(Debug)]
pub(super) struct Encoder {
    conv1: Linear,
    conv2: Linear,
    /// `[most positions, width]`
    positions: Matrix,
    blocks: Vec<EncoderBlock>,
    norm: LayerNorm,
}

#[derive(Debug)]
struct EncoderBlock {
    norm: LayerNorm,
    /// Queries, keys and values stacked: `[3 · width, width]`.
    query_key_value: Linear,
    output: Linear,
    feed_forward: FeedForward,
}

impl Encoder {
    /// Takes the variables under `encoder/`.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub(super) fn take(
        container: &mut Container,
        bands: usize,
        width: usize,
        most_positions: usize,
    ) -> Result<Self, RecognizeError> {
        let mut blocks = Vec::new();
        while container.has(&format!(
            "encoder/layer_{}/ffn/linear_0/weight",
            blocks.len()
        )) {
            let name = format!("encoder/layer_{}", blocks.len());
            blocks.push(EncoderBlock {
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
                feed_forward: FeedForward::take(container, &format!("{name}/ffn"), width)?,
            });
        }
        Ok(Self {
            conv1: Linear::take(container, "encoder/conv1", width, bands * TAPS)?,
            conv2: Linear::take(container, "encoder/conv2", width, width * TAPS)?,
            positions: container.matrix(
                "encoder/position_encodings/encodings",
                most_positions,
                width,
            )?,
            blocks,
            norm: LayerNorm::take(container, "encoder/layer_norm", width)?,
        })
    }

    /// Mel `[frames, bands]`, at most twice as many frames as positions, to `[frames / 2, width]`.
    ///
    /// # Errors
    /// [`Cancelled`] between two blocks.
    pub(super) fn encode(
        &self,
        mel: &Array2<f32>,
        job: &Job<'_>,
    ) -> Result<Array2<f32>, Cancelled> {
        let mut x = self.conv1.apply(&unfold(mel, 1));
        gelu(&mut x);
        let mut x = self.conv2.apply(&unfold(&x, 2));
        gelu(&mut x);
        let (count, width) = x.dim();
        let mut positions = Array2::zeros((count, width));
        self.positions.values.widen(
            0..count * width,
            positions.as_slice_mut().expect("a new array is contiguous"),
        );
        x += &positions;
        for block in &self.blocks {
            job.check()?;
            let qkv = block.query_key_value.apply(&block.norm.apply(&x));
            let (q, kv) = qkv.view().split_at(ndarray::Axis(1), width);
            let (k, v) = kv.split_at(ndarray::Axis(1), width);
            x += &block.output.apply(&attend(q, k, v, Mask::All));
            block.feed_forward.add_to(&mut x);
        }
        Ok(self.norm.apply(&x))
    }
}

/// Lays out what each output of a convolution with three taps and one step of padding sees:
/// `[time, channels]` to `[outputs, channels · 3]`, so that the convolution is a linear layer.
fn unfold(x: &Array2<f32>, stride: usize) -> Array2<f32> {
    let (time, channels) = x.dim();
    let outputs = (time - 1) / stride + 1;
    let mut columns = Array2::zeros((outputs, channels * TAPS));
    for output in 0..outputs {
        for tap in 0..TAPS {
            let padded = output * stride + tap;
            if (1..=time).contains(&padded) {
                columns
                    .slice_mut(s![output, tap..;TAPS])
                    .assign(&x.row(padded - 1));
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfolding_pads_with_zeros_and_steps_by_the_stride() {
        let x = ndarray::arr2(&[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]]);
        let columns = unfold(&x, 2);
        assert_eq!(
            columns,
            ndarray::arr2(&[
                [0.0, 1.0, 2.0, 0.0, 10.0, 20.0],
                [2.0, 3.0, 4.0, 20.0, 30.0, 40.0]
            ])
        );
    }
}
