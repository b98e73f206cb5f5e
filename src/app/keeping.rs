//! Work that is kept: saving, the autosave, and the questions before something is lost.

use super::command::{Command, LeftBehind, Unsaved};
use super::jobs::{Ended, JobKind};
use super::opened::Leaving;
use super::saved::Saved;
use super::state::{Popup, Replacing, State};
use super::studio::{AfterSave, Closing, Studio};
use super::units;
use crate::job::Job;
use crate::project::Project;
use eframe::egui::{Context, ViewportCommand};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl State {
    /// What is lost when this window closes, a sentence each.
    #[must_use]
    pub fn would_lose(&self) -> Vec<String> {
        let mut losses = Vec::new();
        if self.saved.is_behind(&self.project) {
            losses.push(format!(
                "{} has changes that are not saved",
                self.saved.name()
            ));
        }
        let lost = self
            .jobs
            .iter()
            .filter(|(kind, _)| kind.is_lost_by_closing());
        losses.extend(lost.map(|(_, job)| format!("{} is still running", job.title)));
        losses
    }
}

impl Studio {
    /// Called every frame: the title, what others have left, and the autosave.
    pub(super) fn keep(&mut self, ctx: &Context) {
        let title = self.state.saved.title(&self.state.project);
        if title != self.title {
            ctx.send_viewport_cmd(ViewportCommand::Title(title.clone()));
            self.title = title;
        }
        self.offer_left(ctx);
        let State { project, saved, .. } = &self.state;
        let autosaver = self.autosaver.as_mut();
        if let Some(failure) = autosaver.and_then(|a| a.follow(project, saved, ctx)) {
            self.state.fail(failure);
        }
    }

    /// Asks before the window closes on something that would be lost.
    pub(super) fn follow_close(&mut self, ctx: &Context) {
        let is_asked = ctx.input(|input| input.viewport().close_requested());
        let is_sure = self.closing == Closing::Now || self.screenshot.is_some();
        if !is_asked || is_sure || self.state.would_lose().is_empty() {
            return;
        }
        ctx.send_viewport_cmd(ViewportCommand::CancelClose);
        // It may have been closed from where it is not seen.
        ctx.send_viewport_cmd(ViewportCommand::Minimized(false));
        ctx.send_viewport_cmd(ViewportCommand::Focus);
        self.ask_to_leave(Leaving::Window);
        ctx.request_repaint();
    }

    pub(super) fn ask_to_leave(&mut self, leaving: Leaving) {
        self.state.view.leaving = Some(leaving);
        self.state.view.popup = Popup::Leave;
    }

    /// The answer to that.
    pub(super) fn leave(&mut self, unsaved: Unsaved, ctx: &Context) {
        match unsaved {
            Unsaved::Save => {
                self.after_save = AfterSave::Leave;
                self.save(ctx);
            }
            Unsaved::Discard => {
                if let Some(leaving) = self.state.view.leaving.take() {
                    self.go(leaving, ctx);
                }
            }
        }
    }

    /// Leaves the project that is open.
    pub(super) fn go(&mut self, leaving: Leaving, ctx: &Context) {
        self.after_save = AfterSave::Stay;
        self.state.view.popup = Popup::Closed;
        match leaving {
            Leaving::Window => {
                self.closing = Closing::Now;
                ctx.send_viewport_cmd(ViewportCommand::Close);
            }
            Leaving::Project(opened) => self.take_project(*opened, ctx),
        }
    }

    /// Nobody leaves.
    pub(super) fn forget_leaving(&mut self) {
        self.after_save = AfterSave::Stay;
        self.replacing = None;
        let view = &mut self.state.view;
        (view.leaving, view.replacing) = (None, None);
    }

    /// Writes the project to its file, or asks for one.
    pub(super) fn save(&mut self, ctx: &Context) {
        match self.state.saved.path.clone() {
            Some(path) => self.apply(Command::SaveProject(path), ctx),
            None => self.show(Popup::Save, ctx),
        }
    }

