//! ESP32-S3: 512 KiB of RAM, the chip's own USB, one window for code, data and PSRAM.

use super::{Parts, Wires};
use esp_hal::Blocking;
use esp_hal::peripherals::{Peripherals, USB_DEVICE};
use esp_hal::time::{Duration, Instant};
use esp_hal::usb::usb_serial_jtag::UsbSerialJtag;

pub const NAME: &str = "esp32s3";

/// UART 0 where the ROM has it: ESP-IDF, `components/soc/esp32s3/include/soc/uart_pins.h`.
pub mod uart {
    pub use esp_hal::peripherals::{GPIO43 as Tx, GPIO44 as Rx};
}

/// For a board without PSRAM: what 333 KiB (`dram_seg` of esp-hal's `ld/esp32s3/memory.x`) leave beside code in RAM and a stack
/// of 50 KiB.
pub const MEMORY_WORDS: usize = 64 * 1024;

/// How long USB may take to fetch what was written before nobody is said to listen there: a host polls each millisecond.
const USB_PATIENCE: Duration = Duration::from_millis(20);

/// USB Serial/JTAG.
pub struct Usb {
    line: UsbSerialJtag<'static, Blocking>,
    /// Whether a host fetches what is written. Without one each write would wait for good.
    is_heard: bool,
}

impl Usb {
    fn new(device: USB_DEVICE<'static>) -> Self {
        Self {
            line: UsbSerialJtag::new(device),
            is_heard: true,
        }
    }

    /// # Safety
    /// When nothing else runs any more.
    pub unsafe fn stolen() -> Self {
        // SAFETY: the caller's word.
        Self::new(unsafe { USB_DEVICE::steal() })
    }

    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let start = Instant::now();
            while self.is_heard && self.line.write_byte_nb(*byte).is_err() {
                self.is_heard = start.elapsed() < USB_PATIENCE;
            }
        }
        // What waits now is fetched with the host's next poll.
        let _under_way = self.line.flush_tx_nb();
    }

    pub fn read(&mut self) -> Option<u8> {
        let byte = self.line.read_byte().ok()?;
        self.is_heard = true;
        Some(byte)
    }
}

pub fn parts(peripherals: Peripherals) -> Parts {
    Parts {
        wires: Wires {
            uart: peripherals.UART0,
            tx: peripherals.GPIO43,
            rx: peripherals.GPIO44,
            usb: Usb::new(peripherals.USB_DEVICE),
        },
        // Behind the last page of the program, as esp-hal maps it: the model takes the end of the window.
        external: super::external(peripherals.PSRAM),
    }
}

/// Source: ESP-IDF, `components/soc/esp32s3/include/soc/ext_mem_defs.h` and `components/hal/esp32s3/include/hal/mmu_ll.h`.
pub mod flash {
    /// `SOC_MMU_ENTRY_NUM`.
    pub const ENTRIES: usize = 512;
    /// `SOC_DRAM0_CACHE_ADDRESS_LOW`: where data is seen; code is seen through the same entries.
    pub const BASE: usize = 0x3C00_0000;
    /// `SOC_MMU_INVALID`.
    pub const NOTHING: u32 = 1 << 14;
    /// `DR_REG_MMU_TABLE` of `components/soc/esp32s3/include/soc/soc.h`, one word an entry.
    const TABLE: *mut u32 = 0x600C_5000 as *mut u32;

    unsafe extern "C" {
        // ESP-IDF, `components/esp_rom/esp32s3/ld/esp32s3.rom.ld` and `esp32s3/rom/cache.h`.
        fn Cache_Suspend_DCache() -> u32;
        fn Cache_Resume_DCache(autoload: u32);
        fn Cache_Invalidate_Addr(address: u32, bytes: u32) -> i32;
    }

    /// The entry that shows a page of flash, which has neither `SOC_MMU_INVALID` nor `SOC_MMU_ACCESS_SPIRAM`; an encrypted one
    /// is decrypted without being told.
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

    /// Lets entries be changed while the cache of data rests, then has it forget what it holds of the addresses, as esp-hal
    /// does for PSRAM (`src/psram/esp32s3.rs`).
    ///
    /// # Safety
    /// Called from RAM, with what runs in RAM.
    #[inline(always)]
    pub unsafe fn change(address: u32, bytes: u32, entries: impl FnOnce()) {
        // SAFETY: functions of the ROM with these signatures.
        unsafe {
            let autoload = Cache_Suspend_DCache();
            entries();
            Cache_Invalidate_Addr(address, bytes);
            Cache_Resume_DCache(autoload);
        }
    }
}
