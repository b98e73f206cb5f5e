//! What a program says of the engine in it: the packed files that it reads, the answers that it gives, the sources
//! that it was built from.
//!
//! Boards print it and carry its bytes, so that a host can tell what an image will compute without running it.

use crate::bytes::{u32_at, u64_at};
use crate::format::VERSION;
use core::fmt;

/// A digest of the golden answers: packed files of every encoding, asked at every precision of keys and values.
/// An engine with another one computes other bits.
pub const GOLDEN_ANSWERS: u64 = {
    let table = include_bytes!("../../../tests/golden/packed/answers.snap");
    fnv_1a(table, end_of_header(table))
};

/// A digest of the engine's sources.
pub const ENGINE_SOURCES: u64 = number(env!("WHITTLE_ENGINE_SOURCES"));

/// First bytes of a stamp.
const MAGIC: [u8; 16] = *b"WHITTLE FIRMWARE";
/// Layout of a stamp.
const LAYOUT: u32 = 1;

/// What a program says of the engine in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The newest version of the packed file that it reads.
    pub format: u32,
    /// [`GOLDEN_ANSWERS`] of its engine.
    pub answers: u64,
    /// [`ENGINE_SOURCES`] of its engine.
    pub engine: u64,
    /// A digest of the sources of what every board runs.
    pub app: u64,
}

impl Stamp {
    /// Bytes of a stamp: magic, layout and format (u32), then the digests (u64), little-endian.
    pub const BYTES: usize = MAGIC.len() + 8 + 24;

    /// That of a program with this very engine.
    #[must_use]
    pub const fn of_this_engine(app: u64) -> Self {
        Self {
            format: VERSION,
            answers: GOLDEN_ANSWERS,
            engine: ENGINE_SOURCES,
            app,
        }
    }

    /// As it stands in an image.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 16, &LAYOUT.to_le_bytes());
        put(&mut bytes, 20, &self.format.to_le_bytes());
        put(&mut bytes, 24, &self.answers.to_le_bytes());
        put(&mut bytes, 32, &self.engine.to_le_bytes());
        put(&mut bytes, 40, &self.app.to_le_bytes());
        bytes
    }

    /// The stamp in a program's image; `None` where there is none of a layout that this engine knows.
    #[must_use]
    pub fn find(image: &[u8]) -> Option<Self> {
        let starts = image.windows(Self::BYTES);
        let mut stamps = starts.filter(|bytes| bytes.starts_with(&MAGIC));
        stamps.find_map(Self::from_bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (u32_at(bytes, 16) == LAYOUT).then(|| Self {
            format: u32_at(bytes, 20),
            answers: u64_at(bytes, 24),
            engine: u64_at(bytes, 32),
            app: u64_at(bytes, 40),
        })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            format,
            answers,
            engine,
            app,
        } = self;
        write!(
            f,
            "packed format {format}, answers {answers:016x}, engine {engine:016x}, app {app:016x}"
        )
    }
}

/// The number that a build script put into the environment.
#[must_use]
pub const fn number(hexadecimal: &str) -> u64 {
    match u64::from_str_radix(hexadecimal, 16) {
        Ok(number) => number,
        Err(_) => panic!("expected a digest in hexadecimal"),
    }
}

const fn put(bytes: &mut [u8; Stamp::BYTES], at: usize, part: &[u8]) {
    let mut i = 0;
    while i < part.len() {
        bytes[at + i] = part[i];
        i += 1;
    }
}

/// FNV-1a of the bytes from `at` on.
const fn fnv_1a(bytes: &[u8], mut at: usize) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Where the table begins: after the second line of three dashes, which ends what insta says of its file.
const fn end_of_header(text: &[u8]) -> usize {
    let mut at = 4;
    while at < text.len() {
        if let [b'\n', b'-', b'-', b'-', b'\n', ..] = text.split_at(at).1 {
            return at + 5;
        }
        at += 1;
    }
    panic!("the table of answers has no header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_stamp_is_found_in_an_image() {
        let stamp = Stamp {
            format: 7,
            answers: 0x0123_4567_89ab_cdef,
            engine: u64::MAX - 1,
            app: 1,
        };
        let bytes = stamp.to_bytes();
        let mut other_layout = bytes;
        other_layout[16] = 9;
        let image = [&[1, 2, 3], &MAGIC[..], &other_layout, &bytes, &[0; 9]].concat();
        assert_eq!(Stamp::find(&image), Some(stamp));
        assert_eq!(Stamp::find(&image[..image.len() - 10]), None);
        assert_eq!(Stamp::find(&vec![0; 1000]), None);
        assert_eq!(Stamp::find(&[]), None);
    }

    #[test]
    fn the_digest_is_that_of_the_table_and_not_of_its_header() {
        let text = b"---\nsource: somewhere\n---\nfoob";
        // FNV-1a of "foob" from the reference implementation's test vectors.
        assert_eq!(fnv_1a(text, end_of_header(text)), 0xdd12_0e79_0c25_12af);
    }
}
