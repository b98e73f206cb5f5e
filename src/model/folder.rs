//! The files of a model that is a folder: on disk, or in the program itself.

use super::ModelError;
use super::map::Bytes;
use crate::source_file::SourceFile;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Longest file beside the weights that is read; the longest known tokenizer has 35 MB.
const MAX_BYTES: u64 = 128 << 20;

/// Where the files of a model are.
#[derive(Debug, Clone)]
pub(crate) enum Folder {
    /// A folder.
    At(PathBuf),
    /// The program, by name.
    Held(Vec<(&'static str, &'static [u8])>),
}

impl Folder {
    /// A file's place, for people; those of the program have a name only.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::At(folder) => folder.join(name),
            Self::Held(_) => name.into(),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::At(folder) => folder.join(name).exists(),
            Self::Held(_) => self.held(name).is_some(),
        }
    }

    /// Its weights, which are read in place.
    pub(super) fn open(&self, name: &str) -> Result<Bytes, ModelError> {
        match self {
            Self::At(folder) => Bytes::open(&folder.join(name)),
            Self::Held(_) => {
                let bytes = self.held(name).ok_or_else(|| self.missing(name))?;
                Ok(Bytes::Static(bytes))
            }
        }
    }

    /// A whole file of limited length.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, ModelError> {
        match self {
            Self::At(folder) => read(&folder.join(name)),
            Self::Held(_) => self
                .held(name)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| self.missing(name)),
        }
    }

    fn held(&self, name: &str) -> Option<&'static [u8]> {
        let Self::Held(files) = self else {
            return None;
        };
        let found = files.iter().find(|(held, _)| *held == name);
        found.map(|(_, bytes)| *bytes)
    }

    fn missing(&self, name: &str) -> ModelError {
        ModelError::Read {
            path: self.path(name),
            source: ErrorKind::NotFound.into(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let failed = |source: io::Error| ModelError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let source = SourceFile::open(path).map_err(failed)?;
    let mut file = source.file().take(MAX_BYTES + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ModelError::malformed(
            path.display(),
            format_args!("up to {MAX_BYTES} bytes"),
            "more",
        ));
    }
    Ok(bytes)
}
