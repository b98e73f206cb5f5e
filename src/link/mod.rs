//! Writing a model to a board over a serial port: the only door to espflash.
//!
//! [`Image::new`] lays out bootloader, partition table, firmware and model; [`flash`] compares the MD5 of each sector with
//! the board's, shows what it is going to do ([`FlashPlan`]), writes what differs in pieces of 64 KiB at most, compares each
//! again, and starts over when a frame gets lost. [`FakeBoard`] stands in for hardware.

#[cfg(feature = "voice")]
mod assistant;
mod bill;
mod client;
mod deploy;
mod device;
mod elf;
pub mod emulated;
mod espressif;
#[cfg(unix)]
pub mod fake_board;
#[cfg(unix)]
mod fake_rom;
mod firmware;
mod image;
mod linux;
mod measure;
mod port;
mod proof;
mod replace;
mod returning;

#[cfg(feature = "voice")]
pub use assistant::BoardAssistant;
pub use bill::{Delivery, FirmwareOrigin};
pub use client::{
    BoardAnswer, BoardModel, BoardQuestion, Client, Costs, Greeting, HELLO_PATIENCE, Measurement,
    TalkError,
};
pub use deploy::{BoardTurn, Deployed, TurnEstimate, ask_board, deploy};
pub use device::{Device, EMULATED, EMULATED_FLASH_BYTES, FAKE};
pub use espressif::{FlashPlan, PlannedPart};
#[cfg(unix)]
pub use fake_board::FakeBoard;
pub use firmware::{Firmware, FirmwareStatus, Kinship, prebuilt, status};
pub use image::{Image, ImageError, Part, Segment};
pub use linux::Bundle;
pub use measure::{MeasureError, VerifyError, measure, verify};
pub use port::{Port, ports};
pub use proof::{Proof, ProofError, prove, require_model};
pub use replace::{erase_model, replace_model};

use crate::job::{Cancelled, Job};
use espressif::Failure;
use port::cure;
use serde::Serialize;
use std::cell::Cell;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How the board gets into its loader and back into the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Through the lines or the USB unit that boards have for it.
    Board,
    /// Not at all: for boards that are in the loader already, and for pseudo-terminals.
    None,
}

/// Which program on the board writes the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// One that is sent first; it takes compressed data.
    Stub,
    /// The one in the chip's ROM.
    Rom,
}

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashOptions {
    /// Into the loader and back.
    pub reset: Reset,
    /// Who writes.
    pub loader: Loader,
    /// Line rate after connecting, of the first session; the next ones are slower.
    pub baud: u32,
    /// Sessions to try before giving up, at least 1; each writes only what is still missing.
    pub attempts: u32,
}

impl Default for FlashOptions {
    fn default() -> Self {
        Self {
            reset: Reset::Board,
            loader: Loader::Stub,
            baud: 921_600,
            attempts: 3,
        }
    }
}

/// What a product's maker has burnt into a chip against other people's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// It starts what is signed with the maker's key.
    SecureBoot,
    /// It decrypts what it reads from flash with a key that nobody can read.
    FlashEncryption,
    /// Its loader neither tells nor takes most things.
    SecureDownload,
}

impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SecureBoot => "secure boot on",
            Self::FlashEncryption => "flash encryption on",
            Self::SecureDownload => "secure download mode on",
        })
    }
}

/// Revision of a chip: 100 times the major number and the minor, as images have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u16);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 100, self.0 % 100)
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flashed {
    /// The chip that answered.
    pub chip: String,
    /// Its address, where it tells.
    pub mac: Option<String>,
    /// Flash that the board has.
    pub flash_bytes: u64,
    /// Written, in all sessions.
    pub written_bytes: u64,
    /// There before the first.
    pub unchanged_bytes: u64,
    /// Compared with the board's own MD5: everything.
    pub verified_bytes: u64,
    /// Sessions that it took.
    pub attempts: u32,
}

