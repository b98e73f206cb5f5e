//! The window: one screen to tune a model, hear it, size it for boards and flash it.
//!
//! [`Studio`] is the frame: it polls running work, draws the panels, runs the commands that they
//! push, derives what follows from the project, and records undo steps. [`run`] opens the window.

mod actions;
mod candidate;
mod checking;
mod command;
mod derived;
mod dialogs;
mod jobs;
mod measuring;
mod outcomes;
mod panels;
mod preview;
mod quantizer;
mod rewriting;
mod rows;
mod saliencies;
mod screenshot;
mod state;
#[cfg(feature = "voice")]
mod talk;
mod theme;
mod tuning;
mod units;
mod work;

pub use candidate::Candidate;
pub use checking::{Checked, SweepRows, Verification, Verify};
pub use command::Command;
pub use derived::{
    Bench, Built as BuiltMatrix, Derived, Evaluated, Loaded, Matrix, Meter, QuickKl, Tasked,
};
pub use dialogs::{Answer as DialogAnswer, Dialogs, Purpose, SystemDialogs};
pub use jobs::{Failure, Outcome, Report, Running};
pub use preview::{Knowledge, Measure, Predicted, Preview, better_text, setting_text};
pub use rewriting::{Rewrite, RewriteForm, Rewritten};
pub use rows::{Group, Kind, Row};
pub use state::{
    Answering, Ask, Facts, Jobs, Listed, Memory, Notice, Popup, Severity, Speaker, State,
    Utterance, View,
};
pub use tuning::{Calibrated, GoalKind, TuneFigures, TuneForm, TuneOutcome};
pub use work::{Built, Opened, Quick};

use crate::catalog::DEFAULT_MODEL;
use crate::project::Project;
use crate::recipe::{Recipe, RecipeError};
use crate::workers::{Processor, WorkersError};
use eframe::egui::{self, Context, util::undoer::Undoer};
use eframe::{App, Frame, NativeOptions};
use quantizer::Quantizer;
use screenshot::Screenshot;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What the window starts with.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Name of the catalog, or path of a model, project or recipe; else the model that is built in.
    pub model: Option<String>,
    /// Preset or path of candidate A's recipe.
    pub recipe: Option<String>,
    /// What both candidates are asked once the model is ready.
    pub ask: Option<String>,
    /// Whether candidate A is measured once the model is ready.
    pub evaluate: bool,
    /// Writes a picture of the window here once all is done, and closes it.
    pub screenshot: Option<PathBuf>,
    /// Folder in which calibrations are kept; else the one in the cache of this account.
    pub calibrations: Option<PathBuf>,
}

/// Why there is no window, or no picture of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The session has no display.
    #[error(
        "no display: neither WAYLAND_DISPLAY nor DISPLAY is set; without a window, see `whittle --help`"
    )]
    NoDisplay,
    /// The system refused the window.
    #[error("cannot open the window: {0}")]
    Window(String),
    /// The recipe that was asked for.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The engine cannot compute as asked.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// The picture was not written.
    #[error("no screenshot: {0}")]
    Screenshot(String),
}

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
    match jobs::lock(&taken).take() {
        Some(result) => result.map_err(WindowError::Screenshot),
        None if screenshot => Err(WindowError::Screenshot("the window was closed".into())),
        None => Ok(()),
    }
}

/// What a windowing library says, without the place in its source where it says so.
fn reason(text: &str) -> String {
    text.rsplit(": ").next().unwrap_or(text).to_owned()
}

/// The window.
#[derive(Debug)]
pub struct Studio {
    /// Everything that panels show and edit.
    pub state: State,
    undoer: Undoer<Project>,
    quantizer: Quantizer,
    processor: Arc<Processor>,
    dialogs: Box<dyn Dialogs>,
    screenshot: Option<Screenshot>,
    #[cfg(feature = "voice")]
    voices: Option<talk::Voices>,
    #[cfg(feature = "voice")]
    talk: Option<talk::Talk>,
    /// What is left of the start: both wait for the model.
    first_question: Option<String>,
    first_evaluation: bool,
    calibrations: Option<PathBuf>,
    /// Whose slider moved since it was measured last.
    moved: Option<Candidate>,
}

