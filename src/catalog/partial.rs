//! A file on its way into the cache: `.part` until its length and hash are right, then renamed into place.

use super::entry::File;
use super::error::FetchError;
use crate::job::{Cancelled, Job};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes that are moved between two looks at the cancel token.
const BLOCK: usize = 1 << 16;

/// Reports bytes of one file as bytes of all files.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    pub(super) job: &'a Job<'a>,
    /// "Fetching smollm2-135m".
    pub(super) stage: &'a str,
    /// Bytes of the files before this one.
    pub(super) before: u64,
    /// Bytes of all files.
    pub(super) total: u64,
}

impl Meter<'_> {
    /// Reports that `done` bytes of this file are here.
    pub(super) fn at(&self, done: u64) -> Result<(), Cancelled> {
        self.job.report(self.stage, self.before + done, self.total)
    }
}

/// A file of the catalog that is not complete yet.
#[derive(Debug)]
pub(super) struct Partial<'a> {
    pub(super) file: &'a File,
    path: PathBuf,
    place: PathBuf,
}

/// Why [`Partial::append`] stopped early.
pub(super) enum Stopped {
    /// The cache or the job stopped it.
    Here(FetchError),
    /// The reader failed.
    There(io::Error),
    /// The reader gave more than the file has room for.
    TooLong,
}

impl<'a> Partial<'a> {
    /// The file in the model's folder. The hash is part of the name, so that two sources share what is the same file
    /// and nothing else.
    pub(super) fn new(folder: &Path, file: &'a File) -> Self {
        let path = folder.join(format!("{}.{}.part", file.name, &file.sha256[..8]));
        Self {
            file,
            path,
            place: folder.join(&file.name),
        }
    }

    /// Bytes that are here.
    pub(super) fn len(&self) -> Result<u64, FetchError> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.disk(error, 0)),
        }
    }

    /// Forgets all bytes from `length` on.
    pub(super) fn truncate(&self, length: u64) -> Result<(), FetchError> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.path);
        file.and_then(|file| file.set_len(length))
            .map_err(|error| self.disk(error, length))
    }

    /// Appends what `reader` gives, up to the `end`-th byte of the file; more is an error.
    pub(super) fn append(
        &self,
        reader: &mut dyn Read,
        end: u64,
        meter: &Meter<'_>,
    ) -> Result<u64, Stopped> {
        let mut length = self.len().map_err(Stopped::Here)?;
        let disk = |error, length| Stopped::Here(self.disk(error, length));
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .map_err(|error| disk(error, length))?;
        let mut block = vec![0; BLOCK];
        loop {
            let count = match reader.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stopped::There(error)),
            };
            if count as u64 > end.saturating_sub(length) {
                return Err(Stopped::TooLong);
            }
            file.write_all(&block[..count])
                .map_err(|error| disk(error, length))?;
            length += count as u64;
            meter
                .at(length)
                .map_err(|cancelled| Stopped::Here(cancelled.into()))?;
        }
        file.sync_data().map_err(|error| disk(error, length))?;
        Ok(length)
    }

    /// Checks the hash and gives the file its name; a wrong file is deleted.
    pub(super) fn place(&self, meter: &Meter<'_>) -> Result<(), FetchError> {
        let found = self.sha256(meter)?;
        if found != self.file.sha256 {
            fs::remove_file(&self.path).map_err(|error| self.disk(error, 0))?;
            let (file, expected) = (self.file.name.clone(), self.file.sha256.clone());
            return Err(FetchError::Hash {
                file,
                found,
                expected,
            });
        }
        fs::rename(&self.path, &self.place).map_err(|error| self.disk(error, self.file.bytes))
    }

    fn sha256(&self, meter: &Meter<'_>) -> Result<String, FetchError> {
        let mut file = fs::File::open(&self.path).map_err(|error| self.disk(error, 0))?;
        let mut hash = Sha256::new();
        let mut block = vec![0; BLOCK];
        loop {
            meter.job.check()?;
            match file.read(&mut block).map_err(|error| self.disk(error, 0))? {
                0 => break,
                count => hash.update(&block[..count]),
            }
        }
        let mut hex = String::with_capacity(64);
        for byte in hash.finalize() {
            write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
        }
        Ok(hex)
    }

    fn disk(&self, error: io::Error, written: u64) -> FetchError {
        FetchError::disk(&self.path, error, self.file.bytes.saturating_sub(written))
    }
}
