//! Where to write the packed model, a GGUF file of it, a report on it, and the project.

use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use eframe::egui::{Button, Context, TextEdit, Ui};
use std::path::PathBuf;

/// Draws the dialog over the window.
pub(in crate::app) fn export_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "export").show(ctx, |ui| {
        ui.set_width(560.0);
        ui.label(theme::title("Export").heading());
        ui.add_space(6.0);
        let active = state.view.active;
        let size = units::bytes(state.derived.bench(active).meter.total);
        ui.label(theme::head(format!(
            "Packed model of {}, {size}: what boards and `whittle chat` run",
            active.name()
        )));
        let path = &mut state.view.export_path;
        if path_ui(ui, path, "Export path", "Export", Purpose::Export, commands) {
            commands.push(Command::Export(PathBuf::from(path.trim())));
        }
        ui.add_space(10.0);
        ui.label(theme::head("GGUF for llama.cpp: the same values, in its formats where they hold them, else in 16 bits"));
        let path = &mut state.view.gguf_path;
        let purpose = Purpose::ExportGguf;
        if path_ui(ui, path, "GGUF path", "Export GGUF", purpose, commands) {
            commands.push(Command::ExportGguf(PathBuf::from(path.trim())));
        }
        ui.add_space(10.0);
        ui.label(theme::head(
            "Report: bytes, errors, boards, provenance, and what was measured of the recipe",
        ));
        let path = &mut state.view.report_path;
        if path_ui(ui, path, "Report path", "Report", Purpose::Report, commands) {
            commands.push(Command::Report(PathBuf::from(path.trim())));
        }
        ui.add_space(10.0);
        ui.label(theme::head("Project: model, both recipes, board"));
        let path = &mut state.view.project_path;
        let purpose = Purpose::SaveProject;
        if path_ui(ui, path, "Project path", "Save", purpose, commands) {
            commands.push(Command::SaveProject(PathBuf::from(path.trim())));
            commands.push(Command::Show(Popup::Closed));
        }
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// A path field with its buttons; returns whether the path shall be written.
fn path_ui(
    ui: &mut Ui,
    path: &mut String,
    name: &str,
    verb: &str,
    purpose: Purpose,
    commands: &mut Vec<Command>,
) -> bool {
    ui.horizontal(|ui| {
        let field = TextEdit::singleline(path)
            .hint_text("Path")
            .desired_width(ui.available_width() - 152.0);
        ui.add(field).accessible_name(name);
        let is_named = !path.trim().is_empty();
        let write = ui
            .add_enabled(is_named, Button::new(verb))
            .accessible_name(format!("{verb} to path"));
        if ui
            .button("Browse…")
            .accessible_name(format!("Browse for {name}"))
            .clicked()
        {
            commands.push(Command::Choose(purpose));
        }
        write.clicked()
    })
    .inner
}
