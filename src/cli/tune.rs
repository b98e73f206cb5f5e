//! `whittle tune`: a budget in, a recipe out.

use super::Output;
use super::calibrate::{CalibrationArgs, folder};
use super::files::Files;
use super::measure::{require_writable, write_whole};
use super::open::open_model;
use super::trim::read_all;
use crate::board::Board;
use crate::calibrate::WINDOW;
use crate::estimate::Options;
use crate::evaluate::tasks;
use crate::model::Model;
use crate::number;
use crate::packed::{Layout, PrefixChoice, PrefixText};
use crate::path_text;
use crate::rewrite::{Sample, Trimmed, trim};
use crate::tune::{
    BoardGoal, Passed, Smallest, TuneOptions, Tuned, Tuner, default_settings, sparse_settings,
};
use crate::warning::Warning;
use crate::workers::Processor;
use clap::ArgGroup;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Find the best recipe for a number of bytes, a board, or tasks
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("goal").args(["bytes", "bits_per_weight", "board", "tasks"]).required(true).multiple(true)))]
pub(super) struct TuneArgs {
    /// Path or catalog name of a model
    model: PathBuf,
    /// Most bytes of the whole packed file: 70000000 or 70MB
    #[arg(long, value_name = "N", value_parser = byte_count, conflicts_with = "bits_per_weight")]
    bytes: Option<u64>,
    /// Most bits for each weight of the matrices, scales and masks counted
    #[arg(long, value_name = "B", value_parser = number::decimal)]
    bits_per_weight: Option<f64>,
    /// Board that must hold the model: the id of a built-in one, or a board file
    #[arg(long, value_name = "ID|FILE")]
    board: Option<PathBuf>,
    /// Least speed on that board, in the middle of its estimate
    #[arg(long, value_name = "T", value_parser = number::decimal, requires = "board")]
    min_tokens_per_second: Option<f64>,
    /// Tasks that must hold: then the fewest bytes that keep them
    #[arg(long, value_name = "T.jsonl", requires = "min_pass")]
    tasks: Option<PathBuf>,
    /// Least share of the tasks: 95%
    #[arg(long, value_name = "P", value_parser = share, requires = "tasks")]
    min_pass: Option<f64>,
    /// Recipe to write
    #[arg(long, value_name = "R.toml")]
    out: PathBuf,
    /// Packed file to write beside it, as `whittle compress` makes it of that recipe
    #[arg(long, value_name = "F.whittle")]
    pack: Option<PathBuf>,
    /// Table of bytes and expected divergence to write beside it
    #[arg(long, value_name = "F.csv")]
    front: Option<PathBuf>,
    /// Try pruned settings too: two to four bits, with a half to four fifths of the weights zero
    #[arg(long)]
    sparse: bool,
    /// Exchanges between tensors that are tried and measured, after picks for a little less; 0: neither
    #[arg(long, value_name = "N", default_value_t = TuneOptions::default().exchanges)]
    exchanges: usize,
    /// Seed of their order
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Tokens to measure with, beyond those of the calibration
    #[arg(long, value_name = "N", default_value_t = 1024)]
    measure_tokens: usize,
    /// Texts to trim the vocabulary to first: the model without the other tokens is written beside the recipe,
    /// as GGUF, and tuned
    #[arg(long, value_name = "T.txt", num_args = 1..)]
    trim_vocabulary: Vec<PathBuf>,
    /// Most tokens that then stay
    #[arg(long, value_name = "N", requires = "trim_vocabulary")]
    vocabulary_tokens: Option<usize>,
    #[command(flatten)]
    calibration: CalibrationArgs,
}

fn byte_count(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => return number::whole(digits).map_err(|error| error.to_string()),
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return Err("expected a number of bytes, or one in kB, MB or GB".into()),
    };
    let number = number::decimal(digits).map_err(|error| error.to_string())?;
    if (0.0..=1e15).contains(&(number * unit)) {
        Ok((number * unit) as u64)
    } else {
        Err("expected from 0 to 1000000 GB".into())
    }
}

