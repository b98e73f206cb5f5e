//! The instructions of RV32IMC with its CSRs, decoded once: what [`Core`](super::Core) carries out.
//!
//! Source: The RISC-V Instruction Set Manual, volume I (20191213): chapters 2 (RV32I), 7 (M), 9 (Zicsr), 16 (C, whose
//! instructions are those of the others in 16 bits) and the tables of chapter 24; volume II for `mret` and `wfi`.

/// An instruction that a core can carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub operation: Operation,
    /// Where the result goes: 1 to 31; 32, which nobody reads, instead of 0.
    pub rd: u8,
    /// First operand: a register, or the five bits that stand in its place for a CSR.
    pub rs1: u8,
    /// Second operand.
    pub rs2: u8,
    /// Its own length: 2 or 4.
    pub bytes: u8,
    /// The immediate, extended to its sign; a shift's distance; a CSR's number.
    pub immediate: u32,
}

/// What an instruction does, by its name in the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the manual")]
pub enum Operation {
    Lui,
    Auipc,
    Jal,
    Jalr,
    Beq,
    Bne,
    Blt,
    Bge,
    Bltu,
    Bgeu,
    Lb,
    Lh,
    Lw,
    Lbu,
    Lhu,
    Sb,
    Sh,
    Sw,
    Addi,
    Slti,
    Sltiu,
    Xori,
    Ori,
    Andi,
    Slli,
    Srli,
    Srai,
    Add,
    Sub,
    Sll,
    Slt,
    Sltu,
    Xor,
    Srl,
    Sra,
    Or,
    And,
    Mul,
    Mulh,
    Mulhsu,
    Mulhu,
    Div,
    Divu,
    Rem,
    Remu,
    Fence,
    Ecall,
    Ebreak,
    Mret,
    Wfi,
    Csrrw,
    Csrrs,
    Csrrc,
    Csrrwi,
    Csrrsi,
    Csrrci,
}

use Operation::{
    Add, Addi, And, Andi, Auipc, Beq, Bge, Bgeu, Blt, Bltu, Bne, Csrrc, Csrrci, Csrrs, Csrrsi,
    Csrrw, Csrrwi, Div, Divu, Ebreak, Ecall, Fence, Jal, Jalr, Lb, Lbu, Lh, Lhu, Lui, Lw, Mret,
    Mul, Mulh, Mulhsu, Mulhu, Or, Ori, Rem, Remu, Sb, Sh, Sll, Slli, Slt, Slti, Sltiu, Sltu, Sra,
    Srai, Srl, Srli, Sub, Sw, Wfi, Xor, Xori,
};

/// The register that takes what is written to register 0.
pub(super) const NOWHERE: u8 = 32;

impl Instruction {
    /// Decodes the instruction that begins with the lowest bits of `word`; `None` where the core has none such.
    #[must_use]
    pub fn decode(word: u32) -> Option<Self> {
        if word & 3 == 3 {
            decode_word(word)
        } else {
            decode_half(word & 0xFFFF)
        }
    }

    fn new(operation: Operation, rd: u32, rs1: u32, rs2: u32, immediate: u32) -> Self {
        let rd = if rd == 0 { NOWHERE } else { register(rd) };
        Self {
            operation,
            rd,
            rs1: register(rs1),
            rs2: register(rs2),
            bytes: 4,
            immediate,
        }
    }
}

/// A field of five bits.
fn register(field: u32) -> u8 {
    (field & 31) as u8
}

/// Bits `high..=low` of `word`, moved to bit `to`.
fn bits(word: u32, high: u32, low: u32, to: u32) -> u32 {
    (word >> low & ((1 << (high - low + 1)) - 1)) << to
}

/// The low `count` bits of `value`, extended to their sign.
fn signed(value: u32, count: u32) -> u32 {
    let unused = 32 - count;
    ((value << unused).cast_signed() >> unused).cast_unsigned()
}

