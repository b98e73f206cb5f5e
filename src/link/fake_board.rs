//! A board made of software: an ESP32-C3 behind a pseudo-terminal, with 4 MB of flash or more.
//!
//! It lets the tests and everyone without a board flash one and talk to it, through the same library calls and
//! the same bytes on the wire: first its loader answers ([`Start::Loader`]), then what was written to its flash runs
//! ([`Start::Program`]), in [`Machine`]. A pseudo-terminal has no DTR and RTS lines: flash it with
//! [`Reset::None`](super::Reset), and call [`FakeBoard::reset`]. Unix only.

use super::emulated::{Activity, Line, Machine};
use super::fake_rom::{FLASH_BYTES, Frames, Rom};
use serialport::{SerialPort as _, TTYPort};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use super::fake_rom::{Fuses, command as commands};

/// Something that is wrong with a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A mishap meets the reply to a command, once.
    At {
        /// One of [`commands`].
        command: u8,
        /// Which of them, from 1 since start.
        nth: usize,
        /// What happens.
        mishap: Mishap,
    },
    /// A flash cell is worn: one bit of this address flips at every write.
    WornCell {
        /// The address.
        address: usize,
    },
    /// It says nothing, whatever comes: no board on the port, or one that is switched off.
    Silent,
    /// It talks without end, as a program on another board does, and hears nothing.
    Babble,
    /// Bytes take as long as on a wire: ten bits each at the line rate.
    Paced,
}

/// What happens instead of a reply, or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The command is carried out and the reply is lost.
    DropReply,
    /// A broken frame comes before the reply.
    Garbage,
    /// A frame of one byte comes before the reply.
    Runt,
    /// The cable is pulled.
    Unplug,
    /// A bit of the reply flips.
    FlippedBit,
    /// Only half of the reply comes.
    Half,
    /// The reply comes twice.
    Twice,
    /// The reply takes so many milliseconds.
    Late(u64),
    /// The loader says that it failed, with this code, and has done nothing.
    Error(u8),
    /// The supply breaks down: the board starts again, says so, and knows no session.
    Brownout,
}

impl Fault {
    /// A mishap at the `nth` of a command.
    #[must_use]
    pub const fn at(command: u8, nth: usize, mishap: Mishap) -> Self {
        Self::At {
            command,
            nth,
            mishap,
        }
    }
}

/// What a board does after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It waits for a host that writes its flash.
    Loader,
    /// It runs what is in its flash.
    Program,
}

