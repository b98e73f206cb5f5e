//! Whittle's firmware for ESP32-C3 boards: maps the model partition and answers prompts.
//!
//! The model partition follows the application, aligned to the 64 KiB pages of the flash mapping;
//! its place is read from the partition table, which the host writes with every image. Hosts and people
//! talk to it over UART 0 (115,200 baud) and over the chip's USB.

#![no_std]
#![no_main]

mod console;
mod partition;
mod window;

use app::{Board, Matrix, Model, Refusal, packed_bytes, serve};
use console::Console;
use esp_hal::clock::CpuClock;
use esp_hal::main;

esp_bootloader_esp_idf::esp_app_desc!();

/// What the chip's 313 KiB leave beside code in RAM and a stack of 50 KiB, of which the table below
/// takes 14.
const MEMORY_WORDS: usize = 64 * 1024;
/// Tensors of 32 layers.
const TABLE: usize = 32 * 18;
static mut MEMORY: [u32; MEMORY_WORDS] = [0; MEMORY_WORDS];

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if let Some(mut console) = Console::stolen() {
        console.line(format_args!("panic: {info}"));
    }
    loop {
        core::hint::spin_loop();
    }
}

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    let mut console = Console::new(
        peripherals.UART0,
        peripherals.GPIO21,
        peripherals.GPIO20,
        peripherals.USB_DEVICE,
    );
    // SAFETY: this function runs once, on the only core, and nothing else refers to it.
    let memory = unsafe { &mut *(&raw mut MEMORY) };
    let mut tensors: [Option<Matrix<'_>>; TABLE] = [None; TABLE];
    let model = model_partition()
        .ok_or(Refusal::NoModel("no model partition in the flash"))
        .and_then(|flash| Model::open(&mut console, packed_bytes(flash), &mut tensors));
    serve(
        &mut console,
        model.as_ref().map_err(|refusal| *refusal),
        memory,
    )
}

/// As much of the model partition as the window shows; nothing when there is none.
fn model_partition() -> Option<&'static [u8]> {
    let table = window::map(partition::TABLE_PAGE, 1)?;
    let found = partition::find_model(&table[partition::TABLE_OFFSET..]);
    window::unmap(table);
    let (address, bytes) = found?;
    let pages = bytes.div_ceil(window::PAGE_BYTES);
    let first_page = u32::try_from(address / window::PAGE_BYTES).ok()?;
    window::map(first_page, pages.min(window::free_pages()))
        .map(|model| &model[..bytes.min(model.len())])
}
