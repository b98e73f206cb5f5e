//! Waiting for descriptors that do not block.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Sleeps until one of them has something to read, or its other side is gone.
pub fn for_reading(lines: &mut [PollFd<'_>]) {
    // A signal wakes it too: whoever called looks again.
    let _woken = poll(lines, None);
}

/// Writes all of it, unless the other side takes nothing for as long as `patience`.
pub fn write_all(
    mut line: impl Write + AsFd + Copy,
    bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    let mut rest = bytes;
    let mut taken = Instant::now();
    while !rest.is_empty() {
        match line.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = &rest[written..];
                taken = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let left = patience.saturating_sub(taken.elapsed());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                let left = Timespec::try_from(left).map_err(io::Error::other)?;
                let _woken = poll(&mut [PollFd::new(&line, PollFlags::OUT)], Some(&left));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
