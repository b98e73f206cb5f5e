//! Vector kernels for x86-64.

pub(super) mod avx2;
pub(super) mod avx512;
mod load;

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
