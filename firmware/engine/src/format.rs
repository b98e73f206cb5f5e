//! The packed file: everything that a board needs to run a model, and nothing else.
//!
//! `FORMAT.md` in the repository's `firmware/engine` folder spells out every byte of version 1. All
//! numbers are little-endian.

use crate::encoding::Encoding;
use crate::matrix::Matrix;
use crate::shape::{Hyperparameters, Role, RopePairs};
use crate::tokenizer::Tokenizer;
use crate::weights::{table_index, table_len};

/// First bytes of a packed file.
pub const MAGIC: [u8; 8] = *b"WHITTLE\0";
/// Version that this engine reads and writes.
pub const VERSION: u32 = 1;
/// Tensors start at multiples of this, so that a changed tensor moves no other.
pub const TENSOR_ALIGNMENT: usize = 4096;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 160;
/// Bytes of one entry of the tensor directory.
pub const ENTRY_BYTES: usize = 80;
/// Bytes of a tensor's name, padded with zeros.
pub const NAME_BYTES: usize = 40;

/// A part of the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// [`ENTRY_BYTES`] a tensor.
    Directory = 0,
    /// How text becomes tokens: kind and options.
    Tokenizer = 1,
    /// The bytes of every token.
    Vocabulary = 2,
    /// Which pairs of tokens merge, and in which order.
    Merges = 3,
    /// The chat template around the user's text, as tokens.
    Chat = 4,
    /// Tokens that end an answer.
    StopTokens = 5,
    /// The recipe, as TOML.
    Recipe = 6,
    /// Name, licence and hash of the source, as TOML.
    Provenance = 7,
}

/// Sections of the metadata.
pub const SECTIONS: usize = 8;

/// What is wrong with a packed file: what was expected, what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// It does not begin with [`MAGIC`].
    NotPacked {
        /// Its first bytes; zeros where it has fewer.
        found: [u8; MAGIC.len()],
    },
    /// It is of another version.
    Version {
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
            Self::Version { found } => write!(
                f,
                "expected packed format version {VERSION}, found version {found}"
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

/// A packed file whose metadata has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    shape: Hyperparameters,
    tensors: u32,
    metadata_bytes: usize,
}

/// One entry of the tensor directory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry<'a> {
    /// GGUF name.
    pub name: &'a str,
    /// What the tensor does.
    pub role: Role,
    /// Its layer; 0 for tensors that stand alone.
    pub layer: u32,
    /// Its bytes, with their shape.
    pub matrix: Matrix<'a>,
    /// Offset in the file, a multiple of [`TENSOR_ALIGNMENT`].
    pub offset: usize,
    /// CRC-32 of its bytes.
    pub crc: u32,
    /// Weights kept in a row of a sparse tensor; its width otherwise.
    pub kept: usize,
}

