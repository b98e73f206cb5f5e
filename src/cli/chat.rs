//! `whittle chat`: one question to a packed model.

use super::sampling::SamplingArgs;
use super::{Output, kv_bits};
use crate::job::Job;
use crate::packed::{Conversation, PackedModel, Question, WeightSource as _};
use crate::workers::Processor;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Ask a packed model
#[derive(Debug, clap::Args)]
pub(super) struct ChatArgs {
    /// Packed file
    file: PathBuf,
    /// What to ask
    #[arg(long, value_name = "P")]
    prompt: String,
    /// System text
    #[arg(long, value_name = "S")]
    system: Option<String>,
    /// Longest answer
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// End the answer before this text; may be given again
    #[arg(long, value_name = "S", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Longest conversation in tokens
    #[arg(long, value_name = "N", default_value_t = 2048)]
    context: usize,
    /// Bits of an element of the cache of keys and values, 16, 8 or 4; if not given
    /// those that the file was made for
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
}

#[derive(Serialize)]
struct ChatReport {
    text: String,
    tokens: Vec<u32>,
    logits_hash: String,
    /// Why the answer ended.
    stop: &'static str,
    prompt_tokens: usize,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    simd: &'static str,
    threads: usize,
    /// Bits of an element of keys and values.
    kv_bits: usize,
}

pub(super) fn run(args: &ChatArgs, output: &Output) -> anyhow::Result<()> {
    let packed = PackedModel::open(&args.file, &Job::silent())?;
    let processor = Processor::new(args.threads)?;
    let cache = args.kv_bits.unwrap_or(packed.cache());
    let mut conversation = Conversation::with_cache(&packed, args.context, cache);
    let question = Question {
        system: args.system.as_deref(),
        user: &args.prompt,
        max_tokens: args.max_tokens,
        sampling: args.sampling.sampling(),
        stop: &args.stop,
    };
    // People read along while the model generates; JSON comes whole.
    let mut stdout = std::io::stdout().lock();
    let mut show = |text: &str| {
        if output.is_json() || (write!(stdout, "{text}").is_ok() && stdout.flush().is_ok()) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let answer = conversation.ask(&packed, &processor.host(), &question, &mut show)?;
    drop(stdout);
    let report = ChatReport {
        logits_hash: format!("{:016x}", answer.logits_hash.0),
        stop: answer.stop.name(),
        prompt_tokens: answer.prompt_tokens,
        prefill_tokens_per_second: answer.prefill_tokens_per_second(),
        decode_tokens_per_second: answer.decode_tokens_per_second(),
        text: answer.text,
        tokens: answer.tokens,
        simd: processor.level_name(),
        threads: processor.threads(),
        kv_bits: conversation.cache().bits(),
    };
    output.emit(&report, |r| {
        format!(
            "\n[{} tokens, ended by {}, prefill {:.1} and decode {:.1} tokens/s, logits {}, {} KV bits, {} on {} threads]",
            r.tokens.len(),
            r.stop.replace('_', " "),
            r.prefill_tokens_per_second,
            r.decode_tokens_per_second,
            r.logits_hash,
            r.kv_bits,
            r.simd,
            r.threads
        )
    })
}
