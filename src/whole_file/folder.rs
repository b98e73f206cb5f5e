//! Folders that appear whole or not at all.

use super::parts::Part;
use super::target::{behind_links, folder, refused, require_folder, require_unread};
use crate::source_file;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};

/// A folder that is being written; dropped before [`WholeFolder::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFolder {
    // Forgotten after the folder is gone.
    part: TempDir,
    _listed: Part,
    place: PathBuf,
    files: Vec<PathBuf>,
}

impl WholeFolder {
    /// Begins a folder that will be at `path`. What stands there may be replaced as a whole if it is empty, or
    /// an earlier such folder: one that has all of `required`, and beside them only what is in `optional`.
    ///
    /// # Errors
    /// When something else is there or in it, this process reads of it, or nothing can be written beside it.
    pub fn create(path: &Path, required: &[&str], optional: &[&str]) -> io::Result<Self> {
        let place = behind_links(path)?;
        require_folder(folder(&place))?;
        require_earlier(&place, required, optional)?;
        let part = builder().tempdir_in(folder(&place))?;
        Ok(Self {
            _listed: Part::new(part.path()),
            part,
            place,
            files: Vec::new(),
        })
    }

    /// Begins a file in it.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn file(&mut self, name: &str) -> io::Result<BufWriter<File>> {
        let path = self.part.path().join(name);
        let file = File::create_new(&path)?;
        self.files.push(path);
        Ok(BufWriter::new(file))
    }

    /// Puts the folder in its place. An earlier one gets another name first and is deleted last: there is a
    /// moment without either, and after a crash in it the earlier one lies beside its place.
    ///
    /// # Errors
    /// When the system cannot, or a file that is being read changed meanwhile; then an earlier folder is in
    /// its place as it was.
    pub fn finish(self) -> io::Result<()> {
        for file in &self.files {
            File::open(file)?.sync_all()?;
        }
        source_file::unchanged()?;
        if !self.place.exists() {
            fs::rename(self.part.path(), &self.place)?;
        } else {
            let earlier = builder().tempdir_in(folder(&self.place))?;
            let moved = earlier.path().join("earlier");
            fs::rename(&self.place, &moved)?;
            if let Err(error) = fs::rename(self.part.path(), &self.place) {
                // Where it cannot be put back it is kept where it is.
                fs::rename(&moved, &self.place).inspect_err(|_| drop(earlier.keep()))?;
                return Err(error);
            }
        }
        // The folder has its name: there is nothing left to delete under this one.
        let _gone = self.part.keep();
        super::sync_folder(folder(&self.place))
    }
}

/// Folders for the time of writing, which may be read by whom others of this account may be.
fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder
        .prefix(super::PART_PREFIX)
        .suffix(super::PART_SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder
}

/// Refuses what would be lost by putting another folder in its place.
fn require_earlier(place: &Path, required: &[&str], optional: &[&str]) -> io::Result<()> {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(refused("expected a folder or a new name, found a file"));
        }
        Err(error) => return Err(error),
    };
    let mut missing = required.to_vec();
    let mut is_empty = true;
    for entry in entries {
        let entry = entry?;
        is_empty = false;
        let name = entry.file_name();
        missing.retain(|required| name != *required);
        let known = required.iter().chain(optional);
        if !entry.file_type()?.is_file() || !known.clone().any(|known| name == *known) {
            return Err(refused(&format!(
                "expected a new or empty folder or an earlier export, found one with {}",
                name.display()
            )));
        }
        require_unread(&entry.path())?;
    }
    match missing.first() {
        Some(missing) if !is_empty => Err(refused(&format!(
            "expected a new or empty folder or an earlier export, found one without {missing}"
        ))),
        Some(_) | None => Ok(()),
    }
}
