//! The model's file, replaced over the line: a part beside it gets its name once it is whole.

use app::Store;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest model that is taken: what 32 bits count.
const ROOM_BYTES: u32 = u32::MAX;

/// Where a model is kept, and the one that is coming.
pub struct ModelFile {
    path: PathBuf,
    part: PathBuf,
    file: Option<File>,
}

impl ModelFile {
    pub fn at(path: &Path) -> Self {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        Self {
            path: path.to_owned(),
            part: part.into(),
            file: None,
        }
    }

    fn with_part<T>(
        &mut self,
        offset: u32,
        work: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> Result<T, &'static str> {
        let file = self.file.as_mut().ok_or("no model is being stored")?;
        file.seek(SeekFrom::Start(offset.into()))
            .and_then(|_| work(file))
            .map_err(|_| "the disk does not take or give back the model")
    }
}

impl Store for ModelFile {
    fn room_bytes(&self) -> u32 {
        ROOM_BYTES
    }

    fn erase(&mut self, bytes: u32) -> Result<(), &'static str> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options
            .open(&self.part)
            .map_err(|_| "this program may not write beside its model")?;
        file.set_len(bytes.into())
            .map_err(|_| "the disk has no room for the model")?;
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), &'static str> {
        self.with_part(offset, |file| file.write_all(bytes))
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), &'static str> {
        self.with_part(offset, |file| file.read_exact(bytes))
    }

    fn commit(&mut self) -> Result<(), &'static str> {
        let file = self.file.take().ok_or("no model is being stored")?;
        file.sync_all()
            .and_then(|()| fs::rename(&self.part, &self.path))
            .map_err(|_| "the model's file cannot be replaced")
    }
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What was begun is worth nothing; if it stays, the next one replaces it.
            let _gone = fs::remove_file(&self.part);
        }
    }
}

/// What whoever watches over this program is told where it cannot start itself again ("try again", sysexits.h).
const TRY_AGAIN: i32 = 75;

/// Starts this program again, in place of itself and with the same words; where the system does not let it, it ends, and
/// is started by what watches over it.
pub fn start_again() -> ! {
    let words = std::env::args_os().skip(1);
    let error = Command::new("/proc/self/exe").args(words).exec();
    eprintln!("whittle-linux: cannot start again, so it ends: {error}");
    std::process::exit(TRY_AGAIN)
}
