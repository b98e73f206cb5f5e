//! `whittle estimate`: what a model of some shape costs on boards.

use super::Output;
use crate::board::Board;
use crate::estimate::{
    Estimate, ModelShape, Options, Range, RuntimeMemory, TensorPlan, WeightsIn, estimate, plan,
};
use crate::recipe::{MAX_SPARSITY, Precision, Setting};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Say whether a model fits on boards, how fast it answers and what energy a token takes
#[derive(Debug, clap::Args)]
pub(super) struct EstimateArgs {
    /// Shape of the model: a TOML file such as presets/shapes/smollm2-135m.toml
    #[arg(long, value_name = "S.toml")]
    shape: PathBuf,
    /// Bits of every weight: 1, 1.58, 2, 3, 4, 5, 6, 8 or 16
    #[arg(long, default_value = "4", value_parser = precision)]
    bits: Precision,
    /// Share of the weights of each row that become zero, 0 to 0.95
    #[arg(long, default_value_t = 0.0, value_parser = sparsity)]
    sparsity: f64,
    #[command(flatten)]
    options: OptionArgs,
}

/// How the model is used; shared by every way to name a model.
#[derive(Debug, clap::Args)]
pub(super) struct OptionArgs {
    /// Id of a built-in board, a board file, or "all"
    #[arg(long, value_name = "ID|FILE|all", default_value = "all")]
    board: String,
    /// Tokens that the cache of keys and values holds
    #[arg(long, default_value_t = Options::default().context_tokens, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    context: u32,
    /// Tokens of the prompt before the first answer
    #[arg(long, default_value_t = Options::default().prompt_tokens, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    prompt: u32,
    /// Where the board keeps the weights: read in place, or copied at start
    #[arg(long, value_enum, default_value = "flash")]
    weights_in: WeightsArg,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WeightsArg {
    Flash,
    Psram,
}

pub(super) fn run(args: &EstimateArgs, output: &Output) -> anyhow::Result<()> {
    let shape = ModelShape::load(&args.shape)?;
    let setting = Setting {
        precision: args.bits,
        sparsity: args.sparsity,
    };
    let tensors = plan(&shape, &|_, _| setting);
    print(&shape, &tensors, &args.options, output)
}

/// Estimates `tensors` on the boards that the options name and prints the table.
pub(super) fn print(
    shape: &ModelShape,
    tensors: &[TensorPlan],
    args: &OptionArgs,
    output: &Output,
) -> anyhow::Result<()> {
    let options = Options {
        context_tokens: args.context,
        prompt_tokens: args.prompt,
        weights_in: match args.weights_in {
            WeightsArg::Flash => WeightsIn::Flash,
            WeightsArg::Psram => WeightsIn::Psram,
        },
    };
    let memory = RuntimeMemory::of(shape, args.context);
    let boards = boards(&args.board)?;
    let estimates: Vec<Estimate> = boards
        .iter()
        .map(|board| estimate(shape, tensors, memory, board, &options))
        .collect();
    let object = serde_json::json!({
        "model": shape.name,
        "context_tokens": args.context,
        "prompt_tokens": args.prompt,
        "boards": estimates,
    });
    output.emit(&object, |_| table(&estimates))
}

/// The boards that `--board` names.
pub(super) fn boards(name: &str) -> anyhow::Result<Vec<Board>> {
    if name == "all" {
        return Ok(Board::presets().to_vec());
    }
    Ok(vec![board(name)?])
}

/// A built-in board by its id, or a board file.
pub(super) fn board(name: &str) -> anyhow::Result<Board> {
    if let Some(board) = Board::find(name) {
        return Ok(board.clone());
    }
    if name.ends_with(".toml") {
        return Ok(Board::load(Path::new(name))?);
    }
    let ids: Vec<_> = Board::presets()
        .iter()
        .map(|board| board.id.as_str())
        .collect();
    None.with_context(|| {
        format!(
            "no board \"{name}\"; there are {}, or give a .toml file",
            ids.join(", ")
        )
    })
}

fn precision(text: &str) -> Result<Precision, String> {
    let bits: Option<f64> = text.parse().ok();
    bits.and_then(Precision::from_bits)
        .ok_or_else(|| "expected 1, 1.58, 2, 3, 4, 5, 6, 8 or 16".to_owned())
}

fn sparsity(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    share
        .filter(|share| (0.0..=MAX_SPARSITY).contains(share))
        .ok_or_else(|| format!("expected a number from 0 to {MAX_SPARSITY}"))
}

/// One line a board: expected value with its bounds, `?` where a board's number is unknown.
fn table(estimates: &[Estimate]) -> String {
    let mut text = format!(
        "{:<16} {:<4} {:>12} {:>12} {:>20} {:>20} {:>22}\n",
        "board", "fits", "flash", "RAM", "tokens/s", "first token s", "J/token"
    );
    for estimate in estimates {
        let fits = if estimate.fits { "yes" } else { "no" };
        writeln!(
            text,
            "{:<16} {fits:<4} {:>9} kB {:>9} kB {:>20} {:>20} {:>22}",
            estimate.id,
            estimate.flash_bytes.div_ceil(1000),
            estimate.ram_bytes.div_ceil(1000),
            range(estimate.tokens_per_second.as_ref()),
            range(estimate.first_token_seconds.as_ref()),
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

fn range(range: Option<&Range>) -> String {
    range.map_or_else(
        || "?".to_owned(),
        |r| format!("{} ({}-{})", short(r.mid), short(r.low), short(r.high)),
    )
}

/// Three significant digits, without exponents.
fn short(value: f64) -> String {
    let decimals = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}
