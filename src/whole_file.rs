//! Files that appear whole or not at all.
//!
//! What is written goes to a file beside its place, which gets its name when all of it is on the disk:
//! nobody ever reads half of it, and an older file stays until then. A link stays one: what it leads to is
//! written. Never replaced is what is no file, what may not be written to, and what this process reads. Who
//! may read the new file is decided as for the older one, or else as for any other of this account.

mod folder;
mod parts;
mod target;

pub use folder::WholeFolder;
pub use parts::remove_parts;
pub use target::{require_apart, require_place};

use crate::source_file;
use parts::Part;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IntoInnerError, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use target::folder;
use tempfile::{Builder, NamedTempFile, TempDir};

/// What a part of a file is called, so that one that a power cut left behind can be told.
const PART_PREFIX: &str = ".whittle-";
const PART_SUFFIX: &str = ".part";

/// A file that is being written; dropped before [`WholeFile::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    part: BufWriter<NamedTempFile>,
    listed: Part,
    place: PathBuf,
}

impl WholeFile {
    /// Begins a file that will be at `path`, or where the link there leads to.
    ///
    /// # Errors
    /// When nothing can be written to its folder, or what is there must not be replaced: a folder, a device, a
    /// pipe, a socket, a file that is read-only or that this process reads.
    pub fn create(path: &Path) -> io::Result<Self> {
        let place = target::file(path)?;
        let mut builder = Builder::new();
        builder.prefix(PART_PREFIX).suffix(PART_SUFFIX);
        // Temporary files are for their owner alone; this one is going to be an ordinary one.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let part = builder.tempfile_in(folder(&place));
        // The system's words without the name of the part, which nobody asked for.
        let part = part.map_err(|error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        })?;
        if let Ok(older) = fs::metadata(&place) {
            part.as_file().set_permissions(older.permissions())?;
        }
        Ok(Self {
            listed: Part::new(part.path()),
            part: BufWriter::new(part),
            place,
        })
    }

    /// Makes it so long: what stands behind is cut off, what is missing are zeros.
    ///
    /// # Errors
    /// When the system cannot write all of it.
    pub fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.part.flush()?;
        self.part.get_ref().as_file().set_len(bytes)
    }

    /// Puts the file, which was computed from files that are open, in its place.
    ///
    /// # Errors
    /// When the system cannot write all of it, a file that is being read changed meanwhile, or its place was
    /// taken by what must not be replaced; then an older file is untouched.
    pub fn finish(self) -> io::Result<()> {
        source_file::unchanged()?;
        self.put()
    }

    fn put(self) -> io::Result<()> {
        let folder = folder(&self.place).to_owned();
        self.persist(|part| part.sync_all())?;
        sync_folder(&folder)
    }

    /// Gives it its name, once `ready` is done with it.
    fn persist(self, ready: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let part = self.part.into_inner().map_err(IntoInnerError::into_error)?;
        ready(part.as_file())?;
        let place = target::file(&self.place)?;
        part.persist(place).map_err(|error| error.error)?;
        drop(self.listed);
        Ok(())
    }
}

/// A new name lasts through a crash only once its folder is written too; where folders cannot be opened, as on
/// Windows, the system sees to it.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .or(Ok(()))
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.flush()
    }
}

impl Seek for WholeFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.part.seek(to)
    }
}

/// Writes a file that can be made again, without waiting for the disk: after a crash it may be damaged,
/// which its reader must notice.
///
/// # Errors
/// When the system cannot; then an older file is untouched.
pub fn write_cached(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes)?;
    source_file::unchanged()?;
    file.persist(|_| Ok(()))
}

/// Writes a whole file of what a person made: kept whatever became of the files that are open.
///
/// # Errors
/// When the system cannot, or what is there must not be replaced; then an older file is untouched.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes)?;
    file.put()
}

/// Writes a whole file of what was computed from files that are open.
///
/// # Errors
/// As [`write()`], and when one of those changed meanwhile.
pub fn write_result(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Opens a file that grows line by line, to be read from its start and written at its end; a new one if there
/// is none.
///
/// # Errors
/// When the system cannot, or what is there is no file or is read otherwise.
pub fn growing(path: &Path) -> io::Result<File> {
    let place = target::file(path)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    options.open(place)
}

/// A folder for the time of a work, removed with all that is in it however the process ends by itself.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _listed: Part,
}

impl Scratch {
    /// Makes one where the system has such folders.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            _listed: Part::new(folder.path()),
            folder,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

#[cfg(test)]
mod tests;
