//! A loopback socket: one host or person at a time, others are refused.

use crate::console::Come;
use crate::waiting;
use protocol::{Event, FRAME_BYTES, encode};
use rustix::event::{PollFd, PollFlags};
use std::io::{self, ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// What whoever comes second is told.
const BUSY: &str = "another host is talking to this board: try again when it has left";
/// How long a client may take nothing before it is said to have left.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for one that is only told to come again.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);

/// The socket and who is there.
pub struct Socket {
    listener: TcpListener,
    client: Option<TcpStream>,
    /// The last one that was refused: closing its line at once could take the refusal away from it.
    refused: Option<TcpStream>,
}

impl Socket {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            client: None,
            refused: None,
        })
    }

    /// Where it listens; the system chooses a port for 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub fn read(&mut self, room: &mut [u8]) -> Come {
        if let Some(client) = &mut self.client {
            match client.read(room) {
                Ok(bytes @ 1..) => return Come::Bytes(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.client = None;
                    return Come::Left;
                }
            }
        }
        while let Ok((stream, _)) = self.listener.accept() {
            self.came(stream);
        }
        Come::Nothing
    }

    fn came(&mut self, stream: TcpStream) {
        // A token is a small packet, and is waited for.
        let is_set = stream.set_nonblocking(true).is_ok() && stream.set_nodelay(true).is_ok();
        if !is_set {
            return;
        }
        if self.client.is_none() {
            self.client = Some(stream);
            self.write(b"whittle: ready\n");
            return;
        }
        let mut frame = [0; FRAME_BYTES];
        let refused = Event::Refused { id: 0, why: BUSY };
        if let Ok(frame) = encode(&refused, &mut frame) {
            let line = format!("whittle: refused: {BUSY}\n");
            let told = [line.as_bytes(), frame].concat();
            // Who does not listen is refused all the same.
            let _told = waiting::write_all(&stream, &told, SHORT_PATIENCE);
        }
        self.refused = Some(stream);
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let Some(client) = &self.client else {
            return;
        };
        if waiting::write_all(client, bytes, PATIENCE).is_err() {
            // The next read finds that it has left.
            let _closed = client.shutdown(Shutdown::Both);
        }
    }

    pub fn wait(&mut self) {
        let mut lines = vec![PollFd::new(&self.listener, PollFlags::IN)];
        lines.extend(
            self.client
                .as_ref()
                .map(|client| PollFd::new(client, PollFlags::IN)),
        );
        waiting::for_reading(&mut lines);
    }
}
