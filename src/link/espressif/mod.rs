//! One session with a board's loader: connect, check, compare, write the sectors that differ, verify, reset.

mod backup;
mod plan;

pub(super) use backup::backup;
pub use plan::{FlashPlan, PlannedPart};

use plan::{Run, compare};

use super::{FlashError, FlashOptions, Flashed, Image, Loader, Lock, Part, Reset, Revision, chain};
use crate::job::Job;
use espflash::connection::{Connection, ResetAfterOperation, ResetBeforeOperation};
use espflash::flasher::{Flasher, SpiAttachParams};
use espflash::target::{Chip, ProgressCallbacks};
use serialport::{ClearBuffer, FlowControl, SerialPort as _, SerialPortType, UsbPortInfo};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// Compared, written and verified at once, at most: a block of flash, and how soon a cancel takes effect.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// Rate at which every loader listens at first.
const CONNECT_BAUD: u32 = 115_200;
/// How long a loader may take to answer while connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What helps a board that does not answer its loader's greeting: lines that do not reach it, or no board at all.
const CONNECT_ADVICE: &str = "is a board on this port, and no other program? Hold BOOT, press RESET, let BOOT go and try again; \
                              where the board's lines do nothing, with --no-reset";

/// Why a session ended early.
pub(super) enum Failure {
    /// Trying again would not help.
    Final(FlashError),
    /// The talk with the board broke down, and why.
    Link(String),
}

/// A breakdown in the library's words.
fn link(error: espflash::Error) -> Failure {
    Failure::Link(chain(&error))
}

impl From<FlashError> for Failure {
    fn from(error: FlashError) -> Self {
        Self::Final(error)
    }
}

/// Runs one session, and lets noise on the line end it.
///
/// espflash indexes into answers without asking their length: that must not end the program. Nothing outlives the session
/// that a panic could leave half done.
pub(super) fn guarded<T>(session: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let noise = "an answer was too short for the loader's protocol";
    catch_unwind(AssertUnwindSafe(session)).unwrap_or_else(|_| Err(Failure::Link(noise.to_owned())))
}

/// Who is shown the plan, and may leave it at that.
type Show<'s> = &'s mut dyn FnMut(&FlashPlan) -> ControlFlow<()>;

