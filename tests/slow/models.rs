//! The models of the catalog in this account's cache.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use whittle::catalog::{Cache, Catalog, fetch};
use whittle::job::Job;

/// The folder of a model of the catalog, unless it was not fetched: then what fetches it.
pub(crate) fn installed(name: &str) -> Result<PathBuf, String> {
    let catalog = Catalog::builtin();
    let entry = catalog.entry(name).expect("a model of the catalog");
    let cache = Cache::from_environment().expect("a cache folder");
    cache
        .installed(entry)
        .ok_or_else(|| format!("{name} is not in the cache: `whittle fetch {name}`"))
}

#[test]
fn the_default_models_are_here_and_unchanged() {
    let cache = Cache::from_environment().expect("a cache folder");
    for entry in Catalog::builtin().defaults() {
        let fetched = fetch(entry, &cache, &Job::silent()).expect("a source that works");
        let source = entry
            .sources
            .iter()
            .find(|source| {
                source
                    .files
                    .iter()
                    .all(|file| fetched.files.contains(&fetched.folder.join(&file.name)))
            })
            .expect("the source of the files");
        for file in &source.files {
            let bytes = fs::read(fetched.folder.join(&file.name)).expect("a file of the model");
            let found: String = Sha256::digest(&bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(found, file.sha256, "{} of {}", file.name, entry.name);
        }
    }
}
