//! Where fetched models lie on this machine, and how they may be fetched.

use super::built_in;
use super::entry::{Entry, File, Origin, Source};
use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use crate::whole_file::{Scratch, WholeFile};
use directories::ProjectDirs;
use serde::Deserialize;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder of fetched models and the ways to fill it.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Models lie in `models/<name>/<file>` below it.
    pub folder: PathBuf,
    /// Which hub to ask.
    pub hub: Hub,
    /// The Python whose pip brings packages.
    pub python: OsString,
}

/// Which hub to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hub {
    /// The one that the catalog names.
    Listed,
    /// A mirror at this address, without a trailing slash.
    At(String),
    /// None: go on to the next source.
    Off,
}

/// Where calibrations are kept; for an account that can keep nothing, a folder for the time of a work.
#[derive(Debug)]
pub struct CalibrationFolder {
    /// It.
    pub path: PathBuf,
    /// Why what is computed now has to be computed again the next time.
    pub not_kept: Option<String>,
    _scratch: Option<Scratch>,
}

impl CalibrationFolder {
    /// The one of this account, made where it is missing.
    ///
    /// # Errors
    /// When the settings file cannot be read, or no folder can be made anywhere.
    pub fn open() -> Result<Self, SettingsError> {
        let reason = match Cache::from_environment() {
            Ok(cache) => {
                let path = cache.calibrations();
                match require_writable(&path) {
                    Ok(()) => {
                        return Ok(Self {
                            path,
                            not_kept: None,
                            _scratch: None,
                        });
                    }
                    Err(error) => format!("cannot write {}: {error}", path.display()),
                }
            }
            Err(error @ SettingsError::NoHome) => error.to_string(),
            Err(error) => return Err(error),
        };
        let scratch = Scratch::new().map_err(SettingsError::Nowhere)?;
        Ok(Self {
            path: scratch.path().to_owned(),
            not_kept: Some(reason),
            _scratch: Some(scratch),
        })
    }
}

/// Makes a folder in which files can be made.
fn require_writable(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    // A file is begun and dropped again.
    WholeFile::create(&folder.join("writable")).map(drop)
}

/// The environment or the settings file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The settings are of a newer Whittle.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// This account has no home.
    #[error("this account has no home folder: set WHITTLE_CACHE to the folder for models")]
    NoHome,
    /// There is no place for what is computed.
    #[error("cannot make a folder for calibrations: {0}")]
    Nowhere(std::io::Error),
    /// The settings file is there and cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The settings file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The settings file is not TOML, or a value has the wrong type.
    #[error("{path} is not a settings file: {error}")]
    Toml {
        /// The settings file.
        path: PathBuf,
        /// Where and what.
        error: toml::de::Error,
    },
}

/// The part of `settings.toml` that concerns fetching.
#[derive(Debug, Default, Deserialize)]
struct Settings {
    hub: Option<String>,
}

