//! What a token asks of a board, and ranges of what it takes.

use super::instructions::Products;
use super::memory::kv_bytes_per_position;
use super::shape::{ModelShape, TensorPlan};
use engine::arena::CachePrecision;
use engine::shape::Role;
use serde::Serialize;

/// A number with its bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Range {
    /// Pessimistic bound for rates, optimistic for times and energies: the smallest number.
    pub low: f64,
    /// The estimate.
    pub mid: f64,
    /// The largest number.
    pub high: f64,
    /// What it rests on.
    pub source: String,
}

/// What one token asks of the board.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Bytes of weights read.
    pub weight_bytes: f64,
    /// Bytes of keys and values read.
    pub kv_bytes: f64,
    /// Multiply-accumulates.
    pub macs: f64,
    /// What decides how many instructions they take.
    pub(super) products: Products,
    /// Elements that norms, rotations, activation functions and sums go over.
    pub(super) elements: f64,
}

/// [`Work::elements`] of a token: in each block two norms and two sums over `hidden`, the rotation of queries and keys, keys
/// and values that are stored, gate and up.
pub(super) fn elements(layers: u32, hidden: u32, query: u32, kv: u32, feed_forward: u32) -> f64 {
    let [layers, hidden, query, kv, feed_forward] =
        [layers, hidden, query, kv, feed_forward].map(f64::from);
    layers * (4.0 * hidden + query + 3.0 * kv + 2.0 * feed_forward)
}

/// Whether a token's logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The token is followed by a new one.
    Computed,
    /// The token is inside a prompt.
    Skipped,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate: sizes stay far below 2^52"
)]
impl Work {
    /// Work of the token after `positions` others.
    #[must_use]
    pub fn of_token(
        shape: &ModelShape,
        tensors: &[TensorPlan],
        positions: f64,
        cache: CachePrecision,
        head: Head,
    ) -> Self {
        let h = &shape.hyperparameters;
        let tied = !tensors.iter().any(|tensor| tensor.role == Role::Output);
        let attention = 2.0 * f64::from(h.layers) * f64::from(h.query_width()) * positions;
        let kv_bytes = kv_bytes_per_position(shape, cache) * positions;
        let mut work = Self {
            weight_bytes: 0.0,
            kv_bytes,
            macs: attention,
            products: Products::of_attention(attention),
            elements: elements(
                h.layers,
                h.hidden,
                h.query_width(),
                h.kv_width(),
                h.feed_forward,
            ),
        };
        for tensor in tensors {
            let is_head = tensor.role == Role::Output || (tensor.role == Role::Embedding && tied);
            if tensor.role == Role::Embedding {
                work.weight_bytes += tensor.bytes as f64 / tensor.rows as f64;
            }
            let multiplied = if is_head {
                head == Head::Computed
            } else {
                tensor.role != Role::Embedding
            };
            if multiplied {
                work.weight_bytes += tensor.bytes as f64;
                work.macs += tensor.macs() as f64;
                work.products.add(tensor);
            }
        }
        work
    }
}
