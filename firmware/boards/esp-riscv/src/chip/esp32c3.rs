//! ESP32-C3: 400 KiB of RAM, a table of the flash window that is memory.

use super::Parts;
use esp_hal::peripherals::Peripherals;

pub const NAME: &str = "esp32c3";

/// UART 0 where the ROM has it: ESP-IDF, `components/soc/esp32c3/include/soc/uart_pins.h`.
pub mod uart {
    pub use esp_hal::peripherals::{GPIO20 as Rx, GPIO21 as Tx};
}

/// What 313 KiB (esp-hal's `ld/esp32c3/memory.x`) leave beside code in RAM and a stack of 50 KiB.
pub const MEMORY_WORDS: usize = 64 * 1024;

pub fn parts(peripherals: Peripherals) -> Parts {
    Parts {
        uart: peripherals.UART0,
        tx: peripherals.GPIO21,
        rx: peripherals.GPIO20,
        usb: peripherals.USB_DEVICE,
        flash: peripherals.FLASH,
        external: None,
    }
}

/// Source: ESP32-C3 Technical Reference Manual, "External Memory"; ESP-IDF, `components/soc/esp32c3/include/soc/ext_mem_defs.h`.
pub mod flash {
    pub const ENTRIES: usize = 128;
    /// Where data is seen.
    pub const BASE: usize = 0x3C00_0000;
    /// Bit 8 says that there is nothing.
    pub const NOTHING: u32 = 0x100;
    /// One word an entry.
    const TABLE: *mut u32 = 0x600C_5000 as *mut u32;

    unsafe extern "C" {
        // ESP-IDF, `components/esp_rom/esp32c3/ld/esp32c3.rom.ld` and `esp32c3/rom/cache.h`, the same in every revision.
        fn Cache_Suspend_ICache() -> u32;
        fn Cache_Resume_ICache(autoload: u32);
        fn Cache_Invalidate_Addr(address: u32, bytes: u32) -> i32;
    }

    /// The entry that shows a page of flash.
    pub fn shown(flash_page: u32) -> u32 {
        flash_page
    }

    pub fn is_free(entry: usize) -> bool {
        assert!(entry < ENTRIES);
        // SAFETY: the table has so many words, and reading one has no effect.
        unsafe { TABLE.add(entry).read_volatile() & NOTHING != 0 }
    }

    /// # Safety
    /// Inside of [`change`], for an entry that nobody reads through.
    #[inline(always)]
    pub unsafe fn set(entry: usize, value: u32) {
        // SAFETY: the caller's word for the entry.
        unsafe { TABLE.add(entry).write_volatile(value) }
    }

    /// Lets entries be changed while the cache rests, then has it forget what it holds of the addresses.
    ///
    /// # Safety
    /// Called from RAM, with what runs in RAM.
    #[inline(always)]
    pub unsafe fn change(address: u32, bytes: u32, entries: impl FnOnce()) {
        // SAFETY: functions of the ROM with these signatures.
        unsafe {
            let autoload = Cache_Suspend_ICache();
            entries();
            Cache_Invalidate_Addr(address, bytes);
            Cache_Resume_ICache(autoload);
        }
    }
}
