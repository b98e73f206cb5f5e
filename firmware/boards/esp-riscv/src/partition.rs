//! The partition table that the host writes.
//!
//! Source: ESP-IDF Programming Guide, "Partition Tables", binary form: entries of 32 bytes,
//! `AA 50 type subtype offset32 size32 label[16] flags32`, up to the first that starts otherwise.

/// Page of the flash mapping in which the table lies, and where in it: address 0x8000.
pub const TABLE_PAGE: u32 = 0;
pub const TABLE_OFFSET: usize = 0x8000;
const ENTRY_BYTES: usize = 32;
/// A table fills at most 0xC00 bytes.
const MAX_ENTRIES: usize = 0xC00 / ENTRY_BYTES;

/// Address and size of the partition labelled "model".
pub fn find_model(table: &[u8]) -> Option<(usize, usize)> {
    let word = |entry: &[u8], at: usize| {
        u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
    };
    table
        .chunks_exact(ENTRY_BYTES)
        .take(MAX_ENTRIES)
        .take_while(|entry| entry.starts_with(&[0xAA, 0x50]))
        .find(|entry| entry[12..].starts_with(b"model\0"))
        .map(|entry| (word(entry, 4) as usize, word(entry, 8) as usize))
}
