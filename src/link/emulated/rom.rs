//! The functions in the mask ROM of an ESP32-C3 that firmware calls, played by the host: soft float, memory, the
//! cache; those for flash are in `flash.rs`.
//!
//! Source of the addresses: ESP-IDF's `esp32c3.rom.ld` and `esp32c3.rom.libgcc.ld`, the same in every revision of the
//! chip; what they do: their names' definitions in C, libgcc's manual ("Routines for floating point emulation") and
//! ESP-IDF's `rom/cache.h`. Arguments and results are in a0 to a3 (RISC-V calling convention, ilp32).

use super::flash;
use super::memory::Memory;
use std::cmp::Ordering;
use std::ops::Range;

/// Where the ROM is.
pub(super) const ROM: Range<u32> = 0x4000_0000..0x4006_0000;
/// Longest block that one call may move: all of the chip's SRAM.
const MAX_BYTES: u32 = 0x6_4000;

/// What a call gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// Nothing, or what the first argument was.
    Nothing,
    /// A word, in a0.
    Word(u32),
    /// Two words, in a0 and a1.
    Wide(u64),
    /// It waits for so many microseconds.
    After(u32),
    /// A word, in a0, after so many microseconds.
    Later(u32, u32),
    /// The chip is reset.
    Never,
}

/// Plays the function at an address; `None` where this ROM has none, or its arguments lie outside of all memory.
pub(super) fn call(address: u32, arguments: [u32; 4], memory: &mut Memory) -> Option<Returned> {
    if let Some(result) = soft_float(address, arguments) {
        return Some(result);
    }
    if let Some((word, micros)) = flash::call(address, arguments, memory) {
        return Some(Returned::Later(word, micros));
    }
    let [a, b, c, _] = arguments;
    Some(match address {
        // rtc_get_reset_reason: power on.
        0x4000_0018 => Returned::Word(1),
        // rtc_get_wakeup_cause: none.
        0x4000_0024 => Returned::Word(0),
        // ets_delay_us
        0x4000_0050 => Returned::After(a),
        // software_reset
        0x4000_0090 => Returned::Never,
        // memset
        0x4000_0354 => {
            target(memory, a, c)?.fill(b as u8);
            Returned::Nothing
        }
        // memcpy, memmove
        0x4000_0358 | 0x4000_035C => {
            let bytes = source(memory, b, c)?.to_vec();
            target(memory, a, c)?.copy_from_slice(&bytes);
            Returned::Nothing
        }
        // memcmp
        0x4000_0360 => {
            let order = source(memory, a, c)?.cmp(source(memory, b, c)?);
            Returned::Word((order as i32).cast_unsigned())
        }
        // Cache_Invalidate_Addr, Cache_Suspend_ICache, Cache_Resume_ICache: there is no cache here.
        0x4000_04D4 | 0x4000_0524 | 0x4000_0528 => Returned::Word(0),
        // ets_update_cpu_frequency
        0x4000_0588 => Returned::Nothing,
        // rom_i2c_readReg, rom_i2c_writeReg: the analogue parts, which are not here.
        0x4000_1954 => Returned::Word(0),
        0x4000_195C => Returned::Nothing,
        _ => return None,
    })
}

/// Instructions that the function at an address takes, its return among them.
///
/// Of libgcc: counted in Debian's `gcc-riscv64-unknown-elf` 12.2 (rv32im, ilp32) by `minstret` in QEMU 10.0.2, the mean of 512
/// pairs of random numbers with exponents from -4 to 3. The chip's ROM holds libgcc too, of another compiler. Blocks are moved
/// a word at a time.
pub(super) const fn instructions(address: u32, bytes: u32) -> u64 {
    match address {
        0x4000_0354..=0x4000_0360 => 10 + bytes as u64 / 2,
        0x4000_076C | 0x4000_0894 => 101, // __adddf3, __subdf3
        0x4000_0770 | 0x4000_0898 => 75,  // __addsf3, __subsf3
        0x4000_07B0 => 207,               // __divdf3
        0x4000_07BC => 104,               // __divsf3
        0x4000_07C4 | 0x4000_07C8 | 0x4000_0828 | 0x4000_082C => 20, // equal or not
        0x4000_0864 | 0x4000_0834 | 0x4000_0818 | 0x4000_0820 => 25, // order of doubles
        0x4000_087C | 0x4000_0838 | 0x4000_081C | 0x4000_0824 => 23, // order of singles
        0x4000_07CC => 29,                // __extendsfdf2
        0x4000_08A4 => 41,                // __truncdfsf2
        0x4000_07D8 | 0x4000_07E0 | 0x4000_07EC => 23, // to 64-bit integers
        0x4000_07DC | 0x4000_07E4 | 0x4000_07E8 | 0x4000_07F0 => 17, // to 32-bit integers
        0x4000_07F4 | 0x4000_07F8 | 0x4000_0804 | 0x4000_0808 => 110, // from 64-bit integers
        0x4000_07FC | 0x4000_0800 | 0x4000_080C | 0x4000_0810 => 44, // from 32-bit integers
        0x4000_0848 => 202,               // __muldf3
        0x4000_0854 => 111,               // __mulsf3
        0x4000_08C4 | 0x4000_08C8 => 17,  // unordered or not
        0x4000_084C => 330,               // __muldi3
        0x4000_08AC | 0x4000_08BC => 88,  // __udivdi3, __umoddi3
        _ => 10,
    }
}

