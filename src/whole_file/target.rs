//! Where a file may be written: a new name or an older file, behind all links, that nobody reads.

use crate::source_file::{self, FileId};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Links that are followed; as many as Linux does.
const MOST_LINKS: usize = 40;

/// The place that writing to `path` makes or replaces: what a link leads to, not the link.
///
/// # Errors
/// When it is no file, may not be written, or is being read by this process; or its folder is not there.
pub(super) fn file(path: &Path) -> io::Result<PathBuf> {
    let place = behind_links(path)?;
    match fs::symlink_metadata(&place) {
        Ok(metadata) => require_replaceable(&place, &metadata)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    require_folder(folder(&place))?;
    Ok(place)
}

/// Refuses a path that no file may be written to, before the work for it is done.
///
/// # Errors
/// As when the file is begun.
pub fn require_place(path: &Path) -> io::Result<()> {
    file(path).map(drop)
}

/// The folder of a path; of a bare name the one we are in.
pub(super) fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// The path without links at its end, whether or not something is there.
pub(super) fn behind_links(path: &Path) -> io::Result<PathBuf> {
    if path == Path::new("-") {
        return Err(refused(
            "expected the name of a file: results are whole files, and `--json` prints what a pipe may take; \
             a file of this name is `./-`",
        ));
    }
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        // What a process has open looks like a link there, and is none that a name could be put in place of.
        if place.starts_with("/proc") || place.starts_with("/dev/fd") {
            return Err(refused(
                "expected the name of a file, found what a process has open",
            ));
        }
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_symlink() => {
                place = folder(&place).join(fs::read_link(&place)?);
            }
            Ok(_) => return Ok(place),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(place),
            Err(error) => return Err(error),
        }
    }
    Err(refused("expected a file, found a circle of links"))
}

/// What is there may be replaced only when it is a file that may be written to.
fn require_replaceable(place: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        let found = source_file::kind(metadata);
        return Err(refused(&format!(
            "expected a file or a new name, found {found}"
        )));
    }
    if metadata.permissions().readonly() {
        let message = "the file is read-only";
        return Err(io::Error::new(ErrorKind::PermissionDenied, message));
    }
    // To rename over a file needs no right to write it; who has none shall not replace it.
    drop(OpenOptions::new().write(true).open(place)?);
    require_unread(place)
}

/// Refuses a file that this process reads.
pub(super) fn require_unread(place: &Path) -> io::Result<()> {
    let holder = FileId::of(place).and_then(|id| source_file::holder(&id));
    match holder {
        None => Ok(()),
        Some(read) => Err(refused(&format!(
            "it is {}, which is read: choose another name for what is written",
            read.display()
        ))),
    }
}

/// Refuses a folder that is not there.
pub(super) fn require_folder(folder: &Path) -> io::Result<()> {
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!("there is no folder {}", folder.display());
            Err(io::Error::new(ErrorKind::NotFound, message))
        }
        Err(error) => Err(error),
    }
}

/// Refuses what a work would read and write at once, or write twice; paths are compared by the file that they
/// lead to. What is read may be a folder: then for all that is in it.
///
/// # Errors
/// When two are one.
pub fn require_apart(writes: &[&Path], reads: &[&Path]) -> io::Result<()> {
    let mut places: Vec<(PathBuf, Option<FileId>)> = Vec::new();
    for write in writes {
        let place = behind_links(write)?;
        let id = FileId::of(&place);
        for read in reads {
            if is_of(&place, id.as_ref(), read) {
                return Err(refused(&format!(
                    "{} is {}, which is read: choose another name for what is written",
                    write.display(),
                    read.display(),
                )));
            }
        }
        let place = in_whole(&place);
        let again = |(other, same): &(PathBuf, Option<FileId>)| {
            *other == place || id.is_some() && *same == id
        };
        if places.iter().any(again) {
            return Err(refused(&format!(
                "{} is written twice: choose a name for each result",
                write.display()
            )));
        }
        places.push((place, id));
    }
    Ok(())
}

/// Whether a place is a file that is read, or exists in a folder that is.
fn is_of(place: &Path, id: Option<&FileId>, read: &Path) -> bool {
    let Some(id) = id else {
        return false;
    };
    FileId::of(read).is_some_and(|read| *id == read)
        || read.is_dir() && FileId::of(folder(place)) == FileId::of(read)
}

/// A path whose folder has one spelling.
fn in_whole(place: &Path) -> PathBuf {
    let folder = fs::canonicalize(folder(place)).unwrap_or_else(|_| folder(place).to_owned());
    folder.join(place.file_name().unwrap_or_default())
}

pub(super) fn refused(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, message)
}
