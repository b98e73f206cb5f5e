//! What the window saves and undoes: model, recipes, board, and how the assistant is asked.

pub mod autosave;

use crate::path_text;
use crate::recipe::Recipe;
use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use crate::whole_file;
use engine::arena::CachePrecision;
use engine::sampler::Sampling;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A tuning project: small, comparable, cheap to clone, saved as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The form of the file; raised too when that of the recipes in it is.
    #[serde(default)]
    pub format: Format<1>,
    /// Name of the catalog or path of the source model; nothing before one was opened.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "path_text::write",
        deserialize_with = "path_text::read"
    )]
    pub model: Option<PathBuf>,
    /// Id of the board that is looked at.
    pub board: String,
    /// Tokens that the board's cache of keys and values shall hold.
    pub context_tokens: u32,
    /// Bits of an element of that cache, on the board and in the window's conversations: 16, 8 or 4.
    #[serde(default, rename = "kv_bits", with = "kv_bits")]
    pub cache: CachePrecision,
    /// System text of a conversation; empty leaves it to the chat template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// How tokens of an answer are chosen, for both candidates alike.
    #[serde(default, skip_serializing_if = "SamplingSettings::is_default")]
    pub sampling: SamplingSettings,
    /// The firmware that is flashed with the model.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "path_text::write",
        deserialize_with = "path_text::read"
    )]
    pub firmware: Option<PathBuf>,
    /// Recipe of candidate A.
    pub a: Recipe,
    /// Recipe of candidate B.
    pub b: Recipe,
}

/// A precision as its number of bits.
mod kv_bits {
    use super::CachePrecision;
    use serde::de::Error;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        cache: &CachePrecision,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(cache.bits() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<CachePrecision, D::Error> {
        let bits = usize::deserialize(deserializer)?;
        CachePrecision::from_bits(bits)
            .ok_or_else(|| D::Error::custom(format!("kv_bits is {bits}: expected 16, 8 or 4")))
    }
}

/// [`Sampling`] as a project writes it down; the default is greedy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSettings {
    /// See [`Sampling::temperature`].
    pub temperature: f32,
    /// See [`Sampling::top_k`].
    pub top_k: u32,
    /// See [`Sampling::top_p`].
    pub top_p: f32,
    /// See [`Sampling::min_p`].
    pub min_p: f32,
    /// See [`Sampling::repetition_penalty`].
    pub repetition_penalty: f32,
    /// See [`Sampling::repetition_window`].
    pub repetition_window: u32,
    /// See [`Sampling::seed`]; TOML has no whole numbers of 64 bits without a sign.
    pub seed: u32,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        let Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            repetition_window,
            seed: _,
        } = Sampling::GREEDY;
        Self {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            repetition_window,
            seed: 0,
        }
    }
}

impl SamplingSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// As the engine takes it.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            repetition_window: self.repetition_window,
            seed: self.seed.into(),
        }
    }
}

/// Why a project cannot be read or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// A newer Whittle saved it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// The text is not a project.
    #[error("{name} is not a project: {message}")]
    Syntax {
        /// The file.
        name: String,
        /// Where and why.
        message: String,
    },
    /// The system cannot read the file.
    #[error("cannot read project {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system cannot write the file.
    #[error("cannot write project {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Default for Project {
    /// Balanced 4 bits against the original, for the board that many have at hand.
    fn default() -> Self {
        let preset = |name: &str| Recipe::open(name).unwrap_or_else(|_| Recipe::original());
        Self {
            format: Format,
            model: None,
            board: "esp32-c3".into(),
            context_tokens: 256,
            cache: CachePrecision::Eight,
            system: String::new(),
            sampling: SamplingSettings::default(),
            firmware: None,
            a: preset("balanced-4bit"),
            b: preset("original"),
        }
    }
}

impl Project {
    /// Reads a project from a file.
    ///
    /// # Errors
    /// When the system cannot read it, or it is not a project.
    pub fn open(path: &Path) -> Result<Self, ProjectError> {
        let failed = |source| ProjectError::Read {
            path: path.into(),
            source,
        };
        let text = text_file::read(path, text_file::WRITTEN_BYTES).map_err(failed)?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a project from TOML; `name` is used in the error only.
    ///
    /// # Errors
    /// When the text is not a project, a newer Whittle wrote it, or its sampling is out of range.
    pub fn parse(name: &str, text: &str) -> Result<Self, ProjectError> {
        let wrong = |message: String| ProjectError::Syntax {
            name: name.into(),
            message,
        };
        Format::<1>::check_toml("project", name, text)?;
        let project: Self = toml::from_str(text)
            .map_err(|error| wrong(error.to_string().trim().replace('\n', " ")))?;
        let sampling = project.sampling.sampling().check();
        sampling.map_err(|error| wrong(error.to_string()))?;
        Ok(project)
    }

    /// The project as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a project has no value that TOML lacks")
    }

    /// Writes the project to a file, atomically.
    ///
    /// # Errors
    /// When the system cannot write the file; then an older file at the path is untouched.
    pub fn save(&self, path: &Path) -> Result<(), ProjectError> {
        let failed = |source| ProjectError::Write {
            path: path.into(),
            source,
        };
        whole_file::write(path, self.to_toml().as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let mut project = Project {
            model: Some("smollm2-135m".into()),
            system: "Answer in one sentence.".into(),
            cache: CachePrecision::Four,
            sampling: SamplingSettings {
                temperature: 0.8,
                top_k: 40,
                seed: u32::MAX,
                ..SamplingSettings::default()
            },
            ..Project::default()
        };
        project.a.set("blk.3.*=bits:6,sparsity:20%").unwrap();
        project.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(Project::parse("mine.toml", &text).unwrap(), project);
        let check = |from: &str, to: &str, expected: &str| {
            let wrong = text.replacen(from, to, 1);
            let message = Project::parse("mine.toml", &wrong).unwrap_err().to_string();
            assert!(
                message.contains("mine.toml is not a project") && message.contains(expected),
                "{message}"
            );
        };
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt as _;
            let name = std::ffi::OsStr::from_bytes(b"k\xfcche.elf");
            project.firmware = Some(name.into());
            project.save(&path).unwrap();
            assert_eq!(Project::open(&path).unwrap(), project);
        }
        check("board", "bored", "bored");
        check("kv_bits = 4", "kv_bits = 5", "kv_bits is 5: expected");
        let expected = "temperature is out of range: expected a number from 0 up";
        check("temperature = 0.8", "temperature = nan", expected);
    }
}
