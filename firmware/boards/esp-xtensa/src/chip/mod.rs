//! What differs from chip to chip: pins, USB, memory, and the table of the flash window.

#[cfg(feature = "esp32")]
mod esp32;
#[cfg(feature = "esp32s3")]
mod esp32s3;

#[cfg(feature = "esp32")]
pub use esp32::{MEMORY_WORDS, NAME, NoUsb as Usb, flash, parts, uart};
#[cfg(feature = "esp32s3")]
pub use esp32s3::{MEMORY_WORDS, NAME, Usb, flash, parts, uart};

use esp_hal::peripherals::{PSRAM, UART0};
use esp_hal::psram::{Psram, PsramConfig};

/// What the firmware uses of a chip.
pub struct Parts {
    pub wires: Wires,
    /// Memory outside of the chip, for conversations; without it they take a part of the chip's own.
    pub external: Option<&'static mut [u32]>,
}

/// Where hosts and people are spoken to.
pub struct Wires {
    pub uart: UART0<'static>,
    pub tx: uart::Tx<'static>,
    pub rx: uart::Rx<'static>,
    pub usb: Usb,
}

/// Major revision times 100, and the minor one.
pub fn revision() -> u16 {
    let revision = esp_hal::efuse::chip_revision();
    u16::from(revision.major) * 100 + u16::from(revision.minor)
}

/// The PSRAM, mapped for good; nothing where there is none.
fn external(psram: PSRAM<'static>) -> Option<&'static mut [u32]> {
    let psram = Psram::new(psram, PsramConfig::default());
    let (start, bytes) = psram.raw_parts();
    let words = bytes / size_of::<u32>();
    // SAFETY: the range was mapped just now, for good, and nothing else refers to it; a word of memory is a number.
    (words > 0).then(|| unsafe { core::slice::from_raw_parts_mut(start.cast::<u32>(), words) })
}
