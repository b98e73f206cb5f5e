//! Tasks: the menu that asks the active candidate a set of them, and beside the divergence what held.

use super::right_ui;
use crate::app::candidate::Candidate;
use crate::app::command::Command;
use crate::app::dialogs::Purpose;
use crate::app::jobs::JobKind;
use crate::app::measured::Tasked;
use crate::app::state::State;
use crate::app::theme;
use crate::evaluate::tasks::{GroupScore, Share, shipped};
use eframe::egui::Ui;
use eframe::egui::containers::menu::MenuButton;

/// Width of the result.
const WIDTH: f32 = 150.0;
/// Groups that a hint lists; the file of `whittle eval --lines` has the rest.
const LISTED: usize = 36;

/// Draws the menu.
pub(super) fn menu_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let can_ask = state.loaded().is_some() && state.jobs.may_start(JobKind::Tasks);
    ui.add_enabled_ui(can_ask, |ui| {
        let (button, _) = MenuButton::new("Tasks…").ui(ui, |ui| {
            ui.label(theme::head("Ask the active candidate, each task anew"));
            for set in shipped() {
                if ui.button(set.title).clicked() {
                    commands.push(Command::Tasks(set.name.into()));
                }
            }
            if ui.button("Tasks from a file…").clicked() {
                commands.push(Command::Choose(Purpose::Tasks));
            }
        });
        button.on_hover_text(
            "How often the active candidate answers as it should: prompts with an answer, a \
             pattern, or an intent with its slots",
        );
    });
}

/// Draws what held, faded once the recipe has moved on; nothing while no candidate was asked, so
/// that the bars of both stay of one scale.
pub(super) fn held_ui(ui: &mut Ui, state: &State, candidate: Candidate) {
    let of = |candidate| state.derived.bench(candidate).tasks.as_ref();
    let Some(tasked) = of(candidate) else {
        if of(candidate.other()).is_some() {
            let text = theme::mono("tasks not asked").color(theme::WEAK);
            right_ui(ui, WIDTH, text).on_hover_text("Tasks… asks the active candidate");
        }
        return;
    };
    let recipe = candidate.recipe(&state.project);
    let is_current = tasked.is_of(recipe, state.project.cache);
    let color = if is_current {
        theme::TEXT
    } else {
        theme::TEXT.gamma_multiply(theme::STALE)
    };
    let held = tasked.report.held;
    let text = format!("tasks {} of {}", percent(held.share), held.of);
    right_ui(ui, WIDTH, theme::mono(text).color(color)).on_hover_ui(|ui| {
        detail_ui(ui, tasked);
        if !is_current {
            ui.label("of an earlier recipe or KV precision: ask again");
        }
    });
}

/// Totals and groups, the worst first.
fn detail_ui(ui: &mut Ui, tasked: &Tasked) {
    let report = &tasked.report;
    ui.label(format!("Tasks of {}", tasked.set.display()));
    ui.label(format!("as expected: {}", with_interval(report.held)));
    if let Some(intents) = report.intents {
        let text = format!("right intent, slots aside: {}", with_interval(intents));
        ui.label(text);
    }
    let mean = percent(report.macro_held);
    ui.label(format!("each group counting the same: {mean}"));
    if report.unanswered > 0 {
        ui.label(format!(
            "{} that the model cannot be asked",
            report.unanswered
        ));
    }
    let mut groups: Vec<&GroupScore> = report.groups.iter().collect();
    groups.sort_by(|a, b| a.held.share.total_cmp(&b.held.share));
    for group in groups.iter().take(LISTED) {
        let Share {
            held, of, share, ..
        } = group.held;
        let text = format!("{:>8} {held:>4}/{of:<4} {}", percent(share), group.group);
        ui.label(theme::mono(text).small());
    }
    if groups.len() > LISTED {
        ui.label(theme::weak(format!("and {} more", groups.len() - LISTED)));
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// "93.2 %, 90.9 to 94.9 %".
fn with_interval(share: Share) -> String {
    let (low, high) = (share.low * 100.0, percent(share.high));
    format!("{}, 95 % interval {low:.1} to {high}", percent(share.share))
}
