//! Writing the active candidate to a board.

use super::on_board::on_board_ui;
use super::output_ui;
use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::jobs::JobKind;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use crate::board::{Board, FlashMethod};
use crate::link::{EMULATED, Firmware, Greeting};
use eframe::egui::{Button, ComboBox, Context, Grid, ProgressBar, RichText, TextEdit, Ui};
use std::path::PathBuf;
use std::sync::PoisonError;

/// Draws the dialog over the window.
pub(in crate::app) fn flash_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "flash").show(ctx, |ui| {
        ui.set_width(560.0);
        let name = state.view.active.name();
        ui.label(theme::title(format!("Flash candidate {name}")).heading());
        ui.add_space(6.0);
        Grid::new("flash")
            .num_columns(2)
            .spacing([12.0, 8.0])
            .show(ui, |ui| fields_ui(ui, state, commands));
        ui.add_space(8.0);
        action_ui(ui, state, commands);
        plan_ui(ui, state);
        result_ui(ui, state);
        ui.separator();
        on_board_ui(ui, state, commands);
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

fn fields_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.label(theme::weak("Board"));
    let chosen = Board::find(&state.project.board);
    ComboBox::from_id_salt("flash board")
        .selected_text(chosen.map_or("choose", |board| board.name.as_str()))
        .width(260.0)
        .truncate()
        .show_ui(ui, |ui| {
            for board in Board::presets() {
                let is_ours = matches!(
                    board.flash_method,
                    FlashMethod::EspressifSerial | FlashMethod::Linux
                );
                ui.add_enabled_ui(is_ours, |ui| {
                    let id = board.id.clone();
                    let choice = ui.selectable_value(&mut state.project.board, id, &board.name);
                    if choice.clicked() {
                        state.view.is_board_chosen = true;
                    }
                });
            }
        })
        .response
        .accessible_name("Board to flash");
    ui.end_row();

    port_ui(ui, state, commands);

    ui.label(theme::weak("Firmware"));
    ui.horizontal(|ui| {
        let mut text = state
            .project
            .firmware
            .as_ref()
            .map_or_else(String::new, |path| path.display().to_string());
        let field = TextEdit::singleline(&mut text)
            .hint_text("the one that comes along, or an ELF file")
            .desired_width(260.0);
        if ui.add(field).accessible_name("Firmware path").changed() {
            state.project.firmware = Some(PathBuf::from(text)).filter(|p| p.as_os_str() != "");
        }
        let browse = ui.button("Browse…").accessible_name("Browse for firmware");
        if browse.clicked() {
            commands.push(Command::Choose(Purpose::Firmware));
        }
    });
    ui.end_row();

    if let Some(firmware) = chosen.and_then(Firmware::prebuilt) {
        ui.label(theme::weak("Comes along"));
        ui.label(theme::weak(format!("A firmware that {firmware}")));
        ui.end_row();
    }
}

fn runs_linux(board: Option<&Board>) -> bool {
    board.is_some_and(|board| board.flash_method == FlashMethod::Linux)
}

fn port_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.label(theme::weak("Port"));
    ui.horizontal(|ui| {
        let field = TextEdit::singleline(&mut state.view.port)
            .hint_text("a serial port, or tcp:HOST:PORT")
            .desired_width(260.0);
        ui.add(field).accessible_name("Port");
        let menu = ui.menu_button("Ports…", |ui| {
            let mut port_ui = |name: &str, what: &str| {
                let text = format!("{name}  {what}");
                let is_chosen = state.view.port == name;
                if ui.selectable_label(is_chosen, text.trim_end()).clicked() {
                    name.clone_into(&mut state.view.port);
                }
            };
            for port in &state.view.ports {
                port_ui(&port.name, port.product.as_deref().unwrap_or_default());
            }
            port_ui(EMULATED, "an emulated ESP32-C3");
        });
        if menu.response.clicked() {
            commands.push(Command::ListPorts);
        }
    });
    ui.end_row();
}

