//! Unsaved projects on the disk, and what a window has left that ended without being closed.
//!
//! A window with unsaved changes has a record in a folder of the account. It is locked as long as the window lives,
//! whatever ends it, so that two windows never take what is the other's. It says where the unsaved project lies: beside
//! the project's own file, or beside the record where there is none or its folder cannot be written. A record that
//! nobody holds was left behind: [`left`] takes it, and what it leads to can be restored.

use super::{Project, ProjectError};
use directories::ProjectDirs;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What records are called.
const RECORD: &str = "record";
/// Ends each path of a record: no path holds it.
const END: u8 = 0;

/// Where records of this account lie; nothing where it has no home.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let folders = ProjectDirs::from("", "", "whittle")?;
    Some(folders.data_local_dir().join("unsaved"))
}

/// Why unsaved changes are not on the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AutosaveError {
    /// There is no record.
    #[error("unsaved changes are not kept, cannot write to {folder}: {source}")]
    Record {
        /// Where records lie.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no copy.
    #[error("unsaved changes are not kept, {0}")]
    Copy(#[from] ProjectError),
}

/// The unsaved project of a window.
#[derive(Debug)]
pub struct Autosave {
    folder: PathBuf,
    record: Option<Record>,
}

/// A record, locked.
#[derive(Debug)]
struct Record {
    file: File,
    path: PathBuf,
    /// Where the project was put last.
    copy: Option<PathBuf>,
}

impl Autosave {
    /// Of a window that keeps its record in `folder`; writes nothing yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            record: None,
        }
    }

    /// Writes an unsaved project, whose own file is `path`, and replaces what was written before.
    ///
    /// # Errors
    /// When there is no place where it can be written; then what was written before stays.
    pub fn keep(&mut self, project: &Project, path: Option<&Path>) -> Result<(), AutosaveError> {
        if self.record.is_none() {
            let record = Record::create(&self.folder);
            let failed = |source| AutosaveError::Record {
                folder: self.folder.clone(),
                source,
            };
            self.record = Some(record.map_err(failed)?);
        }
        let record = self.record.as_mut().expect("made above");
        let own = record.path.with_extension("toml");
        let beside = path.and_then(|path| beside(path, &record.path));
        if let Some(beside) = beside
            && record.put(project, beside, path).is_ok()
        {
            return Ok(());
        }
        Ok(record.put(project, own, path)?)
    }

    /// Removes what was written: there is nothing unsaved any more.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&mut self) -> io::Result<()> {
        match self.record.take() {
            Some(record) => remove(record.copy.as_deref(), &record.path),
            None => Ok(()),
        }
    }
}

impl Record {
    /// Makes a record that no other window has.
    fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let process = std::process::id();
        let mut number = 0_u32;
        loop {
            let path = folder.join(format!("{process}-{number}.{RECORD}"));
            // Only what is locked already gets a name that other windows look for.
            let unnamed = path.with_extension("new");
            let new = OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(&unnamed);
            match new {
                Ok(file) if !path.exists() => {
                    file.try_lock()?;
                    fs::rename(&unnamed, &path)?;
                    let copy = None;
                    return Ok(Self { file, path, copy });
                }
                Ok(_) => fs::remove_file(&unnamed)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            number += 1;
        }
    }

    /// Writes the project to `copy`, and removes where it was before.
    fn put(
        &mut self,
        project: &Project,
        copy: PathBuf,
        path: Option<&Path>,
    ) -> Result<(), ProjectError> {
        let is_moved = self.copy.as_ref() != Some(&copy);
        if is_moved {
            // Before the copy: without it, the record leads to the one before.
            self.lead_to(&copy, path)
                .map_err(|source| ProjectError::Write {
                    path: self.path.clone(),
                    source,
                })?;
        }
        project.save(&copy)?;
        if is_moved && let Some(before) = self.copy.replace(copy) {
            // What stays behind by mischance is led to by nothing.
            drop(fs::remove_file(before));
        }
        Ok(())
    }

    fn lead_to(&mut self, copy: &Path, path: Option<&Path>) -> io::Result<()> {
        let mut entry = bytes_from_path(copy)?;
        entry.push(END);
        entry.extend(path.map(bytes_from_path).transpose()?.unwrap_or_default());
        entry.push(END);
        self.file.write_all(&entry)
    }
}

/// An unsaved project that a window has left behind. While this lives, no other window takes it.
#[derive(Debug)]
pub struct Left {
    /// As it was last.
    pub project: Project,
    /// Its own file, if it was ever saved.
    pub path: Option<PathBuf>,
    /// When it was written.
    pub written: SystemTime,
    copy: PathBuf,
    record: PathBuf,
    _lock: File,
}

