//! `whittle models`: what the catalog has and what is here.

use super::Output;
use super::measure::shown;
use crate::catalog::{Cache, Catalog, Entry};
use serde_json::json;
use std::path::PathBuf;

/// List the models that are built in or can be fetched, and where they are on disk
#[derive(Debug, clap::Args)]
pub(super) struct ModelsArgs {}

pub(super) fn run(_args: &ModelsArgs, output: &Output) -> anyhow::Result<()> {
    let catalog = Catalog::builtin();
    let cache = Cache::if_any()?;
    let installed = |entry: &Entry| cache.as_ref().and_then(|cache| cache.installed(entry));
    let models: Vec<_> = catalog
        .entries
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "kind": entry.kind,
                "title": entry.title,
                "license": entry.license(),
                "bytes": entry.bytes(),
                "default": entry.default,
                "built_in": entry.is_built_in(),
                "installed": installed(entry).map(|path| shown(&path)),
            })
        })
        .collect();
    output.emit(&json!({ "models": models }), |_| {
        let lines: Vec<String> = catalog
            .entries
            .iter()
            .map(|entry| line(entry, installed(entry)))
            .collect();
        lines.join("\n")
    })
}

fn line(entry: &Entry, installed: Option<PathBuf>) -> String {
    let here = match (installed, entry.is_built_in()) {
        (Some(path), true) => format!("built in, {}", path.display()),
        (Some(path), false) => path.display().to_string(),
        (None, true) => "built in".to_owned(),
        (None, false) => "not fetched".to_owned(),
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "one decimal of a megabyte is shown"
    )]
    let megabytes = entry.bytes() as f64 / 1e6;
    format!(
        "{:20} {:12} {:12} {megabytes:>8.1} MB  {here}",
        entry.name,
        entry.kind.to_string(),
        entry.license()
    )
}