/// How soon a dropped board stops, and how long it sleeps where nothing comes.
const IDLE: Duration = Duration::from_millis(20);
/// Instructions that are carried out between two looks at the line.
const SLICE: u64 = 1_000_000;

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
    /// A reset that was asked for and has not been done.
    reset: Mutex<Option<Start>>,
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

    /// Starts a board of a chip with these eFuses.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_fuses(fuses: Fuses) -> std::io::Result<Self> {
        let mut rom = Rom::new(FLASH_BYTES);
        rom.burn(fuses);
        Self::run(rom, None, &[])
    }

    /// Starts a board that holds what an earlier one left, as [`Self::flash`] gave it, and runs it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn holding(flash: Vec<u8>) -> std::io::Result<Self> {
        let mut rom = Rom::new(flash.len());
        rom.flash[..flash.len()].copy_from_slice(&flash);
        Self::run(rom, Some(Start::Program), &[])
    }

    /// Starts a board with another flash: `flash_bytes`, rounded up to a power of two.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_flash(flash_bytes: usize, faults: &[Fault]) -> std::io::Result<Self> {
        let mut rom = Rom::new(flash_bytes);
        for fault in faults {
            match fault {
                Fault::WornCell { address } => rom.worn = Some(*address),
                Fault::At { .. } | Fault::Silent | Fault::Babble | Fault::Paced => {}
            }
        }
        Self::run(rom, None, faults)
    }

    fn run(rom: Rom, first: Option<Start>, faults: &[Fault]) -> std::io::Result<Self> {
        let (mut board_side, host_side) = TTYPort::pair()?;
        board_side.set_timeout(IDLE)?;
        let port = host_side
            .name()
            .ok_or_else(|| std::io::Error::other("the pseudo-terminal has no name"))?;
        let shared = Arc::new(Shared {
            rom: Mutex::new(rom),
            seen: Mutex::new(BTreeMap::new()),
            reset: Mutex::new(first),
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

    /// Resets it, as the lines of a cable or its button would.
    pub fn reset(&self, start: Start) {
        *lock(&self.shared.reset) = Some(start);
    }

    /// A copy of its flash.
    #[must_use]
    pub fn flash(&self) -> Vec<u8> {
        lock(&self.shared.rom).flash.clone()
    }

    /// Line rates that hosts asked for, since start.
    #[must_use]
    pub fn rates(&self) -> Vec<u32> {
        lock(&self.shared.rom).rates.clone()
    }

    /// How often a command came, since start.
    #[must_use]
    pub fn count(&self, command: u8) -> usize {
        let seen = lock(&self.shared.seen);
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

/// What a panic elsewhere left is as good as anything: the flash of a board.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is a loader or a program until the board is stopped or unplugged: dropping the port is pulling the cable.
fn serve(mut port: TTYPort, shared: &Shared, faults: &[Fault]) {
    let mut start = Start::Loader;
    while !shared.stop.load(Ordering::Relaxed) {
        start = lock(&shared.reset).take().unwrap_or(start);
        let outcome = match start {
            Start::Loader => load(&mut port, shared, faults),
            Start::Program => run_program(&mut port, shared),
        };
        match outcome {
            Outcome::Reset => {}
            Outcome::Unplugged => return,
        }
    }
}

/// Why a board does something else now.
enum Outcome {
    /// It was reset, or stopped.
    Reset,
    /// The cable was pulled.
    Unplugged,
}

impl Shared {
    /// Whether to leave off what it does.
    fn is_called(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || lock(&self.reset).is_some()
    }
}

/// Answers a host's frames.
fn load(port: &mut TTYPort, shared: &Shared, faults: &[Fault]) -> Outcome {
    let mut frames = Frames::default();
    let mut buffer = [0; 4096];
    let mut wire = Wire::new(faults);
    while !shared.is_called() {
        if faults.contains(&Fault::Babble) && port.write_all(BABBLE).is_err() {
            return Outcome::Unplugged;
        }
        match port.read(&mut buffer) {
            Ok(count) => {
                wire.carry(count, shared);
                frames.push(&buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => continue,
            Err(_) => return Outcome::Unplugged,
        }
        while let Some(frame) = frames.next_frame() {
            let Some(reply) = reply(&frame, shared, faults) else {
                return Outcome::Unplugged;
            };
            wire.carry(reply.len(), shared);
            if port.write_all(&reply).is_err() {
                return Outcome::Unplugged;
            }
        }
    }
    Outcome::Reset
}

/// What another program says.
const BABBLE: &[u8] = b"I (31337) wifi: state: auth -> assoc (0)\r\n";
/// What the ROM of a chip says after its supply broke down.
const BROWNOUT: &[u8] = b"\r\nESP-ROM:esp32c3-api1-20210207\r\nrst:0xf (BROWNOUT_RST),boot:0x4 (DOWNLOAD(USB/UART0))\r\nwaiting for download\r\n";

/// The time that bytes take on a wire.
struct Wire {
    is_paced: bool,
    /// When the last byte has come.
    free: Instant,
}

impl Wire {
    fn new(faults: &[Fault]) -> Self {
        Self {
            is_paced: faults.contains(&Fault::Paced),
            free: Instant::now(),
        }
    }

    /// Returns when so many bytes have gone over it.
    fn carry(&mut self, bytes: usize, shared: &Shared) {
        if !self.is_paced {
            return;
        }
        let rate = lock(&shared.rom).rates.last().copied().unwrap_or(115_200);
        let bits = u32::try_from(bytes * 10).unwrap_or(u32::MAX);
        let now = Instant::now();
        self.free = self.free.max(now) + Duration::from_secs(1) * bits / rate.max(1);
        std::thread::sleep(self.free - now);
    }
}

/// Runs what is in the flash, with UART 0 on the line.
fn run_program(port: &mut TTYPort, shared: &Shared) -> Outcome {
    let (flash, fuses) = {
        let rom = lock(&shared.rom);
        (rom.flash.clone(), rom.fuses())
    };
    let mut machine = Machine::boot(flash, fuses);
    let mut buffer = [0; 4096];
    while !shared.is_called() {
        let activity = machine.run(SLICE);
        if let Some(part) = machine.take_flash_changes() {
            // Before anyone hears that it is done.
            lock(&shared.rom).flash[part.clone()].copy_from_slice(&machine.flash()[part]);
        }
        // A line takes what nobody reads no longer than a moment, and so does a UART.
        let _lost = port.write_all(&machine.take_sent(Line::Uart));
        let wait = match activity {
            Activity::Busy => Duration::ZERO,
            Activity::Waiting | Activity::Ended => IDLE,
            Activity::Restarted => return Outcome::Reset,
        };
        let start = Instant::now();
        match port
            .set_timeout(wait)
            .and_then(|()| Ok(port.read(&mut buffer)?))
        {
            Ok(count) => machine.receive(Line::Uart, &buffer[..count]),
            Err(error) if error.kind() == serialport::ErrorKind::Io(ErrorKind::TimedOut) => {}
            Err(_) => return Outcome::Unplugged,
        }
        if wait > Duration::ZERO {
            machine.sleep(u64::try_from(start.elapsed().as_micros()).unwrap_or(0));
        }
    }
    Outcome::Reset
}

/// The bytes to send; none when the cable is pulled.
fn reply(frame: &[u8], shared: &Shared, faults: &[Fault]) -> Option<Vec<u8>> {
    let op = frame.get(1).copied().unwrap_or(0);
    let count = {
        let mut seen = lock(&shared.seen);
        let count = seen.entry(op).or_insert(0);
        *count += 1;
        *count
    };
    let mishap = faults.iter().find_map(|fault| match *fault {
        Fault::At {
            command,
            nth,
            mishap,
        } if (command, nth) == (op, count) => Some(mishap),
        Fault::At { .. }
        | Fault::WornCell { .. }
        | Fault::Silent
        | Fault::Babble
        | Fault::Paced => None,
    });
    if faults
        .iter()
        .any(|fault| matches!(fault, Fault::Silent | Fault::Babble))
    {
        return Some(Vec::new());
    }
    let mut rom = lock(&shared.rom);
    let mut reply = match mishap {
        Some(Mishap::Unplug) => return None,
        Some(Mishap::Error(code)) => return Some(rom.refuse(op, code)),
        Some(Mishap::Brownout) => {
            rom.restart();
            return Some(BROWNOUT.to_vec());
        }
        Some(_) | None => rom.answer(frame),
    };
    drop(rom);
    match mishap {
        Some(Mishap::DropReply) => reply.clear(),
        // An escape that SLIP does not know.
        Some(Mishap::Garbage) => drop(reply.splice(0..0, *b"\xC0noise\xDB\x01\xC0")),
        Some(Mishap::Runt) => drop(reply.splice(0..0, *b"\xC0\x01\xC0")),
        Some(Mishap::FlippedBit) => {
            let middle = reply.len() / 2;
            reply.iter_mut().skip(middle).take(1).for_each(|b| *b ^= 4);
        }
        Some(Mishap::Half) => reply.truncate(reply.len() / 2),
        Some(Mishap::Twice) => reply = reply.repeat(2),
        Some(Mishap::Late(millis)) => std::thread::sleep(Duration::from_millis(millis)),
        Some(Mishap::Unplug | Mishap::Error(_) | Mishap::Brownout) | None => {}
    }
    Some(reply)
}
