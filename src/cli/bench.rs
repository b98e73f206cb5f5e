//! `whittle bench`: speed of a packed model on this machine.

use super::Output;
use super::compress::peak_rss_bytes;
use super::kv_bits;
use crate::packed::{PackedModel, WeightSource};
use crate::workers::Processor;
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::session::Session;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Tokens of the prompt, and of the answer.
const PREFILL: usize = 512;
const DECODE: usize = 64;

/// Measure the speed of a packed model on this machine
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// Packed file
    file: PathBuf,
    /// Threads that compute; all cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Repetitions; medians are reported
    #[arg(long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Bits of an element of the cache of keys and values: 16, 8 or 4
    #[arg(long, value_name = "B", default_value = "16", value_parser = kv_bits)]
    kv_bits: CachePrecision,
}

#[derive(Serialize)]
struct Report {
    load_seconds: f64,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    weight_gigabytes_per_second: f64,
    file_bytes: usize,
    kv_cache_bytes: usize,
    arena_bytes: usize,
    peak_rss_bytes: Option<u64>,
    repetitions: usize,
    simd: &'static str,
    threads: usize,
}

pub(super) fn run(args: &BenchArgs, output: &Output) -> anyhow::Result<()> {
    let start = Instant::now();
    let packed = output.with_bar(|job| PackedModel::open(&args.file, job))?;
    let load_seconds = start.elapsed().as_secs_f64();
    let processor = Processor::new(args.threads)?;
    let limits = Limits {
        context: PREFILL + DECODE,
        batch: 64,
        cache: args.kv_bits,
    };
    let layout = ArenaLayout::new(packed.shape(), limits);
    let mut arena = vec![0; layout.words()];
    let vocab = packed.shape().vocab;
    let mut logits = vec![0.0; vocab as usize];
    // Any tokens will do for speed; these visit different rows of the embedding.
    let tokens: Vec<u32> = (0..PREFILL as u32).map(|i| i * 7919 % vocab).collect();
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for _ in 0..args.repetitions.max(1) {
        let mut result = Ok(());
        packed.lend(&mut |weights| {
            result = (|| {
                let mut session = Session::new(weights.shape(), limits, &mut arena)?;
                let start = Instant::now();
                session.forward(weights, &processor.host(), &tokens, &mut logits)?;
                prefill.push(PREFILL as f64 / start.elapsed().as_secs_f64());
                let start = Instant::now();
                for token in &tokens[..DECODE] {
                    session.forward(weights, &processor.host(), &[*token], &mut logits)?;
                }
                decode.push(DECODE as f64 / start.elapsed().as_secs_f64());
                Ok::<(), engine::session::SessionError>(())
            })();
        });
        result?;
    }
    let decode = median(decode);
    let report = Report {
        load_seconds,
        prefill_tokens_per_second: median(prefill),
        decode_tokens_per_second: decode,
        weight_gigabytes_per_second: decode * weights_read(&packed) as f64 / 1e9,
        file_bytes: packed.bytes().len(),
        kv_cache_bytes: layout.kv_cache_bytes(),
        arena_bytes: layout.bytes(),
        peak_rss_bytes: peak_rss_bytes(),
        repetitions: args.repetitions.max(1),
        simd: processor.level_name(),
        threads: processor.threads(),
    };
    output.emit(&report, |r| {
        format!(
            "prefill {PREFILL}: {:.1} tokens/s, decode {DECODE}: {:.1} tokens/s ({:.2} GB/s of weights), {} on {} threads, median of {}",
            r.prefill_tokens_per_second, r.decode_tokens_per_second, r.weight_gigabytes_per_second, r.simd, r.threads, r.repetitions
        )
    })
}

/// Bytes of weights that one decoded token reads: all but the embedding, of which it reads a row,
/// unless that is the output head too.
fn weights_read(packed: &PackedModel) -> usize {
    let view = packed.view();
    let has_output = view
        .entries()
        .any(|e| e.role == engine::shape::Role::Output);
    let read =
        |e: &engine::format::Entry<'_>| !(has_output && e.role == engine::shape::Role::Embedding);
    view.entries()
        .filter(read)
        .map(|e| e.matrix.bytes().len())
        .sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
