//! `whittle chat`: one question to a packed model, or to the board that runs one.

use super::sampling::SamplingArgs;
use super::{Output, kv_bits};
use crate::job::Job;
use crate::packed::{Conversation, PackedModel, Question, WeightSource as _};
use crate::workers::Processor;
use anyhow::{Context as _, ensure};
#[cfg(feature = "flash")]
use clap::builder::NonEmptyStringValueParser;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::borrow::Cow;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Ask a packed model
#[derive(Debug, clap::Args)]
pub(super) struct ChatArgs {
    /// Packed file; with --port the one that is expected on the board, or none
    #[cfg_attr(feature = "flash", arg(required_unless_present = "port"))]
    #[cfg_attr(not(feature = "flash"), arg(required = true))]
    file: Option<PathBuf>,
    /// Let the board on this port answer, or the emulated one, sim:esp32-c3
    #[cfg(feature = "flash")]
    #[arg(long, value_name = "P", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["system", "stop", "threads", "kv_bits"])]
    port: Option<String>,
    /// What to ask; `-` reads it from standard input
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
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
    let prompt = match args.prompt.as_str() {
        "-" => read_prompt(std::io::stdin().lock())?.into(),
        prompt => Cow::Borrowed(prompt),
    };
    ensure!(!prompt.trim().is_empty(), "expected a prompt, found none");
    #[cfg(feature = "flash")]
    if let Some(port) = &args.port {
        return on_board::run(args, port, &prompt, output);
    }
    let file = args.file.as_ref().context("expected a packed file")?;
    let packed = PackedModel::open(file, &Job::silent())?;
    let processor = Processor::new(args.threads)?;
    let cache = args.kv_bits.unwrap_or(packed.cache());
    let mut conversation = Conversation::with_cache(&packed, args.context, cache);
    let question = Question {
        system: args.system.as_deref(),
        user: &prompt,
        max_tokens: args.max_tokens,
        sampling: args.sampling.sampling(),
        stop: &args.stop,
    };
    let mut stdout = std::io::stdout().lock();
    let mut show = |text: &str| show(text, &mut stdout, output);
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

/// People read along while the model generates; JSON comes whole.
fn show(text: &str, stdout: &mut impl std::io::Write, output: &Output) -> ControlFlow<()> {
    if output.is_json() || (write!(stdout, "{text}").is_ok() && stdout.flush().is_ok()) {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

/// The answer of a board.
#[cfg(feature = "flash")]
pub(super) mod on_board {
    use super::ChatArgs;
    use crate::cli::Output;
    use crate::cli::estimate::range;
    use crate::job::Job;
    use crate::link::{BoardQuestion, BoardTurn, EMULATED_FLASH_BYTES, TalkError, ask_board};
    use crate::packed::PackedModel;
    use anyhow::bail;

    pub(super) fn run(
        args: &ChatArgs,
        port: &str,
        prompt: &str,
        output: &Output,
    ) -> anyhow::Result<()> {
        let packed = args
            .file
            .as_ref()
            .map(|file| PackedModel::open(file, &Job::silent()))
            .transpose()?;
        let device = crate::cli::flash::open(port, EMULATED_FLASH_BYTES)?;
        let mut client = device.client()?;
        let question = BoardQuestion {
            prompt,
            max_tokens: u32::try_from(args.max_tokens).unwrap_or(u32::MAX),
            context: u32::try_from(args.context).unwrap_or(u32::MAX),
            sampling: args.sampling.sampling(),
        };
        let boards = crate::cli::reports::known();
        let mut stdout = std::io::stdout().lock();
        let mut show = |text: &str| super::show(text, &mut stdout, output);
        let turn = output.with_bar(|job| {
            let turn = ask_board(&mut client, &question, job, &mut show)?;
            match &packed {
                Some(packed) => Ok(turn.beside((packed, &boards), &question, job)?),
                None => Ok::<_, TalkError>(turn),
            }
        })?;
        drop(stdout);
        output.emit(&turn, told)?;
        match turn.differs {
            Some(differs) => bail!("{differs}"),
            None => Ok(()),
        }
    }

    /// The facts of an answer, for people.
    pub(in crate::cli) fn told(turn: &BoardTurn) -> String {
        let BoardTurn {
            answer,
            hello,
            clock,
            estimated,
            same_here,
            differs: _,
        } = turn;
        let rate = answer
            .decode_tokens_per_second
            .map_or("?".to_owned(), |rate| format!("{rate:.1}"));
        let first = answer
            .first_token_secs
            .map_or("?".to_owned(), |secs| format!("{secs:.2}"));
        let estimated = estimated.as_ref().map_or_else(String::new, |estimated| {
            format!(
                "\n[estimated for {}, {}: first after {} s, then {} tokens/s]",
                estimated.board,
                estimated.validation.name(),
                range(estimated.first_token_secs.as_ref()),
                range(estimated.tokens_per_second.as_ref()),
            )
        });
        format!(
            "\n[{} tokens by the board {}, ended by {}, first after {first} s, then {rate} tokens/s {clock}, logits {:016x}{}, {} KV bits]{estimated}",
            answer.tokens.len(),
            hello.board,
            answer.stop.replace('_', " "),
            answer.logits_hash.0,
            if *same_here == Some(true) {
                " as here"
            } else {
                ""
            },
            hello.model.as_ref().map_or(0, |model| model.kv_bits),
        )
    }
}

/// Most bytes of a prompt; no context holds as many.
const PROMPT_BYTES: u64 = 1 << 20;

/// What a person or a program hands over as prompt, without the line's end.
fn read_prompt(from: impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut limited = from.take(PROMPT_BYTES + 1);
    let read = limited.read_to_end(&mut bytes);
    read.context("cannot read the prompt from standard input")?;
    let found = bytes.len();
    ensure!(
        found as u64 <= PROMPT_BYTES,
        "expected a prompt of at most {PROMPT_BYTES} bytes on standard input, found more"
    );
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("expected a prompt in UTF-8 on standard input, found another byte at {at}")
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_from_standard_input_loses_one_line_end_and_nothing_else() {
        let check = |input: &[u8], expected: &str| {
            assert_eq!(read_prompt(input).unwrap(), expected);
        };
        check(b"turn on the light", "turn on the light");
        check(b"turn on the light\n", "turn on the light");
        check(b"turn on\r\n", "turn on");
        check(b" two\nlines \n\n", " two\nlines \n");
        check(b"\n", "");
        let refused = |input: &[u8]| read_prompt(input).unwrap_err().to_string();
        assert!(refused(b"a\xff").ends_with("found another byte at 1"));
        let long = vec![b'a'; 1 + PROMPT_BYTES as usize];
        assert!(refused(&long).contains("at most 1048576 bytes"));
    }
}