impl<'a> Packed<'a> {
    /// Reads header and directory; every offset and length is checked here, tensors' contents by
    /// [`Self::verify`].
    ///
    /// # Errors
    /// Says what was expected and what was found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let wrong_length = |expected: u64| FormatError::Length {
            expected,
            found: bytes.len() as u64,
        };
        if !bytes.starts_with(&MAGIC) {
            let mut found = [0; MAGIC.len()];
            found.iter_mut().zip(bytes).for_each(|(f, b)| *f = *b);
            return Err(FormatError::NotPacked { found });
        }
        if bytes.len() < HEADER_BYTES {
            return Err(wrong_length(HEADER_BYTES as u64));
        }
        let word = |at: usize| u32_at(bytes, at);
        match word(8) {
            VERSION => {}
            found => return Err(FormatError::Version { found }),
        }
        let metadata_bytes = word(12) as usize;
        let file_bytes = u64::from(word(24)) | u64::from(word(28)) << 32;
        if file_bytes != bytes.len() as u64 {
            return Err(wrong_length(file_bytes));
        }
        if metadata_bytes < HEADER_BYTES || metadata_bytes > bytes.len() {
            return Err(FormatError::out_of_range(
                "metadata length",
                "the header at least, the file at most",
                metadata_bytes,
            ));
        }
        let (expected, found) = (word(16), crc32(&bytes[24..metadata_bytes]));
        if expected != found {
            return Err(FormatError::Checksum {
                tensor: None,
                expected,
                found,
            });
        }
        let shape = Hyperparameters {
            layers: word(32),
            hidden: word(36),
            feed_forward: word(40),
            heads: word(44),
            kv_heads: word(48),
            head_dim: word(52),
            vocab: word(56),
            context: word(60),
            norm_epsilon: f32::from_bits(word(64)),
            rope_pairs: match word(68) {
                0 => RopePairs::Adjacent,
                1 => RopePairs::Halves,
                found => {
                    return Err(FormatError::out_of_range(
                        "rope pairs",
                        "0 or 1",
                        found as usize,
                    ));
                }
            },
        };
        shape.check().map_err(|wrong| FormatError::OutOfRange {
            what: wrong.name,
            expected: wrong.expected,
            found: wrong.found.into(),
        })?;
        let packed = Self {
            bytes,
            shape,
            tensors: word(20),
            metadata_bytes,
        };
        for section in 0..SECTIONS {
            let (offset, len) = (
                word(72 + 8 * section) as usize,
                word(76 + 8 * section) as usize,
            );
            let inside = HEADER_BYTES..=metadata_bytes;
            if !inside.contains(&offset) {
                let expected = "inside the metadata";
                return Err(FormatError::out_of_range(
                    "offset of a section",
                    expected,
                    offset,
                ));
            }
            if len > metadata_bytes - offset {
                let expected = "inside the metadata";
                return Err(FormatError::out_of_range(
                    "length of a section",
                    expected,
                    len,
                ));
            }
        }
        let (expected, found) = (
            u64::from(packed.tensors) * ENTRY_BYTES as u64,
            packed.section(Section::Directory).len() as u64,
        );
        if expected != found {
            return Err(FormatError::Differs {
                what: "bytes of the tensor directory",
                expected,
                found,
            });
        }
        let mut end = metadata_bytes;
        for index in 0..packed.tensors {
            let entry = packed.try_entry(index)?;
            // In order and apart, so that a model never has more weights than its file has bytes for.
            if entry.offset < end {
                return Err(FormatError::out_of_range(
                    "tensor offset",
                    "past the metadata and the tensor before",
                    entry.offset,
                ));
            }
            end = entry.offset + entry.matrix.bytes().len();
        }
        Ok(packed)
    }

    /// The numbers of the model.
    #[must_use]
    pub const fn shape(&self) -> &Hyperparameters {
        &self.shape
    }

    /// Tensors in the directory.
    #[must_use]
    pub const fn tensors(&self) -> u32 {
        self.tensors
    }

    /// The whole file.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes before the first tensor, padding not counted.
    #[must_use]
    pub const fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// The bytes of a part of the metadata.
    #[must_use]
    pub fn section(&self, section: Section) -> &'a [u8] {
        let at = 72 + 8 * section as usize;
        &self.bytes[u32_at(self.bytes, at) as usize..][..u32_at(self.bytes, at + 4) as usize]
    }

    /// The entry of a tensor.
    ///
    /// # Panics
    /// When there is no tensor `index`.
    #[must_use]
    pub fn entry(&self, index: u32) -> Entry<'a> {
        assert!(index < self.tensors);
        self.try_entry(index)
            .expect("every entry was checked when the file was parsed")
    }

    fn try_entry(&self, index: u32) -> Result<Entry<'a>, FormatError> {
        let entry =
            &self.section(Section::Directory)[index as usize * ENTRY_BYTES..][..ENTRY_BYTES];
        let word = |at: usize| u32_at(entry, at);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let end = entry[..NAME_BYTES]
            .iter()
            .position(|b| *b == 0)
            .unwrap_or(NAME_BYTES);
        let wrong = FormatError::out_of_range;
        let name = core::str::from_utf8(&entry[..end]).map_err(|e| {
            let byte = entry[e.valid_up_to()];
            wrong("tensor name", "UTF-8", byte.into())
        })?;
        let role = Role::from_number(entry[40])
            .ok_or_else(|| wrong("tensor role", "0 to 17", entry[40].into()))?;
        let encoding = Encoding::from_number(entry[41])
            .ok_or_else(|| wrong("tensor encoding", "a known one", entry[41].into()))?;
        let layer = word(44);
        let (rows, cols, kept) = (word(48), word(52), word(56) as usize);
        if layer >= self.shape.layers || (layer > 0 && !role.is_per_layer()) {
            let expected = "one of the model, 0 for a tensor that stands alone";
            return Err(wrong("tensor layer", expected, layer as usize));
        }
        let shape = role.shape(&self.shape);
        for (what, expected, found) in [
            ("tensor rows", shape.0, rows),
            ("tensor columns", shape.1, cols),
        ] {
            if expected != found {
                let (expected, found) = (expected.into(), found.into());
                return Err(FormatError::Differs {
                    what,
                    expected,
                    found,
                });
            }
        }
        if kept > cols as usize {
            return Err(wrong("kept weights of a row", "at most its columns", kept));
        }
        let (offset, len) = (long(60), long(68));
        let outside = FormatError::Length {
            expected: offset.saturating_add(len),
            found: self.bytes.len() as u64,
        };
        let offset = usize::try_from(offset).map_err(|_| outside)?;
        let len = usize::try_from(len).map_err(|_| outside)?;
        if !offset.is_multiple_of(TENSOR_ALIGNMENT) {
            return Err(wrong("tensor offset", "a multiple of 4096", offset));
        }
        let bytes = self.bytes.get(offset..).and_then(|b| b.get(..len));
        let bytes = bytes.ok_or(outside)?;
        let matrix = Matrix::new(encoding, rows as usize, cols as usize, kept, bytes)
            .map_err(|e| FormatError::differs("tensor length", e.expected, e.found))?;
        Ok(Entry {
            name,
            role,
            layer,
            matrix,
            offset,
            crc: word(76),
            kept,
        })
    }

    /// Every entry, in file order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let packed = *self;
        (0..self.tensors).map(move |i| packed.entry(i))
    }

    /// Fills a table that [`crate::weights::Weights`] can bind.
    ///
    /// # Errors
    /// When `table` has another length than [`table_len`] gives.
    pub fn fill_table(&self, table: &mut [Option<Matrix<'a>>]) -> Result<(), FormatError> {
        if table.len() != table_len(self.shape.layers) {
            let expected = table_len(self.shape.layers);
            return Err(FormatError::differs("table length", expected, table.len()));
        }
        for entry in self.entries() {
            table[table_index(entry.role, entry.layer)] = Some(entry.matrix);
        }
        Ok(())
    }

    /// Checks the checksum of one tensor.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] when its bytes are not those that were packed.
    pub fn verify(&self, index: u32) -> Result<(), FormatError> {
        let entry = self.entry(index);
        let found = crc32(entry.matrix.bytes());
        if found == entry.crc {
            Ok(())
        } else {
            Err(FormatError::Checksum {
                tensor: Some(index),
                expected: entry.crc,
                found,
            })
        }
    }

    /// How text goes in and comes out.
    ///
    /// # Errors
    /// When a table of the tokenizer or the chat template is damaged.
    pub fn text(&self) -> Result<Text<'a>, FormatError> {
        let section = |s| self.section(s);
        Text::new(
            self.shape.vocab,
            section(Section::Tokenizer),
            section(Section::Vocabulary),
            section(Section::Merges),
            section(Section::Chat),
            section(Section::StopTokens),
        )
    }
}

