//! Writing the active candidate to a board.

use super::output_ui;
use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::jobs::JobKind;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use crate::board::{Board, FlashMethod};
use crate::link::{EMULATED, Firmware};
use eframe::egui::{Button, ComboBox, Context, Grid, Key, ProgressBar, RichText, TextEdit, Ui};
use std::path::PathBuf;

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
        result_ui(ui, state);
        ui.separator();
        ask_ui(ui, state, commands);
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
                    ui.selectable_value(&mut state.project.board, id, &board.name);
                });
            }
        })
        .response
        .accessible_name("Board to flash");
    ui.end_row();

    if !runs_linux(chosen) {
        port_ui(ui, state, commands);
    }

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
        ComboBox::from_id_salt("port")
            .selected_text(&state.view.port)
            .width(260.0)
            .show_ui(ui, |ui| {
                for port in &state.view.ports {
                    let product = port.product.as_deref().unwrap_or("");
                    let text = format!("{}  {product}", port.name);
                    ui.selectable_value(&mut state.view.port, port.name.clone(), text);
                }
                let emulated = format!("{EMULATED}  an emulated ESP32-C3");
                ui.selectable_value(&mut state.view.port, EMULATED.to_owned(), emulated);
            })
            .response
            .accessible_name("Port");
        if ui.button("Refresh").clicked() {
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
            let is_ready = has_firmware && !state.view.port.is_empty();
            let button = ui.add_enabled(is_ready, Button::new("Flash"));
            let button = button.on_disabled_hover_text(
                "Choose a port, and a board that firmware comes along for or its firmware",
            );
            if button.accessible_name("Flash the board").clicked() {
                commands.push(Command::Flash);
            }
        }
    }
}

/// What is on the board answers, beside the candidate.
fn ask_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let running = state.jobs.get(JobKind::AskBoard);
    let is_free = running.is_none() && state.jobs.get(JobKind::Flash).is_none();
    if let Some(running) = running {
        ui.horizontal(|ui| {
            ui.label(theme::weak("The board answers…"));
            let cancel = ui.add_enabled(!running.is_stopping(), Button::new("Cancel"));
            if cancel
                .accessible_name("Cancel the board's answer")
                .clicked()
            {
                running.cancel();
            }
        });
    }
    ui.horizontal(|ui| {
        let field = TextEdit::singleline(&mut state.view.board_prompt)
            .hint_text("Say something to the board")
            .desired_width(400.0);
        let field = ui.add(field).accessible_name("Say something to the board");
        let is_entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let is_ready = is_free && !state.view.board_prompt.trim().is_empty();
        let button = ui.add_enabled(is_ready, Button::new("Ask the board"));
        if is_ready && (button.clicked() || is_entered) {
            commands.push(Command::AskBoard);
        }
    });
    let Some(turn) = &state.view.board_turn else {
        return;
    };
    ui.label(&turn.answer.text);
    let (colour, verdict) = match (turn.same_here, &turn.differs) {
        (Some(true), _) => (theme::GOOD, "as here".to_owned()),
        (Some(false), _) => (theme::BAD, "not as here".to_owned()),
        (None, why) => (theme::WEAK, why.clone().unwrap_or_default()),
    };
    let rate = turn.answer.decode_tokens_per_second;
    let clock = turn.clock;
    let rate = rate.map_or_else(String::new, |rate| format!(", {rate:.1} tokens/s {clock}"));
    let first = turn.answer.first_token_secs;
    let first = first.map_or_else(String::new, |secs| {
        format!(", first token after {secs:.2} s")
    });
    let hash = turn.answer.logits_hash.0;
    ui.label(RichText::new(format!("logits {hash:016x} {verdict}")).color(colour));
    ui.label(theme::weak(format!(
        "{} tokens{first}{rate}",
        turn.answer.tokens.len()
    )));
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