/// Bytes to read; none of them may lie anywhere.
fn source(memory: &Memory, address: u32, count: u32) -> Option<&[u8]> {
    match count {
        0 => Some(&[]),
        1..=MAX_BYTES => memory.bytes(address, count),
        _ => None,
    }
}

fn target(memory: &mut Memory, address: u32, count: u32) -> Option<&mut [u8]> {
    match count {
        0 => Some(&mut []),
        1..=MAX_BYTES => memory.bytes_mut(address, count),
        _ => None,
    }
}

/// The functions of libgcc: the host's floats are IEEE 754, rounded to nearest, as those of the ROM.
fn soft_float(address: u32, [a, b, c, d]: [u32; 4]) -> Option<Returned> {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let (wide, wide_c) = (join(a, b), join(c, d));
    let (v, w) = (f64::from_bits(wide), f64::from_bits(wide_c));
    let single = |value: f32| Returned::Word(value.to_bits());
    let double = |value: f64| Returned::Wide(value.to_bits());
    let truth = |value: bool| Returned::Word(value.into());
    Some(match address {
        0x4000_076C => double(v + w), // __adddf3
        0x4000_0770 => single(x + y), // __addsf3
        0x4000_07B0 => double(v / w), // __divdf3
        0x4000_07BC => single(x / y), // __divsf3
        // __eqdf2, __eqsf2, __nedf2, __nesf2, and those of "less": unordered counts as more.
        0x4000_07C4 | 0x4000_0864 | 0x4000_0828 | 0x4000_0834 => order(v.partial_cmp(&w), 1),
        0x4000_07C8 | 0x4000_087C | 0x4000_082C | 0x4000_0838 => order(x.partial_cmp(&y), 1),
        // __gedf2, __gtdf2, __gesf2, __gtsf2: unordered counts as less.
        0x4000_0818 | 0x4000_0820 => order(v.partial_cmp(&w), -1),
        0x4000_081C | 0x4000_0824 => order(x.partial_cmp(&y), -1),
        0x4000_07CC => double(x.into()), // __extendsfdf2
        0x4000_07D8 => Returned::Wide((v as i64).cast_unsigned()), // __fixdfdi
        0x4000_07DC => Returned::Word((v as i32).cast_unsigned()), // __fixdfsi
        0x4000_07E0 => Returned::Wide((x as i64).cast_unsigned()), // __fixsfdi
        0x4000_07E4 => Returned::Word((x as i32).cast_unsigned()), // __fixsfsi
        0x4000_07E8 => Returned::Word(v as u32), // __fixunsdfsi
        0x4000_07EC => Returned::Wide(x as u64), // __fixunssfdi
        0x4000_07F0 => Returned::Word(x as u32), // __fixunssfsi
        0x4000_07F4 => double(wide.cast_signed() as f64), // __floatdidf
        0x4000_07F8 => single(wide.cast_signed() as f32), // __floatdisf
        0x4000_07FC => double(a.cast_signed().into()), // __floatsidf
        0x4000_0800 => single(a.cast_signed() as f32), // __floatsisf
        0x4000_0804 => double(wide as f64), // __floatundidf
        0x4000_0808 => single(wide as f32), // __floatundisf
        0x4000_080C => double(a.into()), // __floatunsidf
        0x4000_0810 => single(a as f32), // __floatunsisf
        0x4000_0848 => double(v * w),    // __muldf3
        0x4000_0854 => single(x * y),    // __mulsf3
        0x4000_0894 => double(v - w),    // __subdf3
        0x4000_0898 => single(x - y),    // __subsf3
        0x4000_08A4 => single(v as f32), // __truncdfsf2
        0x4000_08C4 => truth(v.partial_cmp(&w).is_none()), // __unorddf2
        0x4000_08C8 => truth(x.partial_cmp(&y).is_none()), // __unordsf2
        0x4000_084C => Returned::Wide(wide.wrapping_mul(wide_c)), // __muldi3
        // __udivdi3 and __umoddi3; by zero nothing is defined.
        0x4000_08AC => Returned::Wide(wide.checked_div(wide_c).unwrap_or(u64::MAX)),
        0x4000_08BC => Returned::Wide(wide.checked_rem(wide_c).unwrap_or(wide)),
        _ => return None,
    })
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn order(found: Option<Ordering>, unordered: i32) -> Returned {
    Returned::Word(
        found
            .map_or(unordered, |order| order as i32)
            .cast_unsigned(),
    )
}
