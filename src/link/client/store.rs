//! A model sent over the line, to a board that writes it itself.

use super::answer::plain_line;
use super::{Client, TalkError};
use crate::job::Job;
use engine::format::crc32;
use protocol::{Event, PIECE_BYTES, Request};
use std::time::{Duration, Instant};

/// How long a board may take to make room. Assumed: no board with flash takes a model yet.
const ERASE_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to write a piece, and to check all of them in the end.
const PIECE_PATIENCE: Duration = Duration::from_secs(10);

impl Client {
    /// Sends a packed model, which takes the place of the board's; then the board starts again. An empty one erases it.
    ///
    /// A model that was sent in part is refused by the board, which stays reachable.
    ///
    /// # Errors
    /// When the board refuses, or falls silent; when `job` is cancelled.
    pub fn store(&mut self, packed: &[u8], job: &Job<'_>) -> Result<(), TalkError> {
        let id = self.number();
        // A length that does not fit is more than any board has.
        let bytes = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        let crc = crc32(packed);
        job.report("Erasing the board's model", 0, 0)?;
        self.send(&Request::Store { id, bytes, crc })?;
        self.stored(id, 0, ERASE_PATIENCE, job)?;
        let total = u64::from(bytes);
        for (index, piece) in packed.chunks(PIECE_BYTES).enumerate() {
            let offset = index * PIECE_BYTES;
            job.report("Sending the model", offset as u64, total)?;
            let end = offset + piece.len();
            // Both below `bytes`, which is of 32 bits.
            let (offset, end) = (offset as u32, end as u32);
            self.send(&Request::Piece {
                id,
                offset,
                bytes: piece,
            })?;
            self.stored(id, end, PIECE_PATIENCE, job)?;
        }
        Ok(())
    }

    /// Waits until the board has so many bytes.
    fn stored(
        &mut self,
        id: u32,
        expected: u32,
        patience: Duration,
        job: &Job<'_>,
    ) -> Result<(), TalkError> {
        let start = Instant::now();
        while start.elapsed() < patience {
            job.check()?;
            let answer = self.next(|event| match event {
                Event::Stored { id: of, bytes } if of == id && bytes == expected => Some(Ok(())),
                Event::Refused { id: of, why } if of == id || of == 0 => Some(Err(plain_line(why))),
                Event::Hello(_)
                | Event::Prompt { .. }
                | Event::Token { .. }
                | Event::Intent { .. }
                | Event::Done(_)
                | Event::Refused { .. }
                | Event::Cost { .. }
                | Event::Memory { .. }
                | Event::Measured(_)
                | Event::Stored { .. } => None,
            })?;
            match answer {
                Some(Ok(())) => return Ok(()),
                Some(Err(why)) => return Err(TalkError::Refused { why }),
                None => {}
            }
        }
        Err(self.stalled())
    }
}
