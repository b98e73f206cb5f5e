//! Version 1: files that are refused, and with what words. They are read for good.

use super::message;
use crate::bytes::u32_at;
use crate::format::*;
use std::vec;
use std::vec::Vec;

const HEADER_BYTES: usize = 160;
/// Header and one entry of the directory.
const METADATA: usize = HEADER_BYTES + ENTRY_BYTES;
const SECTIONS: usize = 9;

/// A header and one entry of the directory, the final norm `[1, 8]`, whose offset and length are
/// these; 32 bytes of 1 at 4096, and the metadata's checksum.
fn one_tensor(offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096 + 32];
    bytes[..8].copy_from_slice(&MAGIC);
    let put = |bytes: &mut [u8], at: usize, number: u32| {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    };
    let numbers = [
        1,
        u32::try_from(METADATA).unwrap(),
        0,
        1,
        4096 + 32,
        0,
        // Layers to context, epsilon, pairs.
        1,
        8,
        8,
        1,
        1,
        8,
        4,
        16,
        0,
        0,
    ];
    for (i, number) in numbers.into_iter().enumerate() {
        put(&mut bytes, 8 + 4 * i, number);
    }
    for section in 0..SECTIONS {
        put(
            &mut bytes,
            72 + 8 * section,
            u32::try_from(HEADER_BYTES).unwrap(),
        );
    }
    put(&mut bytes, 76, u32::try_from(ENTRY_BYTES).unwrap());
    let entry = &mut bytes[HEADER_BYTES..METADATA];
    entry[..4].copy_from_slice(b"norm");
    entry[40] = Role::OutputNorm as u8;
    put(entry, 48, 1);
    put(entry, 52, 8);
    entry[60..68].copy_from_slice(&offset.to_le_bytes());
    entry[68..76].copy_from_slice(&len.to_le_bytes());
    put(entry, 76, crc32(&[1; 32]));
    bytes[4096..].fill(1);
    sealed(bytes)
}

/// With the metadata's checksum right again.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = u32_at(&bytes, 12) as usize;
    let crc = crc32(&bytes[24..end]).to_le_bytes();
    bytes[16..20].copy_from_slice(&crc);
    bytes
}

#[test]
fn each_checksum_of_version_1_tells_the_expected_and_the_found() {
    let file = one_tensor(4096, 32);
    assert_eq!(Packed::parse(&file).unwrap().verify(0), Ok(()));
    let mut damaged = file.clone();
    damaged[4096] ^= 1;
    let error = Packed::parse(&damaged).unwrap().verify(0).unwrap_err();
    let tensor = std::format!("{error}");
    let (right, wrong) = (crc32(&[1; 32]), crc32(&damaged[4096..]));
    assert_eq!(
        tensor,
        std::format!("tensor 0 is damaged: expected CRC {right:08x}, found {wrong:08x}")
    );
    let mut damaged = file;
    damaged[36] ^= 1;
    let (right, wrong) = (u32_at(&damaged, 16), crc32(&damaged[24..240]));
    assert_eq!(
        message(&damaged),
        std::format!("metadata is damaged: expected CRC {right:08x}, found {wrong:08x}")
    );
}

#[test]
fn numbers_of_version_1_that_do_not_fit_are_refused_with_what_would() {
    let check = |at: usize, number: u32, expected: &str| {
        let mut bytes = one_tensor(4096, 32);
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        let end = u32_at(&bytes, 12) as usize;
        let bytes = if end <= bytes.len() && end > 24 {
            sealed(bytes)
        } else {
            bytes
        };
        assert_eq!(message(&bytes), expected);
    };
    let entry = HEADER_BYTES;
    check(
        12,
        9,
        "metadata length is out of range: expected the header at least, the file at most, found 9",
    );
    check(
        24,
        4000,
        "expected 4000 bytes, found 4128: the file goes on past its end",
    );
    check(
        24,
        5000,
        "expected 5000 bytes, found 4128: the file is truncated",
    );
    check(
        20,
        2,
        "bytes of the tensor directory: expected 160, found 80",
    );
    check(
        44,
        2000,
        "heads is out of range: expected 1 to 1024, found 2000",
    );
    check(
        68,
        2,
        "rope pairs is out of range: expected 0 or 1, found 2",
    );
    check(
        84,
        241,
        "length of a section is out of range: expected inside the metadata, found 241",
    );
    check(entry + 52, 9, "tensor columns: expected 8, found 9");
    check(
        entry + 40,
        0x0f_12,
        "tensor role is out of range: expected 0 to 17, found 18",
    );
    check(entry + 68, 28, "tensor length: expected 32, found 28");
}

