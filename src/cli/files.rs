//! What a command reads and writes by name, so that none writes over what it reads.

use crate::whole_file;
use anyhow::Context as _;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Files of one command, as its arguments name them.
#[derive(Debug, Default)]
pub(super) struct Files {
    reads: Vec<PathBuf>,
    writes: Vec<PathBuf>,
    makes: Vec<PathBuf>,
}

impl Files {
    /// These are read; a name that is no path, such as that of a preset, is no file and does no harm.
    pub(super) fn reads<P: AsRef<OsStr>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter();
        self.reads
            .extend(paths.map(|path| PathBuf::from(path.as_ref())));
        self
    }

    /// These are written.
    pub(super) fn writes<P: AsRef<OsStr>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter();
        self.writes
            .extend(paths.map(|path| PathBuf::from(path.as_ref())));
        self
    }

    /// These folders are made.
    pub(super) fn makes<P: AsRef<OsStr>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter();
        self.makes
            .extend(paths.map(|path| PathBuf::from(path.as_ref())));
        self
    }

    /// Refuses a command that would write over what it reads, twice to one place, or where no file may be
    /// written: before its work, not after it.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let results: Vec<&Path> = paths_of(&self.writes)
            .chain(paths_of(&self.makes))
            .collect();
        let reads: Vec<&Path> = paths_of(&self.reads).collect();
        whole_file::require_apart(&results, &reads)?;
        for path in &self.writes {
            whole_file::require_place(path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn paths_of(paths: &[PathBuf]) -> impl Iterator<Item = &Path> {
    paths.iter().map(PathBuf::as_path)
}
