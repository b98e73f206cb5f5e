//! What the program is told on its command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How to call it.
const USAGE: &str = "usage: whittle-linux MODEL.whittle (--listen 127.0.0.1:PORT | --serial PATH | --pty) [--threads N]";
/// More than any board has cores.
const MOST_THREADS: usize = 256;

/// What to run and where to answer.
pub struct Options {
    /// The packed model.
    pub model: PathBuf,
    /// Where hosts and people are.
    pub line: LineOption,
    /// Threads that compute; all cores where none are named.
    pub threads: Option<usize>,
}

/// Where hosts and people are.
pub enum LineOption {
    /// At a socket of this machine.
    Listen(SocketAddr),
    /// Behind a serial device.
    Serial(PathBuf),
    /// At a new pseudo-terminal.
    Pty,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut model, mut line, mut threads) = (None, None, None);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            let another = match argument.to_str() {
                Some("--listen") => line
                    .replace(LineOption::Listen(loopback(&value()?)?))
                    .is_some(),
                Some("--serial") => line.replace(LineOption::Serial(value()?.into())).is_some(),
                Some("--pty") => line.replace(LineOption::Pty).is_some(),
                Some("--threads") => threads.replace(count(&value()?)?).is_some(),
                Some(option) if option.starts_with("--") => true,
                _ => model.replace(PathBuf::from(argument)).is_some(),
            };
            if another {
                return Err(USAGE.to_owned());
            }
        }
        match (model, line) {
            (Some(model), Some(line)) => Ok(Self {
                model,
                line,
                threads,
            }),
            _ => Err(USAGE.to_owned()),
        }
    }
}

/// Nobody is asked who they are, so nobody from outside is let in.
fn loopback(text: &OsString) -> Result<SocketAddr, String> {
    let address = text.to_str().and_then(|text| text.parse().ok());
    address
        .filter(|address: &SocketAddr| address.ip().is_loopback())
        .ok_or_else(|| {
            format!(
                "expected 127.0.0.1:PORT, found {}: whoever reaches the port may ask, so only this machine does; \
                 others come through ssh -L",
                text.display()
            )
        })
}

fn count(text: &OsString) -> Result<usize, String> {
    let count = text.to_str().and_then(|text| text.parse().ok());
    count
        .filter(|count| (1..=MOST_THREADS).contains(count))
        .ok_or_else(|| {
            format!(
                "expected 1 to {MOST_THREADS} threads, found {}",
                text.display()
            )
        })
}
