//! Numbers in the bytes of a packed file, and why those are refused.

/// The little-endian number of 32 bits at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What is wrong with a packed file: what was expected, what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// It does not begin as a packed file does.
    NotPacked {
        /// Its first bytes; zeros where it has fewer.
        found: [u8; 8],
    },
    /// It is of another version.
    Version {
        /// The version that this engine reads.
        expected: u32,
        /// The version found.
        found: u32,
    },
    /// It is shorter or longer than it says.
    Length {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A checksum does not match: the metadata's, or that of the tensor with this index.
    Checksum {
        /// `None` for the metadata.
        tensor: Option<u32>,
        /// CRC-32 stored.
        expected: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
    /// A number is another than the rest of the file asks for.
    Differs {
        /// What the number counts.
        what: &'static str,
        /// The number that the rest of the file asks for.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A number is not what it may be.
    OutOfRange {
        /// What the number is.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// The number found.
        found: u64,
    },
}

impl core::fmt::Display for FormatError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotPacked { found } => write!(
                f,
                "expected a packed model that begins with WHITTLE, found \"{}\"",
                found.escape_ascii()
            ),
            Self::Version { expected, found } => write!(
                f,
                "expected packed format version {expected}, found version {found}"
            ),
            Self::Length { expected, found } => write!(
                f,
                "expected {expected} bytes, found {found}: the file {}",
                if found < expected {
                    "is truncated"
                } else {
                    "goes on past its end"
                }
            ),
            Self::Checksum {
                tensor: None,
                expected,
                found,
            } => {
                write!(
                    f,
                    "metadata is damaged: expected CRC {expected:08x}, found {found:08x}"
                )
            }
            Self::Checksum {
                tensor: Some(index),
                expected,
                found,
            } => {
                write!(
                    f,
                    "tensor {index} is damaged: expected CRC {expected:08x}, found {found:08x}"
                )
            }
            Self::Differs {
                what,
                expected,
                found,
            } => write!(f, "{what}: expected {expected}, found {found}"),
            Self::OutOfRange {
                what,
                expected,
                found,
            } => {
                write!(
                    f,
                    "{what} is out of range: expected {expected}, found {found}"
                )
            }
        }
    }
}

impl core::error::Error for FormatError {}

impl FormatError {
    pub(crate) const fn out_of_range(
        what: &'static str,
        expected: &'static str,
        found: usize,
    ) -> Self {
        Self::OutOfRange {
            what,
            expected,
            found: found as u64,
        }
    }

    pub(crate) const fn differs(what: &'static str, expected: usize, found: usize) -> Self {
        Self::Differs {
            what,
            expected: expected as u64,
            found: found as u64,
        }
    }
}
