//! What is behind a path or a name: a model, a project or a recipe.

use super::loaded::Loaded;
use super::running::Failure;
use crate::catalog::{Cache, Catalog, fetch, ready};
use crate::job::Job;
use crate::model::Model;
use crate::project::Project;
use crate::recipe::Recipe;
use std::path::Path;
use std::sync::Arc;

/// What was behind a path.
#[derive(Debug)]
pub enum Opened {
    /// A model.
    Model(Arc<Loaded>),
    /// A project file.
    Project(Box<Project>),
    /// A recipe file.
    Recipe(Recipe),
}

/// Opens a model of the catalog, a GGUF file, a folder, or a project or recipe in TOML.
pub(super) fn open(spec: &str, job: &Job<'_>) -> Result<Opened, Failure> {
    let path = Path::new(spec);
    match path.extension().and_then(|e| e.to_str()) {
        Some("toml") => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {spec}: {error}"))?;
            // A recipe has a name at its top, a project has a board.
            let is_recipe =
                toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("name"));
            return Ok(if is_recipe {
                Opened::Recipe(Recipe::parse(spec, &text)?)
            } else {
                Opened::Project(Box::new(Project::parse(spec, &text)?))
            });
        }
        Some("whittle") => {
            return Err(
                format!("{spec} is packed already: open the model that it was made from").into(),
            );
        }
        Some(_) | None => {}
    }
    let model = open_model(spec, job)?;
    Ok(Opened::Model(Arc::new(Loaded::new(spec.into(), model)?)))
}

/// Opens a model of the catalog, a GGUF file or a folder.
pub(super) fn open_model(spec: &str, job: &Job<'_>) -> Result<Model, Failure> {
    let path = Path::new(spec);
    let catalog = Catalog::builtin();
    let path = match catalog.entry(spec).filter(|_| !path.exists()) {
        None => path.to_owned(),
        Some(entry) => ready(entry, &Cache::from_environment()?, job)
            .map_err(|error| format!("cannot open {spec}: {error}"))?
            .ok_or_else(|| format!("{spec} is not on this machine yet: fetch it first"))?,
    };
    Ok(Model::load(&path, job).map_err(|error| format!("cannot open {spec}: {error}"))?)
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
