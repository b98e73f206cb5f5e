//! `whittle bench`: speed of a packed model on this machine.

use super::Output;
use super::compress::peak_rss_bytes;
use super::kv_bits;
use crate::compress::{CompressedTensor, Methods};
use crate::packed::{LiveModel, PackedModel, WeightSource};
use crate::recipe::Recipe;
use crate::workers::Processor;
use anyhow::Context as _;
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::format::Section;
use engine::session::{Session, SessionError};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Tokens of the prompt, and of the answer.
const PREFILL: usize = 512;
const DECODE: usize = 64;
/// Tokens of the prompt that the first token is timed after.
const FIRST_PROMPT: usize = 8;
/// Tensors that are replaced while the model decodes; the first few warm up memory and caches.
const SWAPS: usize = 24;

/// Measure the speed of a packed model on this machine
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// Packed file
    file: PathBuf,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Repetitions; medians are reported
    #[arg(long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Bits of an element of the cache of keys and values, 16, 8 or 4; if not given
    /// those that the file was made for
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
}

#[derive(Serialize)]
struct BenchReport {
    load_seconds: f64,
    load_to_first_token_seconds: f64,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    weight_gigabytes_per_second: f64,
    file_bytes: usize,
    kv_cache_bytes: usize,
    arena_bytes: usize,
    peak_rss_bytes: Option<u64>,
    swap_tensor: String,
    swap_tensor_bytes: usize,
    swap_ms_median: f64,
    swap_ms_worst: f64,
    swap_tokens_until_used: usize,
    repetitions: usize,
    simd: &'static str,
    threads: usize,
    kv_bits: usize,
}

pub(super) fn run(args: &BenchArgs, output: &Output) -> anyhow::Result<()> {
    let start = Instant::now();
    let packed = Arc::new(output.with_bar(|job| PackedModel::open(&args.file, job))?);
    let load_seconds = start.elapsed().as_secs_f64();
    let processor = Processor::new(args.threads)?;
    let limits = Limits {
        context: PREFILL + DECODE,
        batch: 64,
        cache: args.kv_bits.unwrap_or(packed.cache()),
    };
    let layout = ArenaLayout::new(packed.shape(), limits);
    let mut arena = vec![0; layout.words()];
    let vocab = packed.shape().vocab;
    let mut logits = vec![0.0; vocab as usize];
    // Any tokens will do for speed; these visit different rows of the embedding.
    let tokens: Vec<u32> = (0..PREFILL as u32).map(|i| i * 7919 % vocab).collect();
    let mut result = Ok(());
    packed.lend(&mut |weights| {
        result = Session::new(weights.shape(), limits, &mut arena).and_then(|mut session| {
            session.forward(
                weights,
                &processor.host(),
                &tokens[..FIRST_PROMPT],
                &mut logits,
            )
        });
    });
    result?;
    let load_to_first_token_seconds = start.elapsed().as_secs_f64();
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
                Ok::<(), SessionError>(())
            })();
        });
        result?;
    }
    let decode = median(decode);
    // Before the swaps, which hold the old and the new tensor.
    let peak_rss_bytes = peak_rss_bytes();
    let swaps = swap(&packed, &processor, limits, &mut arena)?;
    let report = BenchReport {
        load_seconds,
        load_to_first_token_seconds,
        prefill_tokens_per_second: median(prefill),
        decode_tokens_per_second: decode,
        weight_gigabytes_per_second: decode * weights_read(&packed) as f64 / 1e9,
        file_bytes: packed.bytes().len(),
        kv_cache_bytes: layout.kv_cache_bytes(),
        arena_bytes: layout.bytes(),
        peak_rss_bytes,
        swap_tensor: swaps.tensor,
        swap_tensor_bytes: swaps.bytes,
        swap_ms_worst: swaps.millis.iter().copied().fold(0.0, f64::max),
        swap_ms_median: median(swaps.millis),
        swap_tokens_until_used: swaps.tokens_until_used,
        repetitions: args.repetitions.max(1),
        simd: processor.level_name(),
        threads: processor.threads(),
        kv_bits: limits.cache.bits(),
    };
    output.emit(&report, text)
}

