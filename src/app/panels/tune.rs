//! The Tune dialog: a goal in, a recipe out, with what was predicted and what was measured of it.

use super::number::number_ui;
use crate::app::command::Command;
use crate::app::forms::GoalKind;
use crate::app::jobs::JobKind;
use crate::app::measured::TuneFigures;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use crate::board::Board;
use eframe::egui::{Button, Context, DragValue, ProgressBar, Ui};

/// Most exchanges that can be asked for.
const MOST_EXCHANGES: usize = 1000;

/// Draws the dialog over the window.
pub(in crate::app) fn tune_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "tune").show(ctx, |ui| {
        ui.set_width(520.0);
        ui.label(theme::title("Tune").heading());
        ui.add_space(6.0);
        let active = state.view.active;
        ui.label(theme::head(format!(
            "Replaces the recipe of {} by the best that keeps to the goal; one undo takes it back",
            active.name()
        )));
        calibration_ui(ui, state);
        ui.add_space(8.0);
        goal_ui(ui, state, commands);
        ui.add_space(10.0);
        match state.jobs.get(JobKind::Tune) {
            None => start_ui(ui, state, commands),
            Some(running) => {
                let report = running.report();
                ui.horizontal(|ui| {
                    let bar = ProgressBar::new(report.fraction.unwrap_or(0.0))
                        .desired_width(200.0)
                        .desired_height(8.0)
                        .fill(theme::ACCENT);
                    ui.add(bar);
                    let left = report.left().map_or_else(String::new, |left| {
                        format!(", {} left of this step", units::duration(left))
                    });
                    ui.label(theme::mono(format!("{}{left}", report.stage)));
                });
                let cancel = ui.add_enabled(!running.is_stopping(), Button::new("Cancel tune"));
                let hint =
                    "What was measured by then is kept, and the next tune goes on from there";
                if cancel.on_hover_text(hint).clicked() {
                    running.cancel();
                }
            }
        }
        if let Some(tuned) = &state.derived.tuned {
            ui.add_space(10.0);
            result_ui(ui, tuned);
        }
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

fn calibration_ui(ui: &mut Ui, state: &State) {
    let text = match &state.derived.calibration {
        Some(calibration) => format!(
            "Calibrated on {} tokens, kept in the cache",
            calibration.origin.tokens
        ),
        None => "Calibrates first: minutes for a small model, once".to_owned(),
    };
    ui.label(theme::weak(text));
}

fn goal_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let board = Board::find(&state.project.board);
    let form = &mut state.view.tune;
    ui.horizontal(|ui| {
        ui.radio_value(&mut form.kind, GoalKind::Megabytes, "Megabytes");
        let value = DragValue::new(&mut form.megabytes)
            .speed(0.1)
            .max_decimals(2);
        let name = ("Goal in megabytes", "MB");
        number_ui(ui, value, name, 0.01..=1e6, commands)
            .on_hover_text("Most bytes of the whole packed file");
    });
    ui.horizontal(|ui| {
        ui.radio_value(&mut form.kind, GoalKind::BitsPerWeight, "Bits per weight");
        let value = DragValue::new(&mut form.bits_per_weight)
            .speed(0.02)
            .max_decimals(2);
        let name = ("Goal in bits per weight", "bits");
        number_ui(ui, value, name, 0.5..=16.0, commands)
            .on_hover_text("Most bits for each weight of the matrices, scales and masks counted");
    });
    let name = board.map_or("none selected", |board| board.name.as_str());
    ui.radio_value(
        &mut form.kind,
        GoalKind::Board,
        format!("Selected board: {name}"),
    )
    .on_hover_text("The most bytes with which the board holds the model");
    ui.horizontal(|ui| {
        let value = DragValue::new(&mut form.exchanges);
        number_ui(ui, value, ("Exchanges", ""), 0..=MOST_EXCHANGES, commands);
        ui.label("exchanges between matrices, each measured");
    });
}

fn start_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let can_start = state.loaded().is_some() && state.jobs.may_start(JobKind::Tune);
    let start = ui.add_enabled(can_start, Button::new("Start tune"));
    if start.clicked() {
        commands.push(Command::Tune);
    }
}

/// Predicted and measured side by side.
fn result_ui(ui: &mut Ui, tuned: &TuneFigures) {
    let (tried, kept) = tuned.exchanges;
    ui.label(theme::title(format!(
        "{}: at most {}",
        tuned.recipe.name,
        units::bytes(tuned.bytes)
    )));
    ui.label(theme::mono(tuned.text()));
    ui.label(theme::head(format!(
        "On {} positions of the tune's own text, in windows of {}; the first pick {:.4}, {kept} of {tried} exchanges kept",
        tuned.positions, tuned.window_tokens, tuned.allocated_kl
    )));
}