/// Why a board was not, or not wholly, written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlashError {
    /// The person who started it stopped it before anything was written.
    #[error("{0}: the board is as it was")]
    Cancelled(#[from] Cancelled),
    /// The person who started it stopped it; the last piece begun is whole.
    #[error("{source}: {} Flash it again: only the rest is sent", starts(*part))]
    Stopped {
        /// What was being written.
        part: Part,
        /// That it was stopped.
        source: Cancelled,
    },
    /// The port could not be opened.
    #[error("cannot open {port}: {reason}")]
    Port {
        /// The port.
        port: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The emulated board could not be started.
    #[error("cannot start the emulated board")]
    Emulated(#[source] std::io::Error),
    /// There is no such emulated board.
    #[error("no emulated board is called {0}: there is {EMULATED}")]
    UnknownEmulated(String),
    /// The emulated board was written, and its flash could not be kept.
    #[error(
        "cannot keep the emulated board's flash in {}: the next command finds it as it was",
        path.display()
    )]
    NotKept {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system does not list its ports.
    #[error("cannot list serial ports")]
    Ports(#[source] serialport::Error),
    /// The port is no longer there.
    #[error("the board on {port} went away: {}check the cable and start again", half(*part))]
    Unplugged {
        /// The port.
        port: String,
        /// What was being written; none where nothing was yet.
        part: Option<Part>,
    },
    /// The image is for another chip.
    #[error("the image is for {expected}, the board on {port} is {found}")]
    WrongChip {
        /// The port.
        port: String,
        /// Chip of the image.
        expected: String,
        /// Chip of the board.
        found: String,
    },
    /// The board's flash is smaller than its description says.
    #[error("needs {needs_bytes} bytes of flash, the board on {port} has {has_bytes}")]
    SmallFlash {
        /// The port.
        port: String,
        /// End of the image.
        needs_bytes: u64,
        /// Flash of the board.
        has_bytes: u64,
    },
    /// The chip is locked by its eFuses: what is written plainly would not start, or not be taken.
    #[error(
        "the board on {port} has {lock}, so nothing was written: `whittle flash --parts FOLDER` writes the parts, their \
         offsets and the commands that sign and encrypt them with the product's own keys"
    )]
    Locked {
        /// The port.
        port: String,
        /// What locks it.
        lock: Lock,
    },
    /// The bootloader or the firmware is not for this revision of the chip.
    #[error(
        "the {part} is for chip revisions {least} to {most}, the board on {port} has {found}: nothing was written"
    )]
    Revision {
        /// The port.
        port: String,
        /// Bootloader or firmware.
        part: &'static str,
        /// First revision that it is for.
        least: Revision,
        /// The last.
        most: Revision,
        /// That of the chip.
        found: Revision,
    },
    /// The flash holds something else than was written.
    #[error("the {bytes} bytes at {address:#x} do not read back as written: the flash may be worn")]
    Verify {
        /// Offset of the piece in flash.
        address: u32,
        /// Its size.
        bytes: usize,
    },
    /// The old flash could not be kept.
    #[error("cannot write {}: nothing was changed", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The board did not answer, or not in its protocol.
    #[error("{}the board on {port} failed {attempts} times: {reason}", half(*part))]
    Failed {
        /// What was being written; none where nothing was yet.
        part: Option<Part>,
        /// The port.
        port: String,
        /// Sessions tried.
        attempts: u32,
        /// What went wrong in the last.
        reason: String,
    },
}

/// Begins a sentence on a board that was left half written.
fn half(part: Option<Part>) -> String {
    part.map_or_else(String::new, |part| {
        format!("{} Flash it again: only the rest is sent. ", starts(part))
    })
}

/// What a board does whose flash is new up to a part, and old from there on.
const fn starts(part: Part) -> &'static str {
    match part {
        Part::Bootloader | Part::PartitionTable | Part::Firmware => {
            "the board does not start until it is written whole."
        }
        Part::Model => {
            "the board starts, answers, and refuses its model until that is written whole."
        }
    }
}

/// Line rate of a session: a line that does not hold is tried at lower ones. The USB-to-serial chips of many boards lose
/// bytes at 921,600 baud (espflash issue 604, esptool issue 435).
fn rate(asked: u32, attempt: u32) -> u32 {
    match attempt {
        0 | 1 => asked,
        2 => asked.min(460_800),
        _ => asked.min(115_200),
    }
}

