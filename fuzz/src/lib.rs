//! What the fuzzer checks, apart from the fuzzer: `firmware/engine/tests/fuzz.rs` runs the same over
//! the corpus and over damaged copies of it.
//!
//! Each module has a `check` that takes any bytes and panics where the engine is wrong, and `seeds`
//! from which the fuzzer starts. Nothing here is random.

pub mod bits;
pub mod matrix;
pub mod packed;
pub mod tokenizer;