fn action_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    match state.jobs.get(JobKind::Flash) {
        Some(running) => {
            let report = running.report();
            ui.horizontal(|ui| {
                let bar = ProgressBar::new(report.fraction.unwrap_or(0.0)).desired_width(420.0);
                ui.add(bar.text(report.stage));
                let cancel = ui.add_enabled(!running.is_stopping(), Button::new("Cancel"));
                if cancel.accessible_name("Cancel flashing").clicked() {
                    running.cancel();
                }
            });
        }
        None if runs_linux(Board::find(&state.project.board)) => {
            ui.label(theme::weak(
                "It runs Linux: program, model and how to copy and start them go into a folder",
            ));
            let field = &mut state.view.bundle_path;
            let names = ("Folder for the board", "Write");
            if output_ui(ui, field, names, Purpose::Bundle, commands) {
                commands.push(Command::ExportBundle(field.path()));
            }
        }
        None => {
            let board = Board::find(&state.project.board);
            let has_firmware =
                state.project.firmware.is_some() || board.and_then(Firmware::prebuilt).is_some();
            // One port, one job.
            let is_free = state.jobs.may_start(JobKind::Flash);
            let is_ready = has_firmware && !state.view.port.is_empty() && is_free;
            ui.horizontal(|ui| {
                let button = ui.add_enabled(is_ready, Button::new("Flash"));
                let button = button.on_disabled_hover_text(
                    "Choose a port, and a board that firmware comes along for or its firmware; the board must not be answering",
                );
                if button.accessible_name("Flash the board").clicked() {
                    commands.push(Command::Flash);
                }
                let look = ui.add_enabled(is_ready, Button::new("Look first"));
                let hint =
                    "What runs on the board, and what flashing it would change; nothing is written";
                let look = look.on_hover_text(hint);
                if look.accessible_name("Look at the board first").clicked() {
                    commands.push(Command::PlanFlash);
                }
                let keep =
                    ui.checkbox(&mut state.view.is_backed_up, "Keep the old flash in a file");
                keep.on_hover_text("Reads all of it before the first byte is written");
            });
        }
    }
}

/// What runs on the board, what goes where, how much of it is there already, and how long the rest takes.
fn plan_ui(ui: &mut Ui, state: &State) {
    let shown = state.view.flash_plan.lock();
    let shown = shown.unwrap_or_else(PoisonError::into_inner);
    let Some((before, plan)) = &*shown else {
        return;
    };
    let runs = before.as_ref().map_or_else(
        || "nothing of Whittle's that answers".to_owned(),
        Greeting::title,
    );
    ui.label(theme::weak(format!("Found there: {runs}")));
    Grid::new("flash plan")
        .num_columns(4)
        .spacing([16.0, 2.0])
        .show(ui, |ui| {
            for part in &plan.parts {
                ui.label(theme::mono(format!("{:#09x}", part.address)));
                ui.label(part.part.file_name());
                ui.label(theme::mono(units::bytes(part.bytes)));
                let changes = match part.write_bytes {
                    0 => "unchanged".to_owned(),
                    bytes => format!("{} to write", units::bytes(bytes)),
                };
                ui.label(changes);
                ui.end_row();
            }
        });
    ui.label(theme::weak(plan.time()));
}

fn result_ui(ui: &mut Ui, state: &State) {
    if let Some(deployed) = &state.view.flashed {
        let flashed = &deployed.flashed;
        let text = format!(
            "{}: {} verified on the board, {} written, {} were there already",
            flashed.chip,
            units::bytes(flashed.verified_bytes),
            units::bytes(flashed.written_bytes),
            units::bytes(flashed.unchanged_bytes)
        );
        ui.label(text);
        match (&deployed.proof, &deployed.unproven) {
            (Some(proof), _) => {
                let text = format!("The board answers as here: logits {}", proof.self_test);
                ui.label(RichText::new(text).color(theme::GOOD));
            }
            (None, Some(why)) => {
                ui.label(RichText::new(format!("Not known to run: {why}")).color(theme::BAD));
            }
            (None, None) => {}
        }
        return;
    }
    if let Some(notice) = state.view.notices.last() {
        ui.label(theme::weak(&notice.text));
    }
}
