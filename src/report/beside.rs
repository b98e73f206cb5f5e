//! Where the files are that a settings file names.

use std::path::{Path, PathBuf};

/// What a settings file names: a file beside it, or else what it would be on the command line.
pub(super) fn beside(settings: &Path, spec: impl AsRef<Path>) -> PathBuf {
    let path = settings.parent().unwrap_or(Path::new("")).join(&spec);
    if path.exists() {
        path
    } else {
        spec.as_ref().to_owned()
    }
}
