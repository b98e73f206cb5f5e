//! `whittle boards`: the built-in boards and what is known of them; `whittle boards report`: what one measured of itself; `whittle
//! boards erase`: a model taken off one.

#[cfg(feature = "flash")]
mod erase;
mod report;

use super::Output;
use crate::board::{Board, Fact, Memory};
use std::fmt::Write as _;

/// List the boards that are known; have one measure itself, or erase its model
#[derive(Debug, clap::Args)]
pub(super) struct BoardsArgs {
    #[command(subcommand)]
    command: Option<BoardsCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum BoardsCommand {
    Report(report::ReportArgs),
    #[cfg(feature = "flash")]
    Erase(erase::EraseArgs),
}

pub(super) fn run(args: &BoardsArgs, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        Some(BoardsCommand::Report(args)) => report::run(args, output),
        #[cfg(feature = "flash")]
        Some(BoardsCommand::Erase(args)) => erase::run(args, output),
        None => list(output),
    }
}

fn list(output: &Output) -> anyhow::Result<()> {
    let boards = super::reports::known();
    let firmware = firmware();
    let of_each = firmware
        .iter()
        .map(|(id, told)| (id.clone(), told.of_itself.clone()));
    let statuses = boards
        .iter()
        .map(|board| (board.id.clone(), status(board).into()));
    let reported = boards.iter().filter_map(|board| {
        let report = board.measured.as_ref()?;
        Some((board.id.clone(), serde_json::json!(report.title())))
    });
    let object = serde_json::json!({
        "boards": boards,
        "reports": reported.collect::<serde_json::Map<_, _>>(),
        "firmware": of_each.collect::<serde_json::Map<_, _>>(),
        "firmware_status": statuses.collect::<serde_json::Map<_, _>>(),
    });
    output.emit(&object, |_| {
        let lines = firmware
            .iter()
            .map(|(id, told)| format!("\nThe firmware that comes along for {id} {}", told.line));
        table(&boards) + &lines.collect::<String>()
    })
}

/// What the firmware that comes along for a board says of itself.
struct Told {
    of_itself: serde_json::Value,
    line: String,
}

/// By the board's id, for each board that firmware comes along for.
fn firmware() -> Vec<(String, Told)> {
    #[cfg(feature = "flash")]
    let told = Board::presets().iter().filter_map(|board| {
        let firmware = crate::link::Firmware::prebuilt(board)?;
        let told = Told {
            of_itself: serde_json::json!(firmware),
            line: firmware.to_string(),
        };
        Some((board.id.clone(), told))
    });
    #[cfg(not(feature = "flash"))]
    let told = std::iter::empty();
    told.collect()
}

/// How far the firmware that comes along for a board has been tried.
fn status(board: &Board) -> &'static str {
    #[cfg(feature = "flash")]
    return crate::link::status(board).name();
    #[cfg(not(feature = "flash"))]
    {
        let _none = board;
        "none"
    }
}

/// One line a board; `?` where a number is unknown.
fn table(boards: &[Board]) -> String {
    let mut text = format!(
        "{:<20} {:<12} {:>8} {:>6} {:>9} {:>9} {:>9} {:>7} {:>6}  {:<24}  {}\n",
        "id",
        "vendor",
        "clock",
        "cores",
        "SRAM",
        "PSRAM",
        "flash",
        "MAC/cyc",
        "power",
        "firmware",
        "core"
    );
    for board in boards {
        let flash: u64 = [&board.internal_flash, &board.serial_flash]
            .into_iter()
            .flatten()
            .map(size)
            .sum();
        let macs = board
            .measured_macs_per_cycle
            .as_ref()
            .map(|fact| format!("{:.2}", fact.value));
        let power = board
            .active_power_watts
            .as_ref()
            .map(|fact| format!("{:.0} mW", fact.value * 1e3));
        writeln!(
            text,
            "{:<20} {:<12} {:>4} MHz {:>6} {:>9} {:>9} {:>9} {:>7} {:>6}  {:<24}  {}",
            board.id,
            board.vendor,
            board.clock_hz.value / 1_000_000,
            board.cores.value,
            kibibytes(&board.sram_bytes),
            board
                .psram
                .as_ref()
                .map_or_else(|| "-".to_owned(), |memory| kibibytes(&memory.bytes)),
            match flash {
                0 => "-".to_owned(),
                flash => format!("{} KiB", flash / 1024),
            },
            macs.as_deref().unwrap_or("?"),
            power.as_deref().unwrap_or("?"),
            status(board),
            board.core,
        )
        .expect("writing to a string cannot fail");
    }
    let reported = boards.iter().filter_map(|board| {
        let report = board.measured.as_ref()?;
        Some(format!("{:<16} {}\n", board.id, report.title()))
    });
    let reported: String = reported.collect();
    text += "MAC/cyc is what other programs reached on such a chip; what is estimated for a board is unvalidated until one \
             of its kind has sent a report (whittle boards report)\n";
    text + &reported
}

fn size(memory: &Memory) -> u64 {
    memory.bytes.value
}

fn kibibytes(fact: &Fact<u64>) -> String {
    format!("{} KiB", fact.value / 1024)
}
