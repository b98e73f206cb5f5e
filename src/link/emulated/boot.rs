//! What an ESP32-C3 does between reset and the application: its ROM's banner, and the second-stage bootloader's work,
//! which is to find the application, check it and load it.
//!
//! Source: ESP-IDF Programming Guide, "Application Startup Flow", "App Image Format" and "Partition Tables"; the
//! sentences are ESP-IDF's (`bootloader_utility.c`, `esp_image_format.c`). The bootloader's own code is not run: what
//! it was told in flash is read here.

use super::memory::{Memory, PAGE_BYTES, PAGES, WINDOW_BYTES, WINDOW_CODE, WINDOW_DATA};
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// What the ROM says after a reset by power.
const BANNER: &str = "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n\
                      rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n";
/// First byte of a bootloader and of an application.
const IMAGE_MAGIC: u8 = 0xE9;
/// This chip's number in the header of an image.
const CHIP_ID: u16 = 5;
const HEADER_BYTES: usize = 24;
const TABLE: usize = 0x8000;
const TABLE_BYTES: usize = 0xC00;
const ENTRY_BYTES: usize = 32;
const ENTRY_MAGIC: [u8; 2] = [0xAA, 0x50];
const MD5_MAGIC: [u8; 2] = [0xEB, 0xEB];
/// Type of an application in the partition table; its subtype `factory` is 0.
const APPLICATION: u8 = 0;
/// Where the stack of the bootloader ends, which the application begins on.
const STACK: u32 = 0x3FCD_E000;
/// The last page of the window stays with the bootloader.
const BOOTLOADER_PAGE: usize = PAGES - 1;

/// An application that was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loaded {
    /// Its first instruction.
    pub(super) entry: u32,
    /// Its first stack pointer.
    pub(super) stack: u32,
}

/// Loads the application from flash; `said` takes what a chip prints meanwhile.
pub(super) fn boot(memory: &mut Memory, said: &mut Vec<u8>) -> Option<Loaded> {
    said.extend_from_slice(BANNER.as_bytes());
    match load(memory) {
        Ok(loaded) => Some(loaded),
        Err(why) => {
            said.extend_from_slice(why.as_bytes());
            said.extend_from_slice(b"\r\n");
            None
        }
    }
}

fn load(memory: &mut Memory) -> Result<Loaded, String> {
    let first = memory.flash.first().copied().unwrap_or(0xFF);
    if first != IMAGE_MAGIC {
        let word = word(&memory.flash, 0).unwrap_or(u32::MAX);
        return Err(format!("invalid header: {word:#x}"));
    }
    let at = application(&memory.flash)?;
    let image = memory.flash.get(at..).unwrap_or_default();
    let segments = check(image, at)?;
    let entry = word(image, 4).ok_or("E esp_image: the image ends in its header")?;
    memory.set_page(BOOTLOADER_PAGE, 0);
    for segment in &segments {
        place(memory, segment, at)?;
    }
    let stack = STACK;
    Ok(Loaded { entry, stack })
}

/// Offset of the first application that the partition table names.
fn application(flash: &[u8]) -> Result<usize, String> {
    let table = flash.get(TABLE..TABLE + TABLE_BYTES).unwrap_or_default();
    let entries = || table.chunks_exact(ENTRY_BYTES);
    let count = entries()
        .take_while(|e| e.starts_with(&ENTRY_MAGIC))
        .count();
    if count == 0 {
        return Err("E flash_parts: partition table has invalid magic\r\n\
                    E boot: Failed to verify partition table"
            .to_owned());
    }
    let digest = entries().nth(count).filter(|e| e.starts_with(&MD5_MAGIC));
    let sum = Md5::digest(&table[..count * ENTRY_BYTES]);
    if digest.is_some_and(|entry| entry[16..] != sum[..]) {
        return Err("E flash_parts: partition table MD5 mismatch\r\n\
                    E boot: Failed to verify partition table"
            .to_owned());
    }
    entries()
        .take(count)
        .find(|entry| entry[2] == APPLICATION)
        .and_then(|entry| word(entry, 4))
        .map(|offset| offset as usize)
        .ok_or_else(|| "E boot: No bootable app partitions in the partition table".to_owned())
}

/// A part of an image: where it goes, and where it lies in the image.
struct Segment {
    address: u32,
    range: std::ops::Range<usize>,
}

/// Checks an image's header, checksum and hash.
fn check(image: &[u8], at: usize) -> Result<Vec<Segment>, String> {
    let bad = |what: &str| format!("E esp_image: image at {at:#x} {what}");
    let header = image.get(..HEADER_BYTES).unwrap_or_default();
    if header.first() != Some(&IMAGE_MAGIC) {
        return Err(bad("has invalid magic byte (nothing flashed here?)"));
    }
    let chip = u16::from_le_bytes([header[12], header[13]]);
    if chip != CHIP_ID {
        return Err(bad(&format!("is for chip {chip}, this is chip {CHIP_ID}")));
    }
    let mut segments = Vec::new();
    let mut end = HEADER_BYTES;
    let mut sum = 0xEF;
    for _ in 0..header[1] {
        let (address, bytes) = word(image, end)
            .zip(word(image, end + 4))
            .ok_or_else(|| bad("ends in a segment"))?;
        let range = end + 8..(end + 8).saturating_add(bytes as usize);
        let data = image
            .get(range.clone())
            .ok_or_else(|| bad("ends in a segment"))?;
        sum = data.iter().fold(sum, |sum, byte| sum ^ byte);
        end = range.end;
        segments.push(Segment { address, range });
    }
    // The checksum is the last byte of a block of 16.
    let checksum = end + 15 - end % 16;
    if image.get(checksum) != Some(&sum) {
        return Err(bad("has a wrong checksum"));
    }
    let (hashed, hash) = image.split_at(checksum + 1);
    if header[23] == 1 && !hash.starts_with(&Sha256::digest(hashed)) {
        return Err("E esp_image: Image hash failed - image is corrupt".to_owned());
    }
    Ok(segments)
}

/// Copies a segment to RAM, or shows it in the window.
fn place(memory: &mut Memory, segment: &Segment, image: usize) -> Result<(), String> {
    let Segment { address, range } = segment;
    let in_window = |start: u32| address.checked_sub(start).filter(|at| *at < WINDOW_BYTES);
    let bytes = u32::try_from(range.len()).unwrap_or(u32::MAX);
    if let Some(at) = in_window(WINDOW_DATA).or_else(|| in_window(WINDOW_CODE)) {
        let from = u32::try_from(image + range.start).unwrap_or(u32::MAX);
        if from % PAGE_BYTES != at % PAGE_BYTES {
            return Err(format!(
                "E esp_image: segment at {address:#x} is not mapped as it lies"
            ));
        }
        let (first, pages) = (
            at / PAGE_BYTES,
            (at % PAGE_BYTES + bytes).div_ceil(PAGE_BYTES),
        );
        for page in 0..pages.min(PAGES as u32 - first) {
            memory.set_page((first + page) as usize, from / PAGE_BYTES + page);
        }
        return Ok(());
    }
    // Address 0 fills the way to the next page.
    if *address == 0 || bytes == 0 {
        return Ok(());
    }
    let start = image + range.start;
    let data = memory.flash[start..start + range.len()].to_vec();
    memory
        .bytes_mut(*address, bytes)
        .ok_or_else(|| format!("E esp_image: segment at {address:#x} is outside of RAM"))?
        .copy_from_slice(&data);
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u32::from_le_bytes(*word))
}
