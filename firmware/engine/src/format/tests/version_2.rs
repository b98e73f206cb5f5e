//! Version 2: sections that are skipped, those that are refused, and with what words.

use super::message;
use crate::format::version_2::{NewSection, metadata_bytes, write_metadata};
use crate::format::*;
use crate::shape::RopePairs;
use std::string::String;
use std::vec;
use std::vec::Vec;

const SHAPE: Hyperparameters = Hyperparameters {
    layers: 1,
    hidden: 8,
    feed_forward: 8,
    heads: 1,
    kv_heads: 1,
    head_dim: 8,
    vocab: 4,
    context: 16,
    norm_epsilon: 0.0,
    rope_pairs: RopePairs::Adjacent,
};

/// Bytes of the one tensor that the files of these tests have.
const TENSOR: [u8; 32] = [1; 32];

/// The directory of the final norm `[1, 8]` at an offset.
fn directory(offset: usize) -> Vec<u8> {
    let mut entry = vec![0; ENTRY_BYTES];
    entry[..4].copy_from_slice(b"norm");
    entry[40] = Role::OutputNorm as u8;
    entry[48..52].copy_from_slice(&1u32.to_le_bytes());
    entry[52..56].copy_from_slice(&8u32.to_le_bytes());
    entry[60..68].copy_from_slice(&(offset as u64).to_le_bytes());
    entry[68..76].copy_from_slice(&32u64.to_le_bytes());
    entry[76..80].copy_from_slice(&crc32(&TENSOR).to_le_bytes());
    entry
}

