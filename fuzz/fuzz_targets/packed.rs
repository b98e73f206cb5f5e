//! `cargo fuzz run packed`; what it checks stands in `src/packed.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::packed::check(data));
