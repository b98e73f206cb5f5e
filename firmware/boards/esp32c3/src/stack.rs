//! How much of the stack was used: it is painted at the start, and what has kept its paint was not.

use app::Stack;

/// A word that no program leaves on its stack by chance.
const PAINT: u32 = 0x5AC3_A5E1;
/// Left alone below the frame that paints: what is called there must not be painted over.
const MARGIN_WORDS: usize = 64;

unsafe extern "C" {
    // Of esp-hal's linker script: the stack grows down from the second. A write to the word at the first is a panic, once
    // esp-hal is initialised.
    static __stack_chk_guard: u32;
    static _stack_start_cpu0: u32;
}

fn ends() -> (*mut u32, *mut u32) {
    (
        (&raw const __stack_chk_guard).wrapping_add(1).cast_mut(),
        (&raw const _stack_start_cpu0).cast_mut(),
    )
}

/// Paints all below the caller.
#[inline(never)]
pub fn paint() {
    let here = 0_u32;
    let (low, _) = ends();
    // SAFETY: the addresses lie in the stack's own memory, below all frames in use by more than this one takes.
    unsafe {
        let top = (&raw const here).sub(MARGIN_WORDS).cast_mut();
        let mut at = low;
        while at < top {
            at.write_volatile(PAINT);
            at = at.add(1);
        }
    }
}

/// The stack, and the most that was used of it since it was painted.
pub fn watched() -> Stack {
    let (low, high) = ends();
    let mut at = low;
    // SAFETY: the linker script's symbols bound the stack, which is mapped and readable.
    unsafe {
        while at < high && at.read_volatile() == PAINT {
            at = at.add(1);
        }
    }
    let bytes = |from: *mut u32, to: *mut u32| (to as usize - from as usize) as u32;
    Stack {
        bytes: bytes(low, high),
        used_bytes: bytes(at, high),
    }
}
