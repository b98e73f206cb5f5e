//! What the files are called that dialogs propose.

use super::candidate::Candidate;
use super::path_field::file_name;
use super::state::State;
use super::studio::Studio;
use directories::UserDirs;
use std::path::{Path, PathBuf};

/// The folder where files are proposed: the project's, or else where Whittle was started, if that is a place for files.
pub(super) fn folder(project: Option<&Path>) -> PathBuf {
    let beside = project.and_then(Path::parent).map(Path::to_owned);
    // Started from a menu, the current folder is the root.
    let current = || {
        std::env::current_dir()
            .ok()
            .filter(|path| path.parent().is_some())
    };
    let home = || UserDirs::new().map(|folders| folders.home_dir().to_owned());
    beside.or_else(current).or_else(home).unwrap_or_default()
}

/// What a candidate's files are called: `hearth-balanced-4bit`.
pub(super) fn candidate_name(state: &State, candidate: Candidate) -> Option<String> {
    let loaded = state.loaded()?;
    let recipe = candidate.recipe(&state.project);
    let presets = &state.view.presets;
    // A recipe keeps its name when a slider moves.
    let is_edited = presets.iter().any(|p| p.name == recipe.name) && !presets.contains(recipe);
    let edited = match is_edited {
        true => "-edited",
        false => "",
    };
    Some(file_name(&format!(
        "{}-{}{edited}",
        loaded.shape.name, recipe.name
    )))
}

impl Studio {
    /// Proposes where to write what the Export dialog can.
    pub(super) fn name_exports(&mut self) {
        let folder = folder(self.state.saved.path.as_deref());
        if let Some(name) = candidate_name(&self.state, self.state.view.active) {
            let view = &mut self.state.view;
            view.export_path.propose(&name, "whittle", &folder);
            view.gguf_path.propose(&name, "gguf", &folder);
            #[cfg(feature = "flash")]
            view.bundle_path.propose(&name, "parts", &folder);
            view.report_path.propose(&name, "html", &folder);
        }
        self.name_project();
    }

    /// Proposes the project's file: the one that it has, or one named after its model.
    pub(super) fn name_project(&mut self) {
        let folder = folder(self.state.saved.path.as_deref());
        let model = self.state.loaded().map(|loaded| loaded.shape.name.clone());
        let name = file_name(&model.unwrap_or_else(|| "project".to_owned()));
        let (view, saved) = (&mut self.state.view, &self.state.saved);
        match saved.path.clone() {
            Some(path) => view.project_path.set(path),
            None => view.project_path.propose(&name, "toml", &folder),
        }
    }

    /// Proposes where to write other forms of the open model.
    pub(super) fn name_rewrites(&mut self) {
        let folder = folder(self.state.saved.path.as_deref());
        if let Some(loaded) = self.state.loaded() {
            let name = file_name(&loaded.shape.name);
            let form = &mut self.state.view.rewrite;
            let trimmed = format!("{name}-trimmed");
            form.trimmed_path.propose(&trimmed, "gguf", &folder);
            let rotated = format!("{name}-rotated");
            form.rotated_path.propose(&rotated, "gguf", &folder);
        }
    }
}
