//! Numbers in the bytes of a packed file, and why those are refused.

/// The little-endian number of 32 bits at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The little-endian number of 64 bits at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The part of a packed file that a checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Header and table of sections; in version 1 all that stands before the tensors.
    Metadata,
    /// The section of this name, padded with zeros.
    Section([u8; 16]),
    /// The tensor with this index.
    Tensor(u32),
}

impl Checked {
    /// Compares a checksum that is stored with that of the bytes.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] when they differ.
    pub const fn check(self, expected: u32, found: u32) -> Result<(), FormatError> {
        if expected == found {
            return Ok(());
        }
        Err(FormatError::Checksum {
            of: self,
            expected,
            found,
        })
    }
}

impl core::fmt::Display for Checked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Metadata => f.write_str("metadata"),
            Self::Section(name) => write!(f, "section {}", Name(name)),
            Self::Tensor(index) => write!(f, "tensor {index}"),
        }
    }
}

/// A name that is padded with zeros.
struct Name<'a>(&'a [u8]);

impl core::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let end = self.0.iter().position(|b| *b == 0);
        let name = &self.0[..end.unwrap_or(self.0.len())];
        write!(f, "{}", name.escape_ascii())
    }
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
        /// The newest version that this engine reads.
        newest: u32,
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
    /// A checksum does not match.
    Checksum {
        /// What it covers.
        of: Checked,
        /// CRC-32 stored.
        expected: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
    /// It has a section that this engine does not know and that no reader may pass over.
    UnknownSection {
        /// Its name, padded with zeros.
        name: [u8; 16],
    },
    /// A number in the table of sections is not what it may be.
    Section {
        /// The section's name, padded with zeros.
        name: [u8; 16],
        /// What the number is.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// The number found.
        found: u64,
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
            Self::Version { newest, found } => write!(
                f,
                "expected packed format version {newest} or earlier, found version {found}"
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
                of,
                expected,
                found,
            } => write!(
                f,
                "{of} is damaged: expected CRC {expected:08x}, found {found:08x}"
            ),
            Self::UnknownSection { name } => write!(
                f,
                "expected sections that this version knows, found {}, without which the model must not \
                 run: a newer version is needed",
                Name(name)
            ),
            Self::Section {
                name,
                what,
                expected,
                found,
            } => write!(
                f,
                "{what} of section {} is out of range: expected {expected}, found {found}",
                Name(name)
            ),
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
