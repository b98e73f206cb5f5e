//! A table of the flash window behind two registers, as the chips after the ESP32-C3 have it: one takes the number of an
//! entry, the other is the entry.
//!
//! Source: ESP-IDF, `components/hal/esp32c6/include/hal/mmu_ll.h` and the same file of the ESP32-P4.

/// The two registers.
pub struct Table {
    pub index: *mut u32,
    pub content: *mut u32,
}

impl Table {
    #[inline(always)]
    pub fn get(&self, entry: usize) -> u32 {
        // SAFETY: registers of the chip; choosing an entry and reading it has no effect on the window.
        unsafe {
            self.index.write_volatile(entry as u32);
            self.content.read_volatile()
        }
    }

    /// # Safety
    /// For an entry that nobody reads through.
    #[inline(always)]
    pub unsafe fn set(&self, entry: usize, value: u32) {
        // SAFETY: registers of the chip; the caller's word for the entry.
        unsafe {
            self.index.write_volatile(entry as u32);
            self.content.write_volatile(value);
        }
    }
}
