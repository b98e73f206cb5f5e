//! `cargo fuzz run line`; what it checks stands in `src/line.rs`.
#![no_main]

#[path = "../src/line.rs"]
#[expect(dead_code, reason = "the seeds are for the corpus")]
mod line;

libfuzzer_sys::fuzz_target!(|data: &[u8]| line::check(data));
