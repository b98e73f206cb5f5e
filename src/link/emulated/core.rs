//! A core of RV32IMC in machine mode, without interrupts: registers, the run loop, traps.
//!
//! Source: The RISC-V Instruction Set Manual, volumes I (20191213) and II (20211203, chapter 3). What is read or
//! written lies behind [`Bus`]. An instruction counts as one cycle.

use super::instruction::{Instruction, Operation};
use std::collections::BTreeMap;

/// What a core is wired to.
pub trait Bus {
    /// The bytes at an address, in the low bits; `None` where there is no memory or not for this width.
    fn load(&mut self, address: u32, width: Width) -> Option<u32>;

    /// Stores the low bits of `value`; `None` as for [`Self::load`].
    fn store(&mut self, address: u32, width: Width, value: u32) -> Option<()>;

    /// What lies at an address as an instruction.
    fn fetch(&mut self, address: u32) -> Fetched;
}

/// How much is loaded or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
}

impl Width {
    /// In bytes: 1, 2 or 4.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }
}

/// What an address holds for a core that would execute it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// An instruction.
    Instruction(Instruction),
    /// Bytes that are none.
    Illegal,
    /// A function that the host plays: the core stops here.
    Host,
    /// No memory for code.
    Nothing,
}

/// Why a core stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// As many instructions as asked are done.
    Limit,
    /// The program counter stands at a function of the host.
    Host,
    /// It waits for an interrupt, of which there are none.
    Waiting,
    /// An exception came while there was no handler for one.
    Halted(Trap),
}

/// An exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// What happened.
    pub cause: Cause,
    /// The instruction's address.
    pub at: u32,
    /// The address or the instruction that was wrong, as `mtval` has it.
    pub value: u32,
}

/// What an exception is about, with its number in `mcause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Code where there is no memory.
    Fetch = 1,
    /// No instruction.
    Illegal = 2,
    /// `ebreak`.
    Breakpoint = 3,
    /// A load from where nothing is, or not at a multiple of its width.
    Load = 5,
    /// A store to where nothing is, or not at a multiple of its width.
    Store = 7,
    /// `ecall`.
    Call = 11,
}

/// Control and status registers with a meaning here; others keep what is written.
mod csr {
    pub(super) const MTVEC: u32 = 0x305;
    pub(super) const MEPC: u32 = 0x341;
    pub(super) const MCAUSE: u32 = 0x342;
    pub(super) const MTVAL: u32 = 0x343;
    /// Low words of the counters: `mcycle`, `minstret`, `cycle`, `instret`, and the ESP32-C3's own `mpccr`.
    pub(super) const COUNTERS: [u32; 5] = [0xB00, 0xB02, 0xC00, 0xC02, 0x7E2];
    /// High words of the first four.
    pub(super) const COUNTERS_HIGH: [u32; 4] = [0xB80, 0xB82, 0xC80, 0xC82];
}

/// A core.
#[derive(Debug)]
pub struct Core {
    /// x0 to x31, and one more that takes what is written to x0.
    pub registers: [u32; 33],
    /// Address of the next instruction.
    pub pc: u32,
    /// Instructions carried out.
    pub retired: u64,
    status: BTreeMap<u32, u32>,
}

impl Core {
    /// A core that begins at an address, everything else zero.
    #[must_use]
    pub fn starting_at(pc: u32) -> Self {
        Self {
            registers: [0; 33],
            pc,
            retired: 0,
            status: BTreeMap::new(),
        }
    }

