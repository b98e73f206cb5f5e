//! Files that are refused, and with what words.

mod version_1;
mod version_2;

use super::*;

fn message(bytes: &[u8]) -> std::string::String {
    std::format!("{}", Packed::parse(bytes).unwrap_err())
}

#[test]
fn the_checksum_is_crc_32() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn other_files_are_refused_with_what_was_found() {
    let check = |bytes: &[u8], expected: &str| {
        let found = message(bytes);
        assert!(found.contains(expected), "{found}");
    };
    check(b"", "expected a packed model that begins with WHITTLE");
    check(b"GGUF\x03", "found \"GGUF\\x03\\x00\\x00\\x00\"");
    check(b"WHITTLE\0", "expected 32 bytes, found 8");
    check(b"WHITTLE\0\x01\0\0\0", "expected 160 bytes, found 12");
    check(b"WHITTLE\0\x02\0\0\0", "expected 32 bytes, found 12");
    let newer = b"WHITTLE\0\x09\0\0\0";
    let expected = "expected packed format version 2 or earlier, found version 9";
    check(newer, expected);
}
