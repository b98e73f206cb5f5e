//! `whittle fetch`: brings models of the catalog into the cache.

use super::Output;
use super::measure::shown;
use crate::catalog::{Cache, Catalog, Entry, fetch};
use anyhow::{Context as _, anyhow, bail};
use serde_json::json;

/// Fetch models by name; without a name the ones that a new installation needs
#[derive(Debug, clap::Args)]
pub(super) struct FetchArgs {
    /// Names that `whittle models` lists
    names: Vec<String>,
}

pub(super) fn run(args: &FetchArgs, output: &Output) -> anyhow::Result<()> {
    let catalog = Catalog::builtin();
    let cache = Cache::from_environment().context("cannot tell where models belong")?;
    let entries: Vec<&Entry> = if args.names.is_empty() {
        catalog.defaults().collect()
    } else {
        args.names
            .iter()
            .map(|name| find(&catalog, name))
            .collect::<Result<_, _>>()?
    };

    let mut models = Vec::new();
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for entry in entries {
        // One model that cannot be had should not keep the others away.
        match output.with_bar(|job| fetch(entry, &cache, job)) {
            Ok(fetched) => {
                lines.push(format!("{}  {}", entry.name, fetched.folder.display()));
                models.push(json!({
                    "name": entry.name,
                    "folder": shown(&fetched.folder),
                    "files": fetched.files.iter().map(|file| shown(file)).collect::<Vec<_>>(),
                }));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    if !models.is_empty() {
        output.emit(&json!({ "models": models }), |_| lines.join("\n"))?;
    }
    if !failures.is_empty() {
        bail!(failures.join("\n"));
    }
    Ok(())
}

/// The model of this name, or an error that lists the names there are.
fn find<'a>(catalog: &'a Catalog, name: &str) -> anyhow::Result<&'a Entry> {
    catalog.entry(name).ok_or_else(|| {
        let names: Vec<&str> = catalog
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        anyhow!("no model is called {name}: there are {}", names.join(", "))
    })
}