    /// Carries out `limit` instructions, or fewer where something else stops it.
    pub fn run<B: Bus>(&mut self, bus: &mut B, limit: u64) -> Stop {
        let end = self.retired.saturating_add(limit);
        while self.retired < end {
            let trap = match bus.fetch(self.pc) {
                Fetched::Instruction(instruction) => {
                    self.retired += 1;
                    match self.step(bus, instruction) {
                        Next::Here(pc) => {
                            self.pc = pc;
                            continue;
                        }
                        Next::Wait => {
                            self.pc = self.pc.wrapping_add(instruction.bytes.into());
                            return Stop::Waiting;
                        }
                        Next::Trap(cause, value) => Trap {
                            cause,
                            at: self.pc,
                            value,
                        },
                    }
                }
                Fetched::Host => return Stop::Host,
                Fetched::Illegal => self.trap_at_pc(Cause::Illegal),
                Fetched::Nothing => self.trap_at_pc(Cause::Fetch),
            };
            if let Err(trap) = self.enter_handler(trap) {
                return Stop::Halted(trap);
            }
        }
        Stop::Limit
    }

    fn trap_at_pc(&self, cause: Cause) -> Trap {
        Trap {
            cause,
            at: self.pc,
            value: self.pc,
        }
    }

    /// Goes to the program's handler, where it has one.
    fn enter_handler(&mut self, trap: Trap) -> Result<(), Trap> {
        let handler = self.status.get(&csr::MTVEC).copied().unwrap_or(0) & !3;
        if handler == 0 {
            return Err(trap);
        }
        self.status.insert(csr::MEPC, trap.at);
        self.status.insert(csr::MCAUSE, trap.cause as u32);
        self.status.insert(csr::MTVAL, trap.value);
        self.pc = handler;
        Ok(())
    }

