//! What a flash will change, asked of the board before the first byte.

use super::{Failure, PIECE_BYTES, link};
use crate::estimate::SECTOR_BYTES;
use crate::job::Job;
use crate::link::{FlashError, FlashOptions, Image, Part, Segment};
use espflash::flasher::Flasher;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use md5::{Digest as _, Md5};
use serde::Serialize;
use std::io::Write as _;
use std::ops::Range;

/// What goes where, how much of it is there already, and how long the rest takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlashPlan {
    /// The chip that answered.
    pub chip: String,
    /// In ascending order of addresses.
    pub parts: Vec<PlannedPart>,
    /// Bytes to write, whole sectors.
    pub write_bytes: u64,
    /// Bytes that are there.
    pub unchanged_bytes: u64,
    /// Bytes that go over the line for them, compressed.
    pub sent_bytes: u64,
    /// Line rate.
    pub baud: u32,
    /// Seconds that this takes, fewest and most.
    pub secs: (f64, f64),
}

impl FlashPlan {
    /// How much goes over the line and how long that takes, in one line.
    #[must_use]
    pub fn time(&self) -> String {
        if self.write_bytes == 0 {
            return "All of it is there already".to_owned();
        }
        let (least, most) = self.secs;
        format!(
            "{} kB to write, {} kB over the line at {} baud: {least:.0} to {most:.0} s",
            self.write_bytes.div_ceil(1000),
            self.sent_bytes.div_ceil(1000),
            self.baud
        )
    }
}

/// A part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedPart {
    /// What it is.
    pub part: Part,
    /// Offset in flash.
    pub address: u32,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes to write.
    pub write_bytes: u64,
    /// Where it begins to differ, where all from there on differs: what was behind a tensor of another size has moved.
    pub moved_from: Option<u64>,
}

/// Neighbouring sectors of a segment that differ.
pub(super) struct Run<'i> {
    pub(super) segment: &'i Segment,
    /// Bytes of the segment.
    pub(super) bytes: Range<usize>,
}

/// Bits that a serial line takes for a byte: start, eight, stop.
const BITS_A_BYTE: f64 = 10.0;
/// Share of the line rate that bytes of a long write reach: `tests/slow/pace.rs` holds the loader to it.
const LINE_SHARE: f64 = 0.85;
/// What flash takes to erase and write 64 KiB, typically: 150 ms for the block and 0.4 ms for each of 256 pages, as datasheets of
/// such flash have it (Winbond W25Q32JV, recalled and not measured). While it writes, the next bytes come.
const WRITE_SECS: f64 = 0.150 + 256.0 * 0.0004;

/// Compares every sector with the board's.
pub(super) fn compare<'i>(
    flasher: &mut Flasher,
    image: &'i Image,
    options: &FlashOptions,
    job: &Job<'_>,
) -> Result<(FlashPlan, Vec<Run<'i>>), Failure> {
    let (mut runs, mut parts, mut done) = (Vec::new(), Vec::new(), 0);
    for segment in &image.segments {
        let mut differing: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for piece in segment.bytes.chunks(PIECE_BYTES) {
            job.report("Comparing with the board", done, image.bytes())
                .map_err(FlashError::from)?;
            for sectors in differing_sectors(flasher, segment.address, start, piece)? {
                match differing.last_mut() {
                    Some(last) if last.end == sectors.start => last.end = sectors.end,
                    Some(_) | None => differing.push(sectors),
                }
            }
            start += piece.len();
            done += piece.len() as u64;
        }
        let write_bytes = differing.iter().map(|bytes| bytes.len() as u64).sum();
        let moved_from = match differing.as_slice() {
            [.., last] if last.end == segment.bytes.len() && last.start > 0 => {
                Some(last.start as u64).filter(|_| last.len() > PIECE_BYTES)
            }
            _ => None,
        };
        parts.push(PlannedPart {
            part: segment.part,
            address: segment.address,
            bytes: segment.bytes.len() as u64,
            write_bytes,
            moved_from,
        });
        runs.extend(differing.into_iter().map(|bytes| Run { segment, bytes }));
    }
    let write_bytes = parts.iter().map(|part| part.write_bytes).sum();
    let sent_bytes = runs.iter().map(compressed).sum();
    let plan = FlashPlan {
        chip: image.chip.to_string(),
        parts,
        write_bytes,
        unchanged_bytes: image.bytes() - write_bytes,
        sent_bytes,
        baud: options.baud,
        secs: secs(sent_bytes, write_bytes, options.baud),
    };
    Ok((plan, runs))
}

/// The sectors of a piece that differ, as ranges of its segment, which begins at `address`.
fn differing_sectors(
    flasher: &mut Flasher,
    address: u32,
    start: usize,
    piece: &[u8],
) -> Result<Vec<Range<usize>>, Failure> {
    let mut is_there = |offset: usize, bytes: &[u8]| {
        // Both lie in the flash, whose addresses have 32 bits.
        let (at, length) = (address + offset as u32, bytes.len() as u32);
        let found = flasher.checksum_md5(at, length).map_err(link)?;
        Ok::<_, Failure>(found.to_be_bytes() == Md5::digest(bytes)[..])
    };
    if is_there(start, piece)? {
        return Ok(Vec::new());
    }
    let sector = SECTOR_BYTES as usize;
    // Where the first and the last sector differ the rest mostly does too; but asking costs less than writing.
    let mut differing = Vec::new();
    for (index, bytes) in piece.chunks(sector).enumerate() {
        let from = start + index * sector;
        if !is_there(from, bytes)? {
            differing.push(from..from + bytes.len());
        }
    }
    // The sum of the piece differed, so some sector does; if the board says otherwise all of it is written.
    if differing.is_empty() {
        differing.push(start..start + piece.len());
    }
    Ok(differing)
}

/// Bytes of a run on the line.
fn compressed(run: &Run<'_>) -> u64 {
    let bytes = &run.segment.bytes[run.bytes.clone()];
    let pieces = bytes.chunks(PIECE_BYTES).map(|piece| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        let written = encoder.write_all(piece).and_then(|()| encoder.finish());
        // A vector takes all.
        written.map_or(piece.len(), |bytes| bytes.len().min(piece.len())) as u64
    });
    pieces.sum()
}

#[expect(clippy::cast_precision_loss, reason = "sizes of a flash")]
fn secs(sent_bytes: u64, write_bytes: u64, baud: u32) -> (f64, f64) {
    let line = sent_bytes as f64 * BITS_A_BYTE / f64::from(baud);
    let flash = write_bytes as f64 / PIECE_BYTES as f64 * WRITE_SECS;
    (line.max(flash), line / LINE_SHARE + 2.0 * flash)
}
