//! The functions in the ROM of an ESP32-C3 that write flash, and how long a flash chip takes: erasing makes ones, writing
//! makes zeros and no ones.
//!
//! Source of the addresses: ESP-IDF's `esp32c3.rom.ld`; of what they take (whole words, inside of the chip) and give
//! back: its `spi_flash_rom_patch.c`. The times are the typical ones of Winbond's W25Q32JV data sheet (revision H, "AC
//! Electrical Characteristics"), a flash of 4 MB as such boards have it; at most each takes about ten times as long.

use super::memory::{Memory, WINDOW_BYTES, WINDOW_DATA};

/// Bytes that are erased together, and what that takes.
const SECTOR_BYTES: u32 = 4096;
const SECTOR_MICROS: u32 = 45_000;
const BLOCK_BYTES: u32 = 65_536;
const BLOCK_MICROS: u32 = 150_000;
/// Bytes that are written together, and what that takes.
const PAGE_BYTES: u32 = 256;
const PAGE_MICROS: u32 = 400;
/// Bytes read in a microsecond: two bits a clock, of 40 MHz, as the header of the application asks.
const READ_BYTES: u32 = 10;
/// `ESP_ROM_SPIFLASH_RESULT_OK` and `ESP_ROM_SPIFLASH_RESULT_ERR`.
const DONE: u32 = 0;
const REFUSED: u32 = 1;
/// Longest block that one call may move.
const MOST_BYTES: u32 = 0x1_0000;

/// What a call gives back, and after how many microseconds.
pub(super) type Given = (u32, u32);

/// Plays the function at an address; `None` where it is none of these, or memory has not what it names.
pub(super) fn call(address: u32, [a, b, c, _]: [u32; 4], memory: &mut Memory) -> Option<Given> {
    match address {
        // esp_rom_spiflash_erase_block
        0x4000_0124 => Some(erase(memory, a, BLOCK_BYTES, BLOCK_MICROS)),
        // esp_rom_spiflash_erase_sector
        0x4000_0128 => Some(erase(memory, a, SECTOR_BYTES, SECTOR_MICROS)),
        // esp_rom_spiflash_write
        0x4000_012C => write(memory, a, b, c),
        // esp_rom_spiflash_read
        0x4000_0130 => read(memory, a, b, c),
        // esp_rom_spiflash_unlock: nothing is protected.
        0x4000_0140 => Some((DONE, 0)),
        _ => None,
    }
}

fn erase(memory: &mut Memory, number: u32, bytes: u32, micros: u32) -> Given {
    let start = number.saturating_mul(bytes) as usize;
    let erased = memory.change_flash(start..start + bytes as usize, |flash| flash.fill(0xFF));
    match erased {
        Some(()) => (DONE, micros),
        None => (REFUSED, 0),
    }
}

fn write(memory: &mut Memory, at: u32, from: u32, count: u32) -> Option<Given> {
    // While it is written nothing is read through the window.
    let in_window = from.wrapping_sub(WINDOW_DATA) < WINDOW_BYTES;
    if in_window || !from.is_multiple_of(4) || count > MOST_BYTES {
        return None;
    }
    if !count.is_multiple_of(4) {
        return Some((REFUSED, 0));
    }
    let bytes = match count {
        0 => Vec::new(),
        count => memory.bytes(from, count)?.to_vec(),
    };
    let start = at as usize;
    let written = memory.change_flash(start..start + bytes.len(), |flash| {
        for (cell, byte) in flash.iter_mut().zip(&bytes) {
            *cell &= byte;
        }
    });
    let pages = (at % PAGE_BYTES + count).div_ceil(PAGE_BYTES);
    Some(match written {
        Some(()) => (DONE, pages * PAGE_MICROS),
        None => (REFUSED, 0),
    })
}

fn read(memory: &mut Memory, at: u32, to: u32, count: u32) -> Option<Given> {
    if !to.is_multiple_of(4) || !(1..=MOST_BYTES).contains(&count) {
        return None;
    }
    let words = count.next_multiple_of(4);
    let start = at as usize;
    let Some(bytes) = memory.flash.get(start..start + words as usize) else {
        return Some((REFUSED, 0));
    };
    let bytes = bytes.to_vec();
    memory.bytes_mut(to, words)?.copy_from_slice(&bytes);
    Some((DONE, words / READ_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: u32 = 0x3FC8_0000;

    fn called(memory: &mut Memory, address: u32, arguments: [u32; 3]) -> Option<Given> {
        let [a, b, c] = arguments;
        call(address, [a, b, c, 0], memory)
    }

    #[test]
    fn writing_clears_bits_and_only_erasing_sets_them() {
        let mut memory = Memory::new(vec![0xFF; 0x2_0000]);
        let put = |memory: &mut Memory, word: u32| {
            memory
                .bytes_mut(RAM, 4)
                .unwrap()
                .copy_from_slice(&word.to_le_bytes());
            called(memory, 0x4000_012C, [0x1000, RAM, 4])
        };
        assert_eq!(put(&mut memory, 0x0F0F_F00F), Some((DONE, PAGE_MICROS)));
        assert_eq!(put(&mut memory, 0xFF00_FFFF), Some((DONE, PAGE_MICROS)));
        assert_eq!(memory.flash[0x1000..0x1004], 0x0F00_F00F_u32.to_le_bytes());
        assert_eq!(
            called(&mut memory, 0x4000_0130, [0x1000, RAM, 3]),
            Some((DONE, 0))
        );
        assert_eq!(memory.bytes(RAM, 4).unwrap(), 0x0F00_F00F_u32.to_le_bytes());
        assert_eq!(
            called(&mut memory, 0x4000_0128, [1, 0, 0]),
            Some((DONE, SECTOR_MICROS))
        );
        assert!(memory.flash.iter().all(|byte| *byte == 0xFF));
        assert_eq!(memory.take_changed(), Some(0x1000..0x2000));
        assert_eq!(memory.take_changed(), None);
    }

    #[test]
    fn what_the_rom_refuses_changes_nothing() {
        let mut memory = Memory::new(vec![0; 0x2_0000]);
        for (address, arguments) in [
            // Behind the chip, or half a word.
            (0x4000_0124, [2, 0, 0]),
            (0x4000_0128, [32, 0, 0]),
            (0x4000_012C, [0x1_FFFC, RAM, 8]),
            (0x4000_012C, [0, RAM, 6]),
            (0x4000_0130, [0x1_FFFE, RAM, 4]),
            (0x4000_0130, [u32::MAX, RAM, 4]),
        ] {
            assert_eq!(called(&mut memory, address, arguments), Some((REFUSED, 0)));
        }
        // Words that lie across, and those that only the busy flash has.
        assert_eq!(called(&mut memory, 0x4000_012C, [0, RAM + 2, 4]), None);
        assert_eq!(called(&mut memory, 0x4000_012C, [0, WINDOW_DATA, 4]), None);
        assert_eq!(called(&mut memory, 0x4000_0130, [0, RAM, u32::MAX]), None);
        assert_eq!(memory.take_changed(), None);
    }
}
