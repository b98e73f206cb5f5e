//! The Verify dialog: limits that the active candidate must keep, a grid of recipes, and a packed file that
//! its recipe must make again.

use crate::app::candidate::Candidate;
use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::forms::{Checked, SweepRows, Verification};
use crate::app::jobs::JobKind;
use crate::app::path_field::PathField;
use crate::app::running::lock;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use eframe::egui::{Button, Context, Grid, RichText, ScrollArea, Ui};
use std::path::PathBuf;

/// Height of a list before it scrolls.
const LIST: f32 = 160.0;

/// Draws the dialog over the window.
pub(in crate::app) fn verify_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "verify").show(ctx, |ui| {
        ui.set_width(720.0);
        ui.label(theme::title("Verify").heading());
        ui.add_space(6.0);
        check_ui(ui, state, commands);
        ui.add_space(12.0);
        sweep_ui(ui, state, commands);
        ui.add_space(12.0);
        reproduce_ui(ui, state, commands);
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

fn check_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let active = state.view.active;
    ui.label(theme::title(format!("Limits of {}", active.name())));
    ui.label(theme::head(
        "Bytes, KL, tasks and boards that a TOML file allows; `whittle check` holds packed files against it",
    ));
    let verify = &mut state.view.verify;
    let path = &mut verify.limits_path;
    super::path_ui(ui, path, "Limits", Purpose::Limits, commands);
    let is_free = state.jobs.may_start(JobKind::Check);
    start_ui(ui, path, "Check", is_free, Verification::Check, commands);
    if let Some(checked) = &verify.checked {
        checked_ui(ui, checked, active);
    }
}

/// A button that starts what a path is named for.
fn start_ui(
    ui: &mut Ui,
    path: &PathField,
    verb: &str,
    is_free: bool,
    what: impl FnOnce(PathBuf) -> Verification,
    commands: &mut Vec<Command>,
) {
    let button = ui.add_enabled(is_free && !path.is_empty(), Button::new(verb));
    if button.clicked() {
        commands.push(Command::Verify(what(path.path())));
    }
}

fn checked_ui(ui: &mut Ui, checked: &Checked, active: Candidate) {
    let whose = format!("{}, {}", checked.candidate.name(), checked.recipe);
    let broken = checked.findings.iter().filter(|f| !f.held).count();
    let text = match broken {
        0 => format!("{whose}: every limit held"),
        1 => format!("{whose}: 1 limit broke"),
        more => format!("{whose}: {more} limits broke"),
    };
    let color = if broken == 0 { theme::GOOD } else { theme::BAD };
    ui.label(RichText::new(text).color(color));
    if checked.candidate != active {
        ui.label(theme::weak("of the other candidate: check again"));
    }
    for warning in &checked.warnings {
        ui.label(RichText::new(format!("Warning: {warning}")).color(theme::BAD));
    }
    ScrollArea::vertical()
        .id_salt("findings")
        .max_height(LIST)
        .show(ui, |ui| {
            Grid::new("findings")
                .num_columns(4)
                .striped(true)
                .show(ui, |ui| {
                    for finding in &checked.findings {
                        let (word, color) = match finding.held {
                            true => ("held", theme::GOOD),
                            false => ("broke", theme::BAD),
                        };
                        ui.label(RichText::new(word).color(color));
                        ui.label(finding.name());
                        super::end_ui(ui, theme::mono(finding.allowed_text()));
                        ui.label(theme::mono(format!("found {}", finding.found_text())));
                        ui.end_row();
                    }
                });
        });
}

fn sweep_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.label(theme::title("Recipes of a grid"));
    ui.label(theme::head(
        "Each compressed, measured and estimated; a row each in a table beside the grid. What is there already is \
         not computed again",
    ));
    let verify = &mut state.view.verify;
    let path = &mut verify.grid_path;
    super::path_ui(ui, path, "Grid", Purpose::Grid, commands);
    let is_free = state.jobs.may_start(JobKind::Sweep);
    start_ui(ui, path, "Sweep", is_free, Verification::Sweep, commands);
    let sweep = lock(&verify.sweep);
    let words = if !sweep.ended.is_empty() {
        sweep.ended.clone()
    } else if is_free && !sweep.rows.is_empty() {
        "stopped: what is below is kept, and the next sweep goes on from there".to_owned()
    } else {
        sweep.progress.clone()
    };
    if !words.is_empty() {
        rows_ui(ui, &words, &sweep);
    }
}

fn rows_ui(ui: &mut Ui, words: &str, sweep: &SweepRows) {
    ui.label(theme::weak(words));
    ScrollArea::both()
        .id_salt("sweep")
        .max_height(LIST)
        .show(ui, |ui| {
            Grid::new("sweep")
                .num_columns(5)
                .striped(true)
                .show(ui, |ui| {
                    let window = sweep.rows.iter().find_map(|row| row.window_tokens);
                    let kl = window.map_or("KL".into(), |w| format!("KL, windows of {w}"));
                    for heading in ["recipe", "bytes", "bits/w", &kl, "tasks"] {
                        ui.label(theme::head(heading));
                    }
                    ui.end_row();
                    for row in &sweep.rows {
                        ui.label(row.title());
                        super::end_ui(ui, theme::mono(units::bytes(row.bytes as u64)));
                        super::end_ui(ui, theme::mono(format!("{:.3}", row.bits_per_weight)));
                        let kl = row.kl_mean.map(|kl| {
                            let error = row.kl_mean_standard_error.unwrap_or(0.0);
                            format!("{kl:.4} ± {error:.4}")
                        });
                        super::end_ui(ui, theme::mono(kl.unwrap_or("not asked".into())));
                        let tasks = row.tasks_held.map(|held| format!("{:.1} %", held * 100.0));
                        super::end_ui(ui, theme::mono(tasks.unwrap_or("not asked".into())));
                        ui.end_row();
                    }
                });
        });
}

fn reproduce_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.label(theme::title("A packed file made again"));
    ui.label(theme::head(
        "By the recipe in it, of the model that is open, and compared byte for byte",
    ));
    let verify = &mut state.view.verify;
    let path = &mut verify.packed_path;
    super::path_ui(ui, path, "Packed file", Purpose::Packed, commands);
    let is_free = state.jobs.may_start(JobKind::Reproduce);
    let what = Verification::Reproduce;
    start_ui(ui, path, "Reproduce", is_free, what, commands);
    if let Some((name, reproduced)) = &verify.reproduced {
        let color = match reproduced.same_contents {
            true => theme::GOOD,
            false => theme::BAD,
        };
        let text = format!("{name}: {}", reproduced.sentence());
        ui.label(RichText::new(text).color(color));
    }
}
