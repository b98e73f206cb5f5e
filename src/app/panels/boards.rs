//! What the active candidate costs on every board, and one board in detail.

use super::errors::errors_ui;
use super::number::number_ui;
use super::{end_ui, frame};
use crate::app::command::Command;
use crate::app::state::State;
use crate::app::{theme, units};
use crate::board::{Board, Fact};
use crate::estimate::{Estimate, Options, Range, Scarce, Store, Validation};
use eframe::egui::{
    Align, ComboBox, DragValue, Frame, Layout, Panel, RichText, ScrollArea, Ui, vec2,
};
use egui_extras::{Column, TableBuilder, TableRow};
use engine::arena::CachePrecision;

/// Width of the names in the detail.
const NAMES: f32 = 112.0;
/// Longest context that can be asked of a board.
const MAX_CONTEXT: u32 = 8192;

/// Draws the board panel.
pub(in crate::app) fn boards_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let (wide, narrow) = theme::BOARDS;
    // In a narrow window the layer table comes first.
    let room = (ui.available_width() - theme::LAYERS - 24.0).max(narrow);
    Panel::right("boards")
        .default_size(wide)
        .size_range(narrow..=room.max(narrow))
        .resizable(true)
        .frame(frame())
        .show(ui, |ui| {
            if state.loaded().is_some() {
                Panel::bottom("errors")
                    .frame(Frame::NONE)
                    .show(ui, |ui| errors_ui(ui, state));
            }
            head_ui(ui, state, commands);
            if state.loaded().is_none() {
                ui.label(theme::weak("Open a model to see where it fits"));
                return;
            }
            let estimates = &state.derived.bench(state.view.active).estimates;
            let boards = &state.derived.boards;
            // In a low window both move, so that the errors below stay in sight.
            ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                #[cfg(feature = "flash")]
                let before = state.project.board.clone();
                table_ui(ui, (boards, estimates), &mut state.project.board);
                #[cfg(feature = "flash")]
                if state.project.board != before {
                    state.view.is_board_chosen = true;
                }
                ui.add_space(6.0);
                ui.separator();
                let chosen = boards
                    .iter()
                    .zip(estimates)
                    .find(|(board, _)| board.id == state.project.board);
                if let Some((board, estimate)) = chosen {
                    detail_ui(ui, board, estimate);
                }
            });
        });
}

fn head_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.label(theme::title("Boards"));
        let active = state.view.active.name();
        let turn = match state.last_turn() {
            Some(turn) => format!(
                "the last turn: {} asked, {} before the reply",
                turn.prompt, turn.unspoken
            ),
            None => format!("a turn of {} tokens", Options::default().prompt_tokens),
        };
        let estimates = &state.derived.bench(state.view.active).estimates;
        let chosen = estimates.iter().find(|e| e.id == state.project.board);
        let figures = chosen.map_or(Validation::Unvalidated, |estimate| estimate.validation);
        ui.label(theme::weak(format!("for {active}, {}", figures.name())))
            .on_hover_text(format!(
                "Times are those of {turn}. Unvalidated: no board of the kind has reported its own times. Emulated: an emulated \
                 one has counted instructions. Measured: one has measured itself"
            ));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let value = DragValue::new(&mut state.project.context_tokens).speed(8);
            number_ui(ui, value, ("Context", "tokens"), 16..=MAX_CONTEXT, commands)
                .on_hover_text("Tokens that the cache of keys and values holds");
            ui.label(theme::weak("context"));
            cache_ui(ui, &mut state.project.cache);
        });
    });
}

/// How fine keys and values are kept, here and on the board.
fn cache_ui(ui: &mut Ui, cache: &mut CachePrecision) {
    let text = |cache: CachePrecision| format!("KV {} bits", cache.bits());
    let chosen = ComboBox::from_id_salt("cache")
        .width(80.0)
        .selected_text(text(*cache))
        .show_ui(ui, |ui| {
            for precision in CachePrecision::ALL {
                ui.selectable_value(cache, precision, text(precision));
            }
        });
    chosen
        .response
        .on_hover_text("Keys and values of both candidates and of the boards; fewer bits take less RAM and blur what was said")
        .accessible_name("KV bits");
}

fn table_ui(ui: &mut Ui, (boards, estimates): (&[Board], &[Estimate]), chosen: &mut String) {
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        TableBuilder::new(ui)
            .id_salt("boards")
            .striped(true)
            .vscroll(false)
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::remainder().at_least(94.0).clip(true))
            .column(Column::exact(54.0))
            .column(Column::exact(60.0))
            .column(Column::exact(54.0))
            .column(Column::exact(60.0))
            .column(Column::exact(50.0))
            .column(Column::exact(50.0))
            .header(20.0, columns_ui)
            .body(|body| {
                body.rows(theme::ROW, estimates.len(), |mut row| {
                    let index = row.index();
                    let board = &boards[index];
                    row_ui(&mut row, board, &estimates[index], chosen);
                });
            });
    });
}

