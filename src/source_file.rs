//! Files that are being read: nothing may replace them, and none may change meanwhile.
//!
//! Whoever keeps a file open for long holds a [`SourceFile`] of it. What writes asks [`holder`] first, so that
//! no command replaces what it reads under any name that the file has. What has a result asks [`unchanged`]
//! before it is shown or gets its name: a file that was overwritten under its map would otherwise be computed
//! with in silence.

use crate::signals::Watch;
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::SystemTime;

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileId(Id);

#[cfg(unix)]
type Id = (u64, u64);
/// Where there are no such numbers the whole path is one, in the letters that the system has for it.
#[cfg(not(unix))]
type Id = PathBuf;

impl FileId {
    /// The file at `path`, behind all links; nothing where none is.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        return std::fs::metadata(path).ok().map(|metadata| {
            use std::os::unix::fs::MetadataExt as _;
            Self((metadata.dev(), metadata.ino()))
        });
        #[cfg(not(unix))]
        return std::fs::canonicalize(path).ok().map(Self);
    }
}

/// A file whose bytes are read while it is held.
#[derive(Debug)]
pub struct SourceFile {
    /// As it was named.
    pub path: PathBuf,
    /// It, to be asked again.
    file: File,
    id: FileId,
    /// Its length when it was opened.
    pub bytes: u64,
    modified: Option<SystemTime>,
    /// Its map, where it is read in place.
    watch: OnceLock<Watch>,
}

/// A file was changed while it was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} changed while it was read: {how}")]
pub struct SourceChanged {
    /// The file.
    pub path: PathBuf,
    how: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Length { expected: u64, found: u64 },
    Contents,
    Lost,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "expected {expected} bytes, found {found}")
            }
            Self::Contents => f.write_str("it was written to"),
            Self::Lost => f.write_str("a part of it is gone"),
        }
    }
}

impl From<SourceChanged> for io::Error {
    fn from(changed: SourceChanged) -> Self {
        Self::other(changed)
    }
}

static HELD: Mutex<Vec<Weak<SourceFile>>> = Mutex::new(Vec::new());
/// The first file that was let go and had changed.
static LAST_CHANGED: Mutex<Option<SourceChanged>> = Mutex::new(None);

impl SourceFile {
    /// Opens the file at `path` and holds it.
    ///
    /// # Errors
    /// When the system cannot, or it is no regular file: a pipe or a device has no end that could be waited
    /// for.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        // Asked first: to open a pipe is to wait for who writes it.
        require_regular(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        require_regular(&metadata)?;
        let id = FileId::of(path).ok_or(io::ErrorKind::NotFound)?;
        let source = Arc::new(Self {
            path: path.to_owned(),
            file,
            id,
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            watch: OnceLock::new(),
        });
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|other| other.strong_count() > 0);
        held.push(Arc::downgrade(&source));
        Ok(source)
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// From now on its bytes are read in place, through the map that is watched here.
    pub fn is_read_in_place(&self, watch: Watch) {
        // The only one who maps it calls this once.
        drop(self.watch.set(watch));
    }

    /// The map is about to go away.
    pub fn is_read_in_place_no_longer(&self) {
        if let Some(watch) = self.watch.get() {
            watch.end();
        }
    }

    /// Whether its contents are still those that it was opened with.
    ///
    /// # Errors
    /// When they are not.
    pub fn unchanged(&self) -> Result<(), SourceChanged> {
        let changed = |how| SourceChanged {
            path: self.path.clone(),
            how,
        };
        let metadata = self.file.metadata().map_err(|_| changed(Change::Lost))?;
        if metadata.len() != self.bytes {
            let (expected, found) = (self.bytes, metadata.len());
            return Err(changed(Change::Length { expected, found }));
        }
        if metadata.modified().ok() != self.modified {
            return Err(changed(Change::Contents));
        }
        if self.watch.get().is_some_and(Watch::is_lost) {
            return Err(changed(Change::Lost));
        }
        Ok(())
    }
}

/// What changed is remembered beyond its file: who says why a command failed comes last.
impl Drop for SourceFile {
    fn drop(&mut self) {
        if self.watch.get().is_some()
            && let Err(changed) = self.unchanged()
        {
            let mut last = LAST_CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
            last.get_or_insert(changed);
        }
    }
}

fn held() -> Vec<Arc<SourceFile>> {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.iter().filter_map(Weak::upgrade).collect()
}

/// Whether every file that is read in place is still what it was opened as.
///
/// # Errors
/// With the first that is not.
pub fn unchanged() -> Result<(), SourceChanged> {
    let mut in_place = held().into_iter().filter(|s| s.watch.get().is_some());
    in_place.try_for_each(|source| source.unchanged())
}

/// The file that changed while this process read it, if one did: what a command that fails gives as reason.
#[must_use]
pub fn changed() -> Option<SourceChanged> {
    let last = LAST_CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
    last.clone().or_else(|| unchanged().err())
}

/// Under which name a file is being read.
#[must_use]
pub fn holder(id: &FileId) -> Option<PathBuf> {
    let mut held = held().into_iter();
    held.find(|source| source.id == *id).map(|s| s.path.clone())
}

fn require_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let message = format!("expected a file, found {}", kind(metadata));
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// What something is that is neither a file nor a folder.
#[must_use]
pub fn kind(metadata: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    #[cfg(not(unix))]
    let _: &Metadata = metadata;
    "something else"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_held_under_every_name_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["f", "link"].map(|name| folder.path().join(name));
        std::fs::write(&path, "abc").unwrap();
        std::fs::hard_link(&path, &link).unwrap();
        let id = FileId::of(&link).unwrap();
        assert_eq!(holder(&id), None);
        let source = SourceFile::open(&path).unwrap();
        #[cfg(unix)]
        assert_eq!(holder(&id), Some(path));
        assert_eq!(source.bytes, 3);
        drop(source);
        assert_eq!(holder(&id), None);
        assert_eq!(FileId::of(&folder.path().join("none")), None);
    }

    #[test]
    fn what_became_of_a_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "abc").unwrap();
        let source = SourceFile::open(&path).unwrap();
        source.unchanged().unwrap();
        let said = || source.unchanged().unwrap_err().to_string();
        std::fs::write(&path, "ab").unwrap();
        assert!(said().ends_with("changed while it was read: expected 3 bytes, found 2"));
        std::fs::write(&path, "xyz").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        source.file().set_modified(later).unwrap();
        assert!(said().ends_with("it was written to"), "{}", said());
        // What is put in its place under its name is another file.
        drop(source);
        let source = SourceFile::open(&path).unwrap();
        std::fs::write(folder.path().join("new"), "other").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        source.unchanged().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_socket_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let said = |path: &Path| SourceFile::open(path).unwrap_err().to_string();
        assert_eq!(said(&socket), "expected a file, found a socket");
        assert_eq!(
            said(Path::new("/dev/null")),
            "expected a file, found a device"
        );
    }
}
