//! What is behind a path or a name: a model, a project with its model, or a recipe.

use super::loaded::Loaded;
use super::running::{Failure, sentence};
use super::saved::Saved;
use crate::catalog::{Cache, Catalog, fetch};
use crate::job::Job;
use crate::model::Model;
use crate::project::Project;
use crate::project::autosave::Left;
use crate::recipe::Recipe;
use crate::text_file;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

/// What was behind a path.
#[derive(Debug)]
pub enum Opened {
    /// A model, for the recipes that are open.
    Model(Arc<Loaded>),
    /// The open model in another form, of which the open recipes mean the same.
    OtherForm(Arc<Loaded>),
    /// A project.
    Project(Box<OpenedProject>),
    /// A project whose model cannot be opened.
    MissingModel(Box<MissingModel>),
    /// A recipe file.
    Recipe(Recipe),
    /// A project of the history, and its model.
    Past(Way, Box<Project>, Arc<Loaded>),
}

/// Where a project comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// What it is on the disk.
    pub saved: Saved,
    /// What it is restored from.
    pub left: Option<Arc<Left>>,
}

/// A project that can be taken over.
#[derive(Debug)]
pub struct OpenedProject {
    /// The project.
    pub project: Box<Project>,
    /// Where it comes from.
    pub origin: Origin,
    /// Its model, unless it names none.
    pub loaded: Option<Arc<Loaded>>,
}

/// Where this window goes from the project that it has open.
#[derive(Debug)]
pub enum Leaving {
    /// It closes.
    Window,
    /// To another project.
    Project(Box<OpenedProject>),
}

/// A project that waits for its model.
#[derive(Debug, Clone)]
pub struct MissingModel {
    /// The project.
    pub project: Box<Project>,
    /// Where it comes from.
    pub origin: Origin,
    /// The model that it names.
    pub spec: PathBuf,
    /// Why that cannot be opened.
    pub reason: String,
}

/// Where the history goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the step before.
    Undo,
    /// To the step that was undone.
    Redo,
}

/// Opens a model of the catalog, a GGUF file, a folder, or a project or recipe in TOML. `current` is the
/// model that is open already.
pub(super) fn open(
    path: &Path,
    current: Option<Arc<Loaded>>,
    job: &Job<'_>,
) -> Result<Opened, Failure> {
    let spec = &*path.to_string_lossy();
    match path.extension().and_then(|e| e.to_str()) {
        Some("toml") => {
            let text = text_file::read(path, text_file::WRITTEN_BYTES)
                .map_err(|error| format!("cannot read {spec}: {error}"))?;
            // A recipe has a name at its top, a project has a board.
            let is_recipe =
                toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("name"));
            return if is_recipe {
                Ok(Opened::Recipe(Recipe::parse(spec, &text)?))
            } else {
                let project = Project::parse(spec, &text)?;
                let saved = Saved {
                    path: Some(absolute(path).unwrap_or_else(|_| path.to_owned())),
                    project: Some(project.clone()),
                };
                let left = None;
                with_model(Box::new(project), Origin { saved, left }, current, job)
            };
        }
        Some("whittle") => {
            return Err(
                format!("{spec} is packed already: open the model that it was made from").into(),
            );
        }
        Some(_) | None => {}
    }
    Ok(Opened::Model(load(path, job)?))
}

/// Opens the model of a project.
pub(super) fn with_model(
    project: Box<Project>,
    origin: Origin,
    current: Option<Arc<Loaded>>,
    job: &Job<'_>,
) -> Result<Opened, Failure> {
    let opened = |project, origin, loaded| {
        Opened::Project(Box::new(OpenedProject {
            project,
            origin,
            loaded,
        }))
    };
    let Some(spec) = project.model.clone() else {
        return Ok(opened(project, origin, None));
    };
    if let Some(current) = current.filter(|current| current.spec == spec) {
        return Ok(opened(project, origin, Some(current)));
    }
    let loaded = load(&spec, job);
    // A person who cancels misses no model.
    job.check()?;
    Ok(match loaded {
        Ok(loaded) => opened(project, origin, Some(loaded)),
        Err(error) => Opened::MissingModel(Box::new(MissingModel {
            project,
            origin,
            spec,
            reason: sentence(&*error),
        })),
    })
}

/// Opens a model and prepares it for the window.
pub(super) fn load(spec: &Path, job: &Job<'_>) -> Result<Arc<Loaded>, Failure> {
    let model = open_model(spec, job)?;
    Ok(Arc::new(Loaded::new(spec.into(), model)?))
}

/// Opens a model of the catalog, a GGUF file or a folder.
pub(super) fn open_model(path: &Path, job: &Job<'_>) -> Result<Model, Failure> {
    let spec = &*path.to_string_lossy();
    let catalog = Catalog::builtin();
    let loaded = match catalog.entry(spec).filter(|_| !path.exists()) {
        None => Model::load(path, job),
        Some(entry) => match entry.built_in_files() {
            Some(files) => Model::from_program(&entry.name, files, job),
            None => {
                let fetched = Cache::from_environment()?.weights(entry);
                let fetched = fetched
                    .ok_or_else(|| format!("{spec} is not on this machine yet: fetch it first"))?;
                Model::load(&fetched, job)
            }
        },
    };
    Ok(loaded.map_err(|error| format!("cannot open {spec}: {error}"))?)
}

/// Brings a model of the catalog.
pub(super) fn bring(name: &str, job: &Job<'_>) -> Result<String, Failure> {
    let catalog = Catalog::builtin();
    let entry = catalog
        .entry(name)
        .ok_or_else(|| format!("the catalog has no model named {name}"))?;
    fetch(entry, &Cache::from_environment()?, job)?;
    Ok(name.to_owned())
}
