//! `whittle sweep`: many recipes, each compressed, evaluated and estimated; a row each.

use super::Output;
use super::files::Files;
use super::open::open_model;
use crate::report::sweep::{Grid, Step, results};
use crate::workers::Processor;
use std::path::PathBuf;

/// Try the recipes of a grid: compress, evaluate and estimate each, a row each
///
/// What is there already is not computed again: break a sweep off at any time and start it again.
#[derive(Debug, clap::Args)]
pub(super) struct SweepArgs {
    /// Grid in TOML: model, recipe, axes, text, boards, tasks; paths in it are relative to its folder
    grid: PathBuf,
    /// Where results go: OUT.jsonl and OUT.csv; if not given beside the grid
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl SweepArgs {
    pub(super) fn files(&self) -> Files {
        Files::default()
            .reads([&self.grid])
            .writes(results(&self.stem()))
    }

    /// Where results go, without their endings.
    fn stem(&self) -> PathBuf {
        let beside = || self.grid.with_extension("");
        self.out.clone().unwrap_or_else(beside)
    }
}

pub(super) fn run(args: &SweepArgs, output: &Output) -> anyhow::Result<()> {
    let grid = Grid::load(&args.grid)?;
    let stem = args.stem();
    let processor = Processor::new(args.threads)?;
    let model = open_model(&grid.model, output)?;
    let mut on_row = |step: Step<'_>| output.remark(&told(step));
    // Only recipes that weigh errors need it.
    let calibrations = super::calibrate::folder(output)?;
    let folder = Some(calibrations.path.as_path());
    let swept =
        output.with_bar(|job| grid.run(&model, &stem, folder, &processor, &mut on_row, job))?;
    output.warn(&swept.warnings);
    output.emit(&swept, |s| {
        format!(
            "{} points, {} of them from before, {:.1} s: {} and {}",
            s.points,
            s.skipped,
            s.seconds,
            s.rows.display(),
            s.csv.display()
        )
    })
}

/// One point, for people, with the time left.
fn told(step: Step<'_>) -> String {
    let row = step.row;
    let kl = row
        .kl_mean
        .map_or(String::new(), |kl| format!(", KL {kl:.5}"));
    let tasks = row.tasks_held.map_or(String::new(), |held| {
        format!(", tasks {:.1} %", held * 100.0)
    });
    format!(
        "{} of {}  {}  {} bytes, {:.3} bits{kl}{tasks}; about {:.0} s left",
        step.done,
        step.todo,
        row.title(),
        row.bytes,
        row.bits_per_weight,
        step.left_seconds
    )
}
