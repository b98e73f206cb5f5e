//! The board as the application sees it: a line to hosts and people, a clock, its cores.

use crate::machine;
use crate::options::LineOption;
use crate::socket::Socket;
use crate::store::{ModelFile, start_again};
use crate::terminal::Terminal;
use app::{Board, Store};
use engine::workers::Host;
use protocol::{FRAME_BYTES, Request, encode};
use std::io::Write as _;
use std::time::Instant;

/// Tokens of a prefill batch: so often fewer the model is read from memory, and so long a cancel may wait.
pub const BATCH: usize = 8;
/// Bytes that are taken from the system at once.
const ROOM: usize = 4096;
/// Ctrl-C, which ends the answer to a person.
const INTERRUPT: u8 = 3;

/// What came over a line.
pub enum Come {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Whoever was there has left: nobody waits for the rest of an answer.
    Left,
}

/// Where hosts and people are.
enum Line {
    Socket(Socket),
    Terminal(Terminal),
}

/// The board.
pub struct Console {
    line: Line,
    host: Host<'static>,
    model: ModelFile,
    chip: &'static str,
    clock_hz: u32,
    started: Instant,
    /// What came and was not read yet.
    room: [u8; ROOM],
    from: usize,
    to: usize,
    /// Whether hosts are answered; until then what is said goes to the program's own output.
    is_serving: bool,
}

impl Console {
    /// Opens the line and says where it is.
    pub fn open(
        option: &LineOption,
        host: Host<'static>,
        model: ModelFile,
    ) -> Result<Self, String> {
        let (line, place) = match option {
            LineOption::Listen(address) => Socket::open(*address)
                .and_then(|socket| Ok((socket.address()?, socket)))
                .map(|(address, socket)| (Line::Socket(socket), format!("listening on {address}")))
                .map_err(|error| format!("cannot listen on {address}: {error}"))?,
            LineOption::Serial(path) => Terminal::device(path)
                .map(|device| (Line::Terminal(device), format!("on {}", path.display())))
                .map_err(|error| format!("cannot open {}: {error}", path.display()))?,
            LineOption::Pty => Terminal::pty()
                .map(|(terminal, name)| (Line::Terminal(terminal), format!("on {name}")))
                .map_err(|error| format!("cannot make a pseudo-terminal: {error}"))?,
        };
        let mut console = Self {
            line,
            host,
            model,
            // For as long as the program runs.
            chip: String::leak(machine::chip()),
            clock_hz: machine::clock_hz(),
            started: Instant::now(),
            room: [0; ROOM],
            from: 0,
            to: 0,
            is_serving: false,
        };
        console.line(format_args!("{place}"));
        Ok(console)
    }

    /// What ends an answer to a host and to a person, in place of what they would have sent.
    fn hang_up(&mut self) {
        let mut frame = [0; FRAME_BYTES];
        let cancel: &[u8] = encode(&Request::Cancel, &mut frame).unwrap_or_default();
        self.room[0] = INTERRUPT;
        self.room[1..=cancel.len()].copy_from_slice(cancel);
        (self.from, self.to) = (0, 1 + cancel.len());
    }
}

impl Board for Console {
    const NAME: &'static str = "linux";
    const TICK: &'static str = "microseconds";
    const TICKS_PER_SECOND: u32 = 1_000_000;
    const BATCH: usize = BATCH;

    fn host(&self) -> Host<'static> {
        self.host
    }

    fn store(&mut self) -> Option<&mut dyn Store> {
        Some(&mut self.model)
    }

    fn chip(&self) -> &'static str {
        self.chip
    }

    fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    fn restart(&mut self) {
        start_again()
    }

    fn ticks(&mut self) -> u64 {
        // Half a million years fit.
        self.started.elapsed().as_micros() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        if !self.is_serving {
            let mut output = std::io::stdout().lock();
            // The program's own output may be closed: it answers all the same.
            let _said = output.write_all(bytes).and_then(|()| output.flush());
        }
        match &mut self.line {
            Line::Socket(socket) => socket.write(bytes),
            Line::Terminal(terminal) => terminal.write(bytes),
        }
    }

    fn read(&mut self) -> Option<u8> {
        self.is_serving = true;
        if self.from == self.to {
            let come = match &mut self.line {
                Line::Socket(socket) => socket.read(&mut self.room),
                Line::Terminal(terminal) => terminal.read(&mut self.room),
            };
            match come {
                Come::Bytes(bytes) => (self.from, self.to) = (0, bytes),
                Come::Nothing => return None,
                Come::Left => self.hang_up(),
            }
        }
        self.from += 1;
        Some(self.room[self.from - 1])
    }

    fn idle(&mut self) {
        match &mut self.line {
            Line::Socket(socket) => socket.wait(),
            Line::Terminal(terminal) => terminal.wait(),
        }
    }
}
