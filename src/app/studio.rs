//! The frame: it polls running work, draws the panels, runs the commands that they push, derives what
//! follows from the project, and records undo steps.

use super::answerer::Answerer;
use super::autosaver::Autosaver;
use super::bench::Refreshed;
use super::candidate::Candidate;
use super::command::{self, Command};
use super::dialogs::Dialogs;
use super::left::Search;
use super::panels;
use super::quantizer::Quantizer;
use super::screenshot::Screenshot;
use super::state::{Popup, State};
use super::theme;
#[cfg(feature = "voice")]
use super::voices::{Talk, Voices};
use crate::catalog::{CalibrationFolder, DEFAULT_MODEL};
use crate::measured::Reports;
use crate::project::{Project, autosave};
use crate::recipe::{Recipe, RecipeError};
use crate::workers::{Processor, WorkersError};
use eframe::egui::{self, Context, util::undoer::Undoer};
use eframe::{App, Frame};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What the window starts with.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Name of the catalog, or path of a model, project or recipe; else the model that is built in.
    pub model: Option<PathBuf>,
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
    /// Where what is unsaved is kept.
    pub unsaved: KeepUnsaved,
    /// Where reports of boards are kept.
    pub reports: Option<PathBuf>,
}

/// Where a window keeps what is unsaved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeepUnsaved {
    /// Nowhere, by intent.
    #[default]
    No,
    /// In a folder, as [`autosave`] tells.
    In(PathBuf),
    /// The account has no home for it, which the person is told.
    NoHome,
}

impl KeepUnsaved {
    /// In the folder of this account.
    #[must_use]
    pub fn of_this_account() -> Self {
        autosave::folder().map_or(Self::NoHome, Self::In)
    }
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

/// The window.
#[derive(Debug)]
pub struct Studio {
    /// Everything that panels show and edit.
    pub state: State,
    pub(super) undoer: Undoer<Project>,
    pub(super) quantizer: Quantizer,
    pub(super) processor: Arc<Processor>,
    pub(super) dialogs: Box<dyn Dialogs>,
    pub(super) screenshot: Option<Screenshot>,
    #[cfg(feature = "voice")]
    pub(super) voices: Option<Voices>,
    #[cfg(feature = "voice")]
    pub(super) talk: Option<Talk>,
    /// What is left of the start: both wait for the model.
    pub(super) first_question: Option<String>,
    pub(super) first_evaluation: bool,
    pub(super) calibrations: Option<PathBuf>,
    #[cfg(feature = "flash")]
    pub(super) reports: Option<PathBuf>,
    /// That folder, where the window was not told of one: it may be there for as long as the window only.
    _calibration_folder: Option<CalibrationFolder>,
    /// Whose slider moved since it was measured last.
    pub(super) moved: Option<Candidate>,
    pub(super) answering: Option<Answering>,
    pub(super) autosaver: Option<Autosaver>,
    pub(super) search: Option<Search>,
    /// Whether something was found that was not offered yet.
    pub(super) is_left_new: bool,
    pub(super) after_save: AfterSave,
    pub(super) closing: Closing,
    /// What waits for the answer whether a file may be replaced.
    pub(super) replacing: Option<Command>,
    /// The title that the window has.
    pub(super) title: String,
}

/// What follows when the project is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterSave {
    /// Nothing.
    Stay,
    /// The window goes where it was asked to go.
    Leave,
}

/// Whether the window closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// Not without a question.
    Asked,
    /// Whatever is lost.
    Now,
}

/// An answer that is being generated.
#[derive(Debug)]
pub(super) struct Answering {
    /// Who answers.
    pub(super) answerer: Answerer,
    /// The text so far.
    pub(super) heard: Arc<Mutex<String>>,
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
        let folder = match start.calibrations {
            Some(_) => None,
            // Where the settings cannot be read, who needs the folder says so.
            None => CalibrationFolder::open().ok(),
        };
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
            calibrations: start
                .calibrations
                .clone()
                .or_else(|| folder.as_ref().map(|folder| folder.path.clone())),
            #[cfg(feature = "flash")]
            reports: start.reports.clone(),
            _calibration_folder: folder,
            moved: None,
            answering: None,
            autosaver: None,
            search: None,
            is_left_new: false,
            after_save: AfterSave::Stay,
            closing: Closing::Asked,
            replacing: None,
            title: String::new(),
        };
        if let Some(folder) = &start.reports {
            studio
                .state
                .derived
                .take_reports(Reports::in_folder(folder));
        }
        let model = start.model.clone();
        let model = model.unwrap_or_else(|| DEFAULT_MODEL.into());
        studio.apply(Command::Open(model), ctx);
        // A picture is taken of what was asked for, without questions.
        let unsaved = match start.screenshot {
            Some(_) => &KeepUnsaved::No,
            None => &start.unsaved,
        };
        match unsaved {
            KeepUnsaved::No => {}
            KeepUnsaved::In(folder) => {
                let autosaver = Autosaver::start(folder.clone(), ctx);
                studio.autosaver = Some(autosaver.map_err(WindowError::Window)?);
                studio.search = Some(Search::new(folder.clone()));
            }
            KeepUnsaved::NoHome => studio
                .state
                .fail("unsaved changes are not kept: this account has no home folder".to_owned()),
        }
        Ok(studio)
    }

    /// Computes what follows from the project, and asks for the matrices that must change.
    pub(super) fn derive(&mut self, ctx: &Context) -> Refreshed {
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
            Refreshed::Same
        } else {
            Refreshed::Changed
        }
    }

    pub(super) fn requantize(&self, candidate: Candidate) {
        let requests = self.state.derived.requests(candidate);
        self.quantizer.ask(candidate, requests);
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
            Popup::NumberedRules => panels::opening::rules_ui(ui.ctx(), state, &mut commands),
            Popup::MissingModel => panels::opening::model_ui(ui.ctx(), state, &mut commands),
            Popup::Tune => panels::tune::tune_ui(ui.ctx(), state, &mut commands),
            Popup::Export => panels::export::export_ui(ui.ctx(), state, &mut commands),
            Popup::Save => panels::keeping::save_ui(ui.ctx(), state, &mut commands),
            Popup::Leave => panels::keeping::leave_ui(ui.ctx(), state, &mut commands),
            Popup::Replace => panels::keeping::replace_ui(ui.ctx(), state, &mut commands),
            Popup::Restore => panels::keeping::restore_ui(ui.ctx(), state, &mut commands),
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
        self.keep(ctx);
        self.follow_close(ctx);
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
        if self.derive(&ctx) == Refreshed::Changed {
            // The meters above were drawn before the slider moved: draw this frame once more.
            ctx.request_discard("the recipe changed");
        }
        self.record(&ctx);
        self.keep(&ctx);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.end();
    }

    fn persist_egui_memory(&self) -> bool {
        self.screenshot.is_none()
    }
}
