//! `whittle boards`: the built-in boards and what is known of them.

use super::Output;
use crate::board::{Board, Fact, Memory};
use std::fmt::Write as _;

/// Lists the boards that an estimate can be made for
#[derive(Debug, clap::Args)]
pub(super) struct BoardsArgs {}

pub(super) fn run(_args: &BoardsArgs, output: &Output) -> anyhow::Result<()> {
    let boards = serde_json::json!({
        "boards": Board::presets(),
        "firmware": firmware().collect::<serde_json::Map<_, _>>(),
    });
    output.emit(&boards, |_| {
        let lines = firmware_lines();
        table(Board::presets()) + &lines
    })
}

/// Id of each board that firmware comes along for, and what that says of itself.
#[cfg(feature = "flash")]
fn firmware() -> impl Iterator<Item = (String, serde_json::Value)> {
    let known = Board::presets().iter();
    known.filter_map(|board| {
        let firmware = crate::link::Firmware::prebuilt(board)?;
        Some((board.id.clone(), serde_json::json!(firmware)))
    })
}

#[cfg(not(feature = "flash"))]
fn firmware() -> impl Iterator<Item = (String, serde_json::Value)> {
    std::iter::empty()
}

/// A line for each board that firmware comes along for.
fn firmware_lines() -> String {
    #[cfg(feature = "flash")]
    let lines = Board::presets().iter().filter_map(|board| {
        let firmware = crate::link::Firmware::prebuilt(board)?;
        Some(format!(
            "\nThe firmware that comes along for {} {firmware}",
            board.id
        ))
    });
    #[cfg(not(feature = "flash"))]
    let lines = std::iter::empty::<String>();
    lines.collect()
}

/// One line a board; `?` where a number is unknown.
fn table(boards: &[Board]) -> String {
    let mut text = format!(
        "{:<16} {:<12} {:>8} {:>6} {:>9} {:>9} {:>9} {:>7} {:>6}  {}\n",
        "id", "vendor", "clock", "cores", "SRAM", "PSRAM", "flash", "MAC/cyc", "power", "core"
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
            "{:<16} {:<12} {:>4} MHz {:>6} {:>9} {:>9} {:>9} {:>7} {:>6}  {}",
            board.id,
            board.vendor,
            board.clock_hz.value / 1_000_000,
            board.cores.value,
            kibibytes(&board.sram_bytes),
            board
                .psram
                .as_ref()
                .map_or_else(|| "-".to_owned(), |memory| kibibytes(&memory.bytes)),
            format!("{} KiB", flash / 1024),
            macs.as_deref().unwrap_or("?"),
            power.as_deref().unwrap_or("?"),
            board.core,
        )
        .expect("writing to a string cannot fail");
    }
    text + "MAC/cyc is what other programs reached on such a chip; no board has run Whittle yet, and what is \
            estimated for one is unvalidated\n"
}

fn size(memory: &Memory) -> u64 {
    memory.bytes.value
}

fn kibibytes(fact: &Fact<u64>) -> String {
    format!("{} KiB", fact.value / 1024)
}
