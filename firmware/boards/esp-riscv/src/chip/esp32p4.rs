//! ESP32-P4 from revision 3 on: 768 KiB of RAM, PSRAM for conversations, two levels of cache.

use super::Parts;
use esp_hal::peripherals::Peripherals;
use esp_hal::psram::{Psram, PsramConfig};

pub const NAME: &str = "esp32p4";

/// UART 0 where the ROM has it: ESP-IDF, `components/soc/esp32p4/include/soc/uart_pins.h`.
pub mod uart {
    pub use esp_hal::peripherals::{GPIO37 as Tx, GPIO38 as Rx};
}

/// For a board without PSRAM: what 440 KiB (esp-hal's `ld/esp32p4/memory.x`: 256 KiB of the 768 are the cache, 72 the ROM's)
/// leave beside code in RAM and a stack of 50 KiB.
pub const MEMORY_WORDS: usize = 93 * 1024;

/// PSRAM is seen without a cache so far above where it is seen with one: `SOC_NON_CACHEABLE_OFFSET_PSRAM` of ESP-IDF's
/// `components/soc/esp32p4/include/soc/soc.h`.
const UNCACHED_OFFSET: usize = 0x4000_0000;

pub fn parts(peripherals: Peripherals) -> Parts {
    let psram = Psram::new(peripherals.PSRAM, PsramConfig::default());
    let (start, bytes) = psram.raw_parts();
    let words = bytes / size_of::<u32>();
    // SAFETY: the range was mapped just now, for good, and nothing else refers to it; a word of memory is a number.
    let external = (words > 0 && answers(start as usize, bytes))
        .then(|| unsafe { core::slice::from_raw_parts_mut(start.cast::<u32>(), words) });
    Parts {
        uart: peripherals.UART0,
        tx: peripherals.GPIO37,
        rx: peripherals.GPIO38,
        usb: peripherals.USB_DEVICE,
        flash: peripherals.FLASH,
        external,
    }
}

/// Whether there is memory, and as much of it as was said: a chip without PSRAM is taken for one with 32 MB.
fn answers(start: usize, bytes: usize) -> bool {
    // Of a smaller memory the upper places would be the lower ones again.
    let places = [0, bytes / 4, bytes / 2, bytes - size_of::<u32>()];
    let place = |at: usize| (start + UNCACHED_OFFSET + at) as *mut u32;
    // SAFETY: places inside of the mapped range, of which the cache holds nothing yet.
    unsafe {
        for at in places {
            place(at).write_volatile(!(at as u32));
        }
        places
            .into_iter()
            .all(|at| place(at).read_volatile() == !(at as u32))
    }
}

/// Source: ESP-IDF, `components/soc/esp32p4/include/soc/ext_mem_defs.h`.
pub mod flash {
    use crate::chip::indexed::Table;

    pub const ENTRIES: usize = 1024;
    /// `SOC_MMU_FLASH_VADDR_BASE`.
    pub const BASE: usize = 0x4000_0000;
    /// `SOC_MMU_FLASH_INVALID`.
    pub const NOTHING: u32 = 0;
    /// `SOC_MMU_FLASH_VALID`.
    const VALID: u32 = 1 << 12;
    /// `SOC_MMU_FLASH_SENSITIVE`: what is read is decrypted.
    const ENCRYPTED: u32 = 1 << 13;

    /// `SPI_MEM_C_MMU_ITEM_INDEX_REG` and `SPI_MEM_C_MMU_ITEM_CONTENT_REG` of ESP-IDF's
    /// `components/soc/esp32p4/register/hw_ver3/soc/spi_mem_c_reg.h`, at `DR_REG_FLASH_SPI0_BASE` of `reg_base.h` there.
    const TABLE: Table = Table {
        index: 0x5008_C380 as *mut u32,
        content: 0x5008_C37C as *mut u32,
    };

    unsafe extern "C" {
        // ESP-IDF, `components/esp_rom/esp32p4/ld/esp32p4.rom.ld` and `esp32p4/rom/cache.h`.
        fn Cache_Invalidate_Addr(caches: u32, address: u32, bytes: u32) -> i32;
    }
    /// `CACHE_MAP_L1_DCACHE` and `CACHE_MAP_L2_CACHE` of `cache.h`: those through which data of the flash comes.
    const CACHES: u32 = 1 << 4 | 1 << 5;

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

    /// Lets entries be changed, then has both levels of cache forget what they hold of the addresses.
    ///
    /// The caches are not suspended: a line of the first level that must go to PSRAM meanwhile would wait for good
    /// (ESP-IDF, `components/esp_mm/esp_cache_utils.c`), and esp-hal, which maps PSRAM and encrypted flash as is done here,
    /// found that the ROM's functions hang so early. From RAM nothing is fetched through the table while it is written.
    ///
    /// # Safety
    /// Called from RAM, with what runs in RAM.
    #[inline(always)]
    pub unsafe fn change(address: u32, bytes: u32, entries: impl FnOnce()) {
        entries();
        // SAFETY: a function of the ROM with this signature; nothing is written through the window, so no change is forgotten.
        unsafe { Cache_Invalidate_Addr(CACHES, address, bytes) };
    }
}
