//! `whittle estimate`: what a model of some shape costs on boards.

use super::Output;
use super::compress::open_recipe;
use super::kv_bits;
use super::open::open_model;
use crate::board::Board;
use crate::estimate::{
    Estimate, ModelShape, Options, Range, RuntimeMemory, TensorPlan, WeightsIn, estimate, plan,
    planned,
};
use crate::packed::{PackedModel, WeightSource as _};
use crate::warning::Warning;
use engine::arena::CachePrecision;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Say whether a model fits on boards, how fast it answers and what energy a token takes
#[derive(Debug, clap::Args)]
pub(super) struct EstimateArgs {
    /// Path or catalog name of a model, or a packed file
    #[arg(required_unless_present = "shape")]
    model: Option<PathBuf>,
    /// Shape of a model that need not exist: a TOML file such as presets/shapes/smollm2-135m.toml
    #[arg(long, value_name = "S.toml", conflicts_with = "model")]
    shape: Option<PathBuf>,
    /// Preset or path of a recipe; a packed file has its own
    #[arg(long, value_name = "R")]
    recipe: Option<PathBuf>,
    /// Exception to the recipe, such as `feed-forward.down@0..4=bits:6,sparsity:20%`
    #[arg(long, value_name = "PATTERN=bits:B,sparsity:S")]
    set: Vec<String>,
    #[command(flatten)]
    options: OptionArgs,
}

/// How the model is used; shared by every way to name a model.
#[derive(Debug, clap::Args)]
pub(super) struct OptionArgs {
    /// Id of a built-in board, a board file, or "all"
    #[arg(long, value_name = "ID|FILE|all", default_value = "all")]
    board: PathBuf,
    /// Reports of boards (whittle boards report) to rest on, beside those that this account keeps; "none" for no report at all
    #[arg(long, value_name = "R.json|none")]
    report: Vec<PathBuf>,
    /// Tokens that the cache of keys and values holds
    #[arg(long, default_value_t = Options::default().context_tokens, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    context: u32,
    /// Bits of an element of that cache, 16, 8 or 4; if not given those that a packed file was made for, else 16
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
    /// Tokens of the prompt before the first answer
    #[arg(long, default_value_t = Options::default().prompt_tokens, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    prompt: u32,
    /// Tokens of the answer before its spoken reply, as an intent line has them
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    unspoken: u32,
    /// Where the board keeps the weights: read in place, or copied at start
    #[arg(long, value_enum, default_value = "flash")]
    weights_in: WeightsArg,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WeightsArg {
    Flash,
    Psram,
}

/// Recipe that is assumed when none is named.
const DEFAULT_RECIPE: &str = "balanced-4bit";

pub(super) fn run(args: &EstimateArgs, output: &Output) -> anyhow::Result<()> {
    let asked = args.options.kv_bits;
    let mut warnings = Vec::new();
    let (shape, tensors, cache) = match (&args.shape, &args.model) {
        (None, Some(model)) if is_packed(model) => {
            anyhow::ensure!(
                args.recipe.is_none() && args.set.is_empty(),
                "{} is packed already: it has its own recipe",
                model.display()
            );
            let packed = output.with_bar(|job| PackedModel::open(model, job))?;
            let name = model.file_stem().unwrap_or_default().to_string_lossy();
            let cache = asked.unwrap_or(packed.cache());
            let (shape, tensors) = planned(&packed, &name, cache);
            (shape, tensors, cache)
        }
        (shape, model) => {
            let shape = match (shape, model) {
                (Some(path), _) => ModelShape::load(path)?,
                (None, Some(model)) => ModelShape::of(&open_model(model, output)?)?,
                (None, None) => anyhow::bail!("name a model or a shape"),
            };
            let recipe = args.recipe.as_deref();
            let recipe = open_recipe(recipe.unwrap_or(Path::new(DEFAULT_RECIPE)), &args.set)?;
            let layers = shape.hyperparameters.layers;
            let tensors = plan(&shape, &|role, layer| recipe.setting(role, layer, layers));
            let matrices = tensors.iter().filter(|t| t.role.is_matrix());
            warnings = recipe.idle_rules(matrices.map(|t| (t.role, t.layer)), layers);
            (shape, tensors, asked.unwrap_or(Options::default().cache))
        }
    };
    let told = (&args.options, &warnings[..]);
    print((&shape, &tensors), cache, told, output)
}

pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "whittle")
}