/// How text goes into a model and comes out: tokenizer, chat template, stop tokens.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Text to tokens and back.
    pub tokenizer: Tokenizer<'a>,
    /// What stands around the user's text.
    pub chat: Chat<'a>,
    stop_tokens: &'a [u8],
}

impl<'a> Text<'a> {
    /// Binds the sections of a packed file for a model of `vocab` tokens.
    ///
    /// # Errors
    /// When a table is damaged.
    pub fn new(
        vocab: u32,
        tokenizer: &[u8],
        vocabulary: &'a [u8],
        merges: &'a [u8],
        chat: &'a [u8],
        stop_tokens: &'a [u8],
    ) -> Result<Self, FormatError> {
        let tokenizer = Tokenizer::new(vocab, tokenizer, vocabulary, merges)?;
        Ok(Self {
            tokenizer,
            chat: Chat::parse(chat)?,
            stop_tokens,
        })
    }

    /// Whether this token ends an answer.
    #[must_use]
    pub fn is_stop(&self, token: u32) -> bool {
        tokens(self.stop_tokens).any(|t| t == token)
    }
}

impl<'a> Chat<'a> {
    fn parse(section: &'a [u8]) -> Result<Self, FormatError> {
        let mut rest = section;
        let mut piece = || {
            let invalid = invalid_chat(section);
            let (count, after) = rest.split_first_chunk::<4>().ok_or(invalid)?;
            match u32::from_le_bytes(*count) {
                u32::MAX => {
                    rest = after;
                    Ok(None)
                }
                count => {
                    let bytes = (count as usize).checked_mul(4).ok_or(invalid)?;
                    let (ids, after) = after.split_at_checked(bytes).ok_or(invalid)?;
                    rest = after;
                    Ok(Some(ids))
                }
            }
        };
        let required = |p: Option<&'a [u8]>| p.ok_or(invalid_chat(section));
        let (first_user_open, system_open, system_close) = (piece()?, piece()?, piece()?);
        let (user_close, assistant_close) = (piece()?, piece()?);
        Ok(Chat {
            first_user_open: required(first_user_open)?,
            system: system_open.zip(system_close),
            user_close: required(user_close)?,
            assistant_close: required(assistant_close)?,
        })
    }
}