/// Writes what differs of `image` to the board on `port`, sector by sector, and verifies all of it.
///
/// `show` is given the plan before the first byte is written; where it breaks off, nothing is written and there is no
/// result. A session that loses a frame is started again, up to `options.attempts` times. Cancelling takes effect between two
/// pieces, at most 0.7 s at 921,600 baud, and leaves whole pieces.
///
/// # Errors
/// See [`FlashError`]; after any of them a new call writes only what is still missing.
pub fn flash(
    port: &str,
    image: &Image,
    options: &FlashOptions,
    show: &mut dyn FnMut(&FlashPlan) -> ControlFlow<()>,
    job: &Job<'_>,
) -> Result<Option<Flashed>, FlashError> {
    let begun = Cell::new(None);
    let mut first: Option<FlashPlan> = None;
    let mut show = |plan: &FlashPlan| match &first {
        // Sessions after the first go on with what was shown.
        Some(_) => ControlFlow::Continue(()),
        None => {
            first = Some(plan.clone());
            show(plan)
        }
    };
    let (flashed, attempts) = sessions(port, options, (&begun, job), |options| {
        espressif::run(port, image, options, (&mut show, &begun), job)
    })?;
    Ok(flashed.zip(first).map(|(flashed, first)| Flashed {
        written_bytes: first.write_bytes,
        unchanged_bytes: first.unchanged_bytes,
        attempts,
        ..flashed
    }))
}

/// Reads all that the flash of the board on `port` holds into a new file, before it is replaced; returns its bytes.
///
/// # Errors
/// See [`FlashError`]; then there is no file, or the one that was there already: it may be the only copy of what the board
/// held.
pub fn backup(
    port: &str,
    image: &Image,
    options: &FlashOptions,
    path: &Path,
    job: &Job<'_>,
) -> Result<u64, FlashError> {
    if path.exists() {
        return Err(FlashError::Backup {
            path: path.to_owned(),
            source: ErrorKind::AlreadyExists.into(),
        });
    }
    let nothing = Cell::new(None);
    let (bytes, _) = sessions(port, options, (&nothing, job), |options| {
        espressif::backup(port, image.chip, options, path, job)
    })?;
    Ok(bytes)
}

/// The chip whose loader answers on `port`, as boards call it: `esp32c3`. Then the board runs its program again.
///
/// # Errors
/// See [`FlashError`].
pub fn chip(port: &str, options: &FlashOptions, job: &Job<'_>) -> Result<String, FlashError> {
    let nothing = Cell::new(None);
    let (chip, _) = sessions(port, options, (&nothing, job), |options| {
        espressif::chip(port, options, job)
    })?;
    Ok(chip.to_string())
}

/// Tries sessions until one ends well, each at a slower rate; counts them.
fn sessions<T>(
    port: &str,
    options: &FlashOptions,
    (begun, job): (&Cell<Option<Part>>, &Job<'_>),
    mut session: impl FnMut(&FlashOptions) -> Result<T, Failure>,
) -> Result<(T, u32), FlashError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let options = &FlashOptions {
            baud: rate(options.baud, attempts),
            ..*options
        };
        match espressif::guarded(|| session(options)) {
            Ok(done) => return Ok((done, attempts)),
            Err(Failure::Final(FlashError::Cancelled(source))) => {
                return Err(stopped(begun.get(), source));
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Link(_)) if !espressif::exists(port) => {
                return Err(FlashError::Unplugged {
                    port: port.to_owned(),
                    part: begun.get(),
                });
            }
            Err(Failure::Link(_)) if attempts < options.attempts => {
                job.check().map_err(|source| stopped(begun.get(), source))?;
            }
            Err(Failure::Link(reason)) => {
                return Err(FlashError::Failed {
                    part: begun.get(),
                    port: port.to_owned(),
                    attempts,
                    reason,
                });
            }
        }
    }
}

/// That somebody stopped it: before anything was written, or after.
fn stopped(begun: Option<Part>, source: Cancelled) -> FlashError {
    match begun {
        None => FlashError::Cancelled(source),
        Some(part) => FlashError::Stopped { part, source },
    }
}

/// An error and its causes in one sentence: espflash shows the cause only through `source`.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut sentence = String::new();
    for text in causes.map(ToString::to_string) {
        if sentence.contains(&text) {
            continue;
        }
        if !sentence.is_empty() {
            sentence.push_str(": ");
        }
        sentence.push_str(&text);
    }
    sentence
}