/// Writes what differs; `attempts` of the result is 1. `show` is given the plan before the first byte is written, and may
/// leave it at that; `begun` is told what is being written.
pub(super) fn run(
    port: &str,
    image: &Image,
    options: &FlashOptions,
    (show, begun): (Show<'_>, &Cell<Option<Part>>),
    job: &Job<'_>,
) -> Result<Option<Flashed>, Failure> {
    job.report("Connecting", 0, 0).map_err(FlashError::from)?;
    let mut flasher = connect(port, Some(image.chip), options)?;
    require_unlocked(&mut flasher, port)?;
    let info = flasher.device_info().map_err(link)?;
    if let Some((major, minor)) = info.revision {
        require_revision(image, port, major * 100 + minor)?;
    }
    let has_bytes = u64::from(info.flash_size.size());
    if image.end() > has_bytes {
        let (port, needs_bytes) = (port.to_owned(), image.end());
        return Err(FlashError::SmallFlash {
            port,
            needs_bytes,
            has_bytes,
        }
        .into());
    }
    let (plan, runs) = compare(&mut flasher, image, options, job)?;
    if show(&plan).is_break() {
        return Ok(None);
    }
    write(&mut flasher, (image, &plan, &runs), begun, options, job)?;
    Ok(Some(Flashed {
        chip: info.chip.to_string(),
        mac: info.mac_address,
        flash_bytes: has_bytes,
        written_bytes: plan.write_bytes,
        unchanged_bytes: plan.unchanged_bytes,
        verified_bytes: image.bytes(),
        attempts: 1,
    }))
}

/// The chip whose loader answers; then the board runs its program again.
pub(super) fn chip(port: &str, options: &FlashOptions, job: &Job<'_>) -> Result<Chip, Failure> {
    job.report("Asking which chip it is", 0, 0)
        .map_err(FlashError::from)?;
    // The next session begins at the first rate, and with the ROM's own loader.
    let options = &FlashOptions {
        loader: Loader::Rom,
        baud: CONNECT_BAUD,
        ..*options
    };
    let mut flasher = connect(port, None, options)?;
    let chip = flasher.chip();
    let is_stub = false;
    flasher
        .connection()
        .reset_after(is_stub, chip)
        .map_err(link)?;
    Ok(chip)
}

/// Fails where the maker of a product has locked its chip.
fn require_unlocked(flasher: &mut Flasher, port: &str) -> Result<(), Failure> {
    // ESP32 Technical Reference Manuals, "Secure Boot" and "External Memory Encryption": an odd number of bits of the
    // count turns encryption on. The first ESP32 does not tell.
    const SECURE_BOOT: u32 = 1;
    let lock = if flasher.secure_download_mode() {
        Some(Lock::SecureDownload)
    } else if flasher.chip() == Chip::Esp32 {
        None
    } else {
        let told = flasher.security_info().map_err(link)?;
        let is_encrypted = told.flash_crypt_cnt.count_ones() % 2 == 1;
        match told.flags & SECURE_BOOT {
            0 => is_encrypted.then_some(Lock::FlashEncryption),
            _ => Some(Lock::SecureBoot),
        }
    };
    match lock {
        None => Ok(()),
        Some(lock) => Err(FlashError::Locked {
            port: port.to_owned(),
            lock,
        }
        .into()),
    }
}

/// Fails where bootloader or firmware would refuse the chip, or be wrong for it.
fn require_revision(image: &Image, port: &str, found: u32) -> Result<(), Failure> {
    let found = Revision(u16::try_from(found).unwrap_or(u16::MAX));
    for segment in &image.segments {
        let part = match segment.part {
            Part::Bootloader => "bootloader",
            Part::Firmware => "firmware",
            Part::PartitionTable | Part::Model => continue,
        };
        let Some((least, most)) = segment.revisions() else {
            continue;
        };
        if found < least || found > most {
            let port = port.to_owned();
            return Err(FlashError::Revision {
                port,
                part,
                least,
                most,
                found,
            }
            .into());
        }
    }
    Ok(())
}

/// Whether the port is still there; ports of Windows have no path and count as there.
pub(super) fn exists(port: &str) -> bool {
    !port.starts_with('/') || Path::new(port).exists()
}

fn connect(port: &str, chip: Option<Chip>, options: &FlashOptions) -> Result<Flasher, Failure> {
    let failed = |error: serialport::Error| FlashError::Port {
        port: port.to_owned(),
        reason: super::cure(port, &error),
    };
    let serial = serialport::new(port, CONNECT_BAUD)
        .flow_control(FlowControl::None)
        .timeout(CONNECT_TIMEOUT)
        // A pseudo-terminal would stay locked after we close it, for its other side is open.
        .exclusive(options.reset == Reset::Board)
        .open_native()
        .map_err(failed)?;
    // What a session before this one left unread would pass for an answer.
    serial.clear(ClearBuffer::All).map_err(failed)?;
    let (after, before) = match options.reset {
        Reset::Board => (
            ResetAfterOperation::HardReset,
            ResetBeforeOperation::DefaultReset,
        ),
        Reset::None => (
            ResetAfterOperation::NoResetNoStub,
            ResetBeforeOperation::NoReset,
        ),
    };
    let connection = Connection::new(serial, usb_info(port), after, before, CONNECT_BAUD);
    let stub = options.loader == Loader::Stub;
    let (verify, skip) = (true, true);
    Flasher::connect(connection, stub, verify, skip, chip, Some(options.baud)).map_err(|error| {
        match error {
            espflash::Error::ChipMismatch(expected, found) => {
                Failure::Final(FlashError::WrongChip {
                    port: port.to_owned(),
                    expected,
                    found,
                })
            }
            other => Failure::Link(format!("{}: {CONNECT_ADVICE}", chain(&other))),
        }
    })
}

/// What the reset through USB needs to know; zeros where the port is no USB device.
fn usb_info(port: &str) -> UsbPortInfo {
    let listed = serialport::available_ports().unwrap_or_default();
    let here = listed.into_iter().find(|info| info.port_name == port);
    match here.map(|info| info.port_type) {
        Some(SerialPortType::UsbPort(usb)) => usb,
        Some(SerialPortType::PciPort | SerialPortType::BluetoothPort | SerialPortType::Unknown)
        | None => UsbPortInfo {
            vid: 0,
            pid: 0,
            serial_number: None,
            manufacturer: None,
            product: None,
        },
    }
}

/// Writes the runs, and compares each with the board's own MD5.
///
/// The calls below `Flasher::write_bins_to_flash`, with a chance to cancel before each piece.
fn write(
    flasher: &mut Flasher,
    (image, plan, runs): (&Image, &FlashPlan, &[Run<'_>]),
    begun: &Cell<Option<Part>>,
    options: &FlashOptions,
    job: &Job<'_>,
) -> Result<(), Failure> {
    let stub = options.loader == Loader::Stub;
    let (verify, skip) = (true, false);
    let mut target = image
        .chip
        .flash_target(SpiAttachParams::default(), stub, verify, skip);
    target.begin(flasher.connection()).map_err(link)?;
    let (mut done, total) = (0, plan.write_bytes);
    for run in runs {
        let stage = match run.segment.part {
            Part::Bootloader => "Writing bootloader",
            Part::PartitionTable => "Writing partition table",
            Part::Firmware => "Writing firmware",
            Part::Model => "Writing model",
        };
        let mut at = run.bytes.start;
        for bytes in run.segment.bytes[run.bytes.clone()].chunks(PIECE_BYTES) {
            job.report(stage, done, total).map_err(FlashError::from)?;
            begun.set(Some(run.segment.part));
            let mut piece = Piece {
                job,
                stage,
                done,
                bytes: bytes.len() as u64,
                total,
                blocks: 0,
            };
            // Within the flash, whose addresses have 32 bits.
            let address = run.segment.address + at as u32;
            let source = espflash::image_format::Segment::new(address, bytes);
            target
                .write_segment(flasher.connection(), source, &mut piece)
                .map_err(|error| match error {
                    espflash::Error::VerifyFailed => Failure::Final(FlashError::Verify {
                        address,
                        bytes: bytes.len(),
                    }),
                    other => link(other),
                })?;
            done += bytes.len() as u64;
            at += bytes.len();
        }
    }
    let finished = target.finish(flasher.connection(), true);
    match (finished, options.loader) {
        (Ok(()), _) => {}
        // Some ROMs answer the end with an error after a write that has just been verified.
        (Err(espflash::Error::RomError(_)), Loader::Rom) => {}
        (Err(error), Loader::Rom | Loader::Stub) => return Err(link(error)),
    }
    // All is written: who cancels now comes too late.
    job.report("Writing model", total, total).unwrap_or(());
    Ok(())
}

/// Passes on how far a piece is. It cannot stop one: the next piece asks.
struct Piece<'a> {
    job: &'a Job<'a>,
    stage: &'a str,
    done: u64,
    bytes: u64,
    total: u64,
    blocks: u64,
}

impl ProgressCallbacks for Piece<'_> {
    fn init(&mut self, _address: u32, blocks: usize) {
        self.blocks = blocks as u64;
    }

    fn update(&mut self, block: usize) {
        let within = self.bytes * block as u64 / self.blocks.max(1);
        // A cancelled job says so again before the next piece.
        self.job
            .report(self.stage, self.done + within, self.total)
            .unwrap_or(());
    }

    fn verifying(&mut self) {}

    fn finish(&mut self, _skipped: bool) {}
}
