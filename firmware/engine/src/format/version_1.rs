//! Version 1: nine sections at fixed places of a header of 160 bytes. Read, written no more.

use super::section::{Listed, Place, Places, Section};
use super::{Frame, Trust, crc32};
use crate::bytes::{Checked, FormatError, u32_at, u64_at};

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 160;
/// Where the header has the numbers of the model.
const SHAPE: Place = Place {
    offset: 32,
    bytes: super::shape_bytes::SHAPE_BYTES,
};
/// Where it has the places of the sections, offset and bytes, in this order.
const TABLE: usize = 72;
const ORDER: [Section; 9] = [
    Section::Tensors,
    Section::Tokenizer,
    Section::Vocabulary,
    Section::Merges,
    Section::Chat,
    Section::StopTokens,
    Section::Recipe,
    Section::Provenance,
    Section::Prefix,
];

/// Reads the header, of whose `bytes` magic and version have been seen.
pub(super) fn frame(bytes: &[u8], trust: Trust) -> Result<Frame, FormatError> {
    let metadata_bytes = metadata_bytes(bytes)?;
    if trust == Trust::None {
        Checked::Metadata.check(u32_at(bytes, 16), crc32(&bytes[24..metadata_bytes]))?;
    }
    let mut places = Places::default();
    places[Section::Shape as usize] = SHAPE;
    for (index, section) in ORDER.into_iter().enumerate() {
        let (offset, len) = entry(bytes, index);
        // Files that have no prefix need not place it.
        if section == Section::Prefix && (offset, len) == (0, 0) {
            continue;
        }
        let wrong = |what, found| {
            let expected = "inside the metadata";
            FormatError::out_of_range(what, expected, found)
        };
        if !(HEADER_BYTES..=metadata_bytes).contains(&offset) {
            return Err(wrong("offset of a section", offset));
        }
        if len > metadata_bytes - offset {
            return Err(wrong("length of a section", len));
        }
        places[section as usize] = Place { offset, bytes: len };
    }
    let directory = places[Section::Tensors as usize].bytes as u64;
    let expected = u64::from(u32_at(bytes, 20)) * super::ENTRY_BYTES as u64;
    if expected != directory {
        let (what, found) = ("bytes of the tensor directory", directory);
        return Err(FormatError::Differs {
            what,
            expected,
            found,
        });
    }
    Ok(Frame {
        cache: None,
        places,
        table_end: metadata_bytes,
    })
}

/// The sections that stand outside of the header.
pub(super) fn listed(bytes: &[u8], index: usize) -> Option<Listed<'_>> {
    let section = *ORDER.get(index)?;
    let (offset, len) = entry(bytes, index);
    Some(Listed {
        name: section.name(),
        need: section.need(),
        offset,
        bytes: &bytes[offset..][..len],
    })
}

fn entry(bytes: &[u8], index: usize) -> (usize, usize) {
    let word = |at| u32_at(bytes, at) as usize;
    (word(TABLE + 8 * index), word(TABLE + 4 + 8 * index))
}

/// Checks what the header says of itself; returns the bytes of header and metadata.
fn metadata_bytes(bytes: &[u8]) -> Result<usize, FormatError> {
    let wrong_length = |expected: u64| FormatError::Length {
        expected,
        found: bytes.len() as u64,
    };
    if bytes.len() < HEADER_BYTES {
        return Err(wrong_length(HEADER_BYTES as u64));
    }
    let (metadata_bytes, file_bytes) = (u32_at(bytes, 12) as usize, u64_at(bytes, 24));
    if file_bytes != bytes.len() as u64 {
        return Err(wrong_length(file_bytes));
    }
    if metadata_bytes < HEADER_BYTES || metadata_bytes > bytes.len() {
        return Err(FormatError::out_of_range(
            "metadata length",
            "the header at least, the file at most",
            metadata_bytes,
        ));
    }
    Ok(metadata_bytes)
}
