//! What the window can do beyond editing the project: each action once, with its key.

use super::candidate::Candidate;
use super::dialogs::Purpose;
use super::forms::{Rewrite, Verification};
use super::state::Popup;
use eframe::egui::{Context, Key, KeyboardShortcut, Modifiers};
use std::path::{Path, PathBuf};

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Opens a model, project or recipe.
    Open(PathBuf),
    /// Brings a model of the catalog and opens it.
    Fetch(String),
    /// Asks the system for a path.
    Choose(Purpose),
    /// Opens or closes a dialog.
    Show(Popup),
    /// Lets this candidate be tuned and answer.
    Activate(Candidate),
    /// Opens the model that waits for this answer.
    Onto(NumberedRules),
    /// Opens the project that waits for its model with this one.
    Locate(PathBuf),
    /// Takes back the last change of the project.
    Undo,
    /// Does it again.
    Redo,
    /// Measures the active candidate.
    Evaluate,
    /// Measures what every matrix reads on text, or takes up where that was stopped.
    Calibrate,
    /// Finds the best recipe for the goal of the Tune dialog.
    Tune,
    /// Writes the open model in another form and opens that.
    Rewrite(Rewrite),
    /// Holds limits, a grid or a packed file against what is open.
    Verify(Verification),
    /// Asks the active candidate the tasks of this set or file.
    Tasks(PathBuf),
    /// Writes the active candidate as a packed model.
    Export(PathBuf),
    /// Writes the active candidate as a GGUF file.
    ExportGguf(PathBuf),
    /// Writes a page on the active candidate.
    Report(PathBuf),
    /// Writes the project to its file, or asks for one.
    Save,
    /// Writes the project.
    SaveProject(PathBuf),
    /// Does what would replace a file.
    Replace,
    /// Says what becomes of unsaved changes when the project is left.
    Leave(Unsaved),
    /// Says what becomes of what another window has left behind, by its place in the list.
    Recover(usize, LeftBehind),
    /// Lists serial ports.
    #[cfg(feature = "flash")]
    ListPorts,
    /// Writes a folder with what a board that runs Linux needs.
    #[cfg(feature = "flash")]
    ExportBundle(PathBuf),
    /// Writes the active candidate to the board.
    #[cfg(feature = "flash")]
    Flash,
    /// Says what runs on the board, and what writing the active candidate to it would change.
    #[cfg(feature = "flash")]
    PlanFlash,
    /// Sends the active candidate's model to the firmware on the board.
    #[cfg(feature = "flash")]
    SendModel,
    /// Has the firmware on the board erase its model.
    #[cfg(feature = "flash")]
    EraseModel,
    /// Lets the board on this port answer what is asked.
    #[cfg(feature = "flash")]
    SeatBoard(String),
    /// Lets the board measure itself.
    #[cfg(feature = "flash")]
    MeasureBoard,
    /// Says what is typed to who answers: the active candidate, or the board.
    Ask,
    /// Says the last utterance to A, then to B, each from an empty memory, and to the board where that answers.
    Replay,
    /// Stops the answer, and forgets utterances that wait.
    Stop,
    /// Listens and speaks, or stops doing so.
    #[cfg(feature = "voice")]
    Talk,
    /// Forgets the conversation.
    NewConversation,
    /// Says why what was typed is not taken.
    Refuse(String),
    /// Stops background quantization.
    StopQuantizing,
}

