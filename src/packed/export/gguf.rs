//! The GGUF container, version 3: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use super::metadata::Metadata;
use super::values::Outgoing;
use super::{ExportError, Exported, exported, put_tensors};
use crate::job::Job;
use std::io::{self, Write};
use std::path::Path;

/// Where tensors begin.
const ALIGNMENT: u64 = 32;

/// A tensor as the header lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a str,
    /// `[cols]`, or `[cols, rows]`: the contiguous one first.
    pub(crate) dimensions: Vec<u64>,
    /// Number of its type in `ggml.h`.
    pub(crate) ggml_type: u32,
    pub(crate) bytes: u64,
}

impl<'a> From<&Outgoing<'a>> for Listed<'a> {
    fn from(tensor: &Outgoing<'a>) -> Self {
        let (rows, cols) = (tensor.matrix.rows() as u64, tensor.matrix.cols() as u64);
        Self {
            name: tensor.name,
            // Norms and biases have one dimension.
            dimensions: if tensor.role.is_matrix() {
                vec![cols, rows]
            } else {
                vec![cols]
            },
            ggml_type: tensor.stored.ggml_type(),
            bytes: tensor.bytes(),
        }
    }
}

/// Writes header and tensors.
pub(super) fn write(
    metadata: &Metadata,
    tensors: &[Outgoing<'_>],
    file: &mut dyn Write,
    path: &Path,
    job: &Job<'_>,
) -> Result<Exported, ExportError> {
    let failed = |source| ExportError::Io {
        path: path.to_owned(),
        source,
    };
    let listed: Vec<_> = tensors.iter().map(Listed::from).collect();
    let bytes = put_header(metadata, &listed, file).map_err(failed)?;
    let mut left = 0;
    let rounding = put_tensors(tensors, job, |tensor, part| {
        if left == 0 {
            left = tensor.bytes();
        }
        file.write_all(part).map_err(failed)?;
        left -= part.len() as u64;
        if left == 0 {
            pad(file, tensor.bytes()).map_err(failed)?;
        }
        Ok::<_, ExportError>(())
    })?;
    Ok(exported(tensors, rounding, bytes))
}

/// Fills up to where the next tensor begins.
pub(crate) fn pad(file: &mut dyn Write, bytes: u64) -> io::Result<()> {
    let zeros = bytes.next_multiple_of(ALIGNMENT) - bytes;
    io::copy(&mut io::Read::take(io::repeat(0), zeros), file).map(|_| ())
}

/// Writes everything before the data of `tensors`, which follow in this order, each filled up by
/// [`pad`]; how long the file becomes.
pub(crate) fn put_header(
    metadata: &Metadata,
    tensors: &[Listed<'_>],
    file: &mut dyn Write,
) -> io::Result<u64> {
    let (header, data_bytes) = header(metadata, tensors);
    file.write_all(&header)?;
    if let Some(divisors) = &metadata.rope_divisors {
        file.write_all(divisors)?;
        pad(file, divisors.len() as u64)?;
    }
    Ok(header.len() as u64 + data_bytes)
}

/// Everything before the tensors' data, and how long that is.
fn header(metadata: &Metadata, tensors: &[Listed<'_>]) -> (Vec<u8>, u64) {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    let divisors = metadata.rope_divisors.as_ref().map(|divisors| Listed {
        name: "rope_freqs.weight",
        dimensions: vec![divisors.len() as u64 / 4],
        ggml_type: 0,
        bytes: divisors.len() as u64,
    });
    let count = tensors.len() + usize::from(divisors.is_some());
    bytes.extend((count as u64).to_le_bytes());
    bytes.extend((metadata.entries.len() as u64).to_le_bytes());
    for (key, value) in &metadata.entries {
        put_text(&mut bytes, key);
        bytes.extend(value);
    }
    let mut offset = 0;
    for tensor in divisors.iter().chain(tensors) {
        put_text(&mut bytes, tensor.name);
        let dimensions = u32::try_from(tensor.dimensions.len()).unwrap_or(0);
        bytes.extend(dimensions.to_le_bytes());
        bytes.extend(tensor.dimensions.iter().flat_map(|d| d.to_le_bytes()));
        bytes.extend(tensor.ggml_type.to_le_bytes());
        bytes.extend(u64::to_le_bytes(offset));
        offset += tensor.bytes.next_multiple_of(ALIGNMENT);
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    (bytes, offset)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
