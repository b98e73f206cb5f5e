//! The inference engine that desktop and board share, equal to the bit.
//!
//! It spawns nothing, detects nothing, allocates nothing and reads no environment: the host lends
//! it an arena, threads and a SIMD level, and gets the same bits whatever it lends. For hosts with an
//! operating system, feature `std` adds the threads ([`pool`]) and the detection; the rest does not use it.
#![no_std]

#[cfg(any(feature = "std", test))]
extern crate std;

pub mod arena;
pub mod block;
pub mod bytes;
pub mod codes;
pub mod dialogue;
pub mod encoding;
pub mod float;
pub mod format;
pub mod intent;
pub mod kernels;
pub mod matrix;
#[cfg(any(feature = "std", test))]
pub mod pool;
pub mod sampler;
pub mod session;
pub mod shape;
pub mod stamp;
pub mod tokenizer;
pub mod weights;
pub mod workers;
