//! Whittle's firmware for QEMU's riscv32 `virt` machine: answers one prompt and ends the emulator.
//!
//! QEMU's loader puts the packed model and the request into RAM, as a flash and a host would; the
//! machine wants 512 MiB. A refusal ends it with exit code 1, a panic with 2, a trap with 3.

#![no_std]
#![no_main]

mod machine;

use app::{
    Board, CachePrecision, Limits, Lines, Matrix, Model, Refusal, Request, Sampling, answer,
    packed_bytes,
};
use core::slice;
use machine::{Machine, Outcome, exit};

// The map of the RAM above the program: request, working memory, model up to the end.
const REQUEST: usize = 0x8100_0000;
const REQUEST_BYTES: usize = 0x0100_0000;
const MEMORY: usize = 0x8200_0000;
const MEMORY_BYTES: usize = 0x0600_0000;
const MODEL: usize = 0x8800_0000;
const MODEL_BYTES: usize = 0x1800_0000;

/// Tensors of 128 layers.
const TABLE: usize = 128 * 18;
/// Words before the request's text: its bytes, tokens to answer, context, batch, words of memory to
/// use (0 for all), bits of the KV cache (0 for those that
/// the model was packed for).
const REQUEST_WORDS: usize = 6;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    Machine.line(format_args!("panic: {info}"));
    exit(Outcome::Failure(2))
}

extern "C" fn main() -> ! {
    match run(&mut Machine) {
        Ok(()) => exit(Outcome::Success),
        Err(refusal) => {
            Machine.line(format_args!("refused: {refusal}"));
            exit(Outcome::Failure(1))
        }
    }
}

fn run(board: &mut Machine) -> Result<(), Refusal> {
    // SAFETY: these ranges are RAM, apart from each other and from program and stack, and nothing
    // else refers to them; zero or what was loaded are both valid bytes and words.
    let (request, model, memory) = unsafe {
        (
            slice::from_raw_parts(REQUEST as *const u8, REQUEST_BYTES),
            slice::from_raw_parts(MODEL as *const u8, MODEL_BYTES),
            slice::from_raw_parts_mut(MEMORY as *mut u32, MEMORY_BYTES / 4),
        )
    };
    let (words, text) = request.split_at(4 * REQUEST_WORDS);
    let word = |i: usize| {
        let at = 4 * i;
        u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]) as usize
    };
    let memory = match word(4) {
        0 => memory,
        words => &mut memory[..words.min(MEMORY_BYTES / 4)],
    };
    let mut table: [Option<Matrix<'_>>; TABLE] = [None; TABLE];
    let model = Model::open(board, packed_bytes(model), &mut table)?;
    let request = Request {
        prompt: text
            .get(..word(0))
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or_default(),
        max_tokens: word(1),
        limits: Limits {
            context: word(2),
            batch: word(3),
            cache: CachePrecision::from_bits(word(5)).unwrap_or(model.cache()),
        },
        sampling: Sampling::GREEDY,
    };
    answer(board, &model, &request, memory, &mut Lines)
}
