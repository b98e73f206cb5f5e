//! The models of the catalog that voice needs, beside the one that answers.

use crate::catalog::{Cache, Catalog, Entry};

/// Name of the model that hears.
pub const RECOGNIZER: &str = "whisper-tiny.en";
/// Name of the model that speaks.
pub const SYNTHESIZER: &str = "hibari";

/// Those of them that are not in the cache, or all where there is none; they can be fetched.
#[must_use]
pub fn missing_models(cache: Option<&Cache>) -> Vec<Entry> {
    let needed = |entry: &Entry| [RECOGNIZER, SYNTHESIZER].contains(&entry.name.as_str());
    let mut entries = Catalog::builtin().entries;
    let installed = |entry: &Entry| cache.and_then(|cache| cache.installed(entry));
    entries.retain(|entry| needed(entry) && installed(entry).is_none());
    entries
}
