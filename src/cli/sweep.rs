//! `whittle sweep`: many recipes, each compressed, evaluated and estimated; a row each.

use super::Output;
use super::estimate::{boards, estimate_packed};
use super::measure::{Against, ExtentArgs, ask, beside, shown, write_whole};
use super::open::open_model;
use crate::compress::{CompressedTensor, recompress};
use crate::model::Model;
use crate::packed::{ENGINE_VERSION, PackedModel, PrefixChoice, PrefixText, sha256_hex};
use crate::report::sweep::{BoardRow, Grid, Journal, Point, Row, csv};
use crate::workers::Processor;
use anyhow::Context as _;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

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

#[derive(Debug, Serialize)]
struct Done {
    points: usize,
    /// Those whose rows were there already.
    skipped: usize,
    rows: String,
    csv: String,
    seconds: f64,
}

/// What every point of a grid is measured with.
struct Bench<'a> {
    grid: &'a Grid,
    model: &'a Model,
    against: Option<&'a Against>,
    cache: CachePrecision,
    processor: Processor,
    output: &'a Output,
}

pub(super) fn run(args: &SweepArgs, output: &Output) -> anyhow::Result<()> {
    let grid = opened(&args.grid)?;
    let points = grid.points()?;
    let cache = CachePrecision::from_bits(grid.kv_bits)
        .with_context(|| format!("expected kv_bits of 16, 8 or 4, found {}", grid.kv_bits))?;
    let stem = args.out.clone().unwrap_or(args.grid.with_extension(""));
    let [rows, table] = ["jsonl", "csv"].map(|ending| ended(&stem, ending));
    let mut journal = Journal::open(&rows)?;
    let extent = ExtentArgs {
        tokens: grid.tokens,
        quick: false,
        full: false,
    };
    let against = match &grid.text {
        Some(text) => Some(Against::open(&grid.model, text, extent, output)?),
        None => None,
    };
    let opened;
    let model = match &against {
        Some(against) => &against.model,
        None => {
            opened = open_model(&grid.model, output)?;
            &opened
        }
    };
    let measured = measured(&grid, model, output)?;
    let bench = Bench {
        grid: &grid,
        model,
        against: against.as_ref(),
        cache,
        processor: Processor::new(args.threads)?,
        output,
    };
    let hashes: Vec<String> = points.iter().map(|p| p.hash(&measured)).collect();
    let todo = hashes.iter().filter(|hash| !journal.has(hash)).count();
    let (begun, mut done, mut ready) = (Instant::now(), 0, Vec::new());
    for (point, hash) in points.iter().zip(&hashes) {
        if journal.has(hash) {
            continue;
        }
        let row = row(&bench, point, hash, &mut ready)?;
        done += 1;
        let left =
            begun.elapsed().as_secs_f64() / f64::from(done) * (todo as f64 - f64::from(done));
        output.remark(&told(&row, (done as usize, todo), left));
        journal.push(row)?;
        // Whole after each row, so that a sweep that is broken off leaves a table too.
        write_whole(&table, &csv(of_grid(&journal, &hashes)))?;
    }
    write_whole(&table, &csv(of_grid(&journal, &hashes)))?;
    let report = Done {
        points: points.len(),
        skipped: points.len() - done as usize,
        rows: shown(&rows),
        csv: shown(&table),
        seconds: begun.elapsed().as_secs_f64(),
    };
    output.emit(&report, |d| {
        format!(
            "{} points, {} of them from before, {:.1} s: {} and {}",
            d.points, d.skipped, d.seconds, d.rows, d.csv
        )
    })
}

/// A grid whose files are found from here.
fn opened(path: &Path) -> anyhow::Result<Grid> {
    let mut grid = Grid::load(path)?;
    let beside = |spec: &str| beside(path, spec);
    grid.model = beside(&grid.model);
    grid.recipe = grid.recipe.as_deref().map(beside);
    grid.tasks = grid.tasks.as_deref().map(beside);
    grid.text = grid.text.map(|text| beside(&shown(&text)).into());
    for spec in grid.recipes.iter_mut().chain(&mut grid.boards) {
        *spec = beside(spec);
    }
    Ok(grid)
}

/// `stem` with an ending; what looks like one in it stays.
fn ended(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// The rows of this grid, in its order; the file may have those of others.
fn of_grid<'a>(journal: &'a Journal, hashes: &[String]) -> Vec<&'a Row> {
    let row = |hash: &String| journal.rows.iter().find(|row| row.point == *hash);
    hashes.iter().filter_map(row).collect()
}