#[test]
fn a_prefix_is_as_long_as_it_says() {
    // One kv head of 8, one layer: a block of 16 keys and two values in 16 bits.
    let with = |numbers: &[u32], bytes: usize| {
        let mut file = one_tensor(4096, 32);
        let at = METADATA;
        for (i, number) in numbers.iter().enumerate() {
            file[at + 4 * i..][..4].copy_from_slice(&number.to_le_bytes());
        }
        let words = [(12, at + bytes), (136, at), (140, bytes)];
        for (place, word) in words {
            let word = u32::try_from(word).unwrap();
            file[place..place + 4].copy_from_slice(&word.to_le_bytes());
        }
        sealed(file)
    };
    let plain = one_tensor(4096, 32);
    let plain = Packed::parse(&plain).unwrap();
    assert_eq!(
        (plain.version(), plain.cache()),
        (Version::One, CachePrecision::Sixteen)
    );
    let shape = *plain.shape();
    let bytes = usize::try_from(prefix_bytes(&shape, CachePrecision::Sixteen, 2)).unwrap();
    let file = with(&[16, 2, 0, 1], bytes);
    let prefix = Packed::parse(&file).unwrap().prefix().unwrap();
    assert!(prefix.tokens().eq([0, 1]));
    // What the file was made for is what its prefix has.
    let eight = usize::try_from(prefix_bytes(&shape, CachePrecision::Eight, 2)).unwrap();
    let file_of_eight = with(&[8, 2, 0, 1], eight);
    let cache = Packed::parse(&file_of_eight).unwrap().cache();
    assert_eq!(cache, CachePrecision::Eight);
    assert!(prefix.begins(&[0, 1, 1], CachePrecision::Sixteen));
    assert!(!prefix.begins(&[0, 1], CachePrecision::Sixteen));
    assert!(!prefix.begins(&[0, 0, 1], CachePrecision::Sixteen));
    assert!(!prefix.begins(&[0, 1, 1], CachePrecision::Eight));
    let check = |numbers: &[u32], bytes: usize, expected: &str| {
        let sentence = message(&with(numbers, bytes));
        assert!(sentence.contains(expected), "{sentence}");
    };
    check(
        &[16, 2],
        4,
        "bytes of the prefix is out of range: expected none, or 8 and more",
    );
    check(
        &[12, 2],
        bytes,
        "bits of the prefix is out of range: expected 16, 8 or 4, found 12",
    );
    check(&[16, 0], bytes, "tokens of the prefix is out of range");
    check(&[16, shape.context], bytes, "fewer than the context");
    check(&[8, 2], bytes, "bytes of the prefix: expected");
    check(&[16, 2], bytes + 4, "bytes of the prefix: expected");
    let unknown = [16, 2, 0, shape.vocab];
    check(
        &unknown,
        bytes,
        "token of the prefix is out of range: expected in the vocabulary",
    );
}

#[test]
fn tensors_outside_the_file_or_over_other_bytes_are_refused() {
    let length = "expected 18446744073709551615 bytes, found 4128: the file is truncated";
    assert_eq!(message(&one_tensor(u64::MAX - 4095, u64::MAX)), length);
    assert_eq!(message(&one_tensor(u64::MAX - 4095, 4095)), length);
    assert!(message(&one_tensor(4096, 33)).contains("expected 4129 bytes, found 4128"));
    assert!(message(&one_tensor(4097, 31)).contains("expected a multiple of 4096, found 4097"));
    let over = "expected past the metadata and the tensor before, found 0";
    assert!(message(&one_tensor(0, 32)).contains(over));
}
