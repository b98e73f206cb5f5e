//! A board made of software: an ESP32-C3 behind a pseudo-terminal, with 4 MB of flash or more.
//!
//! It lets `whittle demo` and the tests flash without hardware, through the same library calls and
//! the same bytes on the wire. A pseudo-terminal has no DTR and RTS lines: flash it with
//! [`Reset::None`](super::Reset). Unix only.

use super::fake_rom::{FLASH_BYTES, Frames, Rom};
use serialport::{SerialPort as _, TTYPort};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use super::fake_rom::command as commands;

/// Something that goes wrong once. `command` is one of [`commands`]; `nth` counts from 1 since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The command is carried out and the reply is lost.
    DropReply {
        /// The command.
        command: u8,
        /// Which of them.
        nth: usize,
    },
    /// A broken frame comes before the reply.
    Garbage {
        /// The command.
        command: u8,
        /// Which of them.
        nth: usize,
    },
    /// A frame of one byte comes before the reply.
    Runt {
        /// The command.
        command: u8,
        /// Which of them.
        nth: usize,
    },
    /// The cable is pulled instead of a reply.
    Unplug {
        /// The command.
        command: u8,
        /// Which of them.
        nth: usize,
    },
    /// A flash cell is worn: one bit of this address flips at every write.
    WornCell {
        /// The address.
        address: usize,
    },
}

/// A running fake board; it stops when dropped.
#[derive(Debug)]
pub struct FakeBoard {
    port: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Held open so that a host may close the port and open it again.
    _host_side: TTYPort,
}

#[derive(Debug)]
struct Shared {
    rom: Mutex<Rom>,
    seen: Mutex<BTreeMap<u8, usize>>,
    stop: AtomicBool,
}

impl FakeBoard {
    /// Starts a board with erased flash that will meet these faults.
    ///
    /// # Errors
    /// When the system has no pseudo-terminal or thread left.
    pub fn start(faults: &[Fault]) -> std::io::Result<Self> {
        Self::with_flash(FLASH_BYTES, faults)
    }

    /// Starts a board with another flash: `flash_bytes`, rounded up to a power of two.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_flash(flash_bytes: usize, faults: &[Fault]) -> std::io::Result<Self> {
        let (mut board_side, host_side) = TTYPort::pair()?;
        // How soon a dropped board stops; replies do not wait for it.
        board_side.set_timeout(Duration::from_millis(20))?;
        let port = host_side
            .name()
            .ok_or_else(|| std::io::Error::other("the pseudo-terminal has no name"))?;
        let mut rom = Rom::new(flash_bytes);
        for fault in faults {
            match fault {
                Fault::WornCell { address } => rom.worn = Some(*address),
                Fault::DropReply { .. }
                | Fault::Garbage { .. }
                | Fault::Runt { .. }
                | Fault::Unplug { .. } => {}
            }
        }
        let shared = Arc::new(Shared {
            rom: Mutex::new(rom),
            seen: Mutex::new(BTreeMap::new()),
            stop: AtomicBool::new(false),
        });
        let (theirs, faults) = (Arc::clone(&shared), faults.to_vec());
        let thread = std::thread::Builder::new()
            .name("fake board".to_owned())
            .spawn(move || serve(board_side, &theirs, &faults))?;
        Ok(Self {
            port,
            shared,
            thread: Some(thread),
            _host_side: host_side,
        })
    }

    /// The name of its port: `/dev/pts/3`.
    #[must_use]
    pub fn port(&self) -> &str {
        &self.port
    }

    /// A copy of its flash.
    #[must_use]
    pub fn flash(&self) -> Vec<u8> {
        self.shared
            .rom
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flash
            .clone()
    }

    /// How often a command came, since start.
    #[must_use]
    pub fn count(&self, command: u8) -> usize {
        let seen = self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.get(&command).copied().unwrap_or(0)
    }
}

impl Drop for FakeBoard {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by its thread.
            drop(thread.join());
        }
    }
}

/// Answers frames until the board is stopped or unplugged: dropping the port is pulling the cable.
fn serve(mut port: TTYPort, shared: &Shared, faults: &[Fault]) {
    let mut frames = Frames::default();
    let mut buffer = [0; 4096];
    while !shared.stop.load(Ordering::Relaxed) {
        match port.read(&mut buffer) {
            Ok(count) => frames.push(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::TimedOut => continue,
            Err(_) => return,
        }
        while let Some(frame) = frames.next_frame() {
            let Some(reply) = reply(&frame, shared, faults) else {
                return;
            };
            if port.write_all(&reply).is_err() {
                return;
            }
        }
    }
}

/// The bytes to send; none when the cable is pulled.
fn reply(frame: &[u8], shared: &Shared, faults: &[Fault]) -> Option<Vec<u8>> {
    let op = frame.get(1).copied().unwrap_or(0);
    let count = {
        let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(op).or_insert(0);
        *count += 1;
        *count
    };
    let meets = |command: u8, nth: usize| command == op && nth == count;
    let unplugged =
        |fault: &Fault| matches!(fault, Fault::Unplug { command, nth } if meets(*command, *nth));
    if faults.iter().any(unplugged) {
        return None;
    }
    let mut reply = shared
        .rom
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .answer(frame);
    for fault in faults {
        match *fault {
            Fault::DropReply { command, nth } if meets(command, nth) => reply.clear(),
            Fault::Garbage { command, nth } if meets(command, nth) => {
                // An escape that SLIP does not know.
                reply.splice(0..0, *b"\xC0noise\xDB\x01\xC0");
            }
            Fault::Runt { command, nth } if meets(command, nth) => {
                reply.splice(0..0, *b"\xC0\x01\xC0");
            }
            Fault::DropReply { .. }
            | Fault::Garbage { .. }
            | Fault::Runt { .. }
            | Fault::Unplug { .. }
            | Fault::WornCell { .. } => {}
        }
    }
    Some(reply)
}
