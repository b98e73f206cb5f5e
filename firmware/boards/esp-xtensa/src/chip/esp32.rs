//! ESP32: 520 KiB of RAM in pieces, no USB, a window for data of 4 MiB.

use super::{Parts, Wires};
use esp_hal::peripherals::Peripherals;

pub const NAME: &str = "esp32";

/// UART 0 where the ROM has it: ESP-IDF, `components/soc/esp32/include/soc/uart_pins.h`.
pub mod uart {
    pub use esp_hal::peripherals::{GPIO1 as Tx, GPIO3 as Rx};
}

/// For a board without PSRAM: of the 192 KiB that esp-hal's `ld/esp32/memory.x` has in one piece for data (`dram_seg`), what
/// leaves a stack of 50 KiB.
pub const MEMORY_WORDS: usize = 32 * 1024;

/// Chips of before need a compiler that works around a fault of the PSRAM's cache: ESP-IDF,
/// `components/esp_psram/esp32/Kconfig.spiram`, `SPIRAM_CACHE_WORKAROUND`. Rust's has no such option.
const PSRAM_FROM_REVISION: u16 = 300;

/// No USB.
pub struct NoUsb;

impl NoUsb {
    /// # Safety
    /// None is needed: there is nothing to take.
    pub unsafe fn stolen() -> Self {
        Self
    }

    pub fn write(&mut self, _bytes: &[u8]) {}

    pub fn read(&mut self) -> Option<u8> {
        None
    }
}

pub fn parts(peripherals: Peripherals) -> Parts {
    Parts {
        wires: Wires {
            uart: peripherals.UART0,
            tx: peripherals.GPIO1,
            rx: peripherals.GPIO3,
            usb: NoUsb,
        },
        external: if super::revision() < PSRAM_FROM_REVISION {
            None
        } else {
            super::external(peripherals.PSRAM)
        },
    }
}

/// Source: ESP-IDF, `components/soc/esp32/include/soc/ext_mem_defs.h` and `components/hal/esp32/include/hal/mmu_ll.h`: of the
/// table's entries the first 64 show data, and code has its own.
pub mod flash {
    pub const ENTRIES: usize = 64;
    /// `SOC_DROM0_CACHE_ADDRESS_LOW`.
    pub const BASE: usize = 0x3F40_0000;
    /// `SOC_MMU_INVALID`.
    pub const NOTHING: u32 = 1 << 8;
    /// `DR_REG_FLASH_MMU_TABLE_PRO` of `components/soc/esp32/register/soc/reg_base.h`, one word an entry; the other core, which is
    /// never started, has a table of its own. Read and written plainly, as ESP-IDF does where one core runs
    /// (`components/soc/esp32/include/soc/dport_access.h`).
    const TABLE: *mut u32 = 0x3FF1_0000 as *mut u32;
    /// The core that reads: PRO.
    const CORE: u32 = 0;

    unsafe extern "C" {
        // ESP-IDF, `components/esp_rom/esp32/ld/esp32.rom.ld` and `esp32/rom/cache.h`.
        fn Cache_Read_Disable_rom(core: u32);
        fn Cache_Flush_rom(core: u32);
        fn Cache_Read_Enable_rom(core: u32);
    }

    /// The entry that shows a page of flash; an encrypted one is decrypted without being told.
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

    /// Lets entries be changed while the cache is off, then has it forget all that it holds, as the bootloader does (ESP-IDF,
    /// `components/bootloader_support/src/bootloader_utility.c`, `set_cache_and_start_app`). PSRAM comes through the same cache,
    /// which writes nothing back here: nothing was stored there yet.
    ///
    /// # Safety
    /// Called from RAM, with what runs in RAM, while nothing in PSRAM was written.
    #[inline(always)]
    pub unsafe fn change(_address: u32, _bytes: u32, entries: impl FnOnce()) {
        // SAFETY: functions of the ROM with these signatures.
        unsafe {
            Cache_Read_Disable_rom(CORE);
            entries();
            Cache_Flush_rom(CORE);
            Cache_Read_Enable_rom(CORE);
        }
    }
}
