//! The strip at the bottom: running work, and above it what is to be read.

use super::{copy_ui, frame};
use crate::app::command::Command;
use crate::app::file_url::file_url;
use crate::app::running::Report;
use crate::app::state::{Notice, Severity, State};
use crate::app::{theme, units};
use eframe::egui::{
    Align, Button, Label, Layout, Margin, OpenUrl, Panel, ProgressBar, RichText, TextWrapMode, Ui,
};

/// Notices that are shown at once; older ones follow when these are dismissed.
const SHOWN: usize = 3;

/// Draws notices and the strip.
pub(in crate::app) fn status_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let strip = frame().inner_margin(Margin::symmetric(12, 2));
    Panel::bottom("status")
        .exact_size(theme::STATUS)
        .frame(strip)
        .show(ui, |ui| {
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                jobs_ui(ui, state, commands);
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    ui.label(theme::head(&state.view.processor))
                        .on_hover_text("How this computer runs the engine");
                });
            });
        });
    if !state.view.notices.is_empty() {
        Panel::bottom("notices").frame(frame()).show(ui, |ui| {
            notices_ui(ui, &mut state.view.notices);
        });
    }
}

fn notices_ui(ui: &mut Ui, notices: &mut Vec<Notice>) {
    let mut dismissed = None;
    let first = notices.len().saturating_sub(SHOWN);
    for (index, notice) in notices.iter().enumerate().skip(first) {
        let color = match notice.severity {
            Severity::Info => theme::GOOD,
            Severity::Error => theme::BAD,
        };
        ui.horizontal(|ui| {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let button = ui.add(Button::new("Dismiss").small());
                if button.clicked() {
                    dismissed = Some(index);
                }
                copy_ui(ui, "Copy the notice", &notice.text);
                if let Some(page) = &notice.page {
                    let button = ui.add(Button::new("Open page").small());
                    if button.on_hover_text("In the browser").clicked() {
                        ui.open_url(OpenUrl::new_tab(file_url(page)));
                    }
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    let text = RichText::new(&notice.text).color(color);
                    ui.add(Label::new(text).wrap_mode(TextWrapMode::Truncate))
                        .on_hover_text(&notice.text);
                });
            });
        });
    }
    if first > 0 {
        ui.label(theme::head(format!("and {first} older")));
    }
    if let Some(index) = dismissed {
        notices.remove(index);
    }
}

fn jobs_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let mut any = false;
    for (_, job) in state.jobs.iter().filter(|(kind, _)| kind.is_work()) {
        any = true;
        if bar_ui(ui, &job.title, &job.report(), !job.is_stopping()) {
            job.cancel();
        }
    }
    if state.view.pending > 0 {
        any = true;
        let (left, peak) = (state.view.pending, state.view.pending_peak.max(1));
        #[expect(clippy::cast_precision_loss, reason = "a bar has 120 pixels")]
        let fraction = 1.0 - left as f32 / peak as f32;
        let report = Report::new(format!("{left} left"), Some(fraction));
        if bar_ui(ui, "Quantizing", &report, true) {
            commands.push(Command::StopQuantizing);
        }
    }
    if !any {
        ui.label(theme::head("Ready"));
    }
}

/// A job's title, bar and Cancel; returns whether it shall stop.
fn bar_ui(ui: &mut Ui, title: &str, report: &Report, can_cancel: bool) -> bool {
    ui.label(theme::head(title));
    match report.fraction {
        Some(fraction) => {
            let bar = ProgressBar::new(fraction)
                .desired_width(120.0)
                .desired_height(8.0)
                .fill(theme::ACCENT);
            let left = report.left().map_or_else(String::new, |left| {
                format!(", {} left", units::duration(left))
            });
            ui.add(bar).on_hover_text(format!("{}{left}", report.stage));
            ui.label(theme::mono(format!("{:3.0} %", fraction * 100.0)).small());
        }
        None => {
            ui.label(theme::head(&report.stage));
        }
    }
    let cancel = ui
        .add_enabled(can_cancel, Button::new("Cancel").small())
        .accessible_name(format!("Cancel {title}"));
    ui.add_space(8.0);
    cancel.clicked()
}
