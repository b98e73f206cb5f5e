//! `cargo fuzz run matrix`; what it checks stands in `src/matrix.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::matrix::check(data));