impl Left {
    /// Removes it: it was restored and kept, or nobody wants it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        remove(Some(&self.copy), &self.record)
    }
}

/// What was found in a folder of records.
#[derive(Debug)]
pub struct Found {
    /// What windows have left behind, the newest first; an error for each that cannot be read.
    pub left: Vec<Result<Left, ProjectError>>,
    /// Whether there is more that another process holds: its window lives, or the process has not quite ended.
    pub is_any_held: bool,
}

/// Takes what windows have left behind in this folder.
#[must_use]
pub fn left(folder: &Path) -> Found {
    // No folder, nothing left.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let records = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == RECORD));
    let (mut left, mut is_any_held) = (Vec::new(), false);
    for record in records {
        match take(record) {
            Taken::Left(found) => left.push(*found),
            Taken::Held => is_any_held = true,
            Taken::Nothing => {}
        }
    }
    left.sort_by_key(|left| {
        std::cmp::Reverse(
            left.as_ref()
                .map_or(SystemTime::UNIX_EPOCH, |left| left.written),
        )
    });
    Found { left, is_any_held }
}

/// What became of a record.
enum Taken {
    /// It led to this.
    Left(Box<Result<Left, ProjectError>>),
    /// Another process holds it.
    Held,
    /// It led nowhere.
    Nothing,
}

/// Takes what a record leads to.
fn take(record: PathBuf) -> Taken {
    let opened = OpenOptions::new().read(true).write(true).open(&record);
    let Ok(mut file) = opened else {
        return Taken::Nothing;
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Taken::Held,
        // Nobody can tell whether its window lives.
        Err(TryLockError::Error(_)) => return Taken::Nothing,
    }
    let mut bytes = Vec::new();
    if file.read_to_end(&mut bytes).is_err() {
        return Taken::Nothing;
    }
    // Where a window died between two places, the newer copy may be missing.
    let copies = copies(&bytes).into_iter().rev();
    let found = copies
        .filter(|(copy, _)| copy.is_file())
        .find_map(|(copy, path)| {
            let written = fs::metadata(&copy).and_then(|data| data.modified()).ok()?;
            Some((copy, path, written))
        });
    let Some((copy, path, written)) = found else {
        // It leads nowhere.
        drop(fs::remove_file(record));
        return Taken::Nothing;
    };
    let left = |project| Left {
        project,
        path,
        written,
        record,
        _lock: file,
        copy: copy.clone(),
    };
    Taken::Left(Box::new(Project::open(&copy).map(left)))
}

/// The pairs of a record: where the project was put, and where its own file is. What was not written to its end is none.
fn copies(record: &[u8]) -> Vec<(PathBuf, Option<PathBuf>)> {
    let parts: Vec<&[u8]> = record
        .split_inclusive(|byte| *byte == END)
        .filter_map(|part| part.strip_suffix(&[END]))
        .collect();
    let pairs = parts.chunks_exact(2).map(|pair| {
        let path = Some(pair[1]).filter(|path| !path.is_empty());
        (path_from_bytes(pair[0]), path.map(path_from_bytes))
    });
    pairs.collect()
}

fn remove(copy: Option<&Path>, record: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    };
    // The record last: it leads to a copy that could not be removed.
    copy.map_or(Ok(()), |copy| gone(fs::remove_file(copy)))?;
    gone(fs::remove_file(record))
}

/// A hidden file beside the project, of this window alone.
fn beside(path: &Path, record: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name()?);
    name.push(".");
    name.push(record.file_stem()?);
    name.push(".autosave");
    Some(path.with_file_name(name))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems may refuse a path")]
fn bytes_from_path(path: &Path) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(path.as_os_str().as_bytes().to_vec())
}

#[cfg(unix)]
fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(bytes).into()
}

#[cfg(not(unix))]
fn bytes_from_path(path: &Path) -> io::Result<Vec<u8>> {
    let text = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok(text.as_bytes().to_vec())
}

