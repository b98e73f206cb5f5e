//! Whittle's firmware for Espressif's RISC-V chips: maps the model partition and answers prompts.
//!
//! The model partition follows the application, aligned to the 64 KiB pages of the flash mapping;
//! its place is read from the partition table, which the host writes with every image. Hosts and people
//! talk to it over UART 0 (115,200 baud) and over the chip's USB. What differs from chip to chip is in `chip/`.

#![no_std]
#![no_main]

mod chip;
mod console;
mod model_flash;
mod partition;
mod stack;
mod window;

use app::{Board, Matrix, Model, Refusal, packed_bytes, serve};
use console::Console;
use esp_hal::clock::CpuClock;
use esp_hal::main;
use model_flash::ModelFlash;

esp_bootloader_esp_idf::esp_app_desc!();

/// Tensors of 32 layers; the table takes 14 KiB of the stack.
const TABLE: usize = 32 * 18;
static mut MEMORY: [u32; chip::MEMORY_WORDS] = [0; chip::MEMORY_WORDS];

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
    stack::paint();
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    let parts = chip::parts(peripherals);
    let mut console = Console::new(parts.uart, parts.tx, parts.rx, parts.usb);
    let memory = parts.external.unwrap_or_else(|| {
        // SAFETY: this function runs once, on the only core that is started, and nothing else refers to it.
        unsafe { &mut *(&raw mut MEMORY) }
    });
    let mut tensors: [Option<Matrix<'_>>; TABLE] = [None; TABLE];
    let partition = model_partition();
    console.model = partition.and_then(|(at, shown)| ModelFlash::new(parts.flash, at, shown.len()));
    let model = partition
        .ok_or(Refusal::NoModel("no model partition in the flash"))
        .and_then(|(_, flash)| Model::open(&mut console, packed_bytes(flash), &mut tensors));
    serve(
        &mut console,
        model.as_ref().map_err(|refusal| *refusal),
        memory,
    )
}

/// Where the model partition begins in flash, and as much of it as the window shows; nothing when there is none.
fn model_partition() -> Option<(usize, &'static [u8])> {
    let table = window::map(partition::TABLE_PAGE, 1)?;
    let found = partition::find_model(&table[partition::TABLE_OFFSET..]);
    window::unmap(table);
    let (address, bytes) = found?;
    let pages = bytes.div_ceil(window::PAGE_BYTES);
    let first_page = u32::try_from(address / window::PAGE_BYTES).ok()?;
    window::map(first_page, pages.min(window::free_pages()))
        .map(|model| (address, &model[..bytes.min(model.len())]))
}
