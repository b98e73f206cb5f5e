//! A serial device or a pseudo-terminal, in raw mode.

use crate::console::Come;
use crate::waiting;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Line rate of every board's console.
const BAUD: u32 = 115_200;
/// How long nothing may be taken before nobody is said to listen. Without flow control a line takes all there is.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a device that went away is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Neither opening nor reading waits, and the terminal does not become this program's own.
const FLAGS: OFlags = OFlags::RDWR.union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// One side of a serial line.
pub struct Terminal {
    side: Side,
    line: Option<File>,
    /// Whether what was written was taken. Without anybody each write would wait.
    is_heard: bool,
}

/// Whose side it is.
enum Side {
    /// A device's, which may be unplugged and come again.
    Device(PathBuf),
    /// A pseudo-terminal's. Its other side is held open: while nobody had it, waiting would return at once.
    Pty { _other: File },
}

impl Terminal {
    /// The device at this path.
    pub fn device(path: &Path) -> io::Result<Self> {
        Ok(Self {
            line: Some(open(path)?),
            side: Side::Device(path.to_owned()),
            is_heard: true,
        })
    }

    /// A new pseudo-terminal, and the name of the side that hosts open.
    pub fn pty() -> io::Result<(Self, String)> {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        let name = ptsname(&own, Vec::new())?;
        let name = name.into_string().map_err(io::Error::other)?;
        let other = open(Path::new(&name))?;
        rustix::io::ioctl_fionbio(&own, true)?;
        let terminal = Self {
            line: Some(own.into()),
            side: Side::Pty { _other: other },
            is_heard: true,
        };
        Ok((terminal, name))
    }

    pub fn read(&mut self, room: &mut [u8]) -> Come {
        let Some(line) = &mut self.line else {
            return Come::Nothing;
        };
        match line.read(room) {
            Ok(bytes @ 1..) => {
                self.is_heard = true;
                Come::Bytes(bytes)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Come::Nothing
            }
            Ok(0) | Err(_) => {
                self.line = None;
                Come::Left
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let Some(line) = &self.line else {
            return;
        };
        let patience = if self.is_heard {
            PATIENCE
        } else {
            Duration::ZERO
        };
        self.is_heard = waiting::write_all(line, bytes, patience).is_ok();
    }

    pub fn wait(&mut self) {
        match (&self.line, &self.side) {
            (Some(line), _) => waiting::for_reading(&mut [PollFd::new(line, PollFlags::IN)]),
            (None, Side::Device(path)) => {
                std::thread::sleep(LOOK_AGAIN);
                self.line = open(path).ok();
            }
            // Its other side is open as long as this program runs.
            (None, Side::Pty { .. }) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Opens a device and takes away all that a terminal does with what goes through it.
fn open(path: &Path) -> io::Result<File> {
    let line = rustix::fs::open(path, FLAGS, Mode::empty())?;
    let mut settings = tcgetattr(&line)?;
    settings.make_raw();
    // Three wires: nobody says whether anybody is there.
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes &= !ControlModes::CRTSCTS;
    settings.set_speed(BAUD)?;
    tcsetattr(&line, OptionalActions::Now, &settings)?;
    Ok(line.into())
}
