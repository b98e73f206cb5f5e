//! Why a model could not be fetched.

use crate::job::Cancelled;
use std::io;
use std::path::{Path, PathBuf};

/// A model that could not be fetched; what came so far is kept, and fetching again goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The job was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// No space is left.
    #[error("the disk is full: {path} needs {missing} bytes more")]
    DiskFull {
        /// The file or folder that did not fit.
        path: PathBuf,
        /// Bytes that are still to come.
        missing: u64,
    },
    /// The cache cannot be read or written.
    #[error("cannot write {path}: {error}")]
    Disk {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The settings ask for no hub.
    #[error("no hub is to be asked (WHITTLE_HUB or the settings file says so)")]
    HubOff,
    /// No connection came about.
    #[error("cannot reach {host}: {reason}; is there a network connection?")]
    Unreachable {
        /// Host name, or the name of the service.
        host: String,
        /// What the network says.
        reason: String,
    },
    /// The server has no such file, or does not hand it out.
    #[error("{url} answered {status}, expected 200 or 206")]
    Status {
        /// Address of the file.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The server answered with another stretch than the one that was asked for.
    #[error("{url} was asked for bytes from {expected} and answered \"{found}\"")]
    Range {
        /// Address of the file.
        url: String,
        /// First byte asked for.
        expected: u64,
        /// Its `Content-Range`.
        found: String,
    },
    /// The connection ended early.
    #[error(
        "the connection ended after {found} of {expected} bytes of {url} ({reason}): fetch again to go on from there"
    )]
    Cut {
        /// Address of the file.
        url: String,
        /// Bytes that are here.
        found: u64,
        /// Bytes of the whole file.
        expected: u64,
        /// What the network says.
        reason: String,
    },
    /// The file is of another length than the catalog says.
    #[error("{place} has {found} bytes, expected {expected}")]
    Length {
        /// Address of the file, or wheel and member.
        place: String,
        /// Its bytes.
        found: u64,
        /// The catalog's.
        expected: u64,
    },
    /// The file is not the one that the catalog means; it was deleted.
    #[error("{file} has sha256 {found}, expected {expected}: it was deleted")]
    Hash {
        /// Name of the file.
        file: String,
        /// Its hash.
        found: String,
        /// The catalog's.
        expected: String,
    },
    /// There is no Python.
    #[error("`{python}` does not run, and it is needed to fetch Python packages: {reason}")]
    NoPython {
        /// The program that was tried.
        python: String,
        /// What the system says.
        reason: String,
    },
    /// pip failed.
    #[error("pip could not bring {package}: {reason}")]
    Pip {
        /// `name==version`.
        package: String,
        /// The line of pip's output that says why.
        reason: String,
    },
    /// The wheel is damaged or lacks the file.
    #[error("{member} cannot be read from the wheel of {package}: {reason}")]
    Wheel {
        /// `name==version`.
        package: String,
        /// Path inside the wheel.
        member: String,
        /// What is wrong.
        reason: String,
    },
    /// The program does not hold the file.
    #[error("this program has no file {file} built in")]
    NotBuiltIn {
        /// Folder and name.
        file: String,
    },
    /// No source worked.
    #[error("no source has {name}:{}", list(failures))]
    EverySource {
        /// The model.
        name: String,
        /// Each source, in order, and why it did not work.
        failures: Vec<(String, FetchError)>,
    },
}

fn list(failures: &[(String, FetchError)]) -> String {
    failures
        .iter()
        .map(|(source, error)| format!("\n  {source}: {error}"))
        .collect()
}

impl FetchError {
    /// An error of the file system while `missing` bytes of `path` were still to be written.
    pub(super) fn disk(path: &Path, error: io::Error, missing: u64) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { path, missing },
            _ => Self::Disk { path, error },
        }
    }

    /// Whether another source would fail in the same way.
    pub(super) fn concerns_every_source(&self) -> bool {
        match self {
            Self::Cancelled(_)
            | Self::DiskFull { .. }
            | Self::Disk { .. }
            | Self::EverySource { .. } => true,
            Self::HubOff
            | Self::Unreachable { .. }
            | Self::Status { .. }
            | Self::Range { .. }
            | Self::Cut { .. }
            | Self::Length { .. }
            | Self::Hash { .. }
            | Self::NoPython { .. }
            | Self::Pip { .. }
            | Self::Wheel { .. }
            | Self::NotBuiltIn { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_how_much_fitted() {
        let error = FetchError::disk(Path::new("m.gguf"), io::ErrorKind::StorageFull.into(), 412);
        assert_eq!(
            error.to_string(),
            "the disk is full: m.gguf needs 412 bytes more"
        );
        assert!(error.concerns_every_source());
    }
}