fn share(text: &str) -> Result<f64, String> {
    match number::share(text) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) => Err("expected a share from 0% to 100%".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// What was tuned instead of the model that was named.
#[derive(Serialize)]
struct TrimmedModel {
    #[serde(serialize_with = "path_text::lossy")]
    file: PathBuf,
    #[serde(flatten)]
    trimmed: Trimmed,
}

#[derive(Serialize)]
struct TuneReport {
    #[serde(serialize_with = "path_text::lossy")]
    recipe: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    trimmed_model: Option<TrimmedModel>,
    bytes: u64,
    predicted_kl: f64,
    allocated_kl: f64,
    measured_kl: f64,
    positions: usize,
    window_tokens: usize,
    exchanges_tried: usize,
    exchanges_kept: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budgets_tried: Option<usize>,
    seconds: f64,
    warnings: Vec<Warning>,
}

impl TuneArgs {
    pub(super) fn files(&self) -> Files {
        let named = [self.board.as_ref(), self.tasks.as_ref()];
        let outputs = [Some(&self.out), self.pack.as_ref(), self.front.as_ref()];
        let trimmed = self.trimmed().into_iter();
        Files::default()
            .reads([&self.model])
            .reads(named.into_iter().flatten())
            .reads(&self.trim_vocabulary)
            .reads(self.calibration.files())
            .writes(outputs.into_iter().flatten())
            .writes(trimmed)
    }

    /// Where the model goes that is trimmed first.
    fn trimmed(&self) -> Option<PathBuf> {
        let is_trimmed = !self.trim_vocabulary.is_empty();
        is_trimmed.then(|| self.out.with_extension("gguf"))
    }
}

pub(super) fn run(args: &TuneArgs, output: &Output) -> anyhow::Result<()> {
    // What is wrong is said before minutes of work, not after them.
    let outputs = [Some(&args.out), args.pack.as_ref(), args.front.as_ref()];
    for path in outputs.into_iter().flatten() {
        require_writable(path)?;
    }
    let board = args.board.as_deref().map(Board::open).transpose()?;
    let tasks = match (&args.tasks, args.min_pass) {
        (Some(set), Some(min_pass)) => {
            Some((output.with_bar(|job| tasks::load(set, job))?, min_pass))
        }
        _ => None,
    };
    let (model, trimmed) = model(args, output)?;
    let options = options(args);
    let goal = board.map(|board| board_goal(args, board));
    refuse_early(args, &Smallest::of(&model, &options)?, goal.as_ref())?;
    let start = Instant::now();
    let folder = folder(output)?;
    let calibration = args.calibration.compute(&model, &folder.path, output)?;
    // What follows the calibration's tokens in the same text.
    // Text comes in whole windows.
    let more = args.measure_tokens.next_multiple_of(WINDOW);
    let text = args.calibration.text(&model, more)?;
    let mut tokens = calibration.unseen(&text);
    tokens.truncate(args.measure_tokens);
    let tuner =
        output.with_bar(|job| Tuner::measure(&model, &calibration, &tokens, &options, job))?;
    if let Some(path) = &args.front {
        let rows = tuner.whole_front(64);
        let line = |p: &crate::tune::Point| format!("{},{:.6}\n", p.bytes, p.predicted_kl);
        let table: String = rows.iter().map(line).collect();
        write_whole(path, &format!("bytes,predicted_kl\n{table}"))?;
    }
    let largest = largest(args, goal.as_ref(), &tuner)?;
    let (tuned, passed) = match tasks {
        Some((tasks, min_pass)) => {
            let processor = Processor::new(None)?;
            let (tuned, passed) = output.with_bar(|job| {
                tuner.tune_for_tasks(largest, &tasks, min_pass, &processor.host(), job)
            })?;
            (tuned, Some(passed))
        }
        None => (output.with_bar(|job| tuner.tune(largest, job))?, None),
    };
    write_whole(&args.out, &tuned.recipe.file_text())?;
    if let Some(path) = &args.pack {
        let choice = PrefixChoice {
            text: PrefixText::OfTemplate,
            cache: options.cache,
        };
        let processor = Processor::new(None)?;
        output.with_bar(|job| {
            Layout::new(&model, &tuned.compressed, choice, &processor.host(), job)?.save(path, job)
        })?;
    }
    let warnings = calibration.origin.warning(&model).into_iter().collect();
    let told = (trimmed, warnings);
    print(args, told, &tuned, passed, start, output)
}

/// What the tune may do.
fn options(args: &TuneArgs) -> TuneOptions {
    let mut settings = default_settings();
    if args.sparse {
        settings.extend(sparse_settings());
    }
    TuneOptions {
        settings,
        exchanges: args.exchanges,
        seed: args.seed,
        ..TuneOptions::default()
    }
}

fn board_goal(args: &TuneArgs, board: Board) -> BoardGoal {
    BoardGoal {
        board,
        options: Options::default(),
        min_tokens_per_second: args.min_tokens_per_second,
    }
}

/// Refuses what no recipe can keep to, before anything is measured.
fn refuse_early(
    args: &TuneArgs,
    smallest: &Smallest,
    goal: Option<&BoardGoal>,
) -> anyhow::Result<()> {
    if let Some(bytes) = args.bytes {
        smallest.require_bytes(bytes)?;
    }
    if let Some(bits) = args.bits_per_weight {
        smallest.require_bits_per_weight(bits)?;
    }
    if let Some(goal) = goal {
        smallest.require_board(goal)?;
    }
    Ok(())
}

/// The model to tune: the one that is named, or what trimming makes of it.
fn model(args: &TuneArgs, output: &Output) -> anyhow::Result<(Model, Option<TrimmedModel>)> {
    let Some(file) = args.trimmed() else {
        return Ok((open_model(&args.model, output)?, None));
    };
    require_writable(&file)?;
    let texts = read_all(&args.trim_vocabulary)?;
    let samples = texts.iter().map(|(name, text)| Sample::Text { name, text });
    let samples: Vec<_> = samples.collect();
    let source = open_model(&args.model, output)?;
    let most = args.vocabulary_tokens;
    let trimmed = output.with_bar(|job| trim(&source, &samples, most, &file, job))?;
    let model = output.with_bar(|job| Model::load(&file, job))?;
    Ok((model, Some(TrimmedModel { file, trimmed })))
}

/// The most bytes that all limits allow.
fn largest(args: &TuneArgs, goal: Option<&BoardGoal>, tuner: &Tuner<'_>) -> anyhow::Result<u64> {
    let mut largest = tuner.range().1;
    if let Some(bytes) = args.bytes {
        largest = largest.min(bytes);
    }
    if let Some(bits) = args.bits_per_weight {
        largest = largest.min(tuner.bytes_at(bits));
    }
    if let Some(goal) = goal {
        largest = largest.min(tuner.bytes_for(goal)?);
    }
    Ok(largest)
}

fn print(
    args: &TuneArgs,
    (trimmed_model, warnings): (Option<TrimmedModel>, Vec<Warning>),
    tuned: &Tuned,
    passed: Option<Passed>,
    start: Instant,
    output: &Output,
) -> anyhow::Result<()> {
    let report = TuneReport {
        recipe: args.out.clone(),
        trimmed_model,
        bytes: tuned.bytes,
        predicted_kl: tuned.predicted_kl,
        allocated_kl: tuned.allocated_kl,
        measured_kl: tuned.measured_kl,
        positions: tuned.positions,
        window_tokens: tuned.window_tokens,
        exchanges_tried: tuned.exchanges.0,
        exchanges_kept: tuned.exchanges.1,
        task_share: passed.map(|p| p.share),
        budgets_tried: passed.map(|p| p.tried),
        seconds: start.elapsed().as_secs_f64(),
        warnings,
    };
    output.warn(&report.warnings);
    output.emit(&report, |r| {
        let mut text = format!(
            "{}: at most {} bytes packed\nKL on {} positions of the tune's own text, in windows of {}: predicted {:.4}, measured {:.4}; of smaller picks and exchanges, {} of {} kept, the best {:.4}\n",
            r.recipe.display(),
            r.bytes,
            r.positions,
            r.window_tokens,
            r.predicted_kl,
            r.allocated_kl,
            r.exchanges_kept,
            r.exchanges_tried,
            r.measured_kl,
        );
        if let Some(TrimmedModel { file, trimmed }) = &r.trimmed_model {
            let (after, before) = (trimmed.tokens_after, trimmed.tokens_before);
            text += &format!(
                "The recipe is for {}, which has {after} of {before} tokens\n",
                file.display()
            );
        }
        if let (Some(share), Some(tried)) = (r.task_share, r.budgets_tried) {
            text += &format!(
                "{:.1} % of the tasks hold; {tried} budgets were tried\n",
                share * 100.0
            );
        }
        text + &format!("{:.1} s", r.seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_shares_are_what_was_typed_or_refused() {
        let check =
            |text: &str, expected: u64| assert_eq!(byte_count(text), Ok(expected), "{text}");
        check("70000000", 70_000_000);
        check("70MB", 70_000_000);
        check("1,2MB", 1_200_000);
        check("1.2 MB", 1_200_000);
        check("0,5kB", 500);
        let refused = |text: &str, expected: &str| {
            let message = byte_count(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        };
        refused("1,200kB", "may be 1.200 or 1200");
        refused("1,200", "expected a whole number");
        refused("200.000", "expected a whole number");
        refused("1.000,5MB", "without separators of thousands");
        refused("many", "in kB, MB or GB");
        refused("1,2MiB", "in kB, MB or GB");
        assert_eq!(share("97,5%"), Ok(0.975));
        assert!(share("1,2").unwrap_err().contains("from 0% to 100%"));
    }
}
