//! Files that appear whole or not at all.
//!
//! What is written goes to a file beside its place, which gets its name when all of it is on the disk:
//! nobody ever reads half of it, and an older file stays until then. Who may read it is decided as for
//! any other file of this account.

use std::fs::File;
use std::io::{self, BufWriter, IntoInnerError, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// A file that is being written; dropped before [`WholeFile::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    part: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl WholeFile {
    /// Begins a file that will be at `path`.
    ///
    /// # Errors
    /// When nothing can be written to its folder, or the path is a folder itself.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut builder = Builder::new();
        // Temporary files are for their owner alone; this one is going to be an ordinary one.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let part = builder.tempfile_in(folder(path))?;
        Ok(Self {
            part: BufWriter::new(part),
            path: path.to_owned(),
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

    /// Puts the file in its place.
    ///
    /// # Errors
    /// When the system cannot write all of it; then an older file is untouched.
    pub fn finish(self) -> io::Result<()> {
        let part = self.part.into_inner().map_err(IntoInnerError::into_error)?;
        part.as_file().sync_all()?;
        part.persist(&self.path).map_err(|error| error.error)?;
        // The new name lasts through a crash only once the folder is written too; where folders cannot be
        // opened, as on Windows, the system sees to it.
        File::open(folder(&self.path))
            .and_then(|folder| folder.sync_all())
            .or(Ok(()))
    }
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
    let part = file.part.into_inner().map_err(IntoInnerError::into_error)?;
    part.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a whole file.
///
/// # Errors
/// When the system cannot; then an older file is untouched.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_finished_and_an_older_one_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.txt");
        write(&path, b"old").unwrap();
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"newer").unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"N").unwrap();
        file.set_len(4).unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"Newe");
        drop(WholeFile::create(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("no-such/f.txt");
        let refused = |path: &Path| WholeFile::create(path).unwrap_err().kind();
        assert_eq!(refused(&nowhere), io::ErrorKind::NotFound);
        assert_eq!(refused(folder.path()), io::ErrorKind::IsADirectory);
    }

    #[cfg(unix)]
    #[test]
    fn it_may_be_read_by_whom_other_files_of_this_account_may_be() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let metadata = std::fs::metadata(folder.path().join(name)).unwrap();
            metadata.permissions().mode()
        };
        std::fs::write(folder.path().join("usual"), "").unwrap();
        write(&folder.path().join("whole"), b"").unwrap();
        write_cached(&folder.path().join("cached"), b"").unwrap();
        assert_eq!(mode("whole"), mode("usual"));
        assert_eq!(mode("cached"), mode("usual"));
    }
}
