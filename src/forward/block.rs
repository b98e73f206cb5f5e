//! One transformer block.

use super::attention::attend;
use super::{Frame, Values, normalize_rows, rms_norm};
use crate::lanes::widest;
use crate::linear::times_transposed;
use engine::float::exp;
use engine::shape::{Role, RopePairs};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// A place in a block where linear maps read: those that read the same share a Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Input {
    /// Of the query, key and value projections `[tokens, hidden]`.
    Attention,
    /// Of the attention output projection `[tokens, query_width]`.
    AttentionOutput,
    /// Of the gate and up projections `[tokens, hidden]`.
    FeedForward,
    /// Of the down projection `[tokens, feed_forward]`.
    Down,
    /// Of the output head `[tokens, hidden]`.
    Output,
}

impl Input {
    /// The inputs that each block has.
    pub const OF_BLOCK: [Self; 4] = [
        Self::Attention,
        Self::AttentionOutput,
        Self::FeedForward,
        Self::Down,
    ];

    /// What the matrix of this role reads; nothing for what is no linear map.
    #[must_use]
    pub const fn of(role: Role) -> Option<Self> {
        match role {
            Role::Query | Role::Key | Role::Value => Some(Self::Attention),
            Role::AttentionOutput => Some(Self::AttentionOutput),
            Role::Gate | Role::Up => Some(Self::FeedForward),
            Role::Down => Some(Self::Down),
            // A tied embedding is the head too.
            Role::Embedding | Role::Output => Some(Self::Output),
            Role::AttentionNorm
            | Role::QueryBias
            | Role::KeyBias
            | Role::ValueBias
            | Role::QueryNorm
            | Role::KeyNorm
            | Role::FeedForwardNorm
            | Role::OutputNorm
            | Role::RopeFrequencies => None,
        }
    }
}

