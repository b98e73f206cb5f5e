//! The packed file: everything that a board needs to run a model, and nothing else.
//!
//! `FORMAT.md` in the repository's `firmware/engine` folder spells out every byte of version 1. All
//! numbers are little-endian.

mod prefix;
mod text;

pub use crate::bytes::FormatError;
pub use prefix::{Prefix, prefix_bytes};
pub use text::{Chat, Dialogue, Text, tokens};

use crate::bytes::u32_at;
use crate::encoding::Encoding;
use crate::matrix::Matrix;
use crate::shape::{Hyperparameters, Role, RopePairs};
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
    /// The tokens with which conversations begin, with their keys and values; may be empty.
    Prefix = 8,
}

/// Sections of the metadata.
pub const SECTIONS: usize = 9;

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
        let metadata_bytes = metadata_bytes(bytes)?;
        let expected = u32_at(bytes, 16);
        let found = crc32(&bytes[24..metadata_bytes]);
        if expected != found {
            return Err(FormatError::Checksum {
                tensor: None,
                expected,
                found,
            });
        }
        Self::read(bytes, metadata_bytes)
    }

    /// As [`Self::parse`] for bytes that it has accepted before: the checksum, which takes the time, is
    /// left out.
    ///
    /// # Errors
    /// As that.
    pub fn parse_again(bytes: &'a [u8]) -> Result<Self, FormatError> {
        Self::read(bytes, metadata_bytes(bytes)?)
    }

    fn read(bytes: &'a [u8], metadata_bytes: usize) -> Result<Self, FormatError> {
        let word = |at: usize| u32_at(bytes, at);
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
            // Files that have no prefix need not place it.
            if section == Section::Prefix as usize && (offset, len) == (0, 0) {
                continue;
            }
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
        Prefix::parse(&shape, packed.section(Section::Prefix))?;
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

    /// The tokens with which conversations begin; `None` when there are none, or when the file does not
    /// lie at a word of memory.
    #[must_use]
    pub fn prefix(&self) -> Option<Prefix<'a>> {
        Prefix::parse(&self.shape, self.section(Section::Prefix))
            .expect("checked when the file was parsed")
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

/// Checks what the header says of itself; returns the bytes of header and metadata.
fn metadata_bytes(bytes: &[u8]) -> Result<usize, FormatError> {
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
        found => {
            let expected = VERSION;
            return Err(FormatError::Version { expected, found });
        }
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
    Ok(metadata_bytes)
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
mod tests;
