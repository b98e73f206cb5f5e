//! All that a board's flash holds, read before it is replaced.

use super::{Failure, PIECE_BYTES, connect, link, require_unlocked};
use crate::job::Job;
use crate::link::{FlashError, FlashOptions, Loader};
use crate::whole_file::{Scratch, WholeFile};
use espflash::target::Chip;
use std::io::Write as _;
use std::path::Path;

/// Bytes that a loader sends before it waits to be told that they came.
const BLOCK_BYTES: u32 = 4096;
/// Blocks under way at once.
const IN_FLIGHT: u32 = 16;

/// Reads the whole flash of the board on `port` into a file; returns its bytes.
pub(in crate::link) fn backup(
    port: &str,
    chip: Chip,
    options: &FlashOptions,
    path: &Path,
    job: &Job<'_>,
) -> Result<u64, Failure> {
    let file = |source| {
        Failure::Final(FlashError::Backup {
            path: path.to_owned(),
            source,
        })
    };
    job.report("Connecting", 0, 0).map_err(FlashError::from)?;
    // The ROM's own loader reads 64 bytes at a time, and espflash 4.7 counts its offsets wrongly there.
    let options = &FlashOptions {
        loader: Loader::Stub,
        ..*options
    };
    let mut flasher = connect(port, Some(chip), options)?;
    require_unlocked(&mut flasher, port)?;
    let bytes = flasher.device_info().map_err(link)?.flash_size.size();
    let mut whole = WholeFile::create(path).map_err(file)?;
    // The library reads into files of its own.
    let scratch = Scratch::new().map_err(file)?;
    let piece = scratch.path().join("piece");
    let mut at = 0;
    while at < bytes {
        job.report("Reading the old flash", at.into(), bytes.into())
            .map_err(FlashError::from)?;
        let length = (bytes - at).min(PIECE_BYTES as u32);
        flasher
            .read_flash(at, length, BLOCK_BYTES, IN_FLIGHT, piece.clone())
            .map_err(link)?;
        let read = std::fs::read(&piece).map_err(file)?;
        whole.write_all(&read).map_err(file)?;
        at += length;
    }
    whole.finish().map_err(file)?;
    Ok(bytes.into())
}