/// A file of a shape, one tensor at 4096, and these sections.
fn file(shape: &[u8], others: &[NewSection<'_>]) -> Vec<u8> {
    let directory = directory(TENSOR_ALIGNMENT);
    let mut sections = vec![
        NewSection::known(Section::Shape, shape),
        NewSection::known(Section::Tensors, &directory),
    ];
    sections.extend(others);
    let lengths: Vec<usize> = sections.iter().map(|s| s.bytes.len()).collect();
    let metadata = metadata_bytes(&lengths);
    let mut file = vec![0; TENSOR_ALIGNMENT];
    let bytes = (file.len() + TENSOR.len()) as u64;
    let cache = CachePrecision::Eight;
    write_metadata(cache, &sections, bytes, &mut file[..metadata]);
    file.extend(TENSOR);
    file
}

fn small(others: &[NewSection<'_>]) -> Vec<u8> {
    file(&shape_section(&SHAPE), others)
}

const fn optional<'a>(name: &'a str, bytes: &'a [u8]) -> NewSection<'a> {
    let need = Need::Optional;
    NewSection { name, need, bytes }
}

/// Where the entry of the section with this index stands.
const fn entry(index: usize) -> usize {
    HEADER_BYTES + index * SECTION_BYTES
}

/// With the checksums of all sections and of the header right again.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sections = u32_at(&bytes, 12) as usize;
    for at in (0..sections).map(entry) {
        let (offset, len) = (u64_at(&bytes, at + 24), u64_at(&bytes, at + 32));
        let place = |n: u64| usize::try_from(n).ok();
        let section = place(offset)
            .and_then(|offset| bytes.get(offset..))
            .and_then(|rest| rest.get(..place(len)?));
        if let Some(crc) = section.map(crc32) {
            bytes[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
        }
    }
    let crc = crc32(&bytes[20..entry(sections)]).to_le_bytes();
    bytes[16..20].copy_from_slice(&crc);
    bytes
}

/// The message on a file with three bytes of the section `extra`, one number of which is another.
fn with_number(at: usize, number: u64, len: usize) -> String {
    let mut bytes = small(&[optional("extra", b"abc")]);
    bytes[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
    message(&sealed(bytes))
}

#[test]
fn what_is_written_is_read() {
    let file = small(&[NewSection::known(Section::Recipe, b"# one")]);
    let packed = Packed::parse(&file).unwrap();
    assert_eq!(
        (packed.version(), packed.cache()),
        (Version::Two, CachePrecision::Eight)
    );
    assert_eq!(*packed.shape(), SHAPE);
    assert_eq!(packed.section(Section::Recipe), b"# one");
    assert_eq!(packed.section(Section::Prefix), b"");
    assert_eq!(packed.header_bytes(), 32 + 3 * 40);
    assert_eq!(packed.metadata_bytes(), 32 + 3 * 40 + 40 + 80 + 5);
    assert_eq!(packed.entry(0).matrix.bytes(), TENSOR);
    assert_eq!(packed.verify(0), Ok(()));
    let names: Vec<_> = packed.sections().map(|s| (s.name, s.need)).collect();
    let expected = [
        ("shape", Need::Required),
        ("tensors", Need::Required),
        ("recipe", Need::Optional),
    ];
    assert_eq!(names, expected);
    assert!(Packed::parse_again(&file).is_ok());
}

#[test]
fn an_unknown_section_is_skipped_unless_the_file_requires_it() {
    let dialogue = optional("dialogue-2", b"rules");
    let skipped = small(&[dialogue]);
    let packed = Packed::parse(&skipped).unwrap();
    let listed = packed.sections().last().unwrap();
    assert_eq!(
        (listed.name, listed.need, listed.bytes),
        ("dialogue-2", Need::Optional, b"rules".as_slice())
    );
    let need = Need::Required;
    assert_eq!(
        message(&small(&[NewSection { need, ..dialogue }])),
        "expected sections that this version knows, found dialogue-2, without which the model must \
         not run: a newer version is needed"
    );
    // Also where its checksum would be wrong: what is missing is said, not that the file is damaged.
    let mut bytes = small(&[NewSection { need, ..dialogue }]);
    bytes[entry(3) + 120] ^= 1;
    assert!(message(&bytes).contains("found dialogue-2"));
}

#[test]
fn numbers_of_a_shape_that_a_later_engine_knows_are_refused_unless_they_are_zero() {
    let mut shape = shape_section(&SHAPE).to_vec();
    shape.extend([0; 8]);
    assert_eq!(*Packed::parse(&file(&shape, &[])).unwrap().shape(), SHAPE);
    shape[44] = 3;
    assert_eq!(
        message(&file(&shape, &[])),
        "a later number of the shape is out of range: expected 0, as this engine knows no such kind \
         of model, found 3"
    );
    let short = &shape_section(&SHAPE)[..36];
    assert!(message(&file(short, &[])).contains("bytes of the shape is out of range"));
    assert!(message(&file(&[], &[])).contains("expected 40 and more, in whole words, found 0"));
}

#[test]
fn a_section_that_is_listed_twice_or_lies_over_another_is_refused_by_name() {
    let twice = small(&[optional("extra", b"a"), optional("extra", b"b")]);
    assert_eq!(
        message(&twice),
        "entries of this name of section extra is out of range: expected one, found 2"
    );
    let known = small(&[NewSection::known(Section::Shape, &shape_section(&SHAPE))]);
    assert!(message(&known).contains("of section shape is out of range: expected one, found 2"));
    let place = "expected a multiple of 4 past the section before, inside the file";
    // The third section would begin in the second, in the table, past the file, between two words.
    for offset in [entry(3) as u64 + 100, 8, 1 << 40, entry(3) as u64 + 121] {
        let found = with_number(entry(2) + 24, offset, 8);
        let expected =
            std::format!("offset of section extra is out of range: {place}, found {offset}");
        assert_eq!(found, expected);
    }
    // The first two in the other order.
    let mut swapped = small(&[]);
    let (first, second) = (entry(0), entry(1));
    let table = swapped[first..second + SECTION_BYTES].to_vec();
    let (a, b) = table.split_at(SECTION_BYTES);
    swapped[first..second + SECTION_BYTES].copy_from_slice(&[b, a].concat());
    assert!(message(&sealed(swapped)).contains("offset of section shape is out of range"));
    assert_eq!(
        with_number(entry(2) + 32, u64::MAX, 8),
        "length of section extra is out of range: expected inside the file, found 18446744073709551615"
    );
}

#[test]
fn a_section_may_lie_behind_the_tensors_but_not_among_them() {
    let mut behind = small(&[optional("extra", b"abc")]);
    let end = behind.len();
    let at = entry(2) + 24;
    behind[at..at + 8].copy_from_slice(&(end as u64).to_le_bytes());
    behind.extend(b"abc");
    let bytes = (behind.len() as u64).to_le_bytes();
    behind[24..32].copy_from_slice(&bytes);
    let behind = sealed(behind);
    let packed = Packed::parse(&behind).unwrap();
    assert_eq!(packed.sections().last().unwrap().bytes, b"abc");
    assert_eq!(packed.metadata_bytes(), 32 + 3 * 40 + 40 + 80 + 3);
    // Over the tensor, of which it would have the last bytes.
    assert_eq!(
        with_number(at, 4096 + 4, 8),
        "offset of a section is out of range: expected past the last tensor, found 4100"
    );
    // Before the tensor, and into it.
    let mut into = small(&[optional("extra", b"abc")]);
    into[at + 8..at + 16].copy_from_slice(&3840u64.to_le_bytes());
    assert!(message(&sealed(into)).contains("tensor offset is out of range"));
}

#[test]
fn names_flags_and_counts_are_checked() {
    let check = |at: usize, number: u64, len: usize, expected: &str| {
        let found = with_number(at, number, len);
        assert!(found.contains(expected), "{found}");
    };
    let name = "byte of a section's name is out of range: expected lower-case letters";
    check(entry(2), b'E'.into(), 1, name);
    check(entry(2) + 2, 0, 1, name);
    check(
        entry(2),
        0,
        8,
        "letters of a section's name is out of range: expected 1 to 16",
    );
    check(
        entry(2) + 16,
        2,
        4,
        "flags of section extra is out of range: expected 0 or 1, found 2",
    );
    check(
        12,
        65,
        4,
        "sections is out of range: expected 0 to 64, found 65",
    );
    check(
        20,
        12,
        4,
        "KV bits is out of range: expected 16, 8 or 4, found 12",
    );
    check(
        24,
        4000,
        8,
        "expected 4000 bytes, found 4128: the file goes on past its end",
    );
    check(
        24,
        5000,
        8,
        "expected 5000 bytes, found 4128: the file is truncated",
    );
}

#[test]
fn each_damage_is_told_with_its_place() {
    let good = small(&[optional("extra", b"abc")]);
    let check = |at: usize, expected: &str| {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        let found = message(&bytes);
        assert!(found.starts_with(expected), "{at}: {found}");
    };
    check(16, "metadata is damaged: expected CRC");
    check(20, "metadata is damaged: expected CRC");
    check(entry(1) + 17, "metadata is damaged: expected CRC");
    check(entry(3), "section shape is damaged: expected CRC");
    check(entry(3) + 40, "section tensors is damaged: expected CRC");
    check(entry(3) + 120, "section extra is damaged: expected CRC");
    let mut bytes = good.clone();
    bytes[4096] ^= 4;
    let error = Packed::parse(&bytes).unwrap().verify(0).unwrap_err();
    assert!(std::format!("{error}").starts_with("tensor 0 is damaged: expected CRC"));
    // Whoever has seen the bytes before computes no checksum again.
    let mut bytes = good;
    bytes[entry(3) + 120] ^= 4;
    assert!(Packed::parse_again(&bytes).is_ok());
}

#[test]
fn a_prefix_has_the_bits_that_the_header_tells() {
    let prefix = |bits: CachePrecision| {
        let mut prefix = vec![0; usize::try_from(prefix_bytes(&SHAPE, bits, 2)).unwrap()];
        prefix[0] = u8::try_from(bits.bits()).unwrap();
        prefix[4] = 2;
        prefix
    };
    let same = prefix(CachePrecision::Eight);
    let file = small(&[NewSection::known(Section::Prefix, &same)]);
    assert_eq!(Packed::parse(&file).unwrap().cache(), CachePrecision::Eight);
    let other = prefix(CachePrecision::Four);
    let file = small(&[NewSection::known(Section::Prefix, &other)]);
    assert_eq!(message(&file), "bits of the prefix: expected 8, found 4");
}