/// Chapter 24, "RV32I Base Instruction Set", "RV32M" and "RV32 Zicsr".
fn decode_word(word: u32) -> Option<Instruction> {
    let (rd, rs1, rs2) = (
        bits(word, 11, 7, 0),
        bits(word, 19, 15, 0),
        bits(word, 24, 20, 0),
    );
    let (funct3, funct7) = (bits(word, 14, 12, 0) as usize, word >> 25);
    let of_i = signed(word >> 20, 12);
    let of_s = signed(bits(word, 31, 25, 5) | rd, 12);
    let of_u = word & 0xFFFF_F000;
    let new = |operation, immediate| Some(Instruction::new(operation, rd, rs1, rs2, immediate));
    let one_of = |choices: &[Option<Operation>; 8], immediate| {
        let operation = choices[funct3]?;
        Some(Instruction::new(operation, rd, rs1, rs2, immediate))
    };
    match word & 0x7F {
        0x37 => new(Lui, of_u),
        0x17 => new(Auipc, of_u),
        0x6F => new(Jal, of_j(word)),
        0x67 if funct3 == 0 => new(Jalr, of_i),
        0x63 => {
            let branches = [
                Some(Beq),
                Some(Bne),
                None,
                None,
                Some(Blt),
                Some(Bge),
                Some(Bltu),
                Some(Bgeu),
            ];
            one_of(&branches, of_b(word))
        }
        0x03 => {
            let (unsigned, none) = ([Some(Lbu), Some(Lhu)], None);
            let [lbu, lhu] = unsigned;
            one_of(
                &[Some(Lb), Some(Lh), Some(Lw), none, lbu, lhu, none, none],
                of_i,
            )
        }
        0x23 => {
            let operation = [Sb, Sh, Sw].get(funct3)?;
            new(*operation, of_s)
        }
        0x13 => match (funct3, funct7) {
            (1, 0) => new(Slli, rs2),
            (5, 0) => new(Srli, rs2),
            (5, 0x20) => new(Srai, rs2),
            (1 | 5, _) => None,
            _ => {
                let (slti, sltiu) = (Some(Slti), Some(Sltiu));
                let (xori, ori, andi) = (Some(Xori), Some(Ori), Some(Andi));
                one_of(
                    &[Some(Addi), None, slti, sltiu, xori, None, ori, andi],
                    of_i,
                )
            }
        },
        0x33 => {
            let operation = match (funct7, funct3) {
                (0, _) => [Add, Sll, Slt, Sltu, Xor, Srl, Or, And][funct3],
                (1, _) => [Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu][funct3],
                (0x20, 0) => Sub,
                (0x20, 5) => Sra,
                _ => return None,
            };
            new(operation, 0)
        }
        // FENCE and FENCE.I: this core sees every store at once.
        0x0F if funct3 < 2 => Some(Instruction::new(Fence, 0, 0, 0, 0)),
        0x73 => decode_system(word, funct3, rd, rs1),
        _ => None,
    }
}

fn decode_system(word: u32, funct3: usize, rd: u32, rs1: u32) -> Option<Instruction> {
    let operation = match (funct3, word) {
        (0, 0x0000_0073) => Ecall,
        (0, 0x0010_0073) => Ebreak,
        (0, 0x3020_0073) => Mret,
        (0, 0x1050_0073) => Wfi,
        (0 | 4, _) => return None,
        (1, _) => Csrrw,
        (2, _) => Csrrs,
        (3, _) => Csrrc,
        (5, _) => Csrrwi,
        (6, _) => Csrrsi,
        (_, _) => Csrrci,
    };
    Some(Instruction::new(operation, rd, rs1, 0, word >> 20))
}

/// Where a branch goes, from its own address.
fn of_b(word: u32) -> u32 {
    let high = bits(word, 31, 31, 12) | bits(word, 7, 7, 11);
    signed(high | bits(word, 30, 25, 5) | bits(word, 11, 8, 1), 13)
}

/// Where a jump goes, from its own address.
fn of_j(word: u32) -> u32 {
    let high = bits(word, 31, 31, 20) | bits(word, 19, 12, 12) | bits(word, 20, 20, 11);
    signed(high | bits(word, 30, 21, 1), 21)
}

/// Chapter 16, tables 16.5 to 16.7, as far as they are RV32's without floating point.
fn decode_half(half: u32) -> Option<Instruction> {
    let instruction = match (half & 3, half >> 13) {
        (0, funct3) => decode_quadrant_0(half, funct3),
        (1, funct3) => decode_quadrant_1(half, funct3),
        (_, funct3) => decode_quadrant_2(half, funct3),
    };
    instruction.map(|instruction| Instruction {
        bytes: 2,
        ..instruction
    })
}