    /// Carries out one instruction at the program counter.
    ///
    /// Long: one `match` with a line for each instruction, as in the manual's tables.
    #[inline]
    fn step<B: Bus>(&mut self, bus: &mut B, instruction: Instruction) -> Next {
        let pc = self.pc;
        let immediate = instruction.immediate;
        let x = &mut self.registers;
        let (a, b) = (
            x[usize::from(instruction.rs1)],
            x[usize::from(instruction.rs2)],
        );
        let (signed_a, signed_b) = (a.cast_signed(), b.cast_signed());
        let after = pc.wrapping_add(instruction.bytes.into());
        let address = a.wrapping_add(immediate);
        let branch = |is_taken: bool| {
            Next::Here(if is_taken {
                pc.wrapping_add(immediate)
            } else {
                after
            })
        };
        let mut load = |width| match bus.load(address, width) {
            Some(value) => Ok(value),
            None => Err(Next::Trap(Cause::Load, address)),
        };
        let result = match instruction.operation {
            Operation::Lui => immediate,
            Operation::Auipc => pc.wrapping_add(immediate),
            Operation::Jal => {
                x[usize::from(instruction.rd)] = after;
                return Next::Here(pc.wrapping_add(immediate));
            }
            Operation::Jalr => {
                x[usize::from(instruction.rd)] = after;
                return Next::Here(address & !1);
            }
            Operation::Beq => return branch(a == b),
            Operation::Bne => return branch(a != b),
            Operation::Blt => return branch(signed_a < signed_b),
            Operation::Bge => return branch(signed_a >= signed_b),
            Operation::Bltu => return branch(a < b),
            Operation::Bgeu => return branch(a >= b),
            Operation::Lb => match load(Width::Byte) {
                Ok(value) => i32::from(value as u8 as i8).cast_unsigned(),
                Err(trap) => return trap,
            },
            Operation::Lh => match load(Width::Half) {
                Ok(value) => i32::from(value as u16 as i16).cast_unsigned(),
                Err(trap) => return trap,
            },
            Operation::Lw => match load(Width::Word) {
                Ok(value) => value,
                Err(trap) => return trap,
            },
            Operation::Lbu => match load(Width::Byte) {
                Ok(value) => value,
                Err(trap) => return trap,
            },
            Operation::Lhu => match load(Width::Half) {
                Ok(value) => value,
                Err(trap) => return trap,
            },
            Operation::Sb => return store(bus, address, Width::Byte, b, after),
            Operation::Sh => return store(bus, address, Width::Half, b, after),
            Operation::Sw => return store(bus, address, Width::Word, b, after),
            Operation::Addi => address,
            Operation::Slti => u32::from(signed_a < immediate.cast_signed()),
            Operation::Sltiu => u32::from(a < immediate),
            Operation::Xori => a ^ immediate,
            Operation::Ori => a | immediate,
            Operation::Andi => a & immediate,
            Operation::Slli => a.wrapping_shl(immediate),
            Operation::Srli => a.wrapping_shr(immediate),
            Operation::Srai => signed_a.wrapping_shr(immediate).cast_unsigned(),
            Operation::Add => a.wrapping_add(b),
            Operation::Sub => a.wrapping_sub(b),
            Operation::Sll => a.wrapping_shl(b),
            Operation::Slt => u32::from(signed_a < signed_b),
            Operation::Sltu => u32::from(a < b),
            Operation::Xor => a ^ b,
            Operation::Srl => a.wrapping_shr(b),
            Operation::Sra => signed_a.wrapping_shr(b).cast_unsigned(),
            Operation::Or => a | b,
            Operation::And => a & b,
            Operation::Mul => a.wrapping_mul(b),
            Operation::Mulh => high(i64::from(signed_a) * i64::from(signed_b)),
            Operation::Mulhsu => high(i64::from(signed_a) * i64::from(b)),
            Operation::Mulhu => ((u64::from(a) * u64::from(b)) >> 32) as u32,
            // Chapter 7, table 7.1: what a division by zero and the one overflow give.
            Operation::Div if b == 0 => u32::MAX,
            Operation::Div => signed_a.wrapping_div(signed_b).cast_unsigned(),
            Operation::Divu => a.checked_div(b).unwrap_or(u32::MAX),
            Operation::Rem if b == 0 => a,
            Operation::Rem => signed_a.wrapping_rem(signed_b).cast_unsigned(),
            Operation::Remu => a.checked_rem(b).unwrap_or(a),
            Operation::Fence => return Next::Here(after),
            Operation::Ecall => return Next::Trap(Cause::Call, 0),
            Operation::Ebreak => return Next::Trap(Cause::Breakpoint, pc),
            Operation::Mret => {
                let back = self.status.get(&csr::MEPC).copied().unwrap_or(0);
                return Next::Here(back & !1);
            }
            Operation::Wfi => return Next::Wait,
            Operation::Csrrw
            | Operation::Csrrs
            | Operation::Csrrc
            | Operation::Csrrwi
            | Operation::Csrrsi
            | Operation::Csrrci => self.exchange(instruction, a),
        };
        self.registers[usize::from(instruction.rd)] = result;
        Next::Here(after)
    }

    /// Reads a control and status register and writes it; `a` is the operand where it is no immediate.
    fn exchange(&mut self, instruction: Instruction, a: u32) -> u32 {
        let number = instruction.immediate & 0xFFF;
        let old = if csr::COUNTERS.contains(&number) {
            self.retired as u32
        } else if csr::COUNTERS_HIGH.contains(&number) {
            (self.retired >> 32) as u32
        } else {
            self.status.get(&number).copied().unwrap_or(0)
        };
        let own = u32::from(instruction.rs1);
        let new = match instruction.operation {
            Operation::Csrrw => a,
            Operation::Csrrs => old | a,
            Operation::Csrrc => old & !a,
            Operation::Csrrwi => own,
            Operation::Csrrsi => old | own,
            _ => old & !own,
        };
        self.status.insert(number, new);
        old
    }
}

/// Where to go after an instruction.
enum Next {
    Here(u32),
    Wait,
    Trap(Cause, u32),
}

#[inline]
fn store<B: Bus>(bus: &mut B, address: u32, width: Width, value: u32, after: u32) -> Next {
    match bus.store(address, width, value) {
        Some(()) => Next::Here(after),
        None => Next::Trap(Cause::Store, address),
    }
}

fn high(product: i64) -> u32 {
    (product >> 32) as u32
}