/// Estimates `tensors` on the boards that the options name and prints the table.
pub(super) fn print(
    (shape, tensors): (&ModelShape, &[TensorPlan]),
    cache: CachePrecision,
    (args, warnings): (&OptionArgs, &[Warning]),
    output: &Output,
) -> anyhow::Result<()> {
    let options = Options {
        context_tokens: args.context,
        cache,
        prompt_tokens: args.prompt,
        unspoken_tokens: args.unspoken,
        weights_in: match args.weights_in {
            WeightsArg::Flash => WeightsIn::Flash,
            WeightsArg::Psram => WeightsIn::Psram,
        },
    };
    let memory = RuntimeMemory::of(shape, args.context, cache);
    let reports = super::reports::reports(&args.report)?;
    let boards = Board::open_all(&args.board)?;
    let boards: Vec<Board> = boards
        .into_iter()
        .map(|board| board.reported(&reports))
        .collect();
    let estimates: Vec<Estimate> = boards
        .iter()
        .map(|board| estimate(shape, tensors, memory, board, &options))
        .collect();
    let object = serde_json::json!({
        "model": shape.name,
        "context_tokens": args.context,
        "kv_bits": cache.bits(),
        "prompt_tokens": args.prompt,
        "unspoken_tokens": args.unspoken,
        "boards": estimates,
        "warnings": warnings,
    });
    output.warn(warnings);
    output.emit(&object, |_| table(&estimates))
}

/// One line a board: expected value with its bounds, `?` where a board's number is unknown, and what
/// times and energies were held against.
pub(super) fn table(estimates: &[Estimate]) -> String {
    let mut text = format!(
        "{:<20} {:<4} {:>12} {:>12} {:<12} {:>20} {:>20} {:>20} {:>22}\n",
        "board",
        "fits",
        "flash",
        "RAM",
        "figures",
        "tokens/s",
        "first token s",
        "reply s",
        "J/token"
    );
    for estimate in estimates {
        let fits = if estimate.fits { "yes" } else { "no" };
        writeln!(
            text,
            "{:<20} {fits:<4} {:>9} kB {:>9} kB {:<12} {:>20} {:>20} {:>20} {:>22}",
            estimate.id,
            estimate.flash_bytes.div_ceil(1000),
            estimate.ram_bytes.div_ceil(1000),
            estimate.validation.name(),
            range(estimate.tokens_per_second.as_ref()),
            range(estimate.first_token_seconds.as_ref()),
            range(estimate.reply_seconds.as_ref()),
            range(estimate.joules_per_token.as_ref()),
        )
        .expect("writing to a string cannot fail");
        if let Some(limit) = &estimate.limit {
            writeln!(text, "    {limit}").expect("writing to a string cannot fail");
        }
        if !estimate.missing.is_empty() {
            let missing = estimate.missing.join(", ");
            writeln!(text, "    unknown: {missing}").expect("writing to a string cannot fail");
        }
    }
    text
}

pub(super) fn range(range: Option<&Range>) -> String {
    range.map_or_else(
        || "?".to_owned(),
        |r| format!("{} ({}-{})", short(r.mid), short(r.low), short(r.high)),
    )
}

/// Three significant digits, without exponents.
pub(super) fn short(value: f64) -> String {
    let decimals = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        v if v >= 0.01 => 4,
        v if v >= 0.001 => 5,
        _ => 6,
    };
    format!("{value:.decimals$}")
}
