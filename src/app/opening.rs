//! Opening in the window: what becomes of a model, a project or a recipe that is there, what is asked first,
//! and the history, which leads from one model to another.

use super::answerer::Answerer;
use super::candidate::Candidate;
use super::command::NumberedRules;
use super::derived::Derived;
use super::forms::{RewriteForm, Verify};
use super::jobs::{Ended, JobKind};
use super::loaded::Loaded;
use super::opened::{self, Leaving, MissingModel, Opened, OpenedProject, Origin, Way};
use super::running::Failure;
use super::saved::Saved;
use super::state::{Popup, State};
use super::studio::Studio;
use super::transcript::Memory;
use crate::job::Job;
use crate::project::Project;
use crate::project::autosave::Left;
use crate::recipe::Recipe;
use eframe::egui::{Context, util::undoer::Undoer};
use std::path::PathBuf;
use std::sync::Arc;

impl Studio {
    /// Opens what is behind a path or a name.
    pub(super) fn open(&mut self, spec: PathBuf, ctx: &Context) {
        self.state.view.missing = None;
        let current = self.state.loaded().cloned();
        let title = format!("Open {}", spec.display());
        self.start_opening(title, ctx, move |job| opened::open(&spec, current, job));
    }

    /// Opens a file that holds the open model in another form.
    pub(super) fn open_other_form(&mut self, spec: PathBuf, ctx: &Context) {
        let title = format!("Open {}", spec.display());
        self.start_opening(title, ctx, move |job| {
            Ok(Opened::OtherForm(opened::load(&spec, job)?))
        });
    }

    /// Opens the project that waits for its model with this one.
    pub(super) fn locate(&mut self, spec: PathBuf, ctx: &Context) {
        let Some(missing) = self.state.view.missing.clone() else {
            return;
        };
        let current = self.state.loaded().cloned();
        let mut project = missing.project;
        let title = format!("Open {}", spec.display());
        project.model = Some(spec);
        self.start_opening(title, ctx, move |job| {
            opened::with_model(project, missing.origin, current, job)
        });
    }

    /// Makes what a window has left behind the project of this one.
    pub(super) fn restore(&mut self, left: Arc<Left>, ctx: &Context) {
        let project = Box::new(left.project.clone());
        let path = left.path.clone();
        let saved = Saved {
            // Without a file, or without what was in it, all of it is unsaved.
            project: path.as_deref().and_then(|path| Project::open(path).ok()),
            path,
        };
        let left = Some(left);
        let origin = Origin { saved, left };
        if project.model.is_none() {
            let loaded = None;
            let opened = OpenedProject {
                project,
                origin,
                loaded,
            };
            return self.on_project(Box::new(opened), ctx);
        }
        let current = self.state.loaded().cloned();
        self.start_opening("Restore".to_owned(), ctx, move |job| {
            opened::with_model(project, origin, current, job)
        });
    }

