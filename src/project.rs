//! What the window saves and undoes: model, recipes, board, and how the assistant is asked.

use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A tuning project: small, comparable, cheap to clone, saved as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Name of the catalog or path of the source model; nothing before one was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Id of the board that is looked at.
    pub board: String,
    /// Tokens that the board's cache of keys and values shall hold.
    pub context_tokens: u32,
    /// System text of a conversation; empty leaves it to the chat template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// The firmware that is flashed with the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<PathBuf>,
    /// Recipe of candidate A.
    pub a: Recipe,
    /// Recipe of candidate B.
    pub b: Recipe,
}

/// Why a project cannot be read or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The text is not a project.
    #[error("{name} is not a project: {message}")]
    Syntax {
        /// The file.
        name: String,
        /// Where and why.
        message: String,
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
            model: None,
            board: "esp32-p4".into(),
            context_tokens: 256,
            system: String::new(),
            firmware: None,
            a: preset("balanced-4bit"),
            b: preset("original"),
        }
    }
}

impl Project {
    /// Reads a project from TOML; `name` is used in the error only.
    ///
    /// # Errors
    /// When the text is not a project.
    pub fn parse(name: &str, text: &str) -> Result<Self, ProjectError> {
        toml::from_str(text).map_err(|error| ProjectError::Syntax {
            name: name.into(),
            message: error.to_string().trim().replace('\n', " "),
        })
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
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(self.to_toml().as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
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
            ..Project::default()
        };
        project.a.set("blk.3.*=bits:6,sparsity:20%").unwrap();
        project.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(Project::parse("mine.toml", &text).unwrap(), project);
        let wrong = text.replacen("board", "bored", 1);
        let message = Project::parse("mine.toml", &wrong).unwrap_err().to_string();
        assert!(
            message.contains("mine.toml is not a project") && message.contains("bored"),
            "{message}"
        );
    }
}
