//! A message as bytes on the line.
//!
//! `00 COBS(version, 0, message, crc32) 00`: COBS as Cheshire and Baker 1999 have it, so that no zero stands within a frame;
//! the message as postcard 1 writes it; the CRC-32 of all before it, little-endian. With a zero behind the version every
//! frame begins with a 2, which no text does. A reader that comes in the
//! middle, or that lost bytes, is right again at the next zero.

use crate::VERSION;
use engine::format::crc32;
use serde::{Deserialize, Serialize};

/// Longest version, message and checksum, in bytes.
pub const PAYLOAD_BYTES: usize = 1024;
/// Longest frame: a byte more for each 254, the first one, and the zeros around it.
pub const FRAME_BYTES: usize = PAYLOAD_BYTES + PAYLOAD_BYTES / 254 + 1 + 2;
const CRC_BYTES: usize = 4;
/// Version and zero.
const HEAD_BYTES: usize = 2;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// They are no frame, or bits of it were lost.
    Noise,
    /// A frame of another version, which is named.
    Version(u8),
    /// A frame of this version with a message that it does not have.
    Message,
    /// The message is too long for a frame.
    Long,
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Noise => f.write_str("a frame was damaged on the line"),
            Self::Version(found) => {
                write!(
                    f,
                    "a message of protocol version {found}, expected {VERSION}"
                )
            }
            Self::Message => write!(f, "a message that protocol version {VERSION} does not have"),
            Self::Long => write!(f, "a message of more than {PAYLOAD_BYTES} bytes"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Writes a message as a frame, both zeros included.
///
/// # Errors
/// [`FrameError::Long`] where it is longer than [`PAYLOAD_BYTES`].
pub fn encode<'f>(
    message: &impl Serialize,
    frame: &'f mut [u8; FRAME_BYTES],
) -> Result<&'f [u8], FrameError> {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[0] = VERSION;
    let room = &mut payload[HEAD_BYTES..PAYLOAD_BYTES - CRC_BYTES];
    let written = postcard::to_slice(message, room).map_err(|_| FrameError::Long)?;
    let end = HEAD_BYTES + written.len();
    let crc = crc32(&payload[..end]).to_le_bytes();
    payload[end..end + CRC_BYTES].copy_from_slice(&crc);
    frame[0] = 0;
    let stuffed = cobs::encode(&payload[..end + CRC_BYTES], &mut frame[1..FRAME_BYTES - 1]);
    frame[1 + stuffed] = 0;
    Ok(&frame[..stuffed + 2])
}

/// Checks what stood between two zeros, in place, and returns version and message as bytes.
pub(crate) fn open(stuffed: &mut [u8]) -> Option<&[u8]> {
    let bytes = cobs::decode_in_place(stuffed).ok()?;
    let (checked, crc) = stuffed.get(..bytes)?.split_last_chunk::<CRC_BYTES>()?;
    (!checked.is_empty() && crc32(checked) == u32::from_le_bytes(*crc)).then_some(checked)
}

/// The message in a frame that a [`Receiver`](crate::Receiver) has handed out.
///
/// # Errors
/// When the frame is of another version, or its message is none of this one.
pub fn decode<'a, M: Deserialize<'a>>(frame: &'a [u8]) -> Result<M, FrameError> {
    match frame {
        [VERSION, 0, message @ ..] => {
            let (message, rest) =
                postcard::take_from_bytes(message).map_err(|_| FrameError::Message)?;
            match rest {
                [] => Ok(message),
                _ => Err(FrameError::Message),
            }
        }
        [version, 0, ..] => Err(FrameError::Version(*version)),
        _ => Err(FrameError::Noise),
    }
}
