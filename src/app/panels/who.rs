//! Who answers: a menu of both candidates and of the boards that there are.

use crate::app::answerer::Answerer;
use crate::app::candidate::Candidate;
use crate::app::command::Command;
use crate::app::state::State;
use crate::app::theme;
#[cfg(feature = "flash")]
use crate::link::EMULATED;
use eframe::egui::containers::menu::MenuButton;
use eframe::egui::{Button, RichText, Ui};

/// Widest that the menu's button is.
const WIDTH: f32 = 208.0;

/// Draws the menu.
pub(super) fn who_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let answerer = state.answerer();
    let text = match answerer {
        Answerer::Candidate(candidate) => {
            let recipe = &candidate.recipe(&state.project).name;
            format!("{} answers · {recipe}", candidate.name())
        }
        #[cfg(feature = "flash")]
        Answerer::Board => format!("Board answers · {}", state.view.port),
    };
    let text = RichText::new(format!("{text}…")).color(theme::answerer(answerer));
    let button = Button::new(text).truncate();
    // No combo box: that keeps the height that it opens with, and the ports come a moment later.
    let (button, _) = ui
        .scope(|ui| {
            ui.set_max_width(WIDTH);
            MenuButton::from_button(button).ui(ui, |ui| {
                for candidate in Candidate::ALL {
                    let recipe = &candidate.recipe(&state.project).name;
                    let text = format!("{} · {recipe}", candidate.name());
                    let is_chosen = answerer == Answerer::Candidate(candidate);
                    if ui.selectable_label(is_chosen, text).clicked() {
                        commands.push(Command::Activate(candidate));
                    }
                }
                #[cfg(feature = "flash")]
                boards_ui(ui, state, commands);
            })
        })
        .inner;
    #[cfg(feature = "flash")]
    if button.clicked() {
        commands.push(Command::ListPorts);
    }
    let hint = match answerer {
        Answerer::Candidate(_) => {
            "X switches between A and B; sliders change who answers from the next token on"
        }
        #[cfg(feature = "flash")]
        Answerer::Board => {
            "The board answers with the model that is on it, each question on its own and without a system text; the tuned \
             candidate goes on being tuned"
        }
    };
    button.on_hover_text(hint).accessible_name("Who answers");
}

/// The boards on the ports of this computer, and the emulated one.
#[cfg(feature = "flash")]
fn boards_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    ui.separator();
    let mut board_ui = |port: &str, what: &str| {
        let is_chosen = state.answerer() == Answerer::Board && state.view.port == port;
        let text = format!("Board on {port}  {what}");
        if ui.selectable_label(is_chosen, text.trim_end()).clicked() {
            commands.push(Command::SeatBoard(port.to_owned()));
        }
    };
    for port in &state.view.ports {
        board_ui(&port.name, port.product.as_deref().unwrap_or_default());
    }
    board_ui(EMULATED, "an emulated ESP32-C3");
    // One that was typed, as that of a board that runs Linux.
    let typed = state.view.port.trim();
    let is_listed = state.view.ports.iter().any(|port| port.name == typed);
    if !is_listed && !typed.is_empty() && typed != EMULATED {
        board_ui(typed, "");
    }
}