    fn start_opening(
        &mut self,
        title: String,
        ctx: &Context,
        work: impl FnOnce(&Job<'_>) -> Result<Opened, Failure> + Send + 'static,
    ) {
        self.state.view.popup = Popup::Closed;
        let jobs = &mut self.state.jobs;
        jobs.start(JobKind::Open, title, ctx, |job| {
            Ok(Ended::Opened(work(job)?))
        });
    }

    pub(super) fn fetch(&mut self, name: String, ctx: &Context) {
        let title = format!("Fetch {name}");
        let fetch = move |job: &Job<'_>| Ok(Ended::Fetched(opened::bring(&name, job)?));
        self.state.jobs.start(JobKind::Fetch, title, ctx, fetch);
        self.state.view.popup = Popup::Closed;
    }

    /// A model of the catalog has come: it is opened, in the project that waits for it if one does.
    pub(super) fn on_fetched(&mut self, name: String, ctx: &Context) {
        self.state.view.listed = super::state::listed();
        let spec = PathBuf::from(name);
        match &self.state.view.missing {
            Some(missing) if missing.spec == spec => self.locate(spec, ctx),
            Some(_) | None => self.open(spec, ctx),
        }
    }

    pub(super) fn on_opened(&mut self, opened: Opened, ctx: &Context) {
        match opened {
            Opened::Model(loaded) => self.on_model(loaded, ctx),
            Opened::OtherForm(loaded) => {
                let project = self.state.project.clone();
                self.install(loaded, project, ctx);
            }
            Opened::Recipe(recipe) => {
                *self.state.view.active.recipe_mut(&mut self.state.project) = recipe;
            }
            Opened::Project(opened) => self.on_project(opened, ctx),
            Opened::MissingModel(missing) => self.ask_for_model(*missing),
            Opened::Past(way, project, loaded) => {
                // Not if the project was changed while its model was read.
                if self.peek(way).is_some_and(|past| past == *project) {
                    self.take_step(way);
                    self.install(loaded, *project, ctx);
                }
            }
        }
    }

    /// Takes over a project, unless that would lose what is unsaved of the one before: then it is asked.
    fn on_project(&mut self, opened: Box<OpenedProject>, ctx: &Context) {
        if self.state.saved.is_behind(&self.state.project) {
            self.ask_to_leave(Leaving::Project(opened));
        } else {
            self.take_project(*opened, ctx);
        }
    }

    /// Takes over a project.
    pub(super) fn take_project(&mut self, opened: OpenedProject, ctx: &Context) {
        let OpenedProject {
            project,
            origin,
            loaded,
        } = opened;
        self.state.view.missing = None;
        let is_open = |loaded: &Arc<Loaded>| {
            let current = self.state.loaded();
            current.is_some_and(|current| Arc::ptr_eq(current, loaded))
        };
        match loaded.filter(|loaded| !is_open(loaded)) {
            None => self.change_project(*project),
            Some(loaded) => self.install(loaded, *project, ctx),
        }
        #[cfg(feature = "flash")]
        {
            // The board of a project was chosen when it was saved.
            self.state.view.is_board_chosen = true;
        }
        self.state.saved = origin.saved;
        // An undo would bring the project of before under the name of this one.
        self.undoer = Undoer::default();
        if let (Some(left), Some(autosaver)) = (origin.left, &mut self.autosaver) {
            autosaver.restored(left);
        }
    }

    /// Another project with the model that is open.
    fn change_project(&mut self, project: Project) {
        let model = self.state.project.model.take();
        self.state.project = Project { model, ..project };
    }

    /// A project cannot be opened without its model; until there is one, nothing has happened.
    fn ask_for_model(&mut self, missing: MissingModel) {
        self.state.fail(missing.reason.clone());
        self.state.view.model_path.show(missing.spec.clone());
        self.state.view.missing = Some(missing);
        self.state.view.popup = Popup::MissingModel;
    }

    /// Takes over a model that somebody opened. Rules that name a layer by its number were made for another:
    /// whether they shall go onto this one is asked.
    fn on_model(&mut self, loaded: Arc<Loaded>, ctx: &Context) {
        let project = &self.state.project;
        let is_other = |current: &&Arc<Loaded>| current.spec != loaded.spec;
        let rules: usize = Candidate::ALL
            .map(|candidate| candidate.recipe(project).numbered_rules())
            .iter()
            .sum();
        if rules > 0 && self.state.loaded().filter(is_other).is_some() {
            self.state.view.arriving = Some(loaded);
            self.state.view.popup = Popup::NumberedRules;
        } else {
            let project = project.clone();
            self.install(loaded, project, ctx);
        }
    }

    /// Opens the model that waited for an answer.
    pub(super) fn install_onto(&mut self, rules: NumberedRules, ctx: &Context) {
        self.state.view.popup = Popup::Closed;
        let Some(loaded) = self.state.view.arriving.take() else {
            return;
        };
        let mut project = self.state.project.clone();
        match rules {
            NumberedRules::Keep => {}
            NumberedRules::Drop => {
                let usual = Project::default();
                project.a = without_numbered(project.a, usual.a);
                project.b = without_numbered(project.b, usual.b);
            }
        }
        self.install(loaded, project, ctx);
    }

    /// A dialog is closed without an answer to its question.
    pub(super) fn stay(&mut self) {
        let view = &mut self.state.view;
        match view.popup {
            Popup::NumberedRules => view.arriving = None,
            Popup::MissingModel => view.missing = None,
            Popup::Save | Popup::Leave | Popup::Replace => self.forget_leaving(),
            Popup::Restore
            | Popup::Closed
            | Popup::Open
            | Popup::Tune
            | Popup::Export
            | Popup::Rewrite
            | Popup::Compare
            | Popup::Verify => {}
            #[cfg(feature = "flash")]
            Popup::Flash => {}
        }
    }

    /// Takes over a model, and the project that goes with it.
    fn install(&mut self, loaded: Arc<Loaded>, project: Project, ctx: &Context) {
        self.new_conversation();
        self.quantizer.clear();
        self.state.jobs.forget_model();
        self.state.view.verify = Verify::default();
        self.state.view.tune.megabytes = 0.0;
        self.state.view.rewrite = RewriteForm::default();
        if self.state.loaded().is_none() && !self.undoer.has_undo(&self.state.project) {
            // There is nothing to go back to before the first model.
            self.undoer = Undoer::default();
        }
        let State {
            project: before,
            saved,
            ..
        } = &mut self.state;
        let was_behind = saved.is_behind(before);
        *before = Project {
            model: Some(loaded.spec.clone()),
            ..project
        };
        saved.follow_model(was_behind, before);
        self.state.derived = Derived::default();
        self.state.derived.open(loaded);
        self.derive(ctx);
        self.ensure_built(self.state.view.active, ctx);
        self.find_calibration(ctx);
        if let Some(question) = self.first_question.take() {
            let both = Candidate::ALL.map(Answerer::Candidate);
            self.ask(&question, &both, Memory::Fresh, None);
        }
    }

    /// Undoes or redoes. Where that leads to another model, the history moves once the model is there: if it
    /// cannot be opened, nothing has happened.
    pub(super) fn step(&mut self, way: Way, ctx: &Context) {
        let Some(project) = self.peek(way) else {
            return;
        };
        let model = project.model.clone();
        match model.filter(|model| self.state.project.model.as_ref() != Some(model)) {
            None => {
                self.take_step(way);
                self.change_project(project);
            }
            Some(spec) => {
                let title = format!("Open {}", spec.display());
                let past = Box::new(project);
                self.start_opening(title, ctx, move |job| {
                    Ok(Opened::Past(way, past, opened::load(&spec, job)?))
                });
            }
        }
    }

    /// Where a step of the history leads.
    fn peek(&mut self, way: Way) -> Option<Project> {
        let project = self.take_step(way)?;
        // And back again.
        match way {
            Way::Undo => self.undoer.redo(&project),
            Way::Redo => self.undoer.undo(&project),
        };
        Some(project)
    }

    /// Moves the history; the project is not touched.
    fn take_step(&mut self, way: Way) -> Option<Project> {
        let project = &self.state.project;
        let step = match way {
            Way::Undo => self.undoer.undo(project),
            Way::Redo => self.undoer.redo(project),
        };
        step.cloned()
    }
}

/// A recipe for another model. One that had no other rules asks nothing any more: `usual` takes its place.
fn without_numbered(recipe: Recipe, usual: Recipe) -> Recipe {
    if recipe.numbered_rules() == 0 {
        return recipe;
    }
    let rest = recipe.without_numbered_rules();
    if rest.rules.is_empty() { usual } else { rest }
}