fn text(r: &BenchReport) -> String {
    format!(
        "prefill {PREFILL}: {:.1} tokens/s, decode {DECODE}: {:.1} tokens/s ({:.2} GB/s of weights), {} on {} threads, median of {}\n\
             first token {:.2} s after opening the file; {} replaced in {:.2} ms (at worst {:.2}), heard {}",
        r.prefill_tokens_per_second,
        r.decode_tokens_per_second,
        r.weight_gigabytes_per_second,
        r.simd,
        r.threads,
        r.repetitions,
        r.load_to_first_token_seconds,
        r.swap_tensor,
        r.swap_ms_median,
        r.swap_ms_worst,
        match r.swap_tokens_until_used {
            1 => "in the next token".into(),
            n => format!("after {n} tokens"),
        },
    )
}

/// What replacing the largest tensor costs while another thread decodes.
struct Swaps {
    tensor: String,
    bytes: usize,
    millis: Vec<f64>,
    /// Tokens from a replacement to the first that reads the new bytes, at worst; 1 is the next.
    tokens_until_used: usize,
}

/// When a token began, and where the bytes of the tensor were that it read.
type Read = (Instant, usize);

fn swap(
    packed: &Arc<PackedModel>,
    processor: &Processor,
    limits: Limits,
    arena: &mut [u32],
) -> anyhow::Result<Swaps> {
    let original = largest(packed)?;
    let (role, layer) = (original.role, original.layer.unwrap_or(0));
    let live = LiveModel::of_packed(Arc::clone(packed));
    let mut logits = vec![0.0; packed.shape().vocab as usize];
    let (sender, reads) = sync_channel::<Read>(1);
    std::thread::scope(|scope| {
        let live = &live;
        let decoding = scope.spawn(move || {
            for position in (0..limits.context).cycle() {
                let mut read = (Instant::now(), 0);
                let mut result = Ok(());
                live.lend(&mut |weights| {
                    let matrix = weights.optional(role, layer);
                    read.1 = matrix.map_or(0, |m| m.bytes().as_ptr().addr());
                    result = Session::resume(None, weights.shape(), limits, arena, position)
                        .and_then(|mut session| {
                            session.forward(weights, &processor.host(), &[0], &mut logits)
                        });
                });
                result?;
                if sender.send(read).is_err() {
                    break;
                }
            }
            Ok::<(), SessionError>(())
        });
        let (mut millis, mut tokens_until_used) = (Vec::new(), 0);
        for _ in 0..SWAPS {
            let new = Arc::new(original.clone());
            let place = new.bytes.as_ptr().addr();
            // A new token is being computed while the tensor is replaced.
            let Ok(_) = reads.recv() else { break };
            let start = Instant::now();
            live.replace(new)?;
            let replaced = Instant::now();
            millis.push((replaced - start).as_secs_f64() * 1e3);
            // Those that began before may read either.
            let after = reads.iter().filter(|(began, _)| *began >= replaced);
            let until = after.take_while(|(_, read)| *read != place).count() + 1;
            tokens_until_used = tokens_until_used.max(until);
        }
        drop(reads);
        decoding
            .join()
            .map_err(|_panic| anyhow::anyhow!("the decoding thread panicked"))??;
        Ok(Swaps {
            tensor: original.name,
            bytes: original.bytes.len(),
            millis,
            tokens_until_used,
        })
    })
}

/// A copy of the largest tensor.
fn largest(packed: &PackedModel) -> anyhow::Result<CompressedTensor> {
    let view = packed.view();
    let entry = view
        .entries()
        .filter(|e| e.role.is_matrix())
        .max_by_key(|e| e.matrix.bytes().len())
        .context("the file has no matrix")?;
    let text = std::str::from_utf8(view.section(Section::Recipe))?;
    let recipe = Recipe::parse("the recipe of the packed file", text)?;
    let layer = entry.role.is_per_layer().then_some(entry.layer);
    Ok(CompressedTensor {
        name: entry.name.into(),
        role: entry.role,
        layer,
        rows: entry.matrix.rows(),
        cols: entry.matrix.cols(),
        setting: recipe.setting(entry.role, layer, view.shape().layers),
        encoding: entry.matrix.encoding(),
        kept: entry.kept,
        bytes: entry.matrix.bytes().to_vec(),
        // Of the tensor of the file, to the byte.
        nmse: 0.0,
        output_error: None,
        methods: Methods::default(),
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
