//! The window through which the ESP32-C3 reads flash in place: 128 pages of 64 KiB, shared with code.
//!
//! Source: ESP32-C3 Technical Reference Manual, "External Memory"; the ROM's functions as ESP-IDF's
//! `esp32c3.rom.ld` lists them, the same in every revision.

use esp_hal::ram;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 0x1_0000;
const PAGES: usize = 128;
/// Where data is seen.
const DATA_BASE: usize = 0x3C00_0000;
/// One word a page: the page of flash, or bit 8 for none.
const TABLE: *mut u32 = 0x600C_5000 as *mut u32;
const INVALID: u32 = 0x100;

const SUSPEND_CACHE: usize = 0x4000_0524;
const RESUME_CACHE: usize = 0x4000_0528;
const INVALIDATE_CACHE: usize = 0x4000_04D4;

/// First page of the free run at the end of the window; the last page belongs to the bootloader.
fn first_free() -> usize {
    let end = PAGES - 1;
    // SAFETY: the table has 128 words and reading one has no effect.
    let is_free = |page: &usize| unsafe { TABLE.add(*page).read_volatile() } & INVALID != 0;
    end - (0..end).rev().take_while(is_free).count()
}

/// Pages that can still be mapped.
pub fn free_pages() -> usize {
    PAGES - 1 - first_free()
}

/// Shows `pages` pages of flash from `flash_page` on; nothing when the window has too few free ones.
pub fn map(flash_page: u32, pages: usize) -> Option<&'static [u8]> {
    if pages == 0 || pages > free_pages() {
        return None;
    }
    let first = PAGES - 1 - pages;
    write(first, pages, flash_page, 1);
    // SAFETY: the pages are mapped read-only and stay so while the slice is used: `unmap` consumes it.
    Some(unsafe {
        core::slice::from_raw_parts(
            (DATA_BASE + first * PAGE_BYTES) as *const u8,
            pages * PAGE_BYTES,
        )
    })
}

/// Gives the pages of `shown` back. It must not be used afterwards.
pub fn unmap(shown: &'static [u8]) {
    let first = (shown.as_ptr() as usize - DATA_BASE) / PAGE_BYTES;
    write(first, shown.len() / PAGE_BYTES, INVALID, 0);
}

/// Fills table words with `value`, `value + step`, …; in RAM, for the code's own pages are gone
/// while the cache is suspended.
#[ram]
fn write(first: usize, pages: usize, value: u32, step: u32) {
    // SAFETY: the addresses are those of the ROM's functions with these signatures; `first + pages`
    // is at most 127; nothing here is fetched through the suspended cache.
    unsafe {
        let suspend: extern "C" fn() -> u32 = core::mem::transmute(SUSPEND_CACHE);
        let resume: extern "C" fn(u32) = core::mem::transmute(RESUME_CACHE);
        let invalidate: extern "C" fn(u32, u32) -> i32 = core::mem::transmute(INVALIDATE_CACHE);
        let state = suspend();
        let mut page = 0;
        while page < pages {
            TABLE
                .add(first + page)
                .write_volatile(value + step * page as u32);
            page += 1;
        }
        invalidate(
            (DATA_BASE + first * PAGE_BYTES) as u32,
            (pages * PAGE_BYTES) as u32,
        );
        resume(state);
    }
}