/// All that decides a row beside its recipe, as one text.
fn measured(grid: &Grid, model: &Model, output: &Output) -> anyhow::Result<String> {
    let hash = |path: &Path| -> anyhow::Result<String> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(sha256_hex(&bytes))
    };
    let text = grid.text.as_deref().map(hash).transpose()?;
    // A set that comes along is named by its name and the program's version.
    let tasks = match &grid.tasks {
        Some(tasks) if Path::new(tasks).exists() => Some(hash(Path::new(tasks))?),
        tasks => tasks.clone(),
    };
    let mut on = Vec::new();
    for id in &grid.boards {
        on.extend(boards(id)?);
    }
    let sha256 = output.with_bar(|job| model.sha256(job))?;
    let (tokens, kv_bits) = (grid.tokens, grid.kv_bits);
    let all = (ENGINE_VERSION, sha256, text, tokens, kv_bits, tasks, on);
    Ok(serde_json::to_string(&all)?)
}

fn row(
    bench: &Bench<'_>,
    point: &Point,
    hash: &str,
    ready: &mut Vec<Arc<CompressedTensor>>,
) -> anyhow::Result<Row> {
    let begun = Instant::now();
    let Bench {
        grid,
        model,
        against,
        cache,
        processor,
        output,
    } = bench;
    let compressed = output.with_bar(|job| recompress(model, &point.recipe, ready, job))?;
    ready.clone_from(&compressed.tensors);
    let choice = PrefixChoice {
        text: PrefixText::OfTemplate,
        cache: *cache,
    };
    let host = processor.host();
    let packed = output
        .with_bar(|job| PackedModel::pack_with_prefix(model, &compressed, choice, &host, job))?;
    let quality = match against {
        Some(against) => against
            .score(&[&packed], *cache, processor, output)?
            .into_iter()
            .next()
            .map(|(_, quality)| quality.evaluation),
        None => None,
    };
    let tasks = match &grid.tasks {
        Some(tasks) => Some(ask(&packed, tasks, *cache, processor, output)?.report.held),
        None => None,
    };
    let estimates = estimate_packed(&packed, &model.name, &grid.boards, *cache)?;
    let figure = |f: fn(&crate::evaluate::Evaluation) -> f64| quality.as_ref().map(f);
    Ok(Row {
        point: hash.to_owned(),
        model: model.name.clone(),
        recipe: point.base.clone(),
        set: point.set.join(" "),
        bytes: packed.bytes().len(),
        bits_per_weight: packed.bits_per_weight(),
        tokens: quality.as_ref().map(|e| e.tokens),
        kl_mean: figure(|e| e.kl_mean),
        kl_mean_standard_error: figure(|e| e.kl_mean_standard_error),
        kl_p99: figure(|e| e.kl_p99),
        same_top: figure(|e| e.same_top),
        perplexity: figure(|e| e.perplexity),
        reference_perplexity: figure(|e| e.reference_perplexity),
        ln_perplexity_ratio: figure(|e| e.ln_perplexity_ratio),
        ln_perplexity_ratio_standard_error: figure(|e| e.ln_perplexity_ratio_standard_error),
        tasks_held: tasks.map(|t| t.share),
        tasks_low: tasks.map(|t| t.low),
        tasks_high: tasks.map(|t| t.high),
        boards: estimates
            .into_iter()
            .map(|e| BoardRow {
                fits: e.fits,
                flash_bytes: e.flash_bytes,
                ram_bytes: e.ram_bytes,
                tokens_per_second: e.tokens_per_second.map(|range| range.mid),
                id: e.id,
            })
            .collect(),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// One point, for people, with the time left.
fn told(row: &Row, (done, todo): (usize, usize), left_seconds: f64) -> String {
    let kl = row
        .kl_mean
        .map_or(String::new(), |kl| format!(", KL {kl:.5}"));
    let tasks = row.tasks_held.map_or(String::new(), |held| {
        format!(", tasks {:.1} %", held * 100.0)
    });
    let set = if row.set.is_empty() {
        &row.recipe
    } else {
        &row.set
    };
    format!(
        "{done} of {todo}  {set}  {} bytes, {:.3} bits{kl}{tasks}; about {left_seconds:.0} s left",
        row.bytes, row.bits_per_weight
    )
}
