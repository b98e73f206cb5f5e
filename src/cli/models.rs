//! `whittle models`: what the catalog has and what is here.

use super::Output;
use crate::catalog::{Cache, Catalog, Entry};
use anyhow::Context as _;
use serde_json::json;

/// List the models that are built in or can be fetched, and where they are on disk
#[derive(Debug, clap::Args)]
pub(super) struct ModelsArgs {}

pub(super) fn run(_args: &ModelsArgs, output: &Output) -> anyhow::Result<()> {
    let catalog = Catalog::builtin();
    let cache = Cache::from_environment().context("cannot tell where models belong")?;
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
                "installed": cache.installed(entry),
            })
        })
        .collect();
    output.emit(&json!({ "models": models }), |_| {
        let lines: Vec<String> = catalog
            .entries
            .iter()
            .map(|entry| line(entry, &cache))
            .collect();
        lines.join("\n")
    })
}

fn line(entry: &Entry, cache: &Cache) -> String {
    let here = match (cache.installed(entry), entry.is_built_in()) {
        (Some(path), true) => format!("built in, {}", path.display()),
        (Some(path), false) => path.display().to_string(),
        (None, true) => "built in, written to disk when it is opened".to_owned(),
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
