//! Vector kernels for x86-64.

pub(super) mod avx2;
pub(super) mod avx512;
mod load;

/// The encodings as numbers, so that each gets a loop of its own.
mod kind {
    pub(super) const TERNARY: u8 = 10;
    pub(super) const ONE_OF_FOUR: u8 = 11;
    pub(super) const SPARSE: u8 = 20;
    pub(super) const Q8_0: u8 = 30;
    pub(super) const Q4_1: u8 = 31;
    pub(super) const Q4_K: u8 = 32;
    pub(super) const Q6_K: u8 = 33;
}

/// The code that stands for zero where it is the same in every group.
const fn fixed_zero(kind: u8) -> i32 {
    match kind {
        1 | kind::TERNARY | kind::ONE_OF_FOUR => 1,
        5 => 16,
        6 => 32,
        8 | kind::Q8_0 => 128,
        28 => 128,
        _ => 0,
    }
}

/// What three bits of a 1:4 row mean as four codes around a zero of 1.
const PICKS: [[u8; 4]; 8] = {
    let mut table = [[1; 4]; 8];
    let mut code = 0;
    while code < 8 {
        table[code][code & 3] = if code & 4 == 0 { 2 } else { 0 };
        code += 1;
    }
    table
};
