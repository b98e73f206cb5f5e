//! The rows of a matrix that is to be compressed: floats, or as the file of their model stores them.
//!
//! What is stored is turned into floats a few rows at a time, by the thread that needs them: a whole
//! embedding in floats is larger than the packed model that comes of it.

use crate::model::{Model, Tensor};
use engine::shape::Role;
use std::ops::Range;

/// Rows `[rows, cols]`, row-major.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
    /// Whole rows of `cols` floats.
    Floats { values: &'a [f32], cols: usize },
    /// A tensor of a model.
    Stored {
        model: &'a Model,
        tensor: &'a Tensor,
    },
}

impl<'a> Rows<'a> {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Floats { values, cols } => values.len() / cols.max(&1),
            Self::Stored { tensor, .. } => tensor.rows,
        }
    }

    pub(super) fn cols(&self) -> usize {
        match self {
            Self::Floats { cols, .. } => *cols,
            Self::Stored { tensor, .. } => tensor.cols,
        }
    }

    /// What people call the tensor.
    pub(super) fn name(&self) -> &'a str {
        match self {
            Self::Floats { .. } => "the matrix",
            Self::Stored { tensor, .. } => &tensor.name,
        }
    }

    /// What they do in their model.
    pub(super) fn role(&self) -> Option<Role> {
        match self {
            Self::Floats { .. } => None,
            Self::Stored { tensor, .. } => Some(tensor.role),
        }
    }

    /// Some of them as floats, in `buffer` where they are not already.
    ///
    /// # Panics
    /// When there are not so many rows.
    pub(super) fn part<'b>(&self, rows: Range<usize>, buffer: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        let cols = self.cols();
        match self {
            Self::Floats { values, .. } => &values[rows.start * cols..rows.end * cols],
            Self::Stored { model, tensor } => {
                buffer.resize(rows.len() * cols, 0.0);
                for (row, out) in rows.zip(buffer.chunks_exact_mut(cols.max(1))) {
                    model.row(tensor, row, out);
                }
                buffer
            }
        }
    }
}