fn columns_ui(mut row: TableRow<'_, '_>) {
    row.col(|ui| {
        ui.label(theme::head("Board"));
    });
    for (text, hint) in [
        (
            "Firmware",
            "How far the firmware that comes along has been tried",
        ),
        ("Fits", "Or how much more memory it would need"),
        ("Flash", "Weights and firmware"),
        ("RAM", "Firmware, activations, keys and values"),
        ("Tokens/s", "With the context half full"),
        ("J/token", "Energy of a token, radio off"),
    ] {
        row.col(|ui| {
            end_ui(ui, theme::head(text)).on_hover_text(hint);
        });
    }
}

fn row_ui(row: &mut TableRow<'_, '_>, board: &Board, estimate: &Estimate, chosen: &mut String) {
    let is_chosen = *chosen == board.id;
    row.set_selected(is_chosen);
    row.col(|ui| {
        ui.spacing_mut().button_padding.x = 4.0;
        // What stands in brackets is in the detail below.
        let name = board.name.split(" (").next().unwrap_or(&board.name);
        let label = ui.selectable_label(is_chosen, name);
        if label
            .on_hover_text(format!("{}\n{}", board.name, board.core))
            .clicked()
        {
            chosen.clone_from(&board.id);
        }
    });
    row.col(|ui| {
        let (short, told) = firmware(board);
        end_ui(ui, theme::head(short)).on_hover_text(format!("Firmware: {told}"));
    });
    row.col(|ui| {
        let text = match (estimate.limited_by, estimate.shortage_bytes) {
            (None, _) | (_, None) => RichText::new("fits").color(theme::GOOD),
            (Some(_), Some(bytes)) => {
                theme::mono(format!("+{}", units::bytes(bytes))).color(theme::BAD)
            }
        };
        let hint = match (estimate.limited_by, &estimate.limit) {
            (Some(Scarce::Flash), Some(limit)) => format!("More flash: {limit}"),
            (Some(Scarce::Ram), Some(limit)) => format!("More RAM: {limit}"),
            (_, _) => "Flash and RAM suffice".to_owned(),
        };
        end_ui(ui, text).on_hover_text(hint);
    });
    row.col(|ui| {
        end_ui(ui, theme::mono(units::bytes(estimate.flash_bytes)));
    });
    row.col(|ui| {
        end_ui(ui, theme::mono(units::bytes(estimate.ram_bytes)));
    });
    let (speed, energy) = (&estimate.tokens_per_second, &estimate.joules_per_token);
    row.col(|ui| range_ui(ui, speed.as_ref(), Quantity::Time, estimate));
    row.col(|ui| range_ui(ui, energy.as_ref(), Quantity::Energy, estimate));
}

/// How far the firmware that comes along for a board has been tried: in a word, and as it is told elsewhere.
fn firmware(board: &Board) -> (&'static str, &'static str) {
    #[cfg(feature = "flash")]
    {
        use crate::link::{FirmwareStatus, status};
        let status = status(board);
        let short = match status {
            FirmwareStatus::Emulated => "emulated",
            FirmwareStatus::NeverRun => "never run",
            FirmwareStatus::SourceOnly => "source",
            FirmwareStatus::None => "none",
        };
        (short, status.name())
    }
    #[cfg(not(feature = "flash"))]
    {
        let _none = board;
        ("none", "none")
    }
}

/// What a range is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Time,
    Energy,
}

/// The board's unknown numbers that keep a quantity unknown.
fn missing(estimate: &Estimate, quantity: Quantity) -> String {
    let needed = |name: &&&str| quantity == Quantity::Energy || **name != "active_power_watts";
    let names: Vec<&str> = estimate.missing.iter().filter(needed).copied().collect();
    names.join(", ")
}

/// The middle of a range, or why there is none.
fn range_ui(ui: &mut Ui, range: Option<&Range>, quantity: Quantity, estimate: &Estimate) {
    match range {
        Some(range) => {
            let text = theme::mono(units::short(range.mid));
            end_ui(ui, text).on_hover_text(format!(
                "{}, {}\n{}",
                units::range(range.low, range.high),
                estimate.validation.name(),
                range.source
            ));
        }
        None => {
            let hint = format!("Unknown: missing {}", missing(estimate, quantity));
            end_ui(ui, theme::head("unknown")).on_hover_text(hint);
        }
    }
}