/// What a forward pass shows on its way through a block.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// What the linear maps at a place read `[tokens, inputs]`.
    Input(Input, ArrayView2<'a, f32>),
    /// What the matrix of a role makes of it `[tokens, outputs]`, before a bias is added.
    Output(Role, ArrayView2<'a, f32>),
}

/// The weights of one block in floats.
#[derive(Debug, Clone)]
pub struct Block {
    attention_norm: Vec<f32>,
    query: Projection,
    key: Projection,
    value: Projection,
    attention_output: Array2<f32>,
    feed_forward_norm: Vec<f32>,
    gate: Array2<f32>,
    up: Array2<f32>,
    down: Array2<f32>,
}

/// A projection to heads, with what some architectures add to it.
#[derive(Debug, Clone)]
struct Projection {
    matrix: Array2<f32>,
    bias: Option<Vec<f32>>,
    /// Gain of each head's RMS norm.
    norm: Option<Vec<f32>>,
}

impl Block {
    /// The weights of layer `layer`.
    ///
    /// # Panics
    /// When `values` lacks a tensor that every block has.
    #[must_use]
    pub fn load(values: &dyn Values, layer: u32) -> Self {
        let layer = Some(layer);
        let optional = |role| {
            let row = values.values(role, layer)?;
            Some(row.into_raw_vec_and_offset().0)
        };
        let matrix = |role| values.values(role, layer).expect("a loaded model has it");
        let floats = |role| optional(role).expect("a loaded model has it");
        let projection = |role, bias, norm: Option<Role>| Projection {
            matrix: matrix(role),
            bias: optional(bias),
            norm: norm.and_then(optional),
        };
        Self {
            attention_norm: floats(Role::AttentionNorm),
            query: projection(Role::Query, Role::QueryBias, Some(Role::QueryNorm)),
            key: projection(Role::Key, Role::KeyBias, Some(Role::KeyNorm)),
            value: projection(Role::Value, Role::ValueBias, None),
            attention_output: matrix(Role::AttentionOutput),
            feed_forward_norm: floats(Role::FeedForwardNorm),
            gate: matrix(Role::Gate),
            up: matrix(Role::Up),
            down: matrix(Role::Down),
        }
    }

    /// The matrix of this role; nothing for what is no matrix of a block.
    pub fn matrix_mut(&mut self, role: Role) -> Option<&mut Array2<f32>> {
        match role {
            Role::Query => Some(&mut self.query.matrix),
            Role::Key => Some(&mut self.key.matrix),
            Role::Value => Some(&mut self.value.matrix),
            Role::AttentionOutput => Some(&mut self.attention_output),
            Role::Gate => Some(&mut self.gate),
            Role::Up => Some(&mut self.up),
            Role::Down => Some(&mut self.down),
            Role::Embedding
            | Role::Output
            | Role::AttentionNorm
            | Role::QueryBias
            | Role::KeyBias
            | Role::ValueBias
            | Role::QueryNorm
            | Role::KeyNorm
            | Role::FeedForwardNorm
            | Role::OutputNorm
            | Role::RopeFrequencies => None,
        }
    }

    /// Carries the residual stream `x` `[windows x window, hidden]` through the block; `see` gets
    /// inputs and outputs of the linear maps.
    ///
    /// # Panics
    /// When `x` is not whole windows of the frame.
    pub fn forward(&self, frame: &Frame, x: &mut Array2<f32>, see: &mut dyn FnMut(Seen<'_>)) {
        assert!(x.nrows().is_multiple_of(frame.window), "whole windows");
        let epsilon = frame.shape.norm_epsilon;
        let normed = rms_norm(x, &self.attention_norm, epsilon);
        see(Seen::Input(Input::Attention, normed.view()));
        let mut project = |role, projection: &Projection| {
            let mut out = times_transposed(normed.view(), projection.matrix.view());
            see(Seen::Output(role, out.view()));
            projection.finish(&mut out, epsilon);
            out
        };
        let mut query = project(Role::Query, &self.query);
        let mut key = project(Role::Key, &self.key);
        let value = project(Role::Value, &self.value);
        rotate(frame, &mut query);
        rotate(frame, &mut key);
        let attended = attend(frame, &query, &key, &value);
        see(Seen::Input(Input::AttentionOutput, attended.view()));
        let out = times_transposed(attended.view(), self.attention_output.view());
        see(Seen::Output(Role::AttentionOutput, out.view()));
        *x += &out;

        let normed = rms_norm(x, &self.feed_forward_norm, epsilon);
        see(Seen::Input(Input::FeedForward, normed.view()));
        let mut gated = times_transposed(normed.view(), self.gate.view());
        let up = times_transposed(normed.view(), self.up.view());
        see(Seen::Output(Role::Gate, gated.view()));
        see(Seen::Output(Role::Up, up.view()));
        if let (Some(gated), Some(up)) = (gated.as_slice_mut(), up.as_slice()) {
            let parts = gated.par_chunks_mut(4096).zip(up.par_chunks(4096));
            parts.for_each(|(gated, up)| {
                widest(|| {
                    for (gate, up) in gated.iter_mut().zip(up) {
                        *gate *= up / (1.0 + exp(-*gate));
                    }
                });
            });
        }
        see(Seen::Input(Input::Down, gated.view()));
        let out = times_transposed(gated.view(), self.down.view());
        see(Seen::Output(Role::Down, out.view()));
        *x += &out;
    }
}

impl Projection {
    /// Adds to the product `[tokens, outputs]` what comes after it.
    fn finish(&self, out: &mut Array2<f32>, epsilon: f32) {
        if let Some(bias) = &self.bias {
            let bias = ndarray::ArrayView1::from(bias);
            out.rows_mut().into_iter().for_each(|mut row| row += &bias);
        }
        if let (Some(gain), Some(values)) = (&self.norm, out.as_slice_mut()) {
            normalize_rows(values, gain, epsilon);
        }
    }
}

/// Turns every head of every row by the angles of its position.
fn rotate(frame: &Frame, rows: &mut Array2<f32>) {
    let width = rows.ncols();
    let half = frame.cosines.ncols();
    let Some(slice) = rows.as_slice_mut() else {
        return;
    };
    slice
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(row, values)| {
            let position = row % frame.window;
            let (cosines, sines) = (frame.cosines.row(position), frame.sines.row(position));
            for head in values.chunks_exact_mut(2 * half) {
                for pair in 0..half {
                    let (first, second) = match frame.shape.rope_pairs {
                        RopePairs::Adjacent => (2 * pair, 2 * pair + 1),
                        RopePairs::Halves => (pair, pair + half),
                    };
                    let (a, b) = (head[first], head[second]);
                    head[first] = a * cosines[pair] - b * sines[pair];
                    head[second] = a * sines[pair] + b * cosines[pair];
                }
            }
        });
}
