//! A model sent over the line, to a board that writes it itself.

use super::answer::plain_line;
use super::{Client, Greeting, HELLO_PATIENCE, TalkError};
use crate::job::Job;
use engine::format::crc32;
use protocol::{Event, PIECE_BYTES, Request};
use std::time::{Duration, Instant};

/// Flash that is erased together, and the longest that may take: 2 s, Winbond W25Q32JV (recalled and not measured);
/// typically it is 0.15 s.
const BLOCK_BYTES: u32 = 65_536;
const BLOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for flash that is erased: what 16 MB take at worst.
const ERASE_PATIENCE: Duration = Duration::from_secs(600);
/// How long a board may take to write a piece, before it is sent again.
const PIECE_PATIENCE: Duration = Duration::from_secs(3);
/// How long it may take to read back and check all of them.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);
/// How often a piece is sent that the line loses; one that it damages is none to the board.
const TRIES: u32 = 3;

/// What came of something that was sent.
enum Heard {
    /// It is there.
    Stored,
    /// Nothing was said of it.
    Silence,
}

impl Client {
    /// Sends a packed model, which takes the place of the board's; then the board starts again. An empty one erases it.
    ///
    /// # Errors
    /// When the board refuses, or falls silent. When `job` is cancelled the board is told to leave off, and the error says
    /// what it has then.
    pub fn store(
        &mut self,
        greeting: &Greeting,
        packed: &[u8],
        job: &Job<'_>,
    ) -> Result<(), TalkError> {
        let sent = self.send_model(greeting, packed, job);
        let Err(TalkError::Cancelled(source)) = sent else {
            return sent;
        };
        self.send(&Request::Cancel)?;
        // It starts again, as quickly as after a model was stored.
        let left = match self.hello(HELLO_PATIENCE, &Job::silent()) {
            Ok(now) if now.model.is_some() => "the board has the model that it had",
            Ok(_) => "the board answers, and has no model until one is sent whole",
            Err(_) => "the board starts again with what it has",
        };
        Err(TalkError::LeftOff { source, left })
    }

    fn send_model(
        &mut self,
        greeting: &Greeting,
        packed: &[u8],
        job: &Job<'_>,
    ) -> Result<(), TalkError> {
        let id = self.number();
        // A length that does not fit is more than any board has.
        let bytes = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        let crc = crc32(packed);
        let erased_bytes = match bytes {
            0 => greeting.store_bytes,
            bytes => bytes,
        };
        let patience = HELLO_PATIENCE + BLOCK_PATIENCE * erased_bytes.div_ceil(BLOCK_BYTES);
        job.report("Erasing the board's model", 0, 0)?;
        self.send(&Request::Store { id, bytes, crc })?;
        match self.stored((id, 0), patience.min(ERASE_PATIENCE), job)? {
            Heard::Stored => {}
            Heard::Silence => return Err(self.stalled()),
        }
        for (index, piece) in packed.chunks(PIECE_BYTES).enumerate() {
            let offset = index * PIECE_BYTES;
            job.report("Sending the model", offset as u64, u64::from(bytes))?;
            // Below `bytes`, which is of 32 bits.
            self.send_piece((id, offset as u32, piece), bytes, job)?;
        }
        Ok(())
    }

    fn send_piece(
        &mut self,
        (id, offset, bytes): (u32, u32, &[u8]),
        model_bytes: u32,
        job: &Job<'_>,
    ) -> Result<(), TalkError> {
        let end = offset + bytes.len() as u32;
        let patience = if end == model_bytes {
            CHECK_PATIENCE
        } else {
            PIECE_PATIENCE
        };
        for _ in 0..TRIES {
            self.send(&Request::Piece { id, offset, bytes })?;
            match self.stored((id, end), patience, job)? {
                Heard::Stored => return Ok(()),
                Heard::Silence => {}
            }
        }
        Err(self.stalled())
    }

    /// Waits until the board has so many bytes.
    fn stored(
        &mut self,
        (id, expected): (u32, u32),
        patience: Duration,
        job: &Job<'_>,
    ) -> Result<Heard, TalkError> {
        let (start, starts) = (Instant::now(), self.starts);
        while start.elapsed() < patience {
            job.check()?;
            let answer = self.next(|event| match event {
                Event::Stored { id: of, bytes } if of == id && bytes == expected => {
                    Some(Ok(Heard::Stored))
                }
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
                Some(Ok(heard)) => return Ok(heard),
                Some(Err(why)) => return Err(TalkError::Refused { why }),
                None if self.starts != starts => {
                    let port = self.name.clone();
                    return Err(TalkError::Restarted { port });
                }
                None => {}
            }
        }
        Ok(Heard::Silence)
    }
}
