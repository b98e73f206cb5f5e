//! Writes the packed file: header, metadata, tensors. `firmware/engine/FORMAT.md` is its specification.

use super::{PackError, TextSections, file_bytes};
use crate::compress::{CompressedModel, CompressedTensor};
use crate::job::Job;
use engine::format::{
    ENTRY_BYTES, HEADER_BYTES, MAGIC, NAME_BYTES, SECTIONS, Section, TENSOR_ALIGNMENT, VERSION,
};
use engine::shape::{Hyperparameters, RopePairs};

/// Lays out header, metadata and tensors.
pub(super) fn assemble(
    shape: &Hyperparameters,
    compressed: &CompressedModel,
    text: &TextSections,
    source: &str,
    prefix: &[u8],
    job: &Job<'_>,
) -> Result<Vec<u8>, PackError> {
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
    let lengths = sections.map(|s| s.len().next_multiple_of(4));
    let metadata_bytes = HEADER_BYTES + directory_bytes + lengths.iter().sum::<usize>();
    let mut bytes = vec![
        0;
        file_bytes(
            metadata_bytes,
            compressed.tensors.iter().map(|t| t.bytes.len())
        )
    ];

    let mut end = metadata_bytes;
    for (index, tensor) in compressed.tensors.iter().enumerate() {
        job.report("Packing", index as u64, compressed.tensors.len() as u64)?;
        let offset = end.next_multiple_of(TENSOR_ALIGNMENT);
        end = offset + tensor.bytes.len();
        bytes[offset..end].copy_from_slice(&tensor.bytes);
        put_entry(
            &mut bytes[HEADER_BYTES + index * ENTRY_BYTES..][..ENTRY_BYTES],
            tensor,
            offset,
        );
    }
    let mut at = HEADER_BYTES;
    for (index, section) in sections.iter().enumerate() {
        let len = if index == Section::Directory as usize {
            directory_bytes
        } else {
            section.len()
        };
        bytes[at..at + section.len()].copy_from_slice(section);
        put_u32(&mut bytes, 72 + 8 * index, number(at));
        put_u32(&mut bytes, 76 + 8 * index, number(len));
        at += len.next_multiple_of(4);
    }
    put_header(&mut bytes, shape, compressed.tensors.len(), metadata_bytes);
    Ok(bytes)
}

fn put_entry(entry: &mut [u8], tensor: &CompressedTensor, offset: usize) {
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
    put_u32(entry, 76, crc32fast::hash(&tensor.bytes));
}

fn put_header(bytes: &mut [u8], shape: &Hyperparameters, tensors: usize, metadata_bytes: usize) {
    let file_bytes = bytes.len() as u64;
    bytes[..8].copy_from_slice(&MAGIC);
    put_u32(bytes, 8, VERSION);
    put_u32(bytes, 12, number(metadata_bytes));
    put_u32(bytes, 20, number(tensors));
    bytes[24..32].copy_from_slice(&file_bytes.to_le_bytes());
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
        .for_each(|(i, n)| put_u32(bytes, 32 + 4 * i, n));
    let crc = crc32fast::hash(&bytes[24..metadata_bytes]);
    put_u32(bytes, 16, crc);
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Sections and shapes are far below 4 GiB: a vocabulary has at most 2^20 tokens of at most 1 kB.
fn number(value: usize) -> u32 {
    u32::try_from(value).expect("metadata and shapes stay below 4 GiB")
}

const _: () = assert!(HEADER_BYTES >= 72 + 8 * SECTIONS && VERSION == 1);
