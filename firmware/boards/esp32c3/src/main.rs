//! Whittle's firmware for ESP32-C3 boards: maps the model partition and reports what it holds.
//!
//! The model partition follows the application, aligned to the 64 KiB pages of the flash mapping;
//! its place is read from the partition table, which the host writes with every image.

#![no_std]
#![no_main]

mod partition;
mod window;

use core::fmt::Write as _;
use esp_hal::clock::CpuClock;
use esp_hal::main;
use esp_hal::uart::{Config, Uart};

esp_bootloader_esp_idf::esp_app_desc!();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Formatting a message costs tens of kilobytes; the watchdog of the next session resets us.
    loop {
        core::hint::spin_loop();
    }
}

/// Bytes at the start of a model whose checksum is reported.
const HEADER_BYTES: usize = 64;

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    let Ok(mut uart) = Uart::new(peripherals.UART0, Config::default()) else {
        panic!()
    };
    // A UART without a listener loses lines; there is nobody to tell.
    let _ = match model() {
        Some(model) => {
            let header = &model[..HEADER_BYTES.min(model.len())];
            writeln!(
                uart,
                "model {} bytes, header crc32 {:08x}",
                model.len(),
                crc32(header)
            )
        }
        None => writeln!(uart, "no model partition in the flash"),
    };
    loop {
        core::hint::spin_loop();
    }
}

/// As much of the model partition as the window shows; nothing when there is none.
fn model() -> Option<&'static [u8]> {
    let table = window::map(partition::TABLE_PAGE, 1)?;
    let found = partition::find_model(&table[partition::TABLE_OFFSET..]);
    window::unmap(table);
    let (address, bytes) = found?;
    let pages = bytes.div_ceil(window::PAGE_BYTES);
    let first_page = u32::try_from(address / window::PAGE_BYTES).ok()?;
    window::map(first_page, pages.min(window::free_pages()))
        .map(|model| &model[..bytes.min(model.len())])
}

/// CRC-32 of IEEE 802.3, bit by bit: 64 bytes do not deserve a table.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}
