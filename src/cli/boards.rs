//! `whittle boards`: the built-in boards and what is known of them.

use super::Output;
use crate::board::{Board, Fact, Memory};
use std::fmt::Write as _;

/// Lists the boards that an estimate can be made for
#[derive(Debug, clap::Args)]
pub(super) struct BoardsArgs {}

pub(super) fn run(_args: &BoardsArgs, output: &Output) -> anyhow::Result<()> {
    let firmware = firmware();
    let of_each = firmware
        .iter()
        .map(|(id, told)| (id.clone(), told.of_itself.clone()));
    let boards = serde_json::json!({
        "boards": Board::presets(),
        "firmware": of_each.collect::<serde_json::Map<_, _>>(),
    });
    output.emit(&boards, |_| {
        let lines = firmware
            .iter()
            .map(|(id, told)| format!("\nThe firmware that comes along for {id} {}", told.line));
        table(Board::presets()) + &lines.collect::<String>()
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

/// One line a board; `?` where a number is unknown.
fn table(boards: &[Board]) -> String {
    let mut text = format!(
        "{:<20} {:<12} {:>8} {:>6} {:>9} {:>9} {:>9} {:>7} {:>6}  {}\n",
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
            "{:<20} {:<12} {:>4} MHz {:>6} {:>9} {:>9} {:>9} {:>7} {:>6}  {}",
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
