//! The GGUF container, version 3: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use super::metadata::Metadata;
use super::values::Outgoing;
use super::{ExportError, Exported, exported, put_tensors};
use crate::job::Job;
use std::io::{self, Write};
use std::path::Path;

/// Where tensors begin.
const ALIGNMENT: u64 = 32;

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
    let (header, data_bytes) = header(metadata, tensors);
    file.write_all(&header).map_err(failed)?;
    if let Some(divisors) = &metadata.rope_divisors {
        file.write_all(divisors).map_err(failed)?;
        pad(file, divisors.len() as u64).map_err(failed)?;
    }
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
    let bytes = header.len() as u64 + data_bytes;
    Ok(exported(tensors, rounding, bytes))
}

fn pad(file: &mut dyn Write, bytes: u64) -> io::Result<()> {
    let zeros = bytes.next_multiple_of(ALIGNMENT) - bytes;
    io::copy(&mut io::Read::take(io::repeat(0), zeros), file).map(|_| ())
}

/// Everything before the tensors' data, and how long that is.
fn header(metadata: &Metadata, tensors: &[Outgoing<'_>]) -> (Vec<u8>, u64) {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    let divisors = metadata.rope_divisors.as_ref();
    let count = tensors.len() + usize::from(divisors.is_some());
    bytes.extend((count as u64).to_le_bytes());
    bytes.extend((metadata.entries.len() as u64).to_le_bytes());
    for (key, value) in &metadata.entries {
        put_text(&mut bytes, key);
        bytes.extend(value);
    }
    let mut offset = 0;
    let mut list = |name: &str, dimensions: &[u64], kind: u32, length: u64| {
        put_text(&mut bytes, name);
        bytes.extend(u32::try_from(dimensions.len()).unwrap_or(0).to_le_bytes());
        dimensions
            .iter()
            .for_each(|d| bytes.extend(d.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(u64::to_le_bytes(offset));
        offset += length.next_multiple_of(ALIGNMENT);
    };
    if let Some(divisors) = divisors {
        let length = divisors.len() as u64;
        list("rope_freqs.weight", &[length / 4], 0, length);
    }
    for tensor in tensors {
        let (rows, cols) = (tensor.matrix.rows() as u64, tensor.matrix.cols() as u64);
        let both = [cols, rows];
        // Norms and biases have one dimension.
        let dimensions = if tensor.role.is_matrix() {
            &both[..]
        } else {
            &both[..1]
        };
        list(
            tensor.name,
            dimensions,
            tensor.stored.ggml_type(),
            tensor.bytes(),
        );
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    (bytes, offset)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