const fn invalid_chat(section: &[u8]) -> FormatError {
    let expected = "five lists of tokens, each as long as it says";
    FormatError::out_of_range("bytes of the chat template", expected, section.len())
}

/// A chat template as tokens around the user's text; read each piece with [`tokens`].
#[derive(Debug, Clone, Copy)]
pub struct Chat<'a> {
    /// Before the first user's text when no system text is given.
    pub first_user_open: &'a [u8],
    /// Before the system text, and between it and the user's text; `None` without a system role.
    pub system: Option<(&'a [u8], &'a [u8])>,
    /// From the user's text to where the answer begins.
    pub user_close: &'a [u8],
    /// From the answer to the next user's text.
    pub assistant_close: &'a [u8],
}

/// Reads little-endian token numbers.
pub fn tokens(bytes: &[u8]) -> impl Iterator<Item = u32> + use<'_> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b))
}

/// The 32-bit number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// CRC-32 (ISO 3309, as in zlib), four bits at a time: small enough for a board's boot check.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut i = 0;
        while i < 16 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 4 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    let step = |crc: u32, nibble: u32| crc >> 4 ^ TABLE[((crc ^ nibble) & 15) as usize];
    !bytes.iter().fold(u32::MAX, |crc, b| {
        step(step(crc, u32::from(*b)), u32::from(*b >> 4))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    fn message(bytes: &[u8]) -> std::string::String {
        std::format!("{}", Packed::parse(bytes).unwrap_err())
    }

    #[test]
    fn other_files_are_refused_with_what_was_found() {
        assert!(message(b"").contains("expected a packed model that begins with WHITTLE"));
        assert!(message(b"GGUF\x03").contains("found \"GGUF\\x03\\x00\\x00\\x00\""));
        assert!(message(b"WHITTLE\0").contains("expected 160 bytes, found 8"));
        let mut newer = [0; HEADER_BYTES];
        newer[..8].copy_from_slice(&MAGIC);
        newer[8] = 9;
        assert!(message(&newer).contains("expected packed format version 1, found version 9"));
    }

    /// A header and one entry of the directory, the final norm `[1, 8]`, whose offset and length are
    /// these; 32 bytes of 1 at 4096, and the metadata's checksum.
    fn one_tensor(offset: u64, len: u64) -> Vec<u8> {
        const METADATA: usize = HEADER_BYTES + ENTRY_BYTES;
        let mut bytes = vec![0; 4096 + 32];
        bytes[..8].copy_from_slice(&MAGIC);
        let put = |bytes: &mut [u8], at: usize, number: u32| {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        };
        let numbers = [
            VERSION,
            u32::try_from(METADATA).unwrap(),
            0,
            1,
            4096 + 32,
            0,
            // Layers to context, epsilon, pairs.
            1,
            8,
            8,
            1,
            1,
            8,
            4,
            16,
            0,
            0,
        ];
        for (i, number) in numbers.into_iter().enumerate() {
            put(&mut bytes, 8 + 4 * i, number);
        }
        for section in 0..SECTIONS {
            put(
                &mut bytes,
                72 + 8 * section,
                u32::try_from(HEADER_BYTES).unwrap(),
            );
        }
        put(&mut bytes, 76, u32::try_from(ENTRY_BYTES).unwrap());
        let entry = &mut bytes[HEADER_BYTES..METADATA];
        entry[..4].copy_from_slice(b"norm");
        entry[40] = Role::OutputNorm as u8;
        put(entry, 48, 1);
        put(entry, 52, 8);
        entry[60..68].copy_from_slice(&offset.to_le_bytes());
        entry[68..76].copy_from_slice(&len.to_le_bytes());
        put(entry, 76, crc32(&[1; 32]));
        bytes[4096..].fill(1);
        sealed(bytes)
    }

    /// With the metadata's checksum right again.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = u32_at(&bytes, 12) as usize;
        let crc = crc32(&bytes[24..end]).to_le_bytes();
        bytes[16..20].copy_from_slice(&crc);
        bytes
    }

    #[test]
    fn each_checksum_tells_the_expected_and_the_found() {
        let file = one_tensor(4096, 32);
        assert_eq!(Packed::parse(&file).unwrap().verify(0), Ok(()));
        let mut damaged = file.clone();
        damaged[4096] ^= 1;
        let error = Packed::parse(&damaged).unwrap().verify(0).unwrap_err();
        let tensor = std::format!("{error}");
        let (right, wrong) = (crc32(&[1; 32]), crc32(&damaged[4096..]));
        assert_eq!(
            tensor,
            std::format!("tensor 0 is damaged: expected CRC {right:08x}, found {wrong:08x}")
        );
        let mut damaged = file;
        damaged[36] ^= 1;
        let (right, wrong) = (u32_at(&damaged, 16), crc32(&damaged[24..240]));
        assert_eq!(
            message(&damaged),
            std::format!("metadata is damaged: expected CRC {right:08x}, found {wrong:08x}")
        );
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_with_what_would() {
        let check = |at: usize, number: u32, expected: &str| {
            let mut bytes = one_tensor(4096, 32);
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            let end = u32_at(&bytes, 12) as usize;
            let bytes = if end <= bytes.len() && end > 24 {
                sealed(bytes)
            } else {
                bytes
            };
            assert_eq!(message(&bytes), expected);
        };
        let entry = HEADER_BYTES;
        check(
            12,
            9,
            "metadata length is out of range: expected the header at least, the file at most, found 9",
        );
        check(
            24,
            4000,
            "expected 4000 bytes, found 4128: the file goes on past its end",
        );
        check(
            24,
            5000,
            "expected 5000 bytes, found 4128: the file is truncated",
        );
        check(
            20,
            2,
            "bytes of the tensor directory: expected 160, found 80",
        );
        check(
            44,
            2000,
            "heads is out of range: expected 1 to 1024, found 2000",
        );
        check(
            68,
            2,
            "rope pairs is out of range: expected 0 or 1, found 2",
        );
        check(
            84,
            241,
            "length of a section is out of range: expected inside the metadata, found 241",
        );
        check(entry + 52, 9, "tensor columns: expected 8, found 9");
        check(
            entry + 40,
            0x0f_12,
            "tensor role is out of range: expected 0 to 17, found 18",
        );
        check(entry + 68, 28, "tensor length: expected 32, found 28");
    }

    #[test]
    fn tensors_outside_the_file_or_over_other_bytes_are_refused() {
        let length = "expected 18446744073709551615 bytes, found 4128: the file is truncated";
        assert_eq!(message(&one_tensor(u64::MAX - 4095, u64::MAX)), length);
        assert_eq!(message(&one_tensor(u64::MAX - 4095, 4095)), length);
        assert!(message(&one_tensor(4096, 33)).contains("expected 4129 bytes, found 4128"));
        assert!(message(&one_tensor(4097, 31)).contains("expected a multiple of 4096, found 4097"));
        let over = "expected past the metadata and the tensor before, found 0";
        assert!(message(&one_tensor(0, 32)).contains(over));
    }
}
