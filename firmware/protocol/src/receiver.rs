//! Takes bytes as they come and hands out frames and lines of text.

use crate::frame::{FRAME_BYTES, open};

/// What has come in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received<'r> {
    /// A frame whose checksum is right: for [`decode`](crate::decode).
    Frame(&'r [u8]),
    /// A line of text, without its end; what of it is not UTF-8 is gone, with all that follows.
    Line(&'r str),
}

/// Collects the bytes of one line.
///
/// A zero begins a frame and ends it. What stands between two zeros and is no frame may have lost one of them, so the
/// second is taken for a beginning too: after any noise the next frame is right. Text is text also there, as long as all
/// of it can be printed, which no frame is: each begins with a 2.
#[derive(Debug, Clone)]
pub struct Receiver {
    bytes: [u8; FRAME_BYTES],
    len: usize,
    /// More came than there is room for: it is no frame, and a line without its end.
    is_full: bool,
    is_frame: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// One that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; FRAME_BYTES],
            len: 0,
            is_full: false,
            is_frame: false,
        }
    }

    /// Takes the next byte.
    pub fn push(&mut self, byte: u8) -> Option<Received<'_>> {
        match byte {
            0 => self.end_frame(),
            b'\n' | b'\r' if self.is_text() => self.end_line(),
            // Backspace and delete, as terminals send them.
            0x08 | 0x7F if self.is_text() => {
                self.len = self.len.saturating_sub(1);
                None
            }
            _ => {
                match self.bytes.get_mut(self.len) {
                    Some(place) => {
                        *place = byte;
                        self.len += 1;
                    }
                    None => self.is_full = true,
                }
                None
            }
        }
    }

    /// Whether what has come can be a line.
    fn is_text(&self) -> bool {
        let is_printable = |byte: &u8| *byte >= b' ' || *byte == b'\t';
        !self.is_frame || self.bytes[..self.len].iter().all(is_printable)
    }

    fn end_frame(&mut self) -> Option<Received<'_>> {
        let len = core::mem::take(&mut self.len);
        let is_whole = self.is_frame && len > 0 && !core::mem::take(&mut self.is_full);
        // Until it is known to be the end it may be a beginning.
        self.is_frame = true;
        if !is_whole {
            return None;
        }
        let frame = open(&mut self.bytes[..len])?;
        self.is_frame = false;
        Some(Received::Frame(frame))
    }

    fn end_line(&mut self) -> Option<Received<'_>> {
        let len = core::mem::take(&mut self.len);
        self.is_full = false;
        self.is_frame = false;
        let chunk = self.bytes[..len].utf8_chunks().next()?;
        // What nobody types and no program prints is the rest of a frame. Escape begins the colours of other programs' logs.
        let is_typed = |letter: char| !letter.is_control() || matches!(letter, '\t' | '\u{1b}');
        let line = chunk.valid();
        (!line.trim().is_empty() && line.chars().all(is_typed)).then_some(Received::Line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Request, decode, encode};
    use proptest::prelude::*;
    use std::string::{String, ToString as _};
    use std::vec::Vec;

    fn framed(request: &Request<'_>) -> Vec<u8> {
        encode(request, &mut [0; FRAME_BYTES]).unwrap().to_vec()
    }

    /// All that comes out of these bytes: text of lines, and requests as Rust prints them.
    fn received(bytes: &[u8]) -> Vec<String> {
        let mut receiver = Receiver::new();
        let mut found = Vec::new();
        for byte in bytes {
            match receiver.push(*byte) {
                Some(Received::Line(line)) => found.push(line.to_string()),
                Some(Received::Frame(frame)) => {
                    found.push(std::format!("{:?}", decode::<Request<'_>>(frame)));
                }
                None => {}
            }
        }
        found
    }

    #[test]
    fn text_and_frames_come_over_one_line() {
        let hello = std::format!("{:?}", Ok::<_, crate::FrameError>(Request::Hello));
        let check = |parts: &[&[u8]], expected: &[&str]| {
            assert_eq!(received(&parts.concat()), expected, "{parts:?}");
        };
        let frame = &framed(&Request::Hello)[..];
        check(&[b"turn it on\r\n"], &["turn it on"]);
        check(&[b"\n \n"], &[]);
        check(&["T\u{fc}r\n".as_bytes()], &["T\u{fc}r"]);
        check(&[b"turm\x08n\x7f\x7frn\n"], &["turn"]);
        check(
            &[frame, frame, b"text\n", frame],
            &[&hello, &hello, "text", &hello],
        );
        // A lost zero at either end, half a line, noise.
        check(&[&frame[1..], frame], &[&hello]);
        check(
            &[&frame[..frame.len() - 1], frame, b"text\n"],
            &[&hello, "text"],
        );
        check(&[b"half", frame, b"text\n"], &[&hello, "text"]);
        check(&[b"\x07\xff\0\x01\0\0", frame], &[&hello]);
        // The rest of a frame that ends in a byte that would end a line is no prompt.
        check(&[b"\x02\x02\x01|\r\n", frame], &[&hello]);
        // A zero from nowhere does not swallow what a person types.
        check(&[b"\0turn it ob\x08n\n"], &["turn it on"]);
        // What is too long for a frame is none, and a line is cut.
        let long = "x".repeat(2 * FRAME_BYTES);
        check(&[b"\0", long.as_bytes(), b"\0", frame], &[&hello]);
        let line = received(&[long.as_bytes(), b"\n", frame].concat());
        assert_eq!((line[0].len(), &line[1]), (FRAME_BYTES, &hello));
    }

    #[test]
    fn another_version_is_named() {
        let mut payload = Vec::from([7_u8, 0, 2, 3]);
        payload.extend(engine::format::crc32(&payload).to_le_bytes());
        let mut frame = [0; 64];
        let end = cobs::encode(&payload, &mut frame[1..]) + 1;
        let mut receiver = Receiver::new();
        let found = frame[..=end]
            .iter()
            .find_map(|byte| match receiver.push(*byte) {
                Some(Received::Frame(frame)) => Some(decode::<Event<'_>>(frame).unwrap_err()),
                Some(Received::Line(_)) | None => None,
            });
        let found = found.map(|error| error.to_string());
        let expected = std::format!(
            "a message of protocol version 7, expected {}",
            crate::VERSION
        );
        assert_eq!(found, Some(expected));
    }

    proptest! {
        /// Whatever noise comes before, the frame after it is heard, and nothing is made up.
        #[test]
        fn a_frame_is_heard_after_any_noise(
            noise in proptest::collection::vec(any::<u8>(), 0..2 * FRAME_BYTES),
            prompt in "\\PC{0,100}",
        ) {
            let request = Request::Ask(crate::Ask {
                id: 7,
                prompt: &prompt,
                max_tokens: 1,
                context: 0,
                sampling: engine::sampler::Sampling::GREEDY.into(),
            });
            let all = received(&[&noise[..], &framed(&request)].concat());
            let expected = std::format!("{:?}", Ok::<_, crate::FrameError>(request));
            prop_assert_eq!(all.last(), Some(&expected));
        }

        /// A bit that flips anywhere in a frame makes it none.
        #[test]
        fn a_flipped_bit_is_noticed(at in 1_usize..20, bit in 0_u8..8) {
            let mut frame = framed(&Request::Ask(crate::Ask {
                id: 1,
                prompt: "turn on the light",
                max_tokens: 5,
                context: 64,
                sampling: engine::sampler::Sampling::GREEDY.into(),
            }));
            frame[at] ^= 1 << bit;
            let found = received(&frame);
            let made_up = found.iter().any(|found| found.starts_with("Ok"));
            prop_assert!(!made_up, "{:?}", found);
        }
    }
}
