//! The inference engine that desktop and board share, equal to the bit.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod encoding;
pub mod shape;
