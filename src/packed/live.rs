//! The host's owner of replaced tensors.

use super::{PackError, TextSections, WeightSource};
use crate::compress::{CompressedModel, CompressedTensor};
use engine::format::Text;
use engine::shape::Hyperparameters;
use engine::weights::{Weights, WeightsError, table_index, table_len};
use std::sync::{Arc, RwLock};

/// A compressed model whose tensors may be replaced while it runs.
///
/// A reader takes the tensors as they are when a token starts and keeps those for the whole token;
/// a replacement shows from the next token on, and the KV cache stays.
#[derive(Debug)]
pub struct LiveModel {
    shape: Hyperparameters,
    text: Arc<TextSections>,
    tensors: RwLock<Arc<Vec<Arc<CompressedTensor>>>>,
}

impl LiveModel {
    /// A live model of these tensors.
    ///
    /// # Errors
    /// When they are not a model of this shape.
    pub fn new(
        shape: Hyperparameters,
        text: Arc<TextSections>,
        compressed: &CompressedModel,
    ) -> Result<Self, PackError> {
        let format = |source| PackError::Format {
            name: "text".into(),
            source,
        };
        text.text().map_err(format)?;
        check(shape, &compressed.tensors)?;
        Ok(Self {
            shape,
            text,
            tensors: RwLock::new(Arc::new(compressed.tensors.clone())),
        })
    }

    /// Replaces every tensor, for another recipe of the same model.
    ///
    /// # Errors
    /// When they are not a model of this shape; then the old ones stay.
    pub fn replace_all(&self, tensors: &[Arc<CompressedTensor>]) -> Result<(), PackError> {
        check(self.shape, tensors)?;
        *self.lock() = Arc::new(tensors.to_vec());
        Ok(())
    }

    /// Replaces one tensor, found by its name; returns the bytes by which the model grew.
    ///
    /// # Errors
    /// When no tensor of this name and shape is there.
    pub fn replace(&self, tensor: Arc<CompressedTensor>) -> Result<i64, PackError> {
        let mut guard = self.lock();
        let same = |t: &Arc<CompressedTensor>| {
            t.name == tensor.name && (t.rows, t.cols) == (tensor.rows, tensor.cols)
        };
        let Some(at) = guard.iter().position(same) else {
            let problem = WeightsError::Missing(tensor.role, tensor.layer.unwrap_or(0));
            return Err(PackError::Weights {
                name: tensor.name.clone(),
                problem,
            });
        };
        let bytes = |t: &CompressedTensor| i64::try_from(t.bytes.len()).unwrap_or(i64::MAX);
        let grown = bytes(&tensor) - bytes(&guard[at]);
        Arc::make_mut(&mut guard)[at] = tensor;
        Ok(grown)
    }

    /// The tensors as they are now.
    #[must_use]
    pub fn tensors(&self) -> Arc<Vec<Arc<CompressedTensor>>> {
        Arc::clone(
            &self
                .tensors
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, Arc<Vec<Arc<CompressedTensor>>>> {
        // A panic elsewhere cannot leave the list half-written: it is exchanged as a whole.
        self.tensors
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn check(shape: Hyperparameters, tensors: &[Arc<CompressedTensor>]) -> Result<(), PackError> {
    let table = table(shape, tensors);
    Weights::new(shape, &table)
        .map(|_| ())
        .map_err(|problem| PackError::Weights {
            name: "compressed model".into(),
            problem,
        })
}

fn table(
    shape: Hyperparameters,
    tensors: &[Arc<CompressedTensor>],
) -> Vec<Option<engine::matrix::Matrix<'_>>> {
    let mut table = vec![None; table_len(shape.layers)];
    for tensor in tensors {
        if let Some(place) = table.get_mut(table_index(tensor.role, tensor.layer.unwrap_or(0))) {
            *place = Some(tensor.matrix());
        }
    }
    table
}

impl WeightSource for LiveModel {
    fn shape(&self) -> &Hyperparameters {
        &self.shape
    }

    fn text(&self) -> Text<'_> {
        self.text
            .text()
            .expect("checked when the live model was made")
    }

    fn lend(&self, work: &mut dyn FnMut(&Weights<'_>)) {
        let tensors = self.tensors();
        work(
            &Weights::new(self.shape, &table(self.shape, &tensors))
                .expect("checked when tensors were exchanged"),
        );
    }
}