/// One of the registers 8 to 15, which three bits name.
fn short(half: u32, low: u32) -> u32 {
    8 + bits(half, low + 2, low, 0)
}

fn decode_quadrant_0(half: u32, funct3: u32) -> Option<Instruction> {
    let (rs1, rd) = (short(half, 7), short(half, 2));
    let offset = bits(half, 5, 5, 6) | bits(half, 12, 10, 3) | bits(half, 6, 6, 2);
    match funct3 {
        0 => {
            let high = bits(half, 10, 7, 6) | bits(half, 12, 11, 4);
            let immediate = high | bits(half, 5, 5, 3) | bits(half, 6, 6, 2);
            // Without an immediate it is reserved, and all zeros are no instruction for certain.
            (immediate != 0).then(|| Instruction::new(Addi, rd, 2, 0, immediate))
        }
        2 => Some(Instruction::new(Lw, rd, rs1, 0, offset)),
        6 => Some(Instruction::new(Sw, 0, rs1, rd, offset)),
        _ => None,
    }
}

fn decode_quadrant_1(half: u32, funct3: u32) -> Option<Instruction> {
    let rd = bits(half, 11, 7, 0);
    let immediate = signed(bits(half, 12, 12, 5) | bits(half, 6, 2, 0), 6);
    let new =
        |operation, rd, rs1, immediate| Some(Instruction::new(operation, rd, rs1, 0, immediate));
    match funct3 {
        0 => new(Addi, rd, rd, immediate),
        1 => new(Jal, 1, 0, of_cj(half)),
        2 => new(Addi, rd, 0, immediate),
        3 if rd == 2 => {
            let high = bits(half, 12, 12, 9) | bits(half, 4, 3, 7) | bits(half, 5, 5, 6);
            let immediate = signed(high | bits(half, 2, 2, 5) | bits(half, 6, 6, 4), 10);
            (immediate != 0).then(|| Instruction::new(Addi, 2, 2, 0, immediate))
        }
        3 => (immediate != 0).then(|| Instruction::new(Lui, rd, 0, 0, immediate << 12)),
        4 => decode_arithmetic(half, immediate),
        5 => new(Jal, 0, 0, of_cj(half)),
        6 => new(Beq, 0, short(half, 7), of_cb(half)),
        _ => new(Bne, 0, short(half, 7), of_cb(half)),
    }
}

fn decode_arithmetic(half: u32, immediate: u32) -> Option<Instruction> {
    let (rd, rs2) = (short(half, 7), short(half, 2));
    let is_wide = bits(half, 12, 12, 0) == 1;
    match (bits(half, 11, 10, 0), is_wide) {
        // A distance of 32 and more is for other cores.
        (0 | 1, true) => None,
        (0, false) => Some(Instruction::new(Srli, rd, rd, 0, bits(half, 6, 2, 0))),
        (1, false) => Some(Instruction::new(Srai, rd, rd, 0, bits(half, 6, 2, 0))),
        (2, _) => Some(Instruction::new(Andi, rd, rd, 0, immediate)),
        (_, false) => {
            let operation = [Sub, Xor, Or, And][bits(half, 6, 5, 0) as usize];
            Some(Instruction::new(operation, rd, rd, rs2, 0))
        }
        (_, true) => None,
    }
}

fn decode_quadrant_2(half: u32, funct3: u32) -> Option<Instruction> {
    let (rd, rs2) = (bits(half, 11, 7, 0), bits(half, 6, 2, 0));
    let is_second = bits(half, 12, 12, 0) == 1;
    match funct3 {
        0 => (!is_second).then(|| Instruction::new(Slli, rd, rd, 0, rs2)),
        2 => {
            let offset = bits(half, 3, 2, 6) | bits(half, 12, 12, 5) | bits(half, 6, 4, 2);
            (rd != 0).then(|| Instruction::new(Lw, rd, 2, 0, offset))
        }
        4 => Some(match (is_second, rd, rs2) {
            (false, 0, 0) => return None,
            (false, _, 0) => Instruction::new(Jalr, 0, rd, 0, 0),
            (false, _, _) => Instruction::new(Add, rd, 0, rs2, 0),
            (true, 0, 0) => Instruction::new(Ebreak, 0, 0, 0, 0),
            (true, _, 0) => Instruction::new(Jalr, 1, rd, 0, 0),
            (true, _, _) => Instruction::new(Add, rd, rd, rs2, 0),
        }),
        6 => {
            let offset = bits(half, 8, 7, 6) | bits(half, 12, 9, 2);
            Some(Instruction::new(Sw, 0, 2, rs2, offset))
        }
        _ => None,
    }
}

