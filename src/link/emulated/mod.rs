//! An ESP32-C3 in software: it runs the very flash content that was written for the board.
//!
//! [`Machine::boot`] does what ROM and bootloader do, [`Machine::run`] carries out the application: the core of RV32IMC
//! ([`Core`]), SRAM and the flash window, UART 0, USB Serial/JTAG, system timer, GPIO, and the ROM's functions by
//! address. Time is that of a core which takes a cycle an instruction; caches, interrupts, radio and DMA are not here.
//! It starts no thread: [`FakeBoard`](super::FakeBoard) does.

mod boot;
mod core;
mod flash;
mod instruction;
mod memory;
mod peripherals;
mod rom;

pub use self::core::{Bus, Cause, Core, Fetched, Stop, Trap, Width};
pub use instruction::{Instruction, Operation};

use memory::Memory;
use peripherals::{PERIPHERALS, Peripherals};
use rom::{ROM, Returned};
use std::collections::BTreeMap;
use std::ops::Range;

/// Looks for a byte in a row after which the program is said to wait for one.
const WAITING_LOOKS: u32 = 1000;
/// Instructions between two looks at whether it waits.
const SLICE: u64 = 20_000;
/// Cycles in a microsecond.
const CYCLES_PER_MICRO: u64 = 160;

/// A chip that has been started.
#[derive(Debug)]
pub struct Machine {
    core: Core,
    chip: Chip,
    state: Activity,
}

/// What a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It computes.
    Busy,
    /// It waits for a byte.
    Waiting,
    /// It will do nothing more before a reset: no application, or one that ran into an exception without a handler.
    Ended,
    /// The program has asked for a reset.
    Restarted,
}

/// One of a chip's two ways to talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// UART 0, on two pins.
    Uart,
    /// The chip's own USB.
    Usb,
}

#[derive(Debug)]
struct Chip {
    memory: Memory,
    peripherals: Peripherals,
}

impl Bus for Chip {
    #[inline]
    fn load(&mut self, address: u32, width: Width) -> Option<u32> {
        if PERIPHERALS.contains(&address) {
            return Some(match window_entry(address) {
                Some(index) => self.memory.page(index),
                None => self.peripherals.read(address),
            });
        }
        self.memory.load(address, width)
    }

    #[inline]
    fn store(&mut self, address: u32, width: Width, value: u32) -> Option<()> {
        if PERIPHERALS.contains(&address) {
            match window_entry(address) {
                Some(index) => self.memory.set_page(index, value),
                None => self.peripherals.write(address, value),
            }
            return Some(());
        }
        self.memory.store(address, width, value)
    }

    #[inline]
    fn fetch(&mut self, address: u32) -> Fetched {
        if ROM.contains(&address) {
            return Fetched::Host;
        }
        self.memory.fetch(address)
    }
}

/// Place in the table of the flash window that a register is.
fn window_entry(address: u32) -> Option<usize> {
    const TABLE: u32 = 0x600C_5000;
    let index = address.checked_sub(TABLE)? as usize / 4;
    (index < memory::PAGES).then_some(index)
}

impl Machine {
    /// Resets a chip that has this flash and these eFuses (by address of their registers).
    #[must_use]
    pub fn boot(flash: Vec<u8>, fuses: BTreeMap<u32, u32>) -> Self {
        let mut chip = Chip {
            peripherals: Peripherals::new(fuses, flash.len()),
            memory: Memory::new(flash),
        };
        let mut said = Vec::new();
        let loaded = boot::boot(&mut chip.memory, &mut said);
        // The ROM speaks on both.
        chip.peripherals.usb.sent.clone_from(&said);
        chip.peripherals.uart.sent = said;
        let mut core = Core::starting_at(loaded.map_or(0, |loaded| loaded.entry));
        core.registers[2] = loaded.map_or(0, |loaded| loaded.stack);
        Self {
            core,
            chip,
            state: match loaded {
                Some(_) => Activity::Busy,
                None => Activity::Ended,
            },
        }
    }

    /// Carries out about so many instructions, fewer where the program waits or has ended.
    pub fn run(&mut self, instructions: u64) -> Activity {
        let end = self.core.retired.saturating_add(instructions);
        while !matches!(self.state, Activity::Ended | Activity::Restarted)
            && self.core.retired < end
        {
            let before = self.core.retired;
            let stop = self.core.run(&mut self.chip, SLICE.min(end - before));
            self.chip.peripherals.cycles += self.core.retired - before;
            match stop {
                Stop::Limit => {}
                Stop::Waiting => self.state = Activity::Waiting,
                Stop::Host => self.call_rom(),
                Stop::Halted(trap) => self.end(&format!("{:?} at {:#x}", trap.cause, trap.at)),
            }
            if self.chip.peripherals.looked_for_bytes > WAITING_LOOKS {
                return Activity::Waiting;
            }
            if self.state == Activity::Waiting {
                self.state = Activity::Busy;
                return Activity::Waiting;
            }
        }
        self.state
    }

    /// Plays the function of the ROM at the program counter and returns to its caller.
    fn call_rom(&mut self) {
        let (core, chip) = (&mut self.core, &mut self.chip);
        let x = &mut core.registers;
        let arguments = [x[10], x[11], x[12], x[13]];
        let Some(returned) = rom::call(core.pc, arguments, &mut chip.memory) else {
            let at = core.pc;
            return self.end(&format!("the ROM's function at {at:#x} is not emulated"));
        };
        chip.peripherals.cycles += rom::instructions(core.pc, arguments[2]);
        match returned {
            Returned::Nothing => {}
            Returned::Word(word) => x[10] = word,
            Returned::Wide(wide) => {
                x[10] = wide as u32;
                x[11] = (wide >> 32) as u32;
            }
            Returned::Never => self.state = Activity::Restarted,
            Returned::After(micros) => {
                chip.peripherals.cycles += u64::from(micros) * CYCLES_PER_MICRO;
            }
            Returned::Later(word, micros) => {
                x[10] = word;
                chip.peripherals.cycles += u64::from(micros) * CYCLES_PER_MICRO;
            }
        }
        core.pc = x[1];
    }

    fn end(&mut self, why: &str) {
        self.state = Activity::Ended;
        let text = format!("\r\nemulator: {why}\r\n");
        self.chip.peripherals.uart.sent.extend(text.bytes());
        self.chip.peripherals.usb.sent.extend(text.bytes());
    }

    /// Lets time pass in which the program waits.
    pub fn sleep(&mut self, micros: u64) {
        self.chip.peripherals.cycles += micros * CYCLES_PER_MICRO;
    }

    /// Bytes come in on a line.
    pub fn receive(&mut self, line: Line, bytes: &[u8]) {
        self.chip.peripherals.looked_for_bytes = 0;
        self.serial(line).received.extend(bytes);
    }

    /// What was sent on a line since it was last asked.
    pub fn take_sent(&mut self, line: Line) -> Vec<u8> {
        std::mem::take(&mut self.serial(line).sent)
    }

    fn serial(&mut self, line: Line) -> &mut peripherals::Serial {
        match line {
            Line::Uart => &mut self.chip.peripherals.uart,
            Line::Usb => &mut self.chip.peripherals.usb,
        }
    }

    /// Its flash.
    #[must_use]
    pub fn flash(&self) -> &[u8] {
        &self.chip.memory.flash
    }

    /// What of the flash the program has changed since this was last asked.
    pub fn take_flash_changes(&mut self) -> Option<Range<usize>> {
        self.chip.memory.take_changed()
    }

    /// Instructions carried out since the reset.
    #[must_use]
    pub const fn instructions(&self) -> u64 {
        self.core.retired
    }
}
