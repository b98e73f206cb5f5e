//! The command line: one short function for each library call.
//!
//! Every command prints for people, or with `--json` one object on standard output. Diagnostics go
//! to standard error. Exit code 0, 1 for a failure, 2 for wrong usage.

mod bench;
mod boards;
mod calibrate;
mod chat;
mod check;
mod compare;
mod compress;
#[cfg(all(feature = "voice", feature = "flash"))]
mod demo;
mod estimate;
mod eval;
mod export;
mod fetch;
mod files;
#[cfg(feature = "flash")]
mod flash;
mod info;
mod interrupt;
mod measure;
mod models;
mod open;
mod output;
mod report;
mod reports;
mod reproduce;
mod rotate;
mod sampling;
#[cfg(feature = "gui")]
mod studio;
mod sweep;
#[cfg(feature = "voice")]
mod talk;
mod trim;
mod tune;

pub use output::Output;
#[cfg(feature = "gui")]
pub use studio::StudioArgs;

use crate::signals;
use clap::{CommandFactory as _, Parser, Subcommand};
use engine::arena::CachePrecision;
use files::Files;
use std::process::ExitCode;

/// What remains to be done after the arguments were parsed.
#[derive(Debug)]
pub enum Next {
    /// Nothing: the command ran.
    Exit(ExitCode),
    /// The window; it knows nothing of the command line, nor the other way round.
    #[cfg(feature = "gui")]
    Studio(StudioArgs),
}

/// Tune, hear, size and flash a language model for a microcontroller
#[derive(Debug, Parser)]
#[command(name = "whittle", version, arg_required_else_help = false)]
struct Cli {
    /// Print one JSON object on standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::BenchArgs),
    Boards(boards::BoardsArgs),
    Calibrate(calibrate::CalibrateArgs),
    Chat(chat::ChatArgs),
    Check(check::CheckArgs),
    Compare(compare::CompareArgs),
    Compress(compress::CompressArgs),
    #[cfg(all(feature = "voice", feature = "flash"))]
    Demo(demo::DemoArgs),
    Estimate(estimate::EstimateArgs),
    Eval(eval::EvalArgs),
    Export(export::ExportArgs),
    Fetch(fetch::FetchArgs),
    Info(info::InfoArgs),
    Models(models::ModelsArgs),
    Report(report::ReportArgs),
    Reproduce(reproduce::ReproduceArgs),
    Rotate(rotate::RotateArgs),
    Sweep(sweep::SweepArgs),
    #[cfg(feature = "voice")]
    Talk(talk::TalkArgs),
    Trim(trim::TrimArgs),
    Tune(tune::TuneArgs),
    #[cfg(feature = "flash")]
    Flash(flash::FlashArgs),
    #[cfg(feature = "flash")]
    Ports(flash::PortsArgs),
    #[cfg(feature = "gui")]
    Studio(StudioArgs),
}

impl Command {
    /// What it reads and writes by name; nothing of those that write no file.
    fn files(&self) -> Files {
        match self {
            Self::Compress(args) => args.files(),
            Self::Eval(args) => args.files(),
            Self::Export(args) => args.files(),
            Self::Report(args) => args.files(),
            Self::Rotate(args) => args.files(),
            Self::Sweep(args) => args.files(),
            #[cfg(feature = "voice")]
            Self::Talk(args) => args.files(),
            Self::Trim(args) => args.files(),
            Self::Tune(args) => args.files(),
            #[cfg(feature = "gui")]
            Self::Studio(args) => args.files(),
            Self::Bench(_)
            | Self::Boards(_)
            | Self::Calibrate(_)
            | Self::Chat(_)
            | Self::Check(_)
            | Self::Compare(_)
            | Self::Estimate(_)
            | Self::Fetch(_)
            | Self::Info(_)
            | Self::Models(_)
            | Self::Reproduce(_) => Files::default(),
            #[cfg(all(feature = "voice", feature = "flash"))]
            Self::Demo(_) => Files::default(),
            #[cfg(feature = "flash")]
            Self::Flash(_) | Self::Ports(_) => Files::default(),
        }
    }
}

/// The commands and options that [`main`] takes.
#[must_use]
pub fn arguments() -> clap::Command {
    Cli::command()
}

/// Bits of an element of the KV cache, as `--kv-bits` takes them.
fn kv_bits(text: &str) -> Result<CachePrecision, String> {
    let bits = text.parse().ok().and_then(CachePrecision::from_bits);
    bits.ok_or_else(|| "expected 16, 8 or 4".to_owned())
}

/// Parses the arguments of this process and runs the command, or says that the window is wanted.
#[must_use]
pub fn main() -> Next {
    let cli = Cli::parse();
    signals::prepare();
    let output = Output::new(cli.json);
    let files = cli.command.as_ref().map(Command::files).unwrap_or_default();
    if let Err(error) = files.check() {
        return Next::Exit(output.finish(Err(error)));
    }
    let result: anyhow::Result<()> = match cli.command {
        #[cfg(feature = "gui")]
        None => return Next::Studio(StudioArgs::default()),
        #[cfg(not(feature = "gui"))]
        None => Err(anyhow::anyhow!(
            "this build has no window: see `whittle --help`"
        )),
        Some(command) => match command {
            Command::Bench(args) => bench::run(&args, &output),
            Command::Boards(args) => boards::run(&args, &output),
            Command::Calibrate(args) => calibrate::run(&args, &output),
            Command::Chat(args) => chat::run(&args, &output),
            Command::Check(args) => check::run(&args, &output),
            Command::Compare(args) => compare::run(&args, &output),
            Command::Compress(args) => compress::run(&args, &output),
            #[cfg(all(feature = "voice", feature = "flash"))]
            Command::Demo(args) => demo::run(&args, &output),
            Command::Estimate(args) => estimate::run(&args, &output),
            Command::Eval(args) => eval::run(&args, &output),
            Command::Export(args) => export::run(&args, &output),
            Command::Fetch(args) => fetch::run(&args, &output),
            Command::Info(args) => info::run(&args, &output),
            Command::Models(args) => models::run(&args, &output),
            Command::Report(args) => report::run(&args, &output),
            Command::Sweep(args) => sweep::run(&args, &output),
            Command::Reproduce(args) => reproduce::run(&args, &output),
            Command::Rotate(args) => rotate::run(&args, &output),
            #[cfg(feature = "voice")]
            Command::Talk(args) => talk::run(&args, &output),
            Command::Trim(args) => trim::run(&args, &output),
            Command::Tune(args) => tune::run(&args, &output),
            #[cfg(feature = "flash")]
            Command::Flash(args) => flash::run(&args, &output),
            #[cfg(feature = "flash")]
            Command::Ports(args) => flash::list(&args, &output),
            #[cfg(feature = "gui")]
            Command::Studio(args) => return Next::Studio(args),
        },
    };
    Next::Exit(output.finish(result))
}
