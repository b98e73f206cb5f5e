//! QEMU's riscv32 `virt` machine: start, console, counter, exit.
//!
//! Source: QEMU `hw/riscv/virt.c` for the addresses, `hw/misc/sifive_test.c` for the exit.

use app::Board;
use core::arch::{asm, global_asm};

/// Transmit register of the NS16550A; QEMU's takes a byte at any time.
const UART: *mut u8 = 0x1000_0000 as *mut u8;
const TEST_FINISHER: *mut u32 = 0x10_0000 as *mut u32;
const FINISH_PASS: u32 = 0x5555;
const FINISH_FAIL: u32 = 0x3333;

// RAM is zero when the machine starts, and QEMU loads .data where it runs.
global_asm!(
    ".section .init, \"ax\"",
    ".globl _start",
    "_start:",
    "la sp, _stack_top",
    "la t0, _trap",
    ".option push",
    ".option arch, +zicsr",
    "csrw mtvec, t0",
    // Floating point on, where the core has it.
    "li t0, 0x6000",
    "csrs mstatus, t0",
    ".option pop",
    "j {main}",
    ".balign 4",
    "_trap:",
    ".option push",
    ".option arch, +zicsr",
    "csrr a0, mcause",
    "csrr a1, mepc",
    "csrr a2, mtval",
    ".option pop",
    "j {trap}",
    main = sym crate::main,
    trap = sym trap,
);

extern "C" fn trap(cause: usize, program_counter: usize, value: usize) -> ! {
    Machine.line(format_args!(
        "trap {cause} at {program_counter:#010x}, value {value:#010x}"
    ));
    exit(Outcome::Failure(3))
}

/// The machine as the application sees it.
pub struct Machine;

impl Board for Machine {
    const NAME: &'static str = "qemu-virt";
    const TICK: &'static str = "instructions";
    const TICKS_PER_SECOND: u32 = 0;

    /// Instructions executed; exact under `-icount shift=0`.
    fn ticks(&mut self) -> u64 {
        loop {
            let (low, high, again): (u32, u32, u32);
            // SAFETY: reading the counters has no effect; the empty clobber list keeps memory
            // accesses on their side of the reading.
            unsafe {
                asm!(
                    ".option push",
                    ".option arch, +zicsr",
                    "csrr {high}, minstreth",
                    "csrr {low}, minstret",
                    "csrr {again}, minstreth",
                    ".option pop",
                    low = out(reg) low,
                    high = out(reg) high,
                    again = out(reg) again,
                );
            }
            if high == again {
                return u64::from(high) << 32 | u64::from(low);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // SAFETY: the machine's UART is at this address.
            unsafe { UART.write_volatile(*byte) }
        }
    }

    /// The request lies in memory: nothing is asked over the console.
    fn read(&mut self) -> Option<u8> {
        None
    }
}

/// How the program ended.
pub enum Outcome {
    Success,
    /// With this exit code of QEMU.
    Failure(u32),
}

/// Ends QEMU.
pub fn exit(outcome: Outcome) -> ! {
    let word = match outcome {
        Outcome::Success => FINISH_PASS,
        Outcome::Failure(code) => code << 16 | FINISH_FAIL,
    };
    // SAFETY: the machine's test finisher is at this address.
    unsafe { TEST_FINISHER.write_volatile(word) }
    loop {
        core::hint::spin_loop();
    }
}
