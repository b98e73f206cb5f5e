//! What the blocks of one batch of tokens work on.

use crate::arena::Arena;
use crate::kernels::{ActivationScratch, Activations, Angles};
use crate::matrix::Matrix;
use crate::shape::Hyperparameters;
use crate::weights::Weights;
use crate::workers::Host;

/// The tensors of one transformer block.
pub(super) struct Block<'b> {
    pub(super) shape: &'b Hyperparameters,
    pub(super) weights: &'b Weights<'b>,
    pub(super) host: &'b Host<'b>,
    pub(super) layer: u32,
}

/// The parts of an arena that hold activations, each as long as the batch; shapes as in [`Arena`].
pub(super) struct Batch<'b> {
    /// Tokens.
    pub(super) count: usize,
    pub(super) x: &'b mut [f32],
    pub(super) normed: &'b mut [f32],
    pub(super) q: &'b mut [f32],
    pub(super) attended: &'b mut [f32],
    pub(super) k: &'b mut [f32],
    pub(super) v: &'b mut [f32],
    pub(super) gate: &'b mut [f32],
    pub(super) up: &'b mut [f32],
    pub(super) scores: &'b mut [f32],
    pub(super) scratch: ActivationScratch<'b>,
}

/// Room for the angles of a batch.
pub(super) struct AngleRoom<'b> {
    cosines: &'b mut [f32],
    sines: &'b mut [f32],
}

impl<'b> AngleRoom<'b> {
    /// The angles of the positions from `position` on.
    pub(super) fn of(self, frequencies: &[[u8; 4]], position: usize) -> Angles<'b> {
        Angles::new(self.cosines, self.sines, frequencies, position)
    }
}

impl<'b> Batch<'b> {
    /// Cuts an arena to `count` tokens; beside it the KV cache of all layers, and the room for the angles.
    pub(super) fn of(
        arena: &'b mut Arena<'_>,
        shape: &Hyperparameters,
        count: usize,
    ) -> (Self, &'b mut [u32], AngleRoom<'b>) {
        let width = |elements: u32| count * elements as usize;
        let (hidden, query) = (width(shape.hidden), width(shape.query_width()));
        let (kv, feed_forward) = (width(shape.kv_width()), width(shape.feed_forward));
        let half = width(shape.head_dim) / 2;
        let batch = Self {
            count,
            x: &mut arena.x[..hidden],
            normed: &mut arena.normed[..hidden],
            q: &mut arena.q[..query],
            attended: &mut arena.attended[..query],
            k: &mut arena.k[..kv],
            v: &mut arena.v[..kv],
            gate: &mut arena.gate[..feed_forward],
            up: &mut arena.up[..feed_forward],
            scores: &mut *arena.scores,
            scratch: ActivationScratch {
                values: &mut *arena.scratch.values,
                scales: &mut *arena.scratch.scales,
                sums: &mut *arena.scratch.sums,
            },
        };
        let angles = AngleRoom {
            cosines: &mut arena.cosines[..half],
            sines: &mut arena.sines[..half],
        };
        (batch, &mut *arena.cache, angles)
    }
}

/// The activations in the forms that these matrices take.
pub(super) fn activations<'s, const N: usize>(
    host: &Host<'_>,
    matrices: [&Matrix<'_>; N],
    floats: &'s [f32],
    scratch: &'s mut ActivationScratch<'_>,
) -> Activations<'s> {
    let cols = matrices.first().map_or(1, |m| m.cols());
    if matrices.iter().any(|m| m.takes_int8()) {
        Activations::quantize_on(host, cols, floats, scratch)
    } else {
        Activations::floats_only(cols, floats)
    }
}
