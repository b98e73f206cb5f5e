//! What a MODEL argument stands for.

use super::Output;
use crate::catalog::{Cache, Catalog, ready};
use crate::model::Model;
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Loads the model that `spec` names: a model of the catalog, the path of a GGUF file, or that of a
/// Hugging Face folder.
pub(super) fn open_model(spec: &str, output: &Output) -> anyhow::Result<Model> {
    let path = model_path(spec, output)?;
    output
        .with_bar(|job| Model::load(&path, job))
        .with_context(|| format!("cannot load {spec}"))
}

/// The file or folder of a model; a name of the catalog stands for what was fetched or is built in.
pub(super) fn model_path(spec: &str, output: &Output) -> anyhow::Result<PathBuf> {
    let path = Path::new(spec);
    let catalog = Catalog::builtin();
    let Some(entry) = catalog.entry(spec).filter(|_| !path.exists()) else {
        return Ok(path.to_owned());
    };
    let cache = Cache::from_environment()?;
    let found = output.with_bar(|job| ready(entry, &cache, job)).with_context(|| {
        format!("{spec} is built in and must be written to the model folder, which WHITTLE_CACHE names")
    })?;
    found.with_context(|| {
        format!(
            "{spec} is not on this machine yet ({:.0} MB): run `whittle fetch {spec}`",
            entry.bytes() as f64 / 1e6
        )
    })
}
