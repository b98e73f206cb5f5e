//! The window: one screen to tune a model, hear it, size it for boards and flash it.
//!
//! [`Studio`] is the frame of all; [`run`] opens the window. Types that several files share stand below what
//! acts on them: [`Loaded`], what was measured, [`Bench`], the table, requests, forms, [`Jobs`].

mod actions;
mod answerer;
mod answering;
mod autosaver;
mod bench;
#[cfg(feature = "flash")]
mod board_actions;
#[cfg(feature = "flash")]
mod board_work;
mod candidate;
mod checking;
mod command;
mod derived;
mod dialogs;
mod file_url;
mod forms;
mod jobs;
mod keeping;
mod known_boards;
mod left;

mod loaded;
mod measured;
mod measuring;
mod naming;
mod opened;
mod opening;
mod outcomes;
mod panels;
mod path_field;
mod pieces;
mod preview;
mod quantizer;
mod request;
mod rewriting;
mod rows;
mod running;
mod saliencies;
mod saved;
mod screenshot;
mod state;
mod studio;
mod table;
#[cfg(feature = "voice")]
mod talk;
mod theme;
mod transcript;
mod tuning;
mod units;
#[cfg(feature = "voice")]
mod voices;
mod work;

pub use answerer::Answerer;
pub use bench::Bench;
pub use candidate::Candidate;
pub use command::{Command, LeftBehind, NumberedRules, Unsaved};
pub use derived::Derived;
pub use dialogs::{Answer as DialogAnswer, Dialogs, Purpose, SystemDialogs};
pub use forms::{
    Checked, GoalKind, Rewrite, RewriteForm, Rewritten, SweepRows, TuneForm, Verification, Verify,
};
pub use jobs::{Ended, JobKind, Jobs};
pub use loaded::Loaded;
pub use measured::{BuiltMatrix, Evaluated, Meter, QuickKl, Tasked, TuneFigures, TurnTokens};
pub use opened::{Leaving, MissingModel, Opened, OpenedProject, Origin, Way};
pub use path_field::PathField;
pub use preview::{Knowledge, Measure, Predicted, Preview, better_text, setting_text};
pub use running::{Failure, Outcome, Report, Running};
pub use saved::Saved;
pub use state::{Listed, Notice, Popup, Replacing, Severity, State, View};
pub use studio::{KeepUnsaved, Start, Studio, WindowError};
pub use table::{Group, Kind, Matrix, Row};
#[cfg(feature = "flash")]
pub use transcript::BoardFacts;
pub use transcript::{Ask, Facts, Memory, Speaker, Utterance};
pub use tuning::{Calibrated, TuneOutcome};
pub use work::{BuiltModel, Quick};

use eframe::egui;
use eframe::{App, NativeOptions};
use screenshot::Screenshot;
use std::sync::{Arc, Mutex};

/// Opens the window and returns when it is closed.
///
/// # Errors
/// When there is no display, a recipe is not valid, or the screenshot asked for was not written.
pub fn run(start: Start) -> Result<(), WindowError> {
    let unix = cfg!(all(unix, not(target_os = "macos")));
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if unix && !is_set("WAYLAND_DISPLAY") && !is_set("DISPLAY") {
        return Err(WindowError::NoDisplay);
    }
    let options = NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Whittle")
            .with_app_id("whittle")
            .with_inner_size([1400.0, 900.0])
            .with_min_inner_size([1100.0, 680.0])
            .with_drag_and_drop(true),
        persist_window: start.screenshot.is_none(),
        // The same text everywhere.
        system_font_fallback: false,
        ..NativeOptions::default()
    };
    let screenshot = start.screenshot.is_some();
    let taken = Arc::new(Mutex::new(None));
    let theirs = Arc::clone(&taken);
    let create = move |creation: &eframe::CreationContext<'_>| {
        let mut studio = Studio::new(&creation.egui_ctx, &start, Box::new(SystemDialogs))?;
        studio.screenshot = start.screenshot.map(|path| Screenshot::new(path, theirs));
        Ok(Box::new(studio) as Box<dyn App>)
    };
    eframe::run_native("whittle", options, Box::new(create))
        .map_err(|error| WindowError::Window(reason(&error.to_string())))?;
    match running::lock(&taken).take() {
        Some(result) => result.map_err(WindowError::Screenshot),
        None if screenshot => Err(WindowError::Screenshot("the window was closed".into())),
        None => Ok(()),
    }
}

/// What a windowing library says, without the place in its source where it says so.
fn reason(text: &str) -> String {
    text.rsplit(": ").next().unwrap_or(text).to_owned()
}
