//! The memories of an ESP32-C3 as its core sees them: SRAM on two buses, flash through the window, and the instructions
//! in them, decoded once.
//!
//! Source: ESP32-C3 Technical Reference Manual (version 1.1), chapter 3, "System and Memory": the address map, and the
//! table of the flash window.

use super::core::{Fetched, Width};
use super::instruction::Instruction;
use std::ops::Range;

/// SRAM as code sees it; the first 16 KiB are the cache's, which data does not see.
const SRAM_CODE: u32 = 0x4037_C000;
const SRAM_CODE_BYTES: u32 = 0x6_4000;
/// The rest of it as data sees it.
const SRAM_DATA: u32 = 0x3FC8_0000;
const SRAM_DATA_BYTES: u32 = 0x6_0000;
const CACHE_BYTES: u32 = SRAM_CODE_BYTES - SRAM_DATA_BYTES;
/// Memory that survives deep sleep.
const RTC: u32 = 0x5000_0000;
const RTC_BYTES: u32 = 0x2000;
/// Flash as data and as code see it: the same pages.
pub(super) const WINDOW_DATA: u32 = 0x3C00_0000;
pub(super) const WINDOW_CODE: u32 = 0x4200_0000;
pub(super) const WINDOW_BYTES: u32 = PAGES as u32 * PAGE_BYTES;
/// Pages of the window, and the bytes of one.
pub(super) const PAGES: usize = 128;
pub(super) const PAGE_BYTES: u32 = 0x1_0000;
/// An entry of the window's table that shows nothing.
pub(super) const NO_PAGE: u32 = 0x100;
/// Bits of an entry that name a page of flash.
const PAGE_NUMBER: u32 = 0xFF;

/// SRAM that is looked at together when code in it may have changed.
const BLOCK_BYTES: usize = 1024;

/// Flash, SRAM, RTC memory and the window's table.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) flash: Vec<u8>,
    /// What of it has changed since somebody asked.
    changed: Option<Range<usize>>,
    sram: Vec<u8>,
    rtc: Vec<u8>,
    pages: [u32; PAGES],
    /// By half word of SRAM and of the window; `None` where it was not fetched yet.
    decoded_sram: Vec<Option<Instruction>>,
    decoded_window: Vec<Option<Instruction>>,
    /// Whether anything in a block of SRAM was decoded.
    has_code: Vec<bool>,
}

/// Where an address leads.
enum Place {
    Sram(usize),
    Rtc(usize),
    Flash(usize),
}

impl Memory {
    /// As after power-on, with this flash; the window shows nothing.
    pub(super) fn new(flash: Vec<u8>) -> Self {
        let halves = |bytes: u32| vec![None; bytes as usize / 2];
        Self {
            flash,
            changed: None,
            sram: vec![0; SRAM_CODE_BYTES as usize],
            rtc: vec![0; RTC_BYTES as usize],
            pages: [NO_PAGE; PAGES],
            decoded_sram: halves(SRAM_CODE_BYTES),
            decoded_window: halves(WINDOW_BYTES),
            has_code: vec![false; SRAM_CODE_BYTES as usize / BLOCK_BYTES],
        }
    }

    #[inline]
    fn place(&self, address: u32) -> Option<Place> {
        let within = |start: u32, bytes: u32| {
            let at = address.wrapping_sub(start);
            (at < bytes).then_some(at)
        };
        match address >> 24 {
            0x3C => within(WINDOW_DATA, WINDOW_BYTES).and_then(|at| self.flash_place(at)),
            0x3F => within(SRAM_DATA, SRAM_DATA_BYTES)
                .map(|at| Place::Sram((at + CACHE_BYTES) as usize)),
            0x40 => within(SRAM_CODE, SRAM_CODE_BYTES).map(|at| Place::Sram(at as usize)),
            0x42 => within(WINDOW_CODE, WINDOW_BYTES).and_then(|at| self.flash_place(at)),
            0x50 => within(RTC, RTC_BYTES).map(|at| Place::Rtc(at as usize)),
            _ => None,
        }
    }

    #[inline]
    fn flash_place(&self, at: u32) -> Option<Place> {
        let entry = self.pages[(at / PAGE_BYTES) as usize];
        let at = (entry & PAGE_NUMBER) * PAGE_BYTES + at % PAGE_BYTES;
        (entry & NO_PAGE == 0).then_some(Place::Flash(at as usize))
    }

    /// As [`super::core::Bus::load`], at multiples of the width.
    #[inline]
    pub(super) fn load(&self, address: u32, width: Width) -> Option<u32> {
        if !address.is_multiple_of(width.bytes()) {
            return None;
        }
        let (bank, at) = match self.place(address)? {
            Place::Sram(at) => (&self.sram, at),
            Place::Rtc(at) => (&self.rtc, at),
            Place::Flash(at) => (&self.flash, at),
        };
        let bytes = bank.get(at..)?;
        Some(match width {
            Width::Byte => u32::from(*bytes.first()?),
            Width::Half => u32::from(u16::from_le_bytes(*bytes.first_chunk()?)),
            Width::Word => u32::from_le_bytes(*bytes.first_chunk()?),
        })
    }

    /// As [`super::core::Bus::store`], at multiples of the width; flash takes none.
    #[inline]
    pub(super) fn store(&mut self, address: u32, width: Width, value: u32) -> Option<()> {
        if !address.is_multiple_of(width.bytes()) {
            return None;
        }
        let bytes = value.to_le_bytes();
        let (bank, at) = match self.place(address)? {
            Place::Sram(at) => {
                self.forget_code(at, width.bytes() as usize);
                (&mut self.sram, at)
            }
            Place::Rtc(at) => (&mut self.rtc, at),
            Place::Flash(_) => return None,
        };
        let target = bank.get_mut(at..)?;
        match width {
            Width::Byte => *target.first_mut()? = bytes[0],
            Width::Half => *target.first_chunk_mut()? = [bytes[0], bytes[1]],
            Width::Word => *target.first_chunk_mut()? = bytes,
        }
        Some(())
    }

