//! The command line: one short function for each library call.
//!
//! Every command prints for people, or with `--json` one object on standard output. Diagnostics go
//! to standard error. Exit code 0, 1 for a failure, 2 for wrong usage.

mod boards;
mod output;

pub use output::Output;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
    Boards(boards::BoardsArgs),
}

/// Parses the arguments of this process, runs the command, returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    let result: anyhow::Result<()> = match cli.command {
        None => Ok(()),
        Some(command) => match command {
            Command::Boards(args) => boards::run(&args, &output),
        },
    };
    output.finish(result)
}
