//! What a MODEL argument stands for.

use super::Output;
use crate::model::Model;
use anyhow::Context as _;
use std::path::Path;

/// Loads the model that `spec` names: the path of a GGUF file or of a Hugging Face folder.
pub(super) fn open_model(spec: &str, output: &Output) -> anyhow::Result<Model> {
    output
        .with_bar(|job| Model::load(Path::new(spec), job))
        .with_context(|| format!("cannot load {spec}"))
}
