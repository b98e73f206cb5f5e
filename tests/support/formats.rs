//! Packed files that Whittle does not write: of version 1, and with sections of later versions.
//!
//! Include with `#[path = "support/formats.rs"] mod formats;`.
#![allow(dead_code, reason = "each test binary uses its own part")]

use engine::format::{
    ENTRY_BYTES, MAGIC, NewSection, Packed, Section, TENSOR_ALIGNMENT, crc32, metadata_bytes,
    write_metadata,
};

const HEADER_BYTES: usize = 160;

/// Section by section and tensor by tensor the same, as version 1 laid it out (`FORMAT.md`).
pub(crate) fn version_1(bytes: &[u8]) -> Vec<u8> {
    // Its checksums are made anew, so that tests may change a section.
    let packed = Packed::parse_again(bytes).expect("a packed file");
    let sections = [
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
    let mut file = vec![0; HEADER_BYTES];
    for (index, section) in sections.into_iter().enumerate() {
        let section = packed.section(section);
        let end = file.len() as u64;
        put(&mut file, 72 + 8 * index, end, 4);
        put(&mut file, 76 + 8 * index, section.len() as u64, 4);
        file.extend(section);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    let metadata_bytes = file.len();
    for (index, entry) in packed.entries().enumerate() {
        file.resize(file.len().next_multiple_of(TENSOR_ALIGNMENT), 0);
        let at = HEADER_BYTES + index * ENTRY_BYTES;
        let end = file.len() as u64;
        put(&mut file, at + 60, end, 8);
        file.extend(entry.matrix.bytes());
    }
    file[..8].copy_from_slice(&MAGIC);
    put(&mut file, 8, 1, 4);
    put(&mut file, 12, metadata_bytes as u64, 4);
    put(&mut file, 20, packed.tensors().into(), 4);
    let end = file.len() as u64;
    put(&mut file, 24, end, 8);
    file[32..72].copy_from_slice(packed.section(Section::Shape));
    let crc = crc32(&file[24..metadata_bytes]);
    put(&mut file, 16, crc.into(), 4);
    file
}

/// The same file with one section more.
pub(crate) fn with_section(bytes: &[u8], section: NewSection<'_>) -> Vec<u8> {
    let packed = Packed::parse(bytes).expect("a packed file");
    let mut directory = packed.section(Section::Tensors).to_vec();
    let own = packed.sections().map(|s| NewSection {
        name: s.name,
        need: s.need,
        bytes: s.bytes,
    });
    let mut sections: Vec<NewSection<'_>> = own.chain([section]).collect();
    let lengths: Vec<usize> = sections.iter().map(|s| s.bytes.len()).collect();
    let metadata = metadata_bytes(&lengths);
    let mut file = vec![0; metadata];
    for (entry, stored) in packed
        .entries()
        .zip(directory.chunks_exact_mut(ENTRY_BYTES))
    {
        file.resize(file.len().next_multiple_of(TENSOR_ALIGNMENT), 0);
        put(stored, 60, file.len() as u64, 8);
        file.extend(entry.matrix.bytes());
    }
    let end = file.len() as u64;
    for section in &mut sections {
        if section.name == Section::Tensors.name() {
            section.bytes = &directory;
        }
    }
    write_metadata(packed.cache(), &sections, end, &mut file[..metadata]);
    file
}

fn put(file: &mut [u8], at: usize, number: u64, bytes: usize) {
    file[at..at + bytes].copy_from_slice(&number.to_le_bytes()[..bytes]);
}
