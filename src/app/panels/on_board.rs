//! What a board does with the model that is on it: answer, measure itself, give it up for another or for none.

use crate::app::command::Command;
use crate::app::jobs::JobKind;
use crate::app::state::State;
use crate::app::{theme, units};
use crate::measured::{BoardReport, WorkName};
use eframe::egui::{Button, Ui};

/// Draws the buttons, and what the board has measured.
pub(super) fn on_board_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    if let Some(running) = state.jobs.get(JobKind::MeasureBoard) {
        ui.horizontal(|ui| {
            ui.label(theme::weak("The board measures itself…"));
            let cancel = ui.add_enabled(!running.is_stopping(), Button::new("Cancel"));
            if cancel.accessible_name("Cancel measuring").clicked() {
                running.cancel();
            }
        });
    }
    ui.horizontal(|ui| {
        let has_port = !state.view.port.is_empty();
        let ask = ui.add_enabled(has_port, Button::new("Let the board answer"));
        let hint = "In the assistant, in place of the candidate: with the hash of its answer and its own times";
        if ask.on_hover_text(hint).clicked() {
            commands.push(Command::SeatBoard(state.view.port.clone()));
        }
        let is_free = has_port && state.jobs.may_start(JobKind::MeasureBoard);
        let measure = ui.add_enabled(is_free, Button::new("Measure"));
        let hint = "The board answers what was said last, and says what each kind of work took, how fast its memories are and \
                    what it used; kept for this account's estimates";
        let measure = measure.on_hover_text(hint);
        if measure.accessible_name("Let the board measure itself").clicked() {
            commands.push(Command::MeasureBoard);
        }
        let is_free = has_port && state.jobs.may_start(JobKind::Flash);
        let send = ui.add_enabled(is_free, Button::new("Send the model alone"));
        let hint = "To the firmware that runs there, which writes it: over its own line, or tcp:HOST:PORT where it runs Linux";
        if send.on_hover_text(hint).clicked() {
            commands.push(Command::SendModel);
        }
        ui.add_enabled_ui(is_free, |ui| {
            ui.menu_button("Erase its model…", |ui| {
                ui.label("The firmware stays, answers, and says that it has no model");
                if ui.button("Erase").clicked() {
                    commands.push(Command::EraseModel);
                }
            })
        });
    });
    if let Some(report) = &state.view.board_report {
        report_ui(ui, report);
    }
}

/// What a board measured of itself.
fn report_ui(ui: &mut Ui, report: &BoardReport) {
    ui.label(theme::weak(report.title()));
    let clock = report.clock;
    ui.label(format!(
        "First token {} s, then {} tokens/s {clock}; the stack: {}",
        units::short(report.first_token_secs),
        units::short(report.tokens_per_second()),
        report.stack.map_or_else(
            || "not watched".to_owned(),
            |stack| format!(
                "{} of {}",
                units::bytes(stack.used_bytes.into()),
                units::bytes(stack.bytes.into())
            )
        )
    ));
    let whole = report.decode_secs / f64::from(report.tokens);
    let share = |work: WorkName| {
        let share = 100.0 * report.secs_of(work) / whole;
        format!("{} {share:.0} %", work.name())
    };
    let shares: Vec<String> = WorkName::ALL.into_iter().map(share).collect();
    ui.label(format!("Of a token: {}", shares.join(", ")));
    for memory in &report.memories {
        let rate = units::short(memory.bytes_per_second() / 1e6);
        let name = &memory.name;
        ui.label(format!("{name} read at {rate} MB/s"));
    }
    ui.label(theme::weak("Kept: estimates for this chip rest on it"));
}