impl Cache {
    /// A cache in `folder` that fetches as the catalog says.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let python = if cfg!(windows) { "python" } else { "python3" };
        Self {
            folder: folder.into(),
            hub: Hub::Listed,
            python: python.into(),
        }
    }

    /// Where calibrations are kept.
    #[must_use]
    pub fn calibrations(&self) -> PathBuf {
        self.folder.join("calibrations")
    }

    /// Where the flash of emulated boards is kept.
    #[must_use]
    pub fn boards(&self) -> PathBuf {
        self.folder.join("boards")
    }

    /// The cache of this account.
    ///
    /// `WHITTLE_CACHE` or else the platform's cache folder; `WHITTLE_HUB` or else `hub` in the settings file names a
    /// mirror, and empty means no hub; `WHITTLE_PYTHON` names another Python.
    ///
    /// # Errors
    /// When there is no home folder, or the settings file cannot be read.
    pub fn from_environment() -> Result<Self, SettingsError> {
        let folders = ProjectDirs::from("", "", "whittle");
        let folder = match (env::var_os("WHITTLE_CACHE"), &folders) {
            (Some(folder), _) if !folder.is_empty() => PathBuf::from(folder),
            (_, Some(folders)) => folders.cache_dir().to_owned(),
            (_, None) => return Err(SettingsError::NoHome),
        };
        let settings = match &folders {
            Some(folders) => read_settings(&folders.config_dir().join("settings.toml"))?,
            None => Settings::default(),
        };
        let mut cache = Self::new(folder);
        cache.hub = match env::var("WHITTLE_HUB").ok().or(settings.hub) {
            None => Hub::Listed,
            Some(address) if address.trim().is_empty() => Hub::Off,
            Some(address) => Hub::At(address.trim().trim_end_matches('/').to_owned()),
        };
        if let Some(python) = env::var_os("WHITTLE_PYTHON").filter(|python| !python.is_empty()) {
            cache.python = python;
        }
        Ok(cache)
    }

    /// The cache of this account; nothing for one without a home, which can have fetched nothing.
    ///
    /// # Errors
    /// When the settings file cannot be read.
    pub fn if_any() -> Result<Option<Self>, SettingsError> {
        match Self::from_environment() {
            Ok(cache) => Ok(Some(cache)),
            Err(SettingsError::NoHome) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder of a model's files, whether or not they are there.
    #[must_use]
    pub fn model_folder(&self, entry: &Entry) -> PathBuf {
        self.folder.join("models").join(&entry.name)
    }

    /// The folder of a model whose files are all there.
    #[must_use]
    pub fn installed(&self, entry: &Entry) -> Option<PathBuf> {
        self.installed_source(entry)
            .map(|_| self.model_folder(entry))
    }

    /// What `Model::load` takes for a model whose files are all there: its GGUF file, or else its folder.
    #[must_use]
    pub fn weights(&self, entry: &Entry) -> Option<PathBuf> {
        let folder = self.installed(entry)?;
        let files = fs::read_dir(&folder).ok()?;
        let is_gguf = |path: &PathBuf| path.extension().is_some_and(|e| e == "gguf");
        let gguf = files
            .filter_map(|file| file.ok().map(|file| file.path()))
            .find(is_gguf);
        Some(gguf.unwrap_or(folder))
    }

    /// The source that all files in the model's folder are from.
    pub(super) fn installed_source<'a>(&self, entry: &'a Entry) -> Option<&'a Source> {
        let folder = self.model_folder(entry);
        entry.sources.iter().find(|source| {
            let mut files = source.files.iter();
            files.all(|file| is_placed(&folder, &source.origin, file))
        })
    }
}

/// Whether a source's file is in its place.
///
/// A file gets its name only after its hash was checked: here the length tells one source's from another's. What is
/// built in is compared as a whole, because that is cheap and mends what was damaged since.
pub(super) fn is_placed(folder: &Path, origin: &Origin, file: &File) -> bool {
    let path = folder.join(&file.name);
    match origin {
        Origin::Hub { .. } | Origin::PyPi => {
            fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == file.bytes)
        }
        Origin::BuiltIn { folder } => {
            let ours = built_in::bytes(folder, file);
            fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() == file.bytes)
                && fs::read(path).is_ok_and(|bytes| Some(bytes.as_slice()) == ours)
        }
    }
}

fn read_settings(path: &Path) -> Result<Settings, SettingsError> {
    let text = match text_file::read(path, text_file::WRITTEN_BYTES) {
        Ok(text) => text,
        // A home that is no folder has no settings either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Settings::default());
        }
        Err(error) => {
            return Err(SettingsError::Read {
                path: path.to_owned(),
                error,
            });
        }
    };
    Format::<1>::check_toml("settings", &path.to_string_lossy(), &text)?;
    toml::from_str(&text).map_err(|error| SettingsError::Toml {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settings_file_may_be_absent_partial_or_wrong() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("settings.toml");
        assert_eq!(read_settings(&path).expect("no file").hub, None);
        fs::write(&path, "theme = \"dark\"\n").expect("a file");
        assert_eq!(read_settings(&path).expect("no hub").hub, None);
        fs::write(&path, "hub = \"https://mirror.example/\"\n").expect("a file");
        assert_eq!(
            read_settings(&path).expect("a hub").hub.as_deref(),
            Some("https://mirror.example/")
        );
        fs::write(&path, include_str!("../../tests/old-files/settings.toml")).expect("a file");
        assert!(read_settings(&path).expect("a hub").hub.is_some());
        fs::write(&path, "later = 1\nformat = 9\n").expect("a file");
        let message = read_settings(&path).expect_err("a newer one").to_string();
        let expected = "expected format 1 or older, found format 9: a newer Whittle wrote it";
        assert!(message.ends_with(expected), "{message}");
        fs::write(&path, "hub = 3\n").expect("a file");
        let message = read_settings(&path).expect_err("a number").to_string();
        assert!(
            message.contains("settings.toml is not a settings file"),
            "{message}"
        );
    }
}
