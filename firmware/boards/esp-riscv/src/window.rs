//! The window through which the chip reads flash in place: pages of 64 KiB, shared with code.
//!
//! The chip's module tells where the window is and how an entry of its table is read and written; the table's last entry
//! belongs to the bootloader on every chip (ESP-IDF, `components/bootloader_support/src/bootloader_utility.c`,
//! `set_cache_and_start_app`).

use crate::chip::flash;
use esp_hal::ram;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 0x1_0000;
/// Entries that are not the bootloader's.
const PAGES: usize = flash::ENTRIES - 1;

/// First page of the free run at the end of the window.
fn first_free() -> usize {
    let is_free = |page: &usize| flash::is_free(*page);
    PAGES - (0..PAGES).rev().take_while(is_free).count()
}

/// Pages that can still be mapped.
pub fn free_pages() -> usize {
    PAGES - first_free()
}

/// Shows `pages` pages of flash from `flash_page` on; nothing when the window has too few free ones.
pub fn map(flash_page: u32, pages: usize) -> Option<&'static [u8]> {
    if pages == 0 || pages > free_pages() {
        return None;
    }
    let first = PAGES - pages;
    write(first, pages, flash::shown(flash_page), 1);
    // SAFETY: the pages are mapped read-only and stay so while the slice is used: `unmap` consumes it.
    Some(unsafe {
        core::slice::from_raw_parts(
            (flash::BASE + first * PAGE_BYTES) as *const u8,
            pages * PAGE_BYTES,
        )
    })
}

/// Gives the pages of `shown` back. It must not be used afterwards.
pub fn unmap(shown: &'static [u8]) {
    let first = (shown.as_ptr() as usize - flash::BASE) / PAGE_BYTES;
    write(first, shown.len() / PAGE_BYTES, flash::NOTHING, 0);
}

/// Fills entries with `value`, `value + step`, …; in RAM, for code cannot be fetched through a table that is being
/// written.
#[ram]
fn write(first: usize, pages: usize, value: u32, step: u32) {
    let address = (flash::BASE + first * PAGE_BYTES) as u32;
    let bytes = (pages * PAGE_BYTES) as u32;
    // SAFETY: `first + pages` is at most `PAGES`, so the entries are free ones; whatever is called from here lies in RAM or
    // ROM, or is inlined.
    unsafe {
        flash::change(address, bytes, || {
            let mut page = 0;
            while page < pages {
                flash::set(first + page, value + step * page as u32);
                page += 1;
            }
        });
    }
}
