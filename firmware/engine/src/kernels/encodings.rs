//! A loop of its own for every encoding, so that nothing is decided weight by weight.
//!
//! Kernels are generic over an encoding's number, which is what Rust can be generic over;
//! [`encoding_of`] turns it back, and every `match` on that is decided when the kernel is compiled.

use crate::encoding::Encoding;
#[cfg(target_arch = "x86_64")]
use crate::encoding::{Twin, Width};

/// The encoding with this number in a packed file.
pub(super) const fn encoding_of(number: u8) -> Encoding {
    let mut i = 0;
    while Encoding::ALL[i].number() != number {
        i += 1;
    }
    Encoding::ALL[i]
}

/// Calls a function that is generic over an encoding's number for the encoding at hand; nothing for
/// floats, which have no blocks.
macro_rules! for_encoding {
    ($encoding:expr, $kernel:ident $arguments:tt) => {
        for_encoding!(
            $encoding, $kernel $arguments:
            [Encoding::Dense(Width::One)] [Encoding::Dense(Width::Two)]
            [Encoding::Dense(Width::Three)] [Encoding::Dense(Width::Four)]
            [Encoding::Dense(Width::Five)] [Encoding::Dense(Width::Six)]
            [Encoding::Dense(Width::Eight)] [Encoding::Ternary] [Encoding::OneOfFour]
            [Encoding::Sparse(Width::One)] [Encoding::Sparse(Width::Two)]
            [Encoding::Sparse(Width::Three)] [Encoding::Sparse(Width::Four)]
            [Encoding::Sparse(Width::Five)] [Encoding::Sparse(Width::Six)]
            [Encoding::Sparse(Width::Eight)] [Encoding::Twin(Twin::Q8_0)]
            [Encoding::Twin(Twin::Q4_1)] [Encoding::Twin(Twin::Q4K)] [Encoding::Twin(Twin::Q6K)]
        )
    };
    ($encoding:expr, $kernel:ident $arguments:tt: $([$($of:tt)*])*) => {
        match $encoding {
            Encoding::F32 | Encoding::F16 => {}
            $($($of)* => $kernel::<{ $($of)*.number() }> $arguments,)*
        }
    };
}
pub(super) use for_encoding;

/// The code that stands for zero once kernels on unsigned codes have unpacked them, where it is the
/// same in every group: kept values are doubled, and what is not kept lies between them.
#[cfg(target_arch = "x86_64")]
pub(super) const fn zero_code(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Dense(Width::One) | Encoding::Ternary | Encoding::OneOfFour => 1,
        Encoding::Dense(Width::Five) => 16,
        Encoding::Dense(Width::Six) | Encoding::Twin(Twin::Q6K) => 32,
        Encoding::Dense(Width::Eight)
        | Encoding::Sparse(Width::Eight)
        | Encoding::Twin(Twin::Q8_0) => 128,
        Encoding::Sparse(width) => u8::MAX >> (8 - width.bits()),
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(Width::Two | Width::Three | Width::Four)
        | Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => 0,
    }
}

/// The width of the sparse encoding with this number.
#[cfg(target_arch = "x86_64")]
pub(super) const fn width_of(number: u8) -> Width {
    match encoding_of(number).sparse_width() {
        Some(width) => width,
        None => Width::Eight,
    }
}
