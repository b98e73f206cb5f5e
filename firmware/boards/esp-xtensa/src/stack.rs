//! How deep the stack has been, as in `esp-riscv`: what is not used yet is painted at the start, and what still shows paint was
//! never used.

/// No address, no small number and no float that a computation gives often.
const PAINT: u32 = 0xC0DE_FADE;
/// What stays unpainted below the frame that paints: a window of registers that overflows is saved below the stack pointer
/// (Xtensa ISA Reference Manual, "Windowed Procedure-Call Protocol": 16 bytes), and what the compiler keeps there.
const MARGIN_BYTES: usize = 512;

unsafe extern "C" {
    // esp-hal's `ld/sections/stack.x`: first and last address of the main stack, and the word near its end that a
    // watchpoint guards.
    static _stack_start: u32;
    static _stack_end: u32;
    static __stack_chk_guard: u32;
}

/// First word above the guard: below it nothing may be written.
fn lowest() -> *const u32 {
    // SAFETY: the linker's script puts the guard inside of the stack, with more words after it.
    unsafe { (&raw const __stack_chk_guard).add(1) }
}

/// Paints what lies below the caller's frame.
#[inline(never)]
pub fn paint() {
    let here = 0_u32;
    let end = (&raw const here as usize).saturating_sub(MARGIN_BYTES);
    let mut word = lowest().cast_mut();
    while (word as usize) < end {
        // SAFETY: the stack grows down and no interrupt is on yet, so between the guard and the margin below this frame, which
        // calls nothing, nothing is in use.
        unsafe {
            word.write_volatile(PAINT);
            word = word.add(1);
        }
    }
}

/// Bytes of the stack, and how many of them have been used at most so far.
#[must_use]
pub fn stack() -> (usize, usize) {
    let (top, end) = (
        &raw const _stack_start as usize,
        &raw const _stack_end as usize,
    );
    let mut word = lowest();
    // SAFETY: every word between the guard and the top of the stack can be read.
    while (word as usize) < top && unsafe { word.read_volatile() } == PAINT {
        // SAFETY: the top has not been reached.
        word = unsafe { word.add(1) };
    }
    (top - end, top - word as usize)
}
