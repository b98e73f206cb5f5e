//! Lays out the packed file: header, metadata, tensors. `firmware/engine/FORMAT.md` is its specification.

use super::{TextSections, file_bytes};
use crate::compress::{CompressedModel, CompressedTensor};
use engine::arena::CachePrecision;
use engine::format::{
    ENTRY_BYTES, NAME_BYTES, NewSection, Section, TENSOR_ALIGNMENT, shape_section, write_metadata,
};
use engine::shape::Hyperparameters;
use rayon::prelude::*;
use std::sync::Arc;

/// A packed file that is laid out, with its tensors still where they were made: to be written without
/// another copy of them in memory.
#[derive(Debug)]
pub struct Layout {
    /// All that stands before the tensors.
    pub(super) metadata: Vec<u8>,
    /// Each tensor and its place.
    pub(super) tensors: Vec<(usize, Arc<CompressedTensor>)>,
    pub(super) bytes: usize,
    prefix_tokens: usize,
    prefix_bytes: usize,
}

impl Layout {
    /// The file of these tensors, made for keys and values at `cache`; `prefix` has the tokens that open its
    /// conversations, and their section.
    pub(super) fn of_sections(
        shape: &Hyperparameters,
        compressed: &CompressedModel,
        text: &TextSections,
        source: &str,
        cache: CachePrecision,
        (prefix_tokens, prefix): (usize, &[u8]),
    ) -> Self {
        let recipe = compressed.recipe.to_toml();
        let others = [recipe.len(), source.len(), prefix.len()];
        let metadata_bytes = text.metadata_bytes(compressed.tensors.len(), others);
        let lengths = compressed.tensors.iter().map(|t| t.bytes.len());
        let bytes = file_bytes(metadata_bytes, lengths);

        let checksum = |tensor: &Arc<CompressedTensor>| crc32fast::hash(&tensor.bytes);
        let checksums: Vec<u32> = compressed.tensors.par_iter().map(checksum).collect();
        let mut directory = vec![0; compressed.tensors.len() * ENTRY_BYTES];
        let entries = directory.chunks_exact_mut(ENTRY_BYTES);
        let mut tensors = Vec::with_capacity(compressed.tensors.len());
        let mut end = metadata_bytes;
        for ((tensor, crc), entry) in compressed.tensors.iter().zip(checksums).zip(entries) {
            let offset = end.next_multiple_of(TENSOR_ALIGNMENT);
            end = offset + tensor.bytes.len();
            put_entry(entry, tensor, offset, crc);
            tensors.push((offset, Arc::clone(tensor)));
        }
        let shape = shape_section(shape);
        let parts: [(Section, &[u8]); Section::ALL.len()] = [
            (Section::Shape, &shape),
            (Section::Tensors, &directory),
            (Section::Tokenizer, &text.tokenizer),
            (Section::Vocabulary, &text.vocabulary),
            (Section::Merges, &text.merges),
            (Section::Chat, &text.chat),
            (Section::StopTokens, &text.stop_tokens),
            (Section::Recipe, recipe.as_bytes()),
            (Section::Provenance, source.as_bytes()),
            (Section::Prefix, prefix),
        ];
        let is_there =
            |(section, bytes): &(Section, &[u8])| *section != Section::Prefix || !bytes.is_empty();
        let sections: Vec<NewSection<'_>> = parts
            .into_iter()
            .filter(is_there)
            .map(|(section, bytes)| NewSection::known(section, bytes))
            .collect();
        let mut metadata = vec![0; metadata_bytes];
        write_metadata(cache, &sections, bytes as u64, &mut metadata);
        Self {
            metadata,
            tensors,
            bytes,
            prefix_tokens,
            prefix_bytes: prefix.len(),
        }
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tokens whose keys and values it has, and the bytes that those take.
    #[must_use]
    pub fn prefix(&self) -> (usize, usize) {
        (self.prefix_tokens, self.prefix_bytes)
    }

    /// The whole file in memory.
    pub(super) fn joined(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes];
        bytes[..self.metadata.len()].copy_from_slice(&self.metadata);
        for (offset, tensor) in &self.tensors {
            bytes[*offset..][..tensor.bytes.len()].copy_from_slice(&tensor.bytes);
        }
        bytes
    }
}

fn put_entry(entry: &mut [u8], tensor: &CompressedTensor, offset: usize, crc: u32) {
    let name = &tensor.name.as_bytes()[..tensor.name.len().min(NAME_BYTES)];
    entry[..name.len()].copy_from_slice(name);
    entry[40] = tensor.role as u8;
    entry[41] = tensor.encoding.number();
    put_u32(entry, 44, tensor.layer.unwrap_or(0));
    put_u32(entry, 48, number(tensor.rows));
    put_u32(entry, 52, number(tensor.cols));
    put_u32(entry, 56, number(tensor.kept));
    entry[60..68].copy_from_slice(&(offset as u64).to_le_bytes());
    entry[68..76].copy_from_slice(&(tensor.bytes.len() as u64).to_le_bytes());
    put_u32(entry, 76, crc);
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Sections and shapes are far below 4 GiB: a vocabulary has at most 2^20 tokens of at most 1 kB.
fn number(value: usize) -> u32 {
    u32::try_from(value).expect("metadata and shapes stay below 4 GiB")
}
