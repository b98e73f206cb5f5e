//! What can be opened: models of the catalog, and whatever has a path.

use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::jobs::JobKind;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use eframe::egui::{Align, Button, Context, Key, Layout, TextEdit, Ui};

/// Draws the dialog over the window.
pub(in crate::app) fn open_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "open").show(ctx, |ui| {
        ui.set_width(560.0);
        ui.label(theme::title("Open").heading());
        ui.add_space(6.0);
        contents_ui(ui, state, commands);
        ui.add_space(10.0);
        ui.label(theme::head(
            "Or the open model in another form: with fewer tokens, or in another basis",
        ));
        let has_model = state.loaded().is_some();
        let rewrite = ui.add_enabled(has_model, Button::new("Rewrite…"));
        if rewrite.clicked() {
            commands.push(Command::Show(Popup::Rewrite));
        }
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// The list and the path field.
pub(super) fn contents_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.label(theme::head("Models of the catalog"));
    for model in &state.view.listed {
        ui.horizontal(|ui| {
            ui.label(&model.title);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let (verb, can_start, command) = if model.installed {
                    ("Open", true, Command::Open(model.name.clone().into()))
                } else {
                    let can_fetch = state.jobs.may_start(JobKind::Fetch);
                    ("Fetch", can_fetch, Command::Fetch(model.name.clone()))
                };
                let button = ui.add_enabled(can_start, Button::new(verb));
                let name = format!("{verb} {}", model.name);
                if button.accessible_name(name).clicked() {
                    commands.push(command);
                }
                ui.label(theme::mono(units::bytes(model.bytes)).color(theme::WEAK));
            });
        });
    }
    ui.add_space(10.0);
    ui.label(theme::head(
        "Or a GGUF file, a Hugging Face folder, a project or a recipe; a file may also be dropped on the window",
    ));
    ui.horizontal(|ui| {
        let field = TextEdit::singleline(&mut state.view.open_path.text)
            .hint_text("Path")
            .desired_width(ui.available_width() - 145.0);
        let field = ui.add(field).accessible_name("Path to open");
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let path = &state.view.open_path;
        let open = ui
            .add_enabled(!path.is_empty(), Button::new("Open"))
            .accessible_name("Open path");
        if (open.clicked() || entered) && !path.is_empty() {
            commands.push(Command::Open(path.as_typed()));
        }
        if ui.button("Browse…").clicked() {
            commands.push(Command::Choose(Purpose::Open));
        }
    });
}