impl Studio {
    /// A window that opens the model it is started with, or else the one that is built in.
    ///
    /// # Errors
    /// When the recipe is not valid or the engine cannot start.
    pub fn new(
        ctx: &Context,
        start: &Start,
        dialogs: Box<dyn Dialogs>,
    ) -> Result<Self, WindowError> {
        theme::apply(ctx);
        let mut project = Project::default();
        if let Some(name) = &start.recipe {
            project.a = Recipe::open(name)?;
        }
        let processor = Arc::new(Processor::new(None)?);
        let words = format!(
            "{}, {} threads",
            processor.level_name(),
            processor.threads()
        );
        let mut studio = Self {
            state: State::new(project, words),
            undoer: Undoer::default(),
            quantizer: Quantizer::new(ctx).map_err(WindowError::Window)?,
            processor,
            dialogs,
            screenshot: None,
            #[cfg(feature = "voice")]
            voices: None,
            #[cfg(feature = "voice")]
            talk: None,
            first_question: start.ask.clone(),
            first_evaluation: start.evaluate,
            calibrations: start.calibrations.clone(),
            moved: None,
        };
        let model = start.model.clone();
        let model = model.unwrap_or_else(|| DEFAULT_MODEL.to_owned());
        studio.apply(Command::Open(model), ctx);
        Ok(studio)
    }

    /// Computes what follows from the project, and asks for the matrices that must change.
    fn derive(&mut self, ctx: &Context) -> derived::Refreshed {
        let turn = self.state.last_turn();
        let changed = self.state.derived.refresh(&self.state.project, turn);
        for candidate in &changed {
            self.forget_quick(*candidate);
            if *candidate == self.state.view.active {
                // After a compression was cancelled, the next change starts it again.
                self.ensure_built(*candidate, ctx);
            }
            self.requantize(*candidate);
        }
        self.state.derived.predict(&self.state.view.presets);
        let view = &mut self.state.view;
        view.pending = self.quantizer.pending();
        view.pending_peak = match view.pending {
            0 => 0,
            pending => view.pending_peak.max(pending),
        };
        if changed.is_empty() {
            derived::Refreshed::Same
        } else {
            derived::Refreshed::Changed
        }
    }

    fn requantize(&self, candidate: Candidate) {
        if let Some(loaded) = self.state.loaded() {
            let derived = &self.state.derived;
            let bench = derived.bench(candidate);
            let requests = bench.requests(candidate, loaded, derived.calibration.as_ref());
            self.quantizer.ask(candidate, requests);
        }
    }

    /// One drag, one undo step; typing is one step when it rests.
    fn record(&mut self, ctx: &Context) {
        let project = &self.state.project;
        if ctx.dragged_id().is_none() {
            let time = ctx.input(|input| input.time);
            self.undoer.feed_state(time, project);
            if !ctx.text_edit_focused() {
                self.undoer.add_undo(project);
            }
        }
        self.state.view.can_undo = self.undoer.has_undo(project);
        self.state.view.can_redo = self.undoer.has_redo(project);
    }

    fn panels_ui(&mut self, ui: &mut egui::Ui) -> Vec<Command> {
        let state = &mut self.state;
        let mut commands = command::pressed(ui.ctx(), state.view.active, state.view.popup);
        panels::status::status_ui(ui, state, &mut commands);
        panels::top::top_ui(ui, state, &mut commands);
        panels::boards::boards_ui(ui, state, &mut commands);
        panels::assistant::assistant_ui(ui, state, &mut commands);
        panels::layers::layers_ui(ui, state, &mut commands);
        match state.view.popup {
            Popup::Closed => {}
            Popup::Open => panels::open::open_ui(ui.ctx(), state, &mut commands),
            Popup::Tune => panels::tune::tune_ui(ui.ctx(), state, &mut commands),
            Popup::Export => panels::export::export_ui(ui.ctx(), state, &mut commands),
            Popup::Rewrite => panels::rewrite::rewrite_ui(ui.ctx(), state, &mut commands),
            Popup::Compare => panels::compare::compare_ui(ui.ctx(), state, &mut commands),
            Popup::Verify => panels::verify::verify_ui(ui.ctx(), state, &mut commands),
            #[cfg(feature = "flash")]
            Popup::Flash => panels::flash::flash_ui(ui.ctx(), state, &mut commands),
        }
        commands
    }
}

impl App for Studio {
    fn logic(&mut self, ctx: &Context, _frame: &mut Frame) {
        self.collect(ctx);
        self.derive(ctx);
        #[cfg(feature = "voice")]
        self.follow_talk(ctx);
        self.answer_next(ctx);
        self.evaluate_first(ctx);
        self.measure_quickly(ctx);
        if let Some(screenshot) = &mut self.screenshot {
            screenshot.step(ctx, &self.state);
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut Frame) {
        let ctx = ui.ctx().clone();
        for command in self.panels_ui(ui) {
            self.apply(command, &ctx);
        }
        if self.derive(&ctx) == derived::Refreshed::Changed {
            // The meters above were drawn before the slider moved: draw this frame once more.
            ctx.request_discard("the recipe changed");
        }
        self.record(&ctx);
    }

    fn persist_egui_memory(&self) -> bool {
        self.screenshot.is_none()
    }
}
