//! The questions before something is lost: where to save, whether to leave, to replace, to restore.

use super::output_ui;
use crate::app::command::{Command, LeftBehind, Unsaved};
use crate::app::dialogs::Purpose;
use crate::app::opened::Leaving;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use crate::project::autosave::Left;
use eframe::egui::{Context, Ui};
use std::path::Path;

/// Asks for the file of the project.
pub(in crate::app) fn save_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "save").show(ctx, |ui| {
        ui.set_width(560.0);
        ui.label(theme::title("Save the project").heading());
        ui.add_space(6.0);
        project_ui(ui, state, commands);
        ui.add_space(6.0);
        if ui.button("Cancel").clicked() {
            commands.push(Command::Show(Popup::Closed));
        }
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// The field of the project's file.
pub(super) fn project_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.label(theme::head("Project: model, both recipes, board"));
    let field = &mut state.view.project_path;
    let names = ("Project path", "Save");
    if output_ui(ui, field, names, Purpose::SaveProject, commands) {
        let mut path = field.path();
        if path.extension().is_none() {
            // Else it would not be known for a project when it is opened.
            path.set_extension("toml");
        }
        commands.push(Command::SaveProject(path));
    }
}

/// Asks what becomes of unsaved changes, and says what else is lost.
pub(in crate::app) fn leave_ui(ctx: &Context, state: &State, commands: &mut Vec<Command>) {
    let (title, verb) = match &state.view.leaving {
        Some(Leaving::Project(opened)) => {
            let name = opened.origin.saved.name();
            (format!("Open {name}?"), "open")
        }
        Some(Leaving::Window) | None => ("Close Whittle?".to_owned(), "close"),
    };
    let modal = super::modal(ctx, "leave").show(ctx, |ui| {
        ui.set_width(480.0);
        ui.label(theme::title(title).heading());
        ui.add_space(6.0);
        for loss in state.would_lose() {
            ui.label(loss);
        }
        ui.add_space(10.0);
        ui.horizontal(|ui| {
            if state.saved.is_behind(&state.project) {
                if ui.button(format!("Save and {verb}")).clicked() {
                    commands.push(Command::Leave(Unsaved::Save));
                }
                if ui.button("Discard changes").clicked() {
                    commands.push(Command::Leave(Unsaved::Discard));
                }
            } else if ui.button(format!("Stop and {verb}")).clicked() {
                commands.push(Command::Leave(Unsaved::Discard));
            }
            if ui.button("Cancel").clicked() {
                commands.push(Command::Show(Popup::Closed));
            }
        });
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// Asks before a file is replaced.
pub(in crate::app) fn replace_ui(ctx: &Context, state: &State, commands: &mut Vec<Command>) {
    let Some(replacing) = &state.view.replacing else {
        commands.push(Command::Show(Popup::Closed));
        return;
    };
    let modal = super::modal(ctx, "replace").show(ctx, |ui| {
        ui.set_width(480.0);
        ui.label(theme::title("Replace the file?").heading());
        ui.add_space(6.0);
        ui.label(&replacing.found);
        ui.add_space(10.0);
        ui.horizontal(|ui| {
            if ui.button("Replace").clicked() {
                commands.push(Command::Replace);
            }
            if ui.button("Cancel").clicked() {
                commands.push(Command::Show(replacing.back));
            }
        });
    });
    if modal.should_close() {
        commands.push(Command::Show(replacing.back));
    }
}

/// Offers what windows have left behind.
pub(in crate::app) fn restore_ui(ctx: &Context, state: &State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "restore").show(ctx, |ui| {
        ui.set_width(560.0);
        ui.label(theme::title("Restore what was open?").heading());
        ui.add_space(6.0);
        ui.label(theme::head(
            "Whittle ended without being closed, and this was not saved",
        ));
        for (place, left) in state.view.left.iter().enumerate() {
            ui.add_space(6.0);
            left_ui(ui, place, left, commands);
        }
        ui.add_space(10.0);
        let later = ui
            .button("Later")
            .on_hover_text("The next start asks again");
        if later.clicked() {
            commands.push(Command::Show(Popup::Closed));
        }
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

fn left_ui(ui: &mut Ui, place: usize, left: &Left, commands: &mut Vec<Command>) {
    let Left { project, path, .. } = left;
    let name = match path {
        Some(path) => path.display().to_string(),
        None => "A project without a file".to_owned(),
    };
    ui.label(theme::title(name));
    let model = project.model.as_deref().unwrap_or(Path::new("no model"));
    let model = model.display();
    let (a, b) = (&project.a.name, &project.b.name);
    let age = left.written.elapsed().unwrap_or_default();
    let age = units::duration(age);
    ui.label(theme::weak(format!(
        "{model} · A {a} · B {b} · changed {age} ago"
    )));
    ui.horizontal(|ui| {
        if ui.button("Restore").clicked() {
            commands.push(Command::Recover(place, LeftBehind::Restore));
        }
        if ui.button("Discard").clicked() {
            commands.push(Command::Recover(place, LeftBehind::Discard));
        }
    });
}
