//! The table of tensors that a session reads.

use crate::matrix::Matrix;
use crate::shape::{Hyperparameters, Role};

/// Places in the table for each layer; tensors that stand alone use layer 0's.
const ROLES: usize = Role::ALL.len();

/// Places that a table for so many layers needs.
#[must_use]
pub const fn table_len(layers: u32) -> usize {
    layers as usize * ROLES
}

/// Where the tensor of this role and layer (0 for those that stand alone) sits in the table.
#[must_use]
pub const fn table_index(role: Role, layer: u32) -> usize {
    layer as usize * ROLES + role as usize
}

/// Every tensor of a model, each present where required and of the right shape.
///
/// Between two tokens the host may hand a session another table for the same shape: that is how a
/// tensor is replaced while the assistant speaks.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    table: &'a [Option<Matrix<'a>>],
    shape: Hyperparameters,
}

/// Why a table is not a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsError {
    /// The hyperparameter of this name is out of range.
    Hyperparameter(&'static str),
    /// The table has not the length that [`table_len`] gives.
    TableLength,
    /// A required tensor is not there.
    Missing(Role, u32),
    /// A tensor has another shape than the hyperparameters give it.
    Shape(Role, u32),
    /// A norm, bias or table of frequencies is not stored as 32-bit floats.
    NotFloat(Role, u32),
}

impl<'a> Weights<'a> {
    /// Checks that `table` holds the tensors of a model of this shape.
    ///
    /// # Errors
    /// Names the first tensor that is missing or wrong.
    pub fn new(
        shape: Hyperparameters,
        table: &'a [Option<Matrix<'a>>],
    ) -> Result<Self, WeightsError> {
        shape
            .check()
            .map_err(|e| WeightsError::Hyperparameter(e.name))?;
        if table.len() != table_len(shape.layers) {
            return Err(WeightsError::TableLength);
        }
        for layer in 0..shape.layers {
            for role in Role::ALL
                .into_iter()
                .filter(|r| layer == 0 || r.is_per_layer())
            {
                match table[table_index(role, layer)] {
                    None if role.is_optional() => {}
                    None => return Err(WeightsError::Missing(role, layer)),
                    Some(matrix) => {
                        let (rows, cols) = role.shape(&shape);
                        if (matrix.rows(), matrix.cols()) != (rows as usize, cols as usize) {
                            return Err(WeightsError::Shape(role, layer));
                        }
                        if !role.is_matrix() && matrix.floats().is_none() {
                            return Err(WeightsError::NotFloat(role, layer));
                        }
                    }
                }
            }
        }
        Ok(Self { table, shape })
    }

    /// The numbers that every shape follows from.
    #[must_use]
    pub const fn shape(&self) -> &Hyperparameters {
        &self.shape
    }

    /// The tensor of this role and layer (0 for those that stand alone), if the model has it.
    #[must_use]
    pub fn optional(&self, role: Role, layer: u32) -> Option<&Matrix<'a>> {
        self.table[table_index(role, layer)].as_ref()
    }

    pub(crate) fn matrix(&self, role: Role, layer: u32) -> &Matrix<'a> {
        self.optional(role, layer)
            .expect("required tensors were checked when the table was bound")
    }

    /// The output head: its own, or the embedding where that is tied.
    pub(crate) fn output(&self) -> &Matrix<'a> {
        self.optional(Role::Output, 0)
            .unwrap_or_else(|| self.matrix(Role::Embedding, 0))
    }

    /// A norm, bias or table of frequencies, as 32-bit little-endian floats; `None` where the model
    /// has none.
    pub(crate) fn optional_floats(&self, role: Role, layer: u32) -> Option<&'a [[u8; 4]]> {
        self.optional(role, layer)?.floats()
    }

    /// Such a vector that every model has.
    pub(crate) fn floats(&self, role: Role, layer: u32) -> &'a [[u8; 4]] {
        self.optional_floats(role, layer)
            .expect("required vectors were checked when the table was bound")
    }
}
