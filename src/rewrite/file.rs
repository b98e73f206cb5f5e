//! The GGUF file that a rewrite makes, and the tensors that go into it unchanged.

use super::RewriteError;
use crate::job::Job;
use crate::model::{Model, SourceType, Tensor};
use crate::packed::export::{self, ExportError, HeadOrder, Listed, Metadata};
use std::borrow::Cow;
use std::path::Path;

/// Writes a file of `tensors`, whose bytes `content` makes one by one; how long it became.
///
/// # Errors
/// Those of `content`, and when the file cannot be written; an older one is untouched then.
pub(super) fn write<'a>(
    metadata: &Metadata,
    tensors: &[Listed<'_>],
    path: &Path,
    (stage, job): (&str, &Job<'_>),
    mut content: impl FnMut(usize) -> Result<Cow<'a, [u8]>, RewriteError>,
) -> Result<u64, RewriteError> {
    let failed = |source| ExportError::Io {
        path: path.to_owned(),
        source,
    };
    let total = tensors.iter().map(|t| t.bytes).sum();
    export::write(path, |file| {
        let bytes = export::put_header(metadata, tensors, file).map_err(failed)?;
        let mut done = 0;
        for (index, tensor) in tensors.iter().enumerate() {
            job.report(stage, done, total)?;
            let part = content(index)?;
            assert_eq!(part.len() as u64, tensor.bytes, "bytes of {}", tensor.name);
            file.write_all(&part).map_err(failed)?;
            export::pad(file, tensor.bytes).map_err(failed)?;
            done += tensor.bytes;
        }
        job.report(stage, total, total)?;
        Ok(bytes)
    })
}

/// The order in which a GGUF file has the rows of a model's heads.
pub(super) fn head_order(model: &Model) -> HeadOrder {
    HeadOrder::new(&model.hyperparameters, model.architecture.gguf_rope_pairs())
}

/// How a tensor that stays as it is stands in the file: norms and biases in 32 bits, as llama.cpp wants
/// them, matrices as they are stored.
pub(super) fn listed_unchanged(tensor: &Tensor) -> Listed<'_> {
    let (rows, cols) = (tensor.rows as u64, tensor.cols as u64);
    if tensor.role.is_matrix() {
        Listed {
            name: &tensor.name,
            dimensions: vec![cols, rows],
            ggml_type: tensor.source.ggml_type(),
            bytes: rows * row_bytes(tensor) as u64,
        }
    } else {
        Listed {
            name: &tensor.name,
            dimensions: vec![cols],
            ggml_type: SourceType::F32.ggml_type(),
            bytes: 4 * cols,
        }
    }
}

/// The bytes of a tensor that stays as it is.
pub(super) fn unchanged<'a>(model: &'a Model, tensor: &Tensor) -> Cow<'a, [u8]> {
    let order = head_order(model).of(tensor.role);
    if !tensor.role.is_matrix() {
        let values = model.values(tensor);
        let in_order = (0..values.len()).map(|index| values[order.source(index)]);
        return Cow::Owned(in_order.flat_map(f32::to_le_bytes).collect());
    }
    match order {
        HeadOrder::AsPacked => Cow::Borrowed(model.source_bytes(tensor)),
        HeadOrder::Adjacent(_) | HeadOrder::Halves(_) => {
            let rows = (0..tensor.rows).map(|index| order.source(index));
            Cow::Owned(rows_of(model, tensor, rows))
        }
    }
}

/// Rows of a tensor as they are stored, in this order.
pub(super) fn rows_of(
    model: &Model,
    tensor: &Tensor,
    rows: impl Iterator<Item = usize>,
) -> Vec<u8> {
    let (bytes, length) = (model.source_bytes(tensor), row_bytes(tensor));
    let mut chosen = Vec::new();
    for row in rows {
        chosen.extend_from_slice(&bytes[row * length..][..length]);
    }
    chosen
}

/// Bytes of one stored row.
pub(super) fn row_bytes(tensor: &Tensor) -> usize {
    tensor.cols / tensor.source.block_values() * tensor.source.block_bytes()
}
