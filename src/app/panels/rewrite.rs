//! The Rewrite dialog: the open model with fewer tokens, or in another basis, as a file that is opened.

use super::number::number_ui;
use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::forms::Rewrite;
use crate::app::jobs::JobKind;
use crate::app::state::{Popup, State};
use crate::app::theme;
use crate::rewrite::Basis;
use eframe::egui::{Button, Context, DragValue, Ui};

/// Draws the dialog over the window.
pub(in crate::app) fn rewrite_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "rewrite").show(ctx, |ui| {
        ui.set_width(560.0);
        ui.label(theme::title("Rewrite").heading());
        ui.add_space(6.0);
        ui.label(theme::head(
            "Writes the open model in another form, as a GGUF file, and opens that",
        ));
        ui.add_space(10.0);
        trim_ui(ui, state, commands);
        ui.add_space(14.0);
        rotate_ui(ui, state, commands);
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// The vocabulary of a text.
fn trim_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let is_free = is_free(state);
    let vocabulary = state
        .loaded()
        .map_or(0, |loaded| loaded.model.hyperparameters.vocab as usize);
    let form = &mut state.view.rewrite;
    ui.label(theme::title("Fewer tokens"));
    ui.label(theme::head(
        "Keeps what this text is cut into, and what spells any other; drops the rows of the rest",
    ));
    super::path_ui(
        ui,
        &mut form.text_path,
        "Text to trim for",
        Purpose::TrimText,
        commands,
    );
    ui.horizontal(|ui| {
        let value = DragValue::new(&mut form.tokens);
        let name = ("Most tokens to keep", "");
        number_ui(ui, value, name, 0..=vocabulary, commands);
        ui.label(format!(
            "of {vocabulary} tokens at most; 0 keeps all that occur"
        ));
    });
    super::path_ui(
        ui,
        &mut form.trimmed_path,
        "Trimmed model",
        Purpose::Trimmed,
        commands,
    );
    let is_named = !form.text_path.is_empty() && !form.trimmed_path.is_empty();
    let button = ui.add_enabled(is_free && is_named, Button::new("Trim vocabulary"));
    if button.clicked() {
        commands.push(Command::Rewrite(Rewrite::Trim {
            text: form.text_path.path(),
            tokens: form.tokens,
            path: form.trimmed_path.path(),
        }));
    }
}

/// A random other basis.
fn rotate_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let is_free = is_free(state);
    let form = &mut state.view.rewrite;
    ui.label(theme::title("Another basis"));
    ui.label(theme::head(
        "The same function, turned by random rotations, in 16 bits: no direction stands out",
    ));
    ui.horizontal(|ui| {
        for (basis, name) in [
            (Basis::Both, "Both"),
            (Basis::Stream, "Residual stream"),
            (Basis::Heads, "Values of each head"),
        ] {
            ui.radio_value(&mut form.basis, basis, name);
        }
    });
    super::path_ui(
        ui,
        &mut form.rotated_path,
        "Rotated model",
        Purpose::Rotated,
        commands,
    );
    let is_named = !form.rotated_path.is_empty();
    let button = ui.add_enabled(is_free && is_named, Button::new("Rotate"));
    if button.clicked() {
        commands.push(Command::Rewrite(Rewrite::Rotate {
            basis: form.basis,
            path: form.rotated_path.path(),
        }));
    }
}

fn is_free(state: &State) -> bool {
    state.loaded().is_some() && state.jobs.may_start(JobKind::Rewrite)
}
