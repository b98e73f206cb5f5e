//! What is being written, so that a process that must end at once leaves nothing half written behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static PARTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file or folder that is removed when the process ends early; dropped it is forgotten.
#[derive(Debug)]
pub(super) struct Part(PathBuf);

impl Part {
    pub(super) fn new(path: &Path) -> Self {
        // From wherever the process may have gone.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push(path.clone());
        Self(path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = parts.iter().position(|part| *part == self.0) {
            parts.swap_remove(at);
        }
    }
}

/// Removes all that is being written; for a process that ends without unwinding.
pub fn remove_parts() {
    remove_those(|_| true);
}

/// Removes those that `is_meant` picks.
pub(super) fn remove_those(is_meant: impl Fn(&Path) -> bool) {
    let parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    for part in parts.iter().filter(|part| is_meant(part)) {
        // Nobody is left who could be told.
        if part.is_dir() {
            drop(fs::remove_dir_all(part));
        } else {
            drop(fs::remove_file(part));
        }
    }
}
