//! The emulated core of the ESP32-C3 beside QEMU's, which nobody here made: registers after random instructions, and
//! which words are instructions at all.
//!
//! Both run the same bytes from the same address, and what they leave in memory is compared. Left out where QEMU is
//! missing: `scripts/install-test.sh` installs it.

use crate::required::required;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use whittle::link::emulated::{Bus, Core, Fetched, Instruction, Stop, Width};

const EMULATOR: &str = "qemu-system-riscv32";
/// Where memory begins on QEMU's `virt` board, and how much this test gives it.
const RAM: u32 = 0x8000_0000;
const RAM_BYTES: usize = 64 << 20;
/// A word here, written to the address, ends QEMU.
const FINISHER: u32 = 0x0010_0000;
const FINISHED: u32 = 0x5555;

/// Runs a memory's program in QEMU and gives the memory back.
fn run_in_qemu(memory: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ram");
    fs::write(&file, memory).expect("room for the memory");
    let backend = format!(
        "memory-backend-file,id=ram,mem-path={},size={RAM_BYTES},share=on",
        file.display()
    );
    let mut emulator = Command::new(EMULATOR)
        .args(["-M", "virt,memory-backend=ram", "-object", &backend])
        // What the chip has, and nothing that it does not.
        .args(["-cpu", "rv32i,m=on,c=on,zicsr=on,zifencei=on"])
        .args(["-m", "64M", "-bios", "none", "-nographic"])
        .args(["-serial", "none", "-monitor", "none"])
        .spawn()
        .expect("the emulator");
    let start = Instant::now();
    while emulator.try_wait().expect("the emulator's end").is_none() {
        if start.elapsed() > Duration::from_secs(120) {
            emulator.kill().expect("the end of the emulator");
            emulator.wait().expect("the end of the emulator");
            panic!("QEMU did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::read(&file).expect("the memory")
}

fn qemu() -> Result<(), String> {
    match Command::new(EMULATOR).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{EMULATOR} is not installed")),
    }
}

/// Memory alone, where QEMU's board has it.
struct Ram(Vec<u8>);

impl Ram {
    fn at(address: u32, width: Width) -> Option<usize> {
        let at = address.checked_sub(RAM)? as usize;
        (address.is_multiple_of(width.bytes()) && at + 4 <= RAM_BYTES).then_some(at)
    }

    fn word(&self, address: u32) -> u32 {
        let at = (address - RAM) as usize;
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn put(&mut self, address: u32, bytes: &[u8]) {
        let at = (address - RAM) as usize;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Bus for Ram {
    fn load(&mut self, address: u32, width: Width) -> Option<u32> {
        let at = Self::at(address, width)?;
        let bytes = &self.0[at..];
        Some(match width {
            Width::Byte => bytes[0].into(),
            Width::Half => u16::from_le_bytes([bytes[0], bytes[1]]).into(),
            Width::Word => u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        })
    }

    fn store(&mut self, address: u32, width: Width, value: u32) -> Option<()> {
        let at = Self::at(address, width)?;
        let count = width.bytes() as usize;
        self.0[at..at + count].copy_from_slice(&value.to_le_bytes()[..count]);
        Some(())
    }

    fn fetch(&mut self, address: u32) -> Fetched {
        let Some(at) = Self::at(address, Width::Byte) else {
            return Fetched::Nothing;
        };
        let word = u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"));
        Instruction::decode(word).map_or(Fetched::Illegal, Fetched::Instruction)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// A register that random instructions may change: 1 to 29.
    fn register(&mut self) -> u32 {
        1 + self.below(29)
    }

    /// One that instructions of 16 bits name in three of them, as those do.
    fn short(&mut self) -> u32 {
        self.below(8)
    }
}

/// Base of what random loads and stores reach; nothing else changes it.
const BASE: u32 = 30;
/// Where the registers are written to next.
const TRACE: u32 = 31;
const SCRATCH_ADDRESS: u32 = RAM + 0x0200_0000;
const TRACE_ADDRESS: u32 = RAM + 0x0280_0000;
/// Registers in an entry of the trace: 1 to 29.
const TRACED: u32 = 29;

/// A program in the making.
#[derive(Default)]
struct Code {
    bytes: Vec<u8>,
    /// Instructions that were drawn at random.
    drawn: usize,
}

impl Code {
    fn word(&mut self, word: u32) {
        self.bytes.extend(word.to_le_bytes());
    }

    fn half(&mut self, half: u32) {
        self.bytes.extend((half as u16).to_le_bytes());
    }

    fn immediate(&mut self, opcode: u32, funct3: u32, rd: u32, rs1: u32, immediate: u32) {
        self.word(immediate << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode);
    }

    fn store(&mut self, funct3: u32, rs1: u32, rs2: u32, offset: u32) {
        let (high, low) = (offset >> 5 & 0x7F, offset & 31);
        self.word(high << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | low << 7 | 0x23);
    }

    fn upper(&mut self, rd: u32, value: u32) {
        self.word(value & 0xFFFF_F000 | rd << 7 | 0x37);
    }

    /// `lui` and `addi`.
    fn set(&mut self, rd: u32, value: u32) {
        self.upper(rd, value.wrapping_add(0x800));
        self.immediate(0x13, 0, rd, rd, value & 0xFFF);
    }

    /// Ends QEMU; an emulator without the finisher ends on the store.
    fn finish(&mut self) {
        self.set(1, FINISHER);
        self.set(2, FINISHED);
        self.store(2, 1, 2, 0);
        self.word(0x0000_006F);
    }

    /// One instruction of 32 bits that neither jumps nor touches memory.
    fn draw_word(&mut self, random: &mut Random) {
        let (rd, rs1, rs2) = (random.register(), random.register(), random.register());
        // Register 0 too, to read and to write.
        let rd = if random.below(20) == 0 { 0 } else { rd };
        let rs2 = if random.below(20) == 0 { 0 } else { rs2 };
        let immediate = random.next() & 0xFFF;
        match random.below(8) {
            0 => self.upper(rd, random.next()),
            1 => self.word(random.next() & 0xFFFF_F000 | rd << 7 | 0x17),
            2 | 3 => {
                let funct3 = random.one_of(&[0, 2, 3, 4, 6, 7]);
                self.immediate(0x13, funct3, rd, rs1, immediate);
            }
            4 => {
                let (funct3, high) = random.one_of(&[(1, 0), (5, 0), (5, 0x400)]);
                self.immediate(0x13, funct3, rd, rs1, high | immediate & 31);
            }
            _ => {
                let funct3 = random.below(8);
                let funct7 = match funct3 {
                    0 | 5 => random.one_of(&[0, 1, 0x20]),
                    _ => random.one_of(&[0, 1]),
                };
                self.word(funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x33);
            }
        }
        self.drawn += 1;
    }

    /// One of 16 bits of the same kind.
    fn draw_half(&mut self, random: &mut Random) {
        let (rd, rs2) = (random.register(), random.register());
        let (short, second) = (random.short(), random.short());
        let (immediate, sign) = (random.below(32), random.below(2));
        let of_sign = sign << 12 | immediate << 2;
        let some = if immediate == 0 && sign == 0 {
            1 << 2
        } else {
            of_sign
        };
        let half = match random.below(11) {
            // c.addi4spn: eight bits that are not all zero.
            0 => (1 + random.below(255)) << 5 | short << 2,
            // c.addi, c.li, c.lui and c.addi16sp.
            1 => 0x0001 | rd << 7 | of_sign,
            2 => 0x4001 | rd << 7 | of_sign,
            3 => 0x6001 | rd << 7 | some,
            // c.srli, c.srai, c.andi.
            4 => 0x8001 | short << 7 | immediate << 2,
            5 => 0x8401 | short << 7 | immediate << 2,
            6 => 0x8801 | short << 7 | of_sign,
            // c.sub, c.xor, c.or, c.and.
            7 => 0x8C01 | short << 7 | random.below(4) << 5 | second << 2,
            // c.slli, c.mv, c.add.
            8 => 0x0002 | rd << 7 | immediate << 2,
            9 => 0x8002 | rd << 7 | rs2 << 2,
            _ => 0x9002 | rd << 7 | rs2 << 2,
        };
        self.half(half);
        self.drawn += 1;
    }

    fn draw_plain(&mut self, random: &mut Random) {
        match random.below(2) {
            0 => self.draw_word(random),
            _ => self.draw_half(random),
        }
    }

    /// A load or a store, around the base.
    fn draw_memory(&mut self, random: &mut Random) {
        let register = random.register();
        match random.below(4) {
            0 => {
                let (funct3, bytes) = random.one_of(&[(0, 1), (1, 2), (2, 4), (4, 1), (5, 2)]);
                let offset = random.next() & 0xFFF & !(bytes - 1);
                self.immediate(0x03, funct3, register, BASE, offset);
            }
            1 => {
                let (funct3, bytes) = random.one_of(&[(0, 1), (1, 2), (2, 4)]);
                self.store(funct3, BASE, register, random.next() & 0xFFF & !(bytes - 1));
            }
            2 => {
                // c.mv of the base to a register that c.lw and c.sw can name.
                let (base, other) = (random.short(), random.short());
                self.half(0x8002 | (8 + base) << 7 | BASE << 2);
                let offset = random.below(8) << 10 | random.below(4) << 5;
                self.half(random.one_of(&[0x4000, 0xC000]) | offset | base << 7 | other << 2);
            }
            _ => {
                // The same for c.lwsp and c.swsp.
                self.half(0x8002 | 2 << 7 | BASE << 2);
                let (low, high) = (random.below(32) << 2, random.below(2) << 12);
                let (load, store) = (
                    0x4002 | register << 7 | low | high,
                    0xC002 | random.below(64) << 7 | register << 2,
                );
                let half = random.one_of(&[load, store]);
                self.half(half);
            }
        }
        self.drawn += 1;
    }

    /// A branch or a jump over one instruction.
    fn draw_jump(&mut self, random: &mut Random) {
        let mut skipped = Self::default();
        skipped.draw_plain(random);
        let over = skipped.bytes.len() as u32;
        let (rs1, rs2) = (random.register(), random.register());
        // Half of the branches compare a register with itself, or two would hardly ever be equal.
        let rs2 = if random.below(2) == 0 { rs1 } else { rs2 };
        match random.below(6) {
            0 | 1 => {
                let funct3 = random.one_of(&[0, 1, 4, 5, 6, 7]);
                let to = 4 + over;
                self.word(rs2 << 20 | rs1 << 15 | funct3 << 12 | (to & 0x1E) << 7 | 0x63);
            }
            2 => self.word((4 + over) << 20 | rs1 << 7 | 0x6F),
            3 => {
                // auipc, then jalr from there.
                self.word(rs1 << 7 | 0x17);
                self.immediate(0x67, 0, rs2, rs1, 8 + over);
            }
            4 => {
                // c.jal and c.j: bits 3 to 1 of where they go.
                let to = (2 + over) >> 1;
                self.half(random.one_of(&[0x2001, 0xA001]) | to << 3);
            }
            _ => {
                // c.beqz and c.bnez: bits 2 and 1.
                let to = (2 + over) >> 1;
                let branch = random.one_of(&[0xC001, 0xE001]);
                self.half(branch | random.short() << 7 | to << 3);
            }
        }
        self.bytes.extend(skipped.bytes);
        self.drawn += 1 + skipped.drawn;
    }

    /// Writes all registers behind what was written before.
    fn trace(&mut self) {
        for register in 1..=TRACED {
            self.store(2, TRACE, register, 4 * (register - 1));
        }
        self.immediate(0x13, 0, TRACE, TRACE, 4 * TRACED);
    }
}

/// Random instructions in blocks, each followed by a trace; how many blocks and how many instructions.
fn program(seed: u64, instructions: usize) -> (Vec<u8>, usize, usize) {
    let mut random = Random(seed);
    let mut code = Code::default();
    code.set(BASE, SCRATCH_ADDRESS + 0x800);
    code.set(TRACE, TRACE_ADDRESS);
    for register in 1..=TRACED {
        code.set(register, random.next());
    }
    let mut blocks = 0;
    while code.drawn < instructions {
        // Where divisions, shifts and comparisons are special.
        for value in [0, 1, u32::MAX, 0x8000_0000, 0x7FFF_FFFF] {
            if random.below(4) == 0 {
                code.set(random.register(), value);
            }
        }
        for _ in 0..16 {
            match random.below(8) {
                0 => code.draw_memory(&mut random),
                1 => code.draw_jump(&mut random),
                _ => code.draw_plain(&mut random),
            }
        }
        code.trace();
        blocks += 1;
    }
    code.finish();
    (code.bytes, blocks, code.drawn)
}

#[test]
fn a_million_random_instructions_leave_the_registers_that_qemu_leaves() {
    let Some(()) = required(qemu()) else {
        return;
    };
    let (code, blocks, drawn) = program(16, 1_000_000);
    assert!(drawn >= 1_000_000 && RAM as usize + code.len() < SCRATCH_ADDRESS as usize);
    let mut ram = Ram(vec![0; RAM_BYTES]);
    ram.put(RAM, &code);
    let theirs = Ram(run_in_qemu(&ram.0));
    let mut core = Core::starting_at(RAM);
    let stop = core.run(&mut ram, u64::MAX);
    let is_at_the_end = matches!(stop, Stop::Halted(trap) if trap.value == FINISHER);
    assert!(is_at_the_end, "{stop:?}, pc {:#x}", core.pc);
    for block in 0..blocks as u32 {
        let entry = TRACE_ADDRESS + block * TRACED * 4;
        for register in 1..=TRACED {
            let at = entry + 4 * (register - 1);
            let (own, peer) = (ram.word(at), theirs.word(at));
            assert_eq!(
                own, peer,
                "x{register} after block {block}: here {own:#x}, QEMU {peer:#x}"
            );
        }
    }
    let end = TRACE_ADDRESS + blocks as u32 * TRACED * 4;
    assert_ne!(theirs.word(end - 4 * TRACED), 0, "QEMU wrote no trace");
    // QEMU has its own at the end of memory.
    let scratch = (SCRATCH_ADDRESS - RAM) as usize..(end - RAM) as usize;
    assert!(
        ram.0[scratch.clone()] == theirs.0[scratch],
        "memory differs"
    );
}

const HANDLER_ADDRESS: u32 = RAM + 0x1000;
const STATE_ADDRESS: u32 = RAM + 0x2000;
const SLOTS_ADDRESS: u32 = RAM + 0x1_0000;
const SLOT_BYTES: u32 = 16;
const RESULT_ADDRESS: u32 = RAM + 0x0200_0000;

/// A program that executes each of these words by itself, all registers zero, and writes down the cause of the
/// exception that follows: its own, or that of the `c.ebreak` behind it.
fn each_alone(words: &[u32]) -> Vec<u8> {
    let mut ram = Ram(vec![0; RAM_BYTES]);
    let slots = words
        .iter()
        .flat_map(|word| [*word, 0x9002_9002, 0x9002_9002, 0x9002_9002]);
    let slots: Vec<u8> = slots.flat_map(u32::to_le_bytes).collect();
    ram.put(SLOTS_ADDRESS, &slots);
    let state = [SLOTS_ADDRESS, words.len() as u32, RESULT_ADDRESS];
    let state: Vec<u8> = state.iter().flat_map(|word| word.to_le_bytes()).collect();
    ram.put(STATE_ADDRESS, &state);
    let (mstatus, mtvec, mepc, mcause) = (0x300, 0x305, 0x341, 0x342);

    let mut code = Code::default();
    code.upper(5, HANDLER_ADDRESS);
    code.immediate(0x73, 1, 0, 5, mtvec);
    // Machine mode is where mret goes back to.
    code.set(5, 0x1800);
    code.immediate(0x73, 1, 0, 5, mstatus);
    let again = RAM + code.bytes.len() as u32;
    code.upper(5, STATE_ADDRESS);
    code.immediate(0x03, 2, 20, 5, 0);
    code.immediate(0x03, 2, 21, 5, 4);
    // Over the end of it where some are left: bne x21, x0.
    let mut end = Code::default();
    end.finish();
    let over = 4 + end.bytes.len() as u32;
    code.word(21 << 15 | 1 << 12 | (over & 0x1E) << 7 | 0x63);
    code.bytes.extend(end.bytes);
    code.immediate(0x73, 1, 0, 20, mepc);
    for register in 1..32 {
        code.immediate(0x13, 0, register, 0, 0);
    }
    code.word(0x3020_0073);
    ram.put(RAM, &code.bytes);

    let mut handler = Code::default();
    handler.upper(5, STATE_ADDRESS);
    for (register, offset) in [(20, 0), (21, 4), (22, 8)] {
        handler.immediate(0x03, 2, register, 5, offset);
    }
    handler.immediate(0x73, 2, 6, 0, mcause);
    handler.store(2, 22, 6, 0);
    for (register, step, offset) in [(20, SLOT_BYTES, 0), (21, 0xFFF, 4), (22, 4, 8)] {
        handler.immediate(0x13, 0, register, register, step);
        handler.store(2, 5, register, offset);
    }
    let here = HANDLER_ADDRESS + handler.bytes.len() as u32;
    handler.word(jump(again.wrapping_sub(here)));
    ram.put(HANDLER_ADDRESS, &handler.bytes);
    ram.0
}

/// `jal x0`, so far.
fn jump(offset: u32) -> u32 {
    let bits = |high: u32, low: u32| offset >> low & ((1 << (high - low + 1)) - 1);
    bits(20, 20) << 31 | bits(10, 1) << 21 | bits(11, 11) << 20 | bits(19, 12) << 12 | 0x6F
}

/// Jumps and branches whose every encoding is one: alone they would lead anywhere.
fn goes_elsewhere(word: u32) -> bool {
    let funct3 = word >> 12 & 7;
    match word & 3 {
        1 => matches!(word >> 13 & 7, 1 | 5 | 6 | 7),
        3 => match word & 0x7F {
            0x6F => true,
            0x63 => !matches!(funct3, 2 | 3),
            _ => false,
        },
        _ => false,
    }
}

#[test]
fn a_word_is_an_instruction_where_it_is_one_for_qemu() {
    const ILLEGAL: u32 = 2;
    let Some(()) = required(qemu()) else {
        return;
    };
    // All of 16 bits, with a c.ebreak above; random ones of 32. Not the system's: there are control registers here that
    // QEMU does not have, and one instruction waits.
    let short = (0..0x1_0000_u32)
        .filter(|half| half & 3 != 3)
        .map(|half| half | 0x9002_0000);
    let mut random = Random(17);
    let wide = std::iter::repeat_with(|| random.next() | 3).filter(|word| word & 0x7F != 0x73);
    let words: Vec<u32> = short.chain(wide.take(300_000)).collect();
    let (jumps, words): (Vec<u32>, Vec<u32>) =
        words.into_iter().partition(|word| goes_elsewhere(*word));
    for word in jumps {
        assert!(Instruction::decode(word).is_some(), "{word:#010x}");
    }
    let ram = Ram(run_in_qemu(&each_alone(&words)));
    let mut refused = 0;
    for (index, word) in words.iter().enumerate() {
        let cause = ram.word(RESULT_ADDRESS + 4 * index as u32);
        assert_ne!(cause, 0, "QEMU did not get to {word:#010x}");
        let is_legal = Instruction::decode(*word).is_some();
        assert_eq!(
            is_legal,
            cause != ILLEGAL,
            "{word:#010x}, QEMU's cause {cause}"
        );
        refused += usize::from(!is_legal);
    }
    assert!(
        refused > 10_000 && refused < words.len() - 10_000,
        "{refused}"
    );
}
