//! What is asked before something is opened: what becomes of the rules of the old model, and where the model
//! of a project is.

use crate::app::candidate::Candidate;
use crate::app::command::{Command, NumberedRules};
use crate::app::dialogs::Purpose;
use crate::app::path_field::PathField;
use crate::app::state::{Popup, State};
use crate::app::theme;
use eframe::egui::{Button, Context, Ui};
use std::path::Path;

/// Draws the question over the window. Without an answer the old model stays open.
pub(in crate::app) fn rules_ui(ctx: &Context, state: &State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "numbered rules").show(ctx, |ui| {
        ui.set_width(560.0);
        ui.label(theme::title("Rules of single layers").heading());
        ui.add_space(6.0);
        let (Some(old), Some(new)) = (state.loaded(), &state.view.arriving) else {
            commands.push(Command::Show(Popup::Closed));
            return;
        };
        ui.label(format!(
            "{} were made for {}. {} has other layers of these numbers.",
            counted(state),
            old.model.name,
            new.model.name
        ));
        ui.add_space(10.0);
        ui.horizontal(|ui| {
            for (text, hint, command) in [
                (
                    "Leave them behind",
                    "The other rules of the recipes stay; undo brings the old model back with all of them",
                    Command::Onto(NumberedRules::Drop),
                ),
                (
                    "Take them along",
                    "A layer gets what the layer of its number had",
                    Command::Onto(NumberedRules::Keep),
                ),
                (
                    "Keep the old model",
                    "Nothing is changed",
                    Command::Show(Popup::Closed),
                ),
            ] {
                if ui.button(text).on_hover_text(hint).clicked() {
                    commands.push(command);
                }
            }
        });
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// "3 rules of A and 1 rule of B".
fn counted(state: &State) -> String {
    let counts = Candidate::ALL.map(|candidate| {
        let count = candidate.recipe(&state.project).numbered_rules();
        (candidate.name(), count)
    });
    let words = counts.into_iter().filter(|(_, count)| *count > 0);
    let words = words.map(|(name, count)| match count {
        1 => format!("1 rule of {name}"),
        more => format!("{more} rules of {name}"),
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// Asks where the model of a project is. Without an answer all stays as it is.
pub(in crate::app) fn model_ui(ctx: &Context, state: &mut State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "missing model").show(ctx, |ui| {
        ui.set_width(560.0);
        ui.label(theme::title("The model of this project").heading());
        ui.add_space(6.0);
        let Some(missing) = &state.view.missing else {
            commands.push(Command::Show(Popup::Closed));
            return;
        };
        ui.label(&missing.reason);
        ui.label(theme::head(
            "The project is opened once its model is there; until then nothing is changed",
        ));
        ui.add_space(10.0);
        let listed = &state.view.listed;
        let fetchable = listed
            .iter()
            .find(|model| missing.spec == Path::new(&model.name) && !model.installed);
        if let Some(model) = fetchable {
            if ui.button(format!("Fetch {}", model.name)).clicked() {
                commands.push(Command::Fetch(model.name.clone()));
            }
            ui.add_space(6.0);
        }
        place_ui(ui, &mut state.view.model_path, commands);
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// Where it is, and what opens it there.
fn place_ui(ui: &mut Ui, path: &mut PathField, commands: &mut Vec<Command>) {
    super::path_ui(ui, path, "Model of the project", Purpose::Model, commands);
    ui.horizontal(|ui| {
        let open = ui.add_enabled(!path.is_empty(), Button::new("Open with this model"));
        if open.clicked() {
            commands.push(Command::Locate(path.as_typed()));
        }
        if ui.button("Cancel").clicked() {
            commands.push(Command::Show(Popup::Closed));
        }
    });
}
