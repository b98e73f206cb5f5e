//! What differs from chip to chip: pins, memory, and the table of the flash window.

#[cfg(feature = "esp32c3")]
mod esp32c3;
#[cfg(feature = "esp32c6")]
mod esp32c6;
#[cfg(feature = "esp32p4")]
mod esp32p4;
#[cfg(any(feature = "esp32c6", feature = "esp32p4"))]
mod indexed;

#[cfg(feature = "esp32c3")]
pub use esp32c3::{MEMORY_WORDS, NAME, flash, parts, uart};
#[cfg(feature = "esp32c6")]
pub use esp32c6::{MEMORY_WORDS, NAME, flash, parts, uart};
#[cfg(feature = "esp32p4")]
pub use esp32p4::{MEMORY_WORDS, NAME, flash, parts, uart};

use esp_hal::peripherals::{FLASH, UART0, USB_DEVICE};

/// What the firmware uses of a chip.
pub struct Parts {
    pub uart: UART0<'static>,
    pub tx: uart::Tx<'static>,
    pub rx: uart::Rx<'static>,
    pub usb: USB_DEVICE<'static>,
    pub flash: FLASH<'static>,
    /// Memory outside of the chip, for conversations; without it they take a part of the chip's own.
    pub external: Option<&'static mut [u32]>,
}
