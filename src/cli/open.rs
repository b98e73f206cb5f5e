//! What a MODEL argument stands for.

use super::Output;
use crate::catalog::{Cache, Catalog};
use crate::model::Model;
use anyhow::Context as _;
use std::path::Path;

/// Loads the model that `spec` names: a model of the catalog, which was fetched or is built in, the path of a GGUF
/// file, or that of a Hugging Face folder.
pub(super) fn open_model(path: &Path, output: &Output) -> anyhow::Result<Model> {
    let spec = &*path.to_string_lossy();
    let catalog = Catalog::builtin();
    let entry = catalog.entry(spec).filter(|_| !path.exists());
    let loaded = match entry {
        None => output.with_bar(|job| Model::load(path, job)),
        Some(entry) => match entry.built_in_files() {
            Some(files) => output.with_bar(|job| Model::from_program(&entry.name, files, job)),
            None => {
                let fetched = Cache::from_environment()?.weights(entry);
                let fetched = fetched.with_context(|| {
                    format!(
                        "{spec} is not on this machine yet ({:.0} MB): run `whittle fetch {spec}`",
                        entry.bytes() as f64 / 1e6
                    )
                })?;
                output.with_bar(|job| Model::load(&fetched, job))
            }
        },
    };
    loaded.with_context(|| format!("cannot load {spec}"))
}
