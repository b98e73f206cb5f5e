//! `whittle eval --tasks`: how often a packed model answers as it should.

use super::EvalArgs;
use crate::cli::Output;
use crate::cli::measure::shown;
use crate::evaluate::tasks::{
    self, GroupScore, LineResult, MAX_TOKENS, Share, Task, TaskReport, evaluate_tasks,
};
use crate::packed::{PackedModel, WeightSource as _};
use crate::whole_file::WholeFile;
use crate::workers::Processor;
use anyhow::Context as _;
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(super) struct TaskArgs {
    /// Ask the tasks of this file, or of a set that comes along, instead: a line is a JSON object
    /// with a `prompt` and an `answer`, a `pattern`, or an `intent` and its `slots`
    #[arg(id = "tasks", long = "tasks", value_name = "T.jsonl")]
    pub(super) set: Option<PathBuf>,
    /// Longest answer to a task
    #[arg(long, value_name = "N", default_value_t = MAX_TOKENS, requires = "tasks")]
    max_tokens: usize,
    /// Write what became of each task, one JSON object a line
    #[arg(long, value_name = "OUT.jsonl", requires = "tasks")]
    pub(super) lines: Option<PathBuf>,
    /// Speak each command and recognize it before the model is asked
    #[cfg(feature = "voice")]
    #[arg(long, requires = "tasks")]
    spoken: bool,
}

/// What `whittle eval --tasks` reports.
#[derive(Debug, Serialize)]
struct Report {
    /// Set or file.
    tasks: String,
    #[serde(flatten)]
    report: TaskReport,
    /// How well the commands were understood, if they were spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    spoken: Option<Spoken>,
    /// For answering, speech aside.
    seconds: f64,
}

/// Words of the commands that recognition got wrong.
#[derive(Debug, Serialize)]
struct Spoken {
    word_edits: usize,
    words: usize,
    word_error_percent: f64,
}

pub(super) fn run(args: &EvalArgs, output: &Output) -> anyhow::Result<()> {
    let set = args.tasks.set.as_deref();
    let set = set.context("expected --tasks, or --reference with --text or --layers")?;
    let tasks = output.with_bar(|job| tasks::load(set, job))?;
    // What cannot be written is said before the work, not after it.
    let lines = args.tasks.lines.as_deref().map(Lines::create).transpose()?;
    let packed = output.with_bar(|job| PackedModel::open(&args.file, job))?;
    let processor = Processor::new(args.threads)?;
    let (tasks, spoken) = speak(args, tasks, output)?;
    let begun = Instant::now();
    let report = output.with_bar(|job| {
        evaluate_tasks(
            &packed,
            args.kv_bits.unwrap_or(packed.cache()),
            &tasks,
            args.tasks.max_tokens,
            &processor.host(),
            job,
        )
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(lines) = lines {
        lines.write(&report.lines)?;
    }
    let report = Report {
        tasks: shown(set),
        report,
        spoken,
        seconds,
    };
    output.emit(&report, table)
}

#[cfg(feature = "voice")]
fn speak(
    args: &EvalArgs,
    tasks: Vec<Task>,
    output: &Output,
) -> anyhow::Result<(Vec<Task>, Option<Spoken>)> {
    if !args.tasks.spoken {
        return Ok((tasks, None));
    }
    let (recognizer, synthesizer) = crate::cli::talk::open_voice(output)?;
    let heard =
        output.with_bar(|job| crate::speech::hear_tasks(&tasks, &recognizer, &synthesizer, job))?;
    let errors = heard.word_errors;
    let spoken = Spoken {
        word_edits: errors.edits,
        words: errors.words,
        word_error_percent: errors.percent(),
    };
    Ok((heard.tasks, Some(spoken)))
}

#[cfg(not(feature = "voice"))]
fn speak(
    _: &EvalArgs,
    tasks: Vec<Task>,
    _: &Output,
) -> anyhow::Result<(Vec<Task>, Option<Spoken>)> {
    Ok((tasks, None))
}

/// A file of results that replaces an older one only once it is whole.
struct Lines<'a> {
    path: &'a Path,
    file: WholeFile,
}

impl<'a> Lines<'a> {
    fn create(path: &'a Path) -> anyhow::Result<Self> {
        let file =
            WholeFile::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn write(mut self, lines: &[LineResult]) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        for line in lines {
            writeln!(self.file, "{}", serde_json::to_string(line)?).with_context(failed)?;
        }
        self.file.finish().with_context(failed)
    }
}

/// The table that people read: a group a line, then all.
fn table(report: &Report) -> String {
    let Report {
        report: all,
        spoken,
        seconds,
        ..
    } = report;
    let width = all.groups.iter().map(|g| g.group.chars().count()).max();
    let width = width.unwrap_or(0).max("macro average".len());
    let mut text = format!("{:width$}  as expected          right intent\n", "group");
    let mut line = |name: &str, held: String, intents: Option<String>| {
        let intents = intents.unwrap_or_default();
        let line = format!("{name:width$}  {held:19}  {intents}");
        text += line.trim_end();
        text += "\n";
    };
    for GroupScore {
        group,
        held,
        intents,
    } in &all.groups
    {
        line(group, counted(*held), intents.map(counted));
    }
    let percent = |share: f64| format!("{:5.1} %", share * 100.0);
    line(
        "macro average",
        percent(all.macro_held),
        all.macro_intents.map(percent),
    );
    line("all", counted(all.held), all.intents.map(counted));
    text += &format!("tasks {}", with_interval(all.held));
    if let Some(intents) = all.intents {
        text += &format!("; right intent {}", with_interval(intents));
    }
    text += &format!("; {seconds:.1} s");
    if all.unanswered > 0 {
        text += &format!("\n{} could not be asked", all.unanswered);
    }
    if let Some(Spoken {
        word_edits,
        words,
        word_error_percent,
    }) = spoken
    {
        text +=
            &format!("\nspoken: {word_edits} of {words} words wrong ({word_error_percent:.1} %)");
    }
    text
}

/// " 93.2 %  559 / 600".
fn counted(share: Share) -> String {
    let Share {
        held, of, share, ..
    } = share;
    format!("{:5.1} %  {held:>4} / {of}", share * 100.0)
}

/// "93.2 % of 600 (95 % interval 90.9 to 94.9 %)".
fn with_interval(share: Share) -> String {
    let Share {
        of,
        share,
        low,
        high,
        ..
    } = share;
    let [share, low, high] = [share, low, high].map(|x| x * 100.0);
    format!("{share:.1} % of {of} (95 % interval {low:.1} to {high:.1} %)")
}
