//! `whittle models`: what the catalog has and what is here.

use super::Output;
use crate::catalog::{Cache, Catalog, Entry};
use anyhow::Context as _;
use serde_json::json;

/// List the models that can be fetched, and where the fetched ones are
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
    let here = cache.installed(entry).map_or_else(
        || "not fetched".to_owned(),
        |path| path.display().to_string(),
    );
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