/// Where a short jump goes.
fn of_cj(half: u32) -> u32 {
    let high = bits(half, 12, 12, 11) | bits(half, 8, 8, 10) | bits(half, 10, 9, 8);
    let middle = bits(half, 6, 6, 7) | bits(half, 7, 7, 6) | bits(half, 2, 2, 5);
    signed(
        high | middle | bits(half, 11, 11, 4) | bits(half, 5, 3, 1),
        12,
    )
}

/// Where a short branch goes.
fn of_cb(half: u32) -> u32 {
    let high = bits(half, 12, 12, 8) | bits(half, 6, 5, 6) | bits(half, 2, 2, 5);
    signed(high | bits(half, 11, 10, 3) | bits(half, 4, 3, 1), 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as GNU as makes them of these lines.
    #[test]
    fn instructions_mean_what_the_assembler_meant() {
        let check = |word: u32, operation, (rd, rs1, rs2), immediate: i32, bytes| {
            let expected = Instruction {
                operation,
                rd,
                rs1,
                rs2,
                bytes,
                immediate: immediate.cast_unsigned(),
            };
            let found = Instruction::decode(word).map(|found| Instruction {
                // What an operation does not read is left as it came.
                rs2: if rs2 == 0 { 0 } else { found.rs2 },
                rs1: if rs1 == 0 { 0 } else { found.rs1 },
                ..found
            });
            assert_eq!(found, Some(expected), "{word:#010x}");
        };
        check(0x1234_5537, Lui, (10, 0, 0), 0x1234_5000, 4); // lui a0, 0x12345
        check(0xFF85_2583, Lw, (11, 10, 0), -8, 4); // lw a1, -8(a0)
        check(0xFEB5_2C23, Sw, (24, 10, 11), -8, 4); // sw a1, -8(a0)
        check(0x40B5_0633, Sub, (12, 10, 11), 0, 4); // sub a2, a0, a1
        check(0x02B5_4633, Div, (12, 10, 11), 0, 4); // div a2, a0, a1
        check(0xFEB5_0EE3, Beq, (29, 10, 11), -4, 4); // beq a0, a1, .-4
        check(0xFFDF_F0EF, Jal, (1, 0, 0), -4, 4); // jal ra, .-4
        check(0x7E20_2573, Csrrs, (10, 0, 0), 0x7E2, 4); // csrr a0, 0x7e2
        check(0x717D, Addi, (2, 2, 0), -16, 2); // addi sp, sp, -16
        check(0x0028, Addi, (10, 2, 0), 8, 2); // addi a0, sp, 8
        check(0x4582, Lw, (11, 2, 0), 0, 2); // lw a1, 0(sp)
        check(0xC62E, Sw, (NOWHERE, 2, 11), 12, 2); // sw a1, 12(sp)
        check(0xBFFD, Jal, (NOWHERE, 0, 0), -2, 2); // j .-2
        check(0x8082, Jalr, (NOWHERE, 1, 0), 0, 2); // ret
        check(0x8D0D, Sub, (10, 10, 11), 0, 2); // sub a0, a0, a1
        check(0x757D, Lui, (10, 0, 0), -4096, 2); // lui a0, 0xfffff
    }

    #[test]
    fn what_is_no_instruction_of_this_core_is_refused() {
        for word in [
            0,           // all zeros
            0xFFFF_FFFF, // all ones
            0x0000_2007, // flw
            0x0200_1013, // slli by 32
            0x4000_1033, // sll with the bit of sub
            0x0000_3003, // ld
            0x6101,      // addi sp, sp, 0
            0x4002,      // lw zero, 0(sp)
            0x8002,      // jr zero
            0x9C01,      // subw
        ] {
            assert_eq!(Instruction::decode(word), None, "{word:#010x}");
        }
    }
}