impl Command {
    /// The file that it writes.
    #[must_use]
    pub fn writes(&self) -> Option<&Path> {
        match self {
            Self::Export(path)
            | Self::ExportGguf(path)
            | Self::Report(path)
            | Self::SaveProject(path) => Some(path),
            Self::Rewrite(rewrite) => Some(rewrite.path()),
            #[cfg(feature = "flash")]
            Self::ExportBundle(path) => Some(path),
            #[cfg(feature = "flash")]
            Self::ListPorts
            | Self::Flash
            | Self::PlanFlash
            | Self::SendModel
            | Self::EraseModel
            | Self::SeatBoard(_)
            | Self::MeasureBoard => None,
            #[cfg(feature = "voice")]
            Self::Talk => None,
            Self::Open(_)
            | Self::Fetch(_)
            | Self::Choose(_)
            | Self::Show(_)
            | Self::Activate(_)
            | Self::Onto(_)
            | Self::Locate(_)
            | Self::Undo
            | Self::Redo
            | Self::Evaluate
            | Self::Calibrate
            | Self::Tune
            | Self::Verify(_)
            | Self::Tasks(_)
            | Self::Save
            | Self::Replace
            | Self::Leave(_)
            | Self::Recover(_, _)
            | Self::Ask
            | Self::Replay
            | Self::Stop
            | Self::NewConversation
            | Self::Refuse(_)
            | Self::StopQuantizing => None,
        }
    }

    /// Whether its key works while a dialog is open: what was done there is work too.
    fn works_in(&self, popup: Popup) -> bool {
        popup == Popup::Closed || (*self == Self::Save && !popup.is_question())
    }
}

/// What becomes of unsaved changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaved {
    /// They are written to the project's file.
    Save,
    /// Nobody wants them.
    Discard,
}

/// What becomes of what a window has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftBehind {
    /// It is the project of this window.
    Restore,
    /// It is removed.
    Discard,
}

/// What becomes of rules that name a layer by its number when another model is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberedRules {
    /// They go onto the other model.
    Keep,
    /// They stay behind.
    Drop,
}

/// What the whole window listens for.
const KEYS: [(Modifiers, Key, Command); 9] = [
    // Before undo, whose keys are part of these.
    (
        Modifiers::COMMAND.plus(Modifiers::SHIFT),
        Key::Z,
        Command::Redo,
    ),
    (Modifiers::COMMAND, Key::Z, Command::Undo),
    (
        Modifiers::COMMAND.plus(Modifiers::SHIFT),
        Key::S,
        Command::Show(Popup::Save),
    ),
    (Modifiers::COMMAND, Key::S, Command::Save),
    (Modifiers::COMMAND, Key::O, Command::Show(Popup::Open)),
    (Modifiers::COMMAND, Key::E, Command::Show(Popup::Export)),
    (Modifiers::COMMAND, Key::K, Command::Evaluate),
    (Modifiers::COMMAND, Key::R, Command::Replay),
    (Modifiers::NONE, Key::Escape, Command::Stop),
];

/// Switches between the candidates, unless it is typed into a text.
pub(super) const SWITCH: Key = Key::X;

/// The actions whose keys were pressed.
pub(super) fn pressed(ctx: &Context, active: Candidate, popup: Popup) -> Vec<Command> {
    // A text has an undo of its own, and a dialog its own escape.
    let is_typing = ctx.text_edit_focused();
    let mut commands = Vec::new();
    for (modifiers, key, command) in KEYS {
        let belongs_to_text = matches!(command, Command::Undo | Command::Redo) && is_typing;
        // A menu closes by Escape.
        let belongs_to_menu = key == Key::Escape && eframe::egui::Popup::is_any_open(ctx);
        if belongs_to_text || belongs_to_menu || !command.works_in(popup) {
            continue;
        }
        let shortcut = KeyboardShortcut::new(modifiers, key);
        if ctx.input_mut(|input| input.consume_shortcut(&shortcut)) {
            commands.push(command);
        }
    }
    let switched = !is_typing
        && popup == Popup::Closed
        && ctx.input_mut(|input| input.consume_key(Modifiers::NONE, SWITCH));
    if switched {
        commands.push(Command::Activate(active.other()));
    }
    commands
}

/// The key of an action as text for a hint: "Ctrl+Z".
pub(super) fn key(ctx: &Context, command: &Command) -> String {
    let found = KEYS.iter().find(|(_, _, other)| other == command);
    found.map_or_else(String::new, |(modifiers, key, _)| {
        ctx.format_shortcut(&KeyboardShortcut::new(*modifiers, *key))
    })
}
