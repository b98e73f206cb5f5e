//! The second half of a transformer block: each token by itself.

use super::batch::{Batch, Block, activations};
use super::watch::Work;
use crate::kernels::{add, multiply, multiply_all, rms_norm, silu_times};
use crate::shape::Role;

/// Feed-forward: x += Wd · (silu(Wg · n) * (Wu · n)), n = norm(x).
pub(super) fn feed_forward(block: &Block<'_>, batch: &mut Batch<'_>, done: &mut dyn FnMut(Work)) {
    let Block {
        shape,
        weights,
        host,
        layer,
    } = *block;
    let Batch {
        count,
        x,
        normed,
        gate,
        up,
        scratch,
        ..
    } = batch;
    let gain = weights.floats(Role::FeedForwardNorm, layer);
    rms_norm(host, x, gain, shape.norm_epsilon, normed);
    done(Work::Elementwise);
    let matrices = [Role::Gate, Role::Up].map(|r| weights.matrix(r, layer));
    let [gate_matrix, up_matrix] = matrices;
    let input = activations(host, matrices, normed, scratch);
    let products = [(gate_matrix, &mut **gate), (up_matrix, &mut **up)];
    multiply_all(host, products, &input);
    done(Work::Products);
    silu_times(host, *count, gate, up);
    done(Work::Elementwise);
    let matrix = weights.matrix(Role::Down, layer);
    multiply(
        host,
        matrix,
        &activations(host, [matrix], gate, scratch),
        normed,
    );
    done(Work::Products);
    add(host, x, normed);
    done(Work::Elementwise);
}
