//! Whittle's firmware for Espressif's Xtensa chips: maps the model partition and answers prompts.
//!
//! It differs from `esp-riscv`, whose flash window and partition table it shares, in what a chip has beside its processor:
//! the ESP32 has no USB, and both keep conversations in PSRAM where there is some. **Nothing here was ever compiled for a chip
//! or run**: Espressif's compiler is none that a plain Rust brings. firmware/README.md says what was checked.

#![no_std]
#![no_main]

mod chip;
mod console;
#[path = "../../esp-riscv/src/partition.rs"]
mod partition;
mod stack;
#[path = "../../esp-riscv/src/window.rs"]
mod window;

use app::{Board, Matrix, Model, Refusal, packed_bytes, serve};
use console::Console;
use esp_hal::clock::CpuClock;
use esp_hal::main;

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
    let mut console = Console::new(parts.wires);
    let memory = parts.external.unwrap_or_else(|| {
        // SAFETY: this function runs once, on the only core that is started, and nothing else refers to it.
        unsafe { &mut *(&raw mut MEMORY) }
    });
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
