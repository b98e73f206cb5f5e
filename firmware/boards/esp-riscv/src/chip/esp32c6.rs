//! ESP32-C6: 512 KiB of RAM, one window for code and data.

use super::Parts;
use esp_hal::peripherals::Peripherals;

pub const NAME: &str = "esp32c6";

/// UART 0 where the ROM has it: ESP-IDF, `components/soc/esp32c6/include/soc/uart_pins.h`.
pub mod uart {
    pub use esp_hal::peripherals::{GPIO16 as Tx, GPIO17 as Rx};
}

/// What 441 KiB (esp-hal's `ld/esp32c6/memory.x`: the bootloader's loader and the ROM keep the rest) leave beside code in
/// RAM and a stack of 50 KiB.
pub const MEMORY_WORDS: usize = 96 * 1024;

pub fn parts(peripherals: Peripherals) -> Parts {
    Parts {
        uart: peripherals.UART0,
        tx: peripherals.GPIO16,
        rx: peripherals.GPIO17,
        usb: peripherals.USB_DEVICE,
        flash: peripherals.FLASH,
        external: None,
    }
}

/// Source: ESP-IDF, `components/soc/esp32c6/include/soc/ext_mem_defs.h`, for pages of 64 KiB, which the application's
/// descriptor asks the bootloader for.
pub mod flash {
    use crate::chip::indexed::Table;

    pub const ENTRIES: usize = 256;
    /// `SOC_IRAM0_CACHE_ADDRESS_LOW`.
    pub const BASE: usize = 0x4200_0000;
    /// `SOC_MMU_INVALID`.
    pub const NOTHING: u32 = 0;
    /// `SOC_MMU_VALID`.
    const VALID: u32 = 1 << 9;
    /// `SOC_MMU_SENSITIVE`: what is read is decrypted.
    const ENCRYPTED: u32 = 1 << 10;

    /// `SPI_MEM_MMU_ITEM_INDEX_REG(0)` and `SPI_MEM_MMU_ITEM_CONTENT_REG(0)` of ESP-IDF's
    /// `components/soc/esp32c6/register/soc/spi_mem_reg.h`, at `DR_REG_SPI0_BASE` of `reg_base.h` there.
    const TABLE: Table = Table {
        index: 0x6000_2380 as *mut u32,
        content: 0x6000_237C as *mut u32,
    };

    unsafe extern "C" {
        // ESP-IDF, `components/esp_rom/esp32c6/ld/esp32c6.rom.ld` and `esp32c6/rom/cache.h`.
        fn Cache_Suspend_ICache() -> u32;
        fn Cache_Resume_ICache(autoload: u32);
        fn Cache_Invalidate_Addr(address: u32, bytes: u32) -> i32;
    }

    /// The entry that shows a page of flash.
    pub fn shown(flash_page: u32) -> u32 {
        let encrypted = esp_hal::efuse::flash_encryption();
        flash_page | VALID | if encrypted { ENCRYPTED } else { 0 }
    }

    pub fn is_free(entry: usize) -> bool {
        TABLE.get(entry) & VALID == 0
    }

    /// # Safety
    /// Inside of [`change`], for an entry that nobody reads through.
    #[inline(always)]
    pub unsafe fn set(entry: usize, value: u32) {
        // SAFETY: the caller's word for the entry.
        unsafe { TABLE.set(entry, value) }
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
