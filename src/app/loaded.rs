//! A model that was opened.

use super::table::{Matrix, Row, rows};
use crate::estimate::ModelShape;
use crate::model::Model;
use crate::packed::{PackError, TextSections};
use std::path::PathBuf;
use std::sync::Arc;

/// A model that was opened, and what follows from it alone.
#[derive(Debug)]
pub struct Loaded {
    /// Name of the catalog or path.
    pub spec: PathBuf,
    /// The model.
    pub model: Model,
    /// Its shape.
    pub shape: ModelShape,
    /// How text goes in and comes out.
    pub text: Arc<TextSections>,
    /// Its matrices: those that stand alone, then layer by layer.
    pub matrices: Vec<Matrix>,
    /// The rows of the layer table.
    pub rows: Vec<Row>,
}

impl Loaded {
    /// Prepares a model for the window.
    ///
    /// # Errors
    /// When the chat template cannot be rendered.
    pub fn new(spec: PathBuf, model: Model) -> Result<Self, PackError> {
        let shape = ModelShape::of(&model)?;
        let text = Arc::new(TextSections::new(&model)?);
        let mut matrices: Vec<Matrix> = model
            .tensors
            .iter()
            .enumerate()
            .filter(|(_, tensor)| tensor.role.is_matrix())
            .map(|(index, tensor)| Matrix {
                tensor: index,
                name: tensor.name.clone(),
                role: tensor.role,
                layer: tensor.layer,
                rows: tensor.rows,
                cols: tensor.cols,
            })
            .collect();
        // Files list them in any order; people read attention before feed-forward.
        matrices.sort_by_key(|matrix| (matrix.layer, matrix.role));
        let rows = rows(&matrices, model.hyperparameters.layers);
        Ok(Self {
            spec,
            model,
            shape,
            text,
            matrices,
            rows,
        })
    }
}