    /// What was decoded from these bytes of SRAM does not hold any more.
    #[inline]
    fn forget_code(&mut self, at: usize, bytes: usize) {
        let last = at + bytes - 1;
        if self.has_code[at / BLOCK_BYTES] || self.has_code[last / BLOCK_BYTES] {
            // An instruction of four bytes may begin one half word before.
            let first = (at / 2).saturating_sub(1);
            self.decoded_sram[first..=last / 2].fill(None);
        }
    }

    /// `count` bytes from an address on, at least one; `None` where memory does not hold them side by side.
    pub(super) fn bytes(&self, address: u32, count: u32) -> Option<&[u8]> {
        let (bank, at) = match self.place(address)? {
            Place::Sram(at) => (&self.sram, at),
            Place::Rtc(at) => (&self.rtc, at),
            Place::Flash(at) if self.is_contiguous(address, count) => (&self.flash, at),
            Place::Flash(_) => return None,
        };
        bank.get(at..at.checked_add(count as usize)?)
    }

    /// Whether what the window shows there lies side by side in flash.
    fn is_contiguous(&self, address: u32, count: u32) -> bool {
        let first = address % WINDOW_BYTES / PAGE_BYTES;
        let last = (address % WINDOW_BYTES + (count - 1)) / PAGE_BYTES;
        let run = self.pages.get(first as usize..=last as usize);
        run.is_some_and(|run| run.windows(2).all(|pair| pair[1] == pair[0] + 1))
    }

    /// `count` bytes of SRAM or RTC memory to write to, at least one.
    pub(super) fn bytes_mut(&mut self, address: u32, count: u32) -> Option<&mut [u8]> {
        let (bank, at) = match self.place(address)? {
            Place::Sram(at) => {
                let end = at.checked_add(count as usize)?;
                let first = (at / 2).saturating_sub(1);
                self.decoded_sram.get_mut(first..=(end - 1) / 2)?.fill(None);
                (&mut self.sram, at)
            }
            Place::Rtc(at) => (&mut self.rtc, at),
            Place::Flash(_) => return None,
        };
        bank.get_mut(at..at.checked_add(count as usize)?)
    }

    /// The entry of the window's table for a page of it.
    pub(super) fn page(&self, index: usize) -> u32 {
        self.pages[index]
    }

    /// Shows another page of flash, or none.
    pub(super) fn set_page(&mut self, index: usize, entry: u32) {
        self.pages[index] = entry;
        self.forget_page(index);
    }

    /// Changes a part of the flash; `None` where it has none there.
    pub(super) fn change_flash(
        &mut self,
        part: Range<usize>,
        change: impl FnOnce(&mut [u8]),
    ) -> Option<()> {
        change(self.flash.get_mut(part.clone())?);
        for index in 0..PAGES {
            let entry = self.pages[index];
            let start = ((entry & PAGE_NUMBER) * PAGE_BYTES) as usize;
            let is_shown = entry & NO_PAGE == 0;
            if is_shown && start < part.end && part.start < start + PAGE_BYTES as usize {
                self.forget_page(index);
            }
        }
        self.changed = Some(match self.changed.take() {
            None => part,
            Some(all) => all.start.min(part.start)..all.end.max(part.end),
        });
        Some(())
    }

    /// What of the flash has changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> Option<Range<usize>> {
        self.changed.take()
    }

    /// What was decoded from a page of the window does not hold any more.
    fn forget_page(&mut self, index: usize) {
        let halves = PAGE_BYTES as usize / 2;
        // An instruction of the page before may end in this one.
        let first = (index * halves).saturating_sub(1);
        self.decoded_window[first..(index + 1) * halves].fill(None);
    }

    /// The instruction at an address.
    #[inline]
    pub(super) fn fetch(&mut self, address: u32) -> Fetched {
        let in_window = address.wrapping_sub(WINDOW_CODE);
        let in_sram = address.wrapping_sub(SRAM_CODE);
        let known = if in_window < WINDOW_BYTES {
            &self.decoded_window[in_window as usize / 2]
        } else if in_sram < SRAM_CODE_BYTES {
            &self.decoded_sram[in_sram as usize / 2]
        } else {
            return Fetched::Nothing;
        };
        match known {
            Some(instruction) => Fetched::Instruction(*instruction),
            None => self.decode(address),
        }
    }

    #[cold]
    fn decode(&mut self, address: u32) -> Fetched {
        let Some(low) = self.load(address, Width::Half) else {
            return Fetched::Nothing;
        };
        let high = self.load(address.wrapping_add(2), Width::Half);
        let Some(instruction) = Instruction::decode(low | high.unwrap_or(0) << 16) else {
            return Fetched::Illegal;
        };
        if instruction.bytes == 4 && high.is_none() {
            return Fetched::Nothing;
        }
        let in_window = address.wrapping_sub(WINDOW_CODE);
        if in_window < WINDOW_BYTES {
            self.decoded_window[in_window as usize / 2] = Some(instruction);
        } else {
            let at = (address - SRAM_CODE) as usize;
            self.decoded_sram[at / 2] = Some(instruction);
            self.has_code[at / BLOCK_BYTES] = true;
        }
        Fetched::Instruction(instruction)
    }
}
