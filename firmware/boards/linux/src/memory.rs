//! How much memory a conversation gets.

use app::{Limits, Model, Sampling};
use std::fs;

/// Most: keys and values of 2,048 tokens of a 1B take a quarter of it.
const MOST_BYTES: u64 = 256 << 20;
/// Least, also where nothing seems to be free: the system takes back pages of the model, which it can read again.
const LEAST_BYTES: u64 = 16 << 20;
/// Longest prompt and largest batch of a conversation that takes the model's whole context.
const PROMPT_BYTES: usize = protocol::PROMPT_BYTES;

/// 32-bit words: half of what the model leaves free, but no more than its longest conversation takes.
pub fn words(model: &Model<'_>) -> usize {
    let sampling = Sampling {
        // So that the conversation's tokens have their place.
        repetition_penalty: 2.0,
        ..Sampling::GREEDY
    };
    let batch = crate::console::BATCH;
    let context = model.longest_context(PROMPT_BYTES, batch, &sampling, usize::MAX);
    let limits = Limits {
        context,
        batch,
        cache: model.cache(),
    };
    let needed = model.words(PROMPT_BYTES, limits, &sampling);
    let spare = free_bytes().saturating_sub(model.bytes().len() as u64) / 2;
    let bytes = spare.clamp(LEAST_BYTES, MOST_BYTES);
    usize::try_from(bytes / 4).map_or(needed, |words| words.min(needed))
}

/// What programs can have without others being written to disk; 0 where the system does not say.
fn free_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.map_or(0, |kibibytes| kibibytes.saturating_mul(1024))
}