fn detail_ui(ui: &mut Ui, board: &Board, estimate: &Estimate) {
    ui.label(theme::title(&board.name));
    ui.label(theme::weak(format!("{} · {}", board.vendor, board.core)));
    match &estimate.limit {
        None => ui.label(RichText::new("Fits").color(theme::GOOD)),
        Some(limit) => ui.label(RichText::new(format!("Does not fit: {limit}")).color(theme::BAD)),
    };
    ui.add_space(4.0);
    let (_, told) = firmware(board);
    let why = "How far the firmware that comes along has been tried; no board has run it yet";
    line_ui(ui, "Firmware", told, why);
    let store = match estimate.store {
        Store::InternalFlash => "read in place from flash on the chip",
        Store::SerialFlash => "read in place from serial flash",
        Store::Psram => "copied to external RAM at start",
    };
    line_ui(ui, "Weights", store, "Where the weights are read from");
    if estimate.prefix_bytes > 0 {
        let bytes = units::bytes(estimate.prefix_bytes);
        let why = "Keys and values of the system text, computed when the model is packed";
        line_ui(ui, "System text in flash", &bytes, why);
    }
    let kv = units::bytes(estimate.kv_bytes);
    let ram = format!(
        "{}, of it keys and values {kv}",
        units::bytes(estimate.ram_bytes)
    );
    line_ui(
        ui,
        "RAM in use",
        &ram,
        "Firmware, activations, keys and values",
    );
    let times = [
        (
            "First token",
            estimate.first_token_seconds.as_ref(),
            Quantity::Time,
            "s",
        ),
        (
            "Reply begins",
            estimate.reply_seconds.as_ref(),
            Quantity::Time,
            "s",
        ),
        (
            "Speed",
            estimate.tokens_per_second.as_ref(),
            Quantity::Time,
            "tokens/s",
        ),
        (
            "Energy",
            estimate.joules_per_token.as_ref(),
            Quantity::Energy,
            "J/token",
        ),
    ];
    for (name, range, quantity, unit) in times {
        match range {
            Some(range) => {
                let around = units::range(range.low, range.high);
                let text = format!("{around} {unit}, {}", estimate.validation.name());
                line_ui(ui, name, &text, &range.source);
            }
            None => {
                let missing = format!("unknown: missing {}", missing(estimate, quantity));
                line_ui(ui, name, &missing, "Nobody measured or published it");
            }
        }
    }
    facts_ui(ui, board);
}

/// The board's own numbers, each with its source.
fn facts_ui(ui: &mut Ui, board: &Board) {
    #[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^52")]
    let clock = format!("{} MHz", units::short(board.clock_hz.value as f64 / 1e6));
    fact_ui(ui, "Clock", &clock, &board.clock_hz);
    let sram = units::bytes(board.sram_bytes.value);
    fact_ui(ui, "RAM on the chip", &sram, &board.sram_bytes);
    for (name, memory) in [
        ("Flash on the chip", &board.internal_flash),
        ("Serial flash", &board.serial_flash),
        ("External RAM", &board.psram),
    ] {
        let Some(memory) = memory else { continue };
        let mut text = units::bytes(memory.bytes.value);
        let mut hint = source(&memory.bytes);
        if let Some(rate) = &memory.measured_bytes_per_second {
            text += &format!(", read at {} MB/s", units::short(rate.value / 1e6));
            hint += &format!("\nRate: {}", source(rate));
        }
        line_ui(ui, name, &text, &hint);
    }
    match &board.active_power_watts {
        Some(power) => {
            let text = format!("{} W", units::short(power.value));
            fact_ui(ui, "Power, computing", &text, power);
        }
        None => line_ui(
            ui,
            "Power, computing",
            "unknown",
            "Nobody measured or published it",
        ),
    }
}

fn source<T>(fact: &Fact<T>) -> String {
    let kind = match fact.evidence {
        crate::board::Evidence::Measured => "Measured",
        crate::board::Evidence::Published => "Published",
        crate::board::Evidence::Computed => "Computed",
        crate::board::Evidence::Unconfirmed => "Unconfirmed",
    };
    format!("{kind}: {}", fact.source)
}

fn fact_ui<T>(ui: &mut Ui, name: &str, text: &str, fact: &Fact<T>) {
    line_ui(ui, name, text, &source(fact));
}

fn line_ui(ui: &mut Ui, name: &str, text: &str, hint: &str) {
    ui.horizontal_top(|ui| {
        ui.allocate_ui(vec2(NAMES, 18.0), |ui| {
            ui.set_min_width(NAMES);
            ui.label(theme::weak(name));
        });
        // Inside a column of its own a long text wraps.
        ui.vertical(|ui| ui.label(text).on_hover_text(hint));
    });
}