#[cfg(not(unix))]
fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As after `kill -9`: the lock is free, and nothing is removed.
    fn kill(window: Autosave) {
        drop(window);
    }

    fn project(model: &str) -> Project {
        let mut project = Project {
            model: Some(model.into()),
            ..Project::default()
        };
        project.a.set("blk.3.*=bits:6,sparsity:20%").unwrap();
        project
    }

    fn restored(folder: &Path) -> Vec<(Project, Option<PathBuf>)> {
        let left = left(folder).left.into_iter().map(Result::unwrap);
        left.map(|left| (left.project.clone(), left.path.clone()))
            .collect()
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn what_was_unsaved_is_there_after_a_kill_and_gone_after_a_save() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("records");
        let mut window = Autosave::new(records.clone());
        assert!(!records.exists(), "nothing to keep, nothing written");
        window.keep(&project("one"), None).unwrap();
        window.keep(&project("two"), None).unwrap();
        let found = left(&records);
        assert!(
            found.left.is_empty() && found.is_any_held,
            "its window lives"
        );
        kill(window);
        assert_eq!(restored(&records), [(project("two"), None)]);
        // Taken is not removed: whoever takes it may be killed too.
        let mut again = left(&records).left;
        assert!(left(&records).left.is_empty(), "taken");
        again.remove(0).unwrap().remove().unwrap();
        assert_eq!(files(&records), 0);

        let mut window = Autosave::new(records.clone());
        window.keep(&project("three"), None).unwrap();
        window.forget().unwrap();
        kill(window);
        let found = left(&records);
        assert!(found.left.is_empty() && !found.is_any_held);
        assert_eq!(files(&records), 0);
    }

    #[test]
    fn a_named_project_is_kept_beside_its_file_and_its_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (records, home) = (folder.path().join("records"), folder.path().join("home"));
        fs::create_dir(&home).unwrap();
        let path = home.join("mine.toml");
        let saved = project("saved");
        saved.save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let mut window = Autosave::new(records.clone());
        window.keep(&project("before it had a name"), None).unwrap();
        window.keep(&project("changed"), Some(&path)).unwrap();
        assert_eq!((files(&records), files(&home)), (1, 2));
        kill(window);
        assert_eq!(
            restored(&records),
            [(project("changed"), Some(path.clone()))]
        );
        assert_eq!(fs::read(&path).unwrap(), bytes);
        for left in left(&records).left {
            left.unwrap().remove().unwrap();
        }
        assert_eq!((files(&records), files(&home)), (0, 1));
    }

    #[test]
    fn two_windows_on_one_project_keep_what_is_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let (records, path) = (
            folder.path().join("records"),
            folder.path().join("mine.toml"),
        );
        let mut windows = [(); 2].map(|()| Autosave::new(records.clone()));
        windows[0].keep(&project("first"), Some(&path)).unwrap();
        windows[1].keep(&project("second"), Some(&path)).unwrap();
        let [mut first, second] = windows;
        kill(second);
        assert_eq!(
            restored(&records),
            [(project("second"), Some(path.clone()))]
        );
        first.forget().unwrap();
        assert_eq!(restored(&records), [(project("second"), Some(path))]);
    }

    #[test]
    fn a_window_that_died_between_two_places_has_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut window = Autosave::new(folder.path().to_owned());
        window.keep(&project("older"), None).unwrap();
        let record = window.record.as_mut().unwrap();
        record
            .lead_to(&folder.path().join("never-written"), None)
            .unwrap();
        record.file.write_all(b"half a pa").unwrap();
        kill(window);
        assert_eq!(restored(folder.path()), [(project("older"), None)]);
    }

    #[test]
    fn what_cannot_be_read_is_said_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut window = Autosave::new(folder.path().to_owned());
        window.keep(&project("one"), None).unwrap();
        let copy = window.record.as_ref().unwrap().copy.clone().unwrap();
        fs::write(&copy, "board = 3").unwrap();
        kill(window);
        let found = left(folder.path()).left;
        let message = found[0].as_ref().unwrap_err().to_string();
        assert!(message.contains("is not a project"), "{message}");
        assert_eq!(files(folder.path()), 2);
        // A record that leads to nothing is no use to anybody.
        fs::remove_file(copy).unwrap();
        drop(found);
        assert!(left(folder.path()).left.is_empty());
        assert_eq!(files(folder.path()), 0);
    }

    #[cfg(unix)]
    #[test]
    fn paths_are_any_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"k\xfcche\n.toml");
        let path = folder.path().join(name);
        let mut window = Autosave::new(folder.path().join("records"));
        window.keep(&project("one"), Some(&path)).unwrap();
        kill(window);
        let found = restored(&folder.path().join("records"));
        assert_eq!(found, [(project("one"), Some(path))]);
    }

    #[test]
    fn where_nothing_can_be_written_it_says_so_and_else_goes_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        // A folder cannot be where a file is: not even for root.
        let mut window = Autosave::new(file.join("records"));
        let message = window.keep(&project("one"), None).unwrap_err().to_string();
        assert!(
            message.starts_with("unsaved changes are not kept, cannot write to"),
            "{message}"
        );
        let records = folder.path().join("records");
        let mut window = Autosave::new(records.clone());
        let path = file.join("mine.toml");
        window.keep(&project("two"), Some(&path)).unwrap();
        kill(window);
        assert_eq!(restored(&records), [(project("two"), Some(path))]);
    }
}
