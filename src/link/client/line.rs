//! The line to a board: a serial port, or a socket for boards that run Linux.

use super::TalkError;
use crate::link::{Reset, chain, cure};
use serialport::FlowControl;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// Line rate of the firmware's console.
const BAUD: u32 = 115_200;
/// How long a read waits: how soon a cancel takes effect.
pub(super) const POLL: Duration = Duration::from_millis(50);
/// How long a socket may take to open.
const CONNECT: Duration = Duration::from_secs(3);
/// What the name of a socket begins with: `tcp:127.0.0.1:7333`.
const TCP: &str = "tcp:";

pub(super) enum Line {
    Serial(Box<dyn serialport::SerialPort>),
    Socket(TcpStream),
}

impl Line {
    pub(super) fn open(port: &str, reset: Reset) -> Result<Self, TalkError> {
        let failed = |reason| TalkError::Port {
            port: port.to_owned(),
            reason,
        };
        if let Some(address) = port.strip_prefix(TCP) {
            let socket = connect(address).map_err(|error| failed(chain(&error)))?;
            return Ok(Self::Socket(socket));
        }
        let serial = serialport::new(port, BAUD)
            .flow_control(FlowControl::None)
            .timeout(POLL)
            // A pseudo-terminal would stay locked after we close it, for its other side is open.
            .exclusive(reset == Reset::Board)
            .open_native()
            .map_err(|error| failed(cure(port, &error)))?;
        Ok(Self::Serial(Box::new(serial)))
    }

    /// Waits for bytes; none where nothing came for [`POLL`].
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Serial(port) => port.read(into),
            Self::Socket(socket) => socket.read(into),
        };
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => Ok(bytes),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Serial(port) => port.write_all(bytes),
            Self::Socket(socket) => socket.write_all(bytes),
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(POLL))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
