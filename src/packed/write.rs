//! Lays out the packed file: header, metadata, tensors. `firmware/engine/FORMAT.md` is its specification.

use super::{TextSections, file_bytes};
use crate::compress::{CompressedModel, CompressedTensor};
use engine::format::{
    ENTRY_BYTES, HEADER_BYTES, MAGIC, NAME_BYTES, SECTIONS, Section, TENSOR_ALIGNMENT, VERSION,
};
use engine::shape::{Hyperparameters, RopePairs};
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
    /// The file of these tensors; `prefix` has the tokens that open its conversations, and their section.
    pub(super) fn of_sections(
        shape: &Hyperparameters,
        compressed: &CompressedModel,
        text: &TextSections,
        source: &str,
        (prefix_tokens, prefix): (usize, &[u8]),
    ) -> Self {
        let recipe = compressed.recipe.to_toml();
        let directory_bytes = compressed.tensors.len() * ENTRY_BYTES;
        let mut sections: [&[u8]; SECTIONS] = [&[]; SECTIONS];
        sections[Section::Tokenizer as usize] = &text.tokenizer;
        sections[Section::Vocabulary as usize] = &text.vocabulary;
        sections[Section::Merges as usize] = &text.merges;
        sections[Section::Chat as usize] = &text.chat;
        sections[Section::StopTokens as usize] = &text.stop_tokens;
        sections[Section::Recipe as usize] = recipe.as_bytes();
        sections[Section::Provenance as usize] = source.as_bytes();
        sections[Section::Prefix as usize] = prefix;
        let others = [recipe.len(), source.len(), prefix.len()];
        let metadata_bytes = metadata_bytes(compressed.tensors.len(), text, others);
        let lengths = compressed.tensors.iter().map(|t| t.bytes.len());
        let bytes = file_bytes(metadata_bytes, lengths);

        let mut metadata = vec![0; metadata_bytes];
        let checksum = |tensor: &Arc<CompressedTensor>| crc32fast::hash(&tensor.bytes);
        let checksums: Vec<u32> = compressed.tensors.par_iter().map(checksum).collect();
        let entries = metadata[HEADER_BYTES..].chunks_exact_mut(ENTRY_BYTES);
        let mut tensors = Vec::with_capacity(compressed.tensors.len());
        let mut end = metadata_bytes;
        for ((tensor, crc), entry) in compressed.tensors.iter().zip(checksums).zip(entries) {
            let offset = end.next_multiple_of(TENSOR_ALIGNMENT);
            end = offset + tensor.bytes.len();
            put_entry(entry, tensor, offset, crc);
            tensors.push((offset, Arc::clone(tensor)));
        }
        let mut at = HEADER_BYTES;
        for (index, section) in sections.iter().enumerate() {
            let len = if index == Section::Directory as usize {
                directory_bytes
            } else {
                section.len()
            };
            metadata[at..at + section.len()].copy_from_slice(section);
            put_u32(&mut metadata, 72 + 8 * index, number(at));
            put_u32(&mut metadata, 76 + 8 * index, number(len));
            at += len.next_multiple_of(4);
        }
        put_header(&mut metadata, shape, tensors.len(), bytes);
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

/// Bytes before the first tensor: of so many tensors, the text, and `others`: recipe, provenance, prefix.
pub(super) fn metadata_bytes(tensors: usize, text: &TextSections, others: [usize; 3]) -> usize {
    let sections = text.lengths().into_iter().chain(others);
    let sections = sections.map(|bytes| bytes.next_multiple_of(4));
    HEADER_BYTES + tensors * ENTRY_BYTES + sections.sum::<usize>()
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

/// Last, since it has the checksum of all metadata.
fn put_header(metadata: &mut [u8], shape: &Hyperparameters, tensors: usize, file_bytes: usize) {
    metadata[..8].copy_from_slice(&MAGIC);
    put_u32(metadata, 8, VERSION);
    put_u32(metadata, 12, number(metadata.len()));
    put_u32(metadata, 20, number(tensors));
    metadata[24..32].copy_from_slice(&(file_bytes as u64).to_le_bytes());
    let Hyperparameters {
        layers,
        hidden,
        feed_forward,
        heads,
        kv_heads,
        head_dim,
        vocab,
        context,
        norm_epsilon,
        rope_pairs,
    } = *shape;
    let pairs = match rope_pairs {
        RopePairs::Adjacent => 0,
        RopePairs::Halves => 1,
    };
    let numbers = [
        layers,
        hidden,
        feed_forward,
        heads,
        kv_heads,
        head_dim,
        vocab,
        context,
        norm_epsilon.to_bits(),
        pairs,
    ];
    numbers
        .into_iter()
        .enumerate()
        .for_each(|(i, n)| put_u32(metadata, 32 + 4 * i, n));
    let crc = crc32fast::hash(&metadata[24..]);
    put_u32(metadata, 16, crc);
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Sections and shapes are far below 4 GiB: a vocabulary has at most 2^20 tokens of at most 1 kB.
fn number(value: usize) -> u32 {
    u32::try_from(value).expect("metadata and shapes stay below 4 GiB")
}

const _: () = assert!(HEADER_BYTES >= 72 + 8 * SECTIONS && VERSION == 1);
