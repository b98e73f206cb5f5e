//! Where to write the packed model, a GGUF file of it, a report on it, and the project.

use super::keeping::project_ui;
use super::output_ui;
use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use eframe::egui::Context;

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
        let field = &mut state.view.export_path;
        let names = ("Export path", "Export");
        if output_ui(ui, field, names, Purpose::Export, commands) {
            commands.push(Command::Export(field.path()));
        }
        ui.add_space(10.0);
        ui.label(theme::head("GGUF for llama.cpp: the same values, in its formats where they hold them, else in 16 bits"));
        let field = &mut state.view.gguf_path;
        let names = ("GGUF path", "Export GGUF");
        if output_ui(ui, field, names, Purpose::ExportGguf, commands) {
            commands.push(Command::ExportGguf(field.path()));
        }
        ui.checkbox(&mut state.view.is_billed, "With a software bill beside the file")
            .on_hover_text("FILE.cdx.json, CycloneDX: its hash, its source, its licence, the text that it was fitted to");
        ui.add_space(10.0);
        ui.label(theme::head(
            "Report: bytes, errors, boards, provenance, and what was measured of the recipe",
        ));
        let field = &mut state.view.report_path;
        let names = ("Report path", "Report");
        if output_ui(ui, field, names, Purpose::Report, commands) {
            commands.push(Command::Report(field.path()));
        }
        ui.add_space(10.0);
        project_ui(ui, state, commands);
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}
