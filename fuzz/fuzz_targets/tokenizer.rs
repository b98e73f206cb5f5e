//! `cargo fuzz run tokenizer`; what it checks stands in `src/tokenizer.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::tokenizer::check(data));