    pub(super) fn save_project(&mut self, path: PathBuf, ctx: &Context) {
        let project = Box::new(self.state.project.clone());
        let save = move |_: &Job<'_>| {
            project.save(&path)?;
            Ok(Ended::Saved(path, project))
        };
        let jobs = &mut self.state.jobs;
        jobs.start(JobKind::Save, "Save project", ctx, save);
        let popup = &mut self.state.view.popup;
        if popup.is_question() || *popup == Popup::Export {
            *popup = Popup::Closed;
        }
    }

    pub(super) fn on_saved(&mut self, path: PathBuf, project: Project, ctx: &Context) {
        self.state.inform(format!("Saved {}", path.display()));
        self.state.view.project_path.set(path.clone());
        self.state.saved = Saved {
            path: Some(path),
            project: Some(project),
        };
        match (self.after_save, self.state.view.leaving.take()) {
            (AfterSave::Leave, Some(leaving)) => self.go(leaving, ctx),
            (AfterSave::Stay | AfterSave::Leave, _) => {}
        }
    }

    /// The command, unless it would replace a file: then the person is asked.
    pub(super) fn unless_it_replaces(&mut self, command: Command) -> Option<Command> {
        let found = command
            .writes()
            .and_then(|path| self.found_at(path, &command));
        let Some(found) = found else {
            return Some(command);
        };
        let view = &mut self.state.view;
        let back = std::mem::replace(&mut view.popup, Popup::Replace);
        view.replacing = Some(Replacing { found, back });
        self.replacing = Some(command);
        None
    }

    /// What the person must know of a file before it is replaced.
    fn found_at(&self, path: &Path, command: &Command) -> Option<String> {
        // A link that leads nowhere is there too.
        let file = fs::symlink_metadata(path).ok()?;
        let State { saved, .. } = &self.state;
        let is_own =
            matches!(command, Command::SaveProject(_)) && saved.path.as_deref() == Some(path);
        if is_own && saved.project.is_some() {
            let is_as_we_know = Project::open(path).ok() == saved.project;
            let text = format!("{} was changed by another program since", path.display());
            return (!is_as_we_know).then_some(text);
        }
        let age = file.modified().ok().and_then(|time| time.elapsed().ok());
        let age = age.map_or_else(String::new, |age| {
            format!(", written {} ago", units::duration(age))
        });
        let (path, size) = (path.display(), units::bytes(file.len()));
        Some(format!("{path} exists: {size}{age}"))
    }

    /// Does what would replace a file.
    pub(super) fn replace(&mut self, ctx: &Context) {
        self.state.view.replacing = None;
        if let Some(command) = self.replacing.take() {
            self.state.view.popup = Popup::Closed;
            self.run(command, ctx);
        }
    }

    /// Looks for what windows have left behind, and offers it once no other dialog is open.
    fn offer_left(&mut self, ctx: &Context) {
        let found = self.search.as_mut().map(|search| search.look(ctx));
        for left in found.unwrap_or_default() {
            match left {
                Ok(left) => {
                    self.state.view.left.push(Arc::new(left));
                    self.is_left_new = true;
                }
                Err(error) => self.state.fail(error.to_string()),
            }
        }
        if self.is_left_new && self.state.view.popup == Popup::Closed {
            self.is_left_new = false;
            self.state.view.popup = Popup::Restore;
            // This frame may be drawn already.
            ctx.request_repaint();
        }
    }

    pub(super) fn recover(&mut self, place: usize, what: LeftBehind, ctx: &Context) {
        if place >= self.state.view.left.len() {
            return;
        }
        let left = self.state.view.left.remove(place);
        match what {
            LeftBehind::Discard => {
                let gone = left.remove();
                if let Err(error) = gone {
                    self.state
                        .fail(format!("cannot remove what was left: {error}"));
                }
                if self.state.view.left.is_empty() {
                    self.state.view.popup = Popup::Closed;
                }
            }
            LeftBehind::Restore => {
                self.state.view.popup = Popup::Closed;
                self.restore(left, ctx);
            }
        }
    }

    /// The window is gone: nothing is left behind, unless it was closed over unsaved changes by others than the person.
    pub(super) fn end(&mut self) {
        let is_sure = self.closing == Closing::Now;
        let State { project, saved, .. } = &self.state;
        if (is_sure || !saved.is_behind(project))
            && let Some(autosaver) = self.autosaver.take()
        {
            autosaver.end();
        }
    }
}
