//! `whittle boards erase`: takes the model off a board.

use crate::cli::Output;
use crate::cli::flash::open;
use crate::link::{EMULATED_FLASH_BYTES, erase_model};
use clap::builder::NonEmptyStringValueParser;

/// Erase the model on a board; its firmware stays, answers, and says that it has none
#[derive(Debug, clap::Args)]
pub(super) struct EraseArgs {
    /// Serial port of the board; sim:esp32-c3 is an emulated one, tcp:HOST:PORT one that runs Linux
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    port: String,
}

pub(super) fn run(args: &EraseArgs, output: &Output) -> anyhow::Result<()> {
    let device = open(&args.port, EMULATED_FLASH_BYTES)?;
    let hello = output.with_bar(|job| erase_model(&device, job))?;
    let report = serde_json::json!({ "port": args.port, "hello": hello });
    output.emit(&report, |_| format!("Erased: {}", hello.title()))
}
