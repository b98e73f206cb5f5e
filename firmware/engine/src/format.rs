//! The packed file: everything that a board needs to run a model, and nothing else.
//!
//! `FORMAT.md` in the repository's `firmware/engine` folder spells out every byte of both versions. All
//! numbers are little-endian. Version 1 is read for good; version 2 is written.

mod prefix;
mod section;
mod shape_bytes;
mod text;
mod version_1;
mod version_2;

pub use crate::bytes::{Checked, FormatError};
pub use prefix::{Prefix, prefix_bytes};
pub use section::{Listed, Need, SECTION_NAME_BYTES, Section};
pub use shape_bytes::{SHAPE_BYTES, shape_section};
pub use text::{Chat, Text, tokens};
pub use version_2::{NewSection, metadata_bytes, write_metadata};

use crate::bytes::{u32_at, u64_at};
use crate::encoding::Encoding;
use crate::kernels::CachePrecision;
use crate::matrix::Matrix;
use crate::shape::{Hyperparameters, Role};
use crate::weights::{table_index, table_len};
use section::Places;

/// First bytes of a packed file.
pub const MAGIC: [u8; 8] = *b"WHITTLE\0";
/// Version that this engine writes; it reads all before it too.
pub const VERSION: u32 = 2;
/// Tensors start at multiples of this, so that a changed tensor moves no other.
pub const TENSOR_ALIGNMENT: usize = 4096;
/// Bytes of the header, before the table of sections.
pub const HEADER_BYTES: usize = 32;
/// Bytes of one entry of the table of sections.
pub const SECTION_BYTES: usize = 40;
/// Sections start at multiples of this, so that words can be read where they lie.
pub const SECTION_ALIGNMENT: usize = 4;
/// Bytes of one entry of the tensor directory.
pub const ENTRY_BYTES: usize = 80;
/// Bytes of a tensor's name, padded with zeros.
pub const NAME_BYTES: usize = 40;

/// A packed file whose metadata has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    version: Version,
    shape: Hyperparameters,
    cache: CachePrecision,
    places: Places,
    metadata_bytes: usize,
}

/// The versions of the packed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Nine sections at fixed places.
    One,
    /// A table of named sections.
    Two,
}

impl Version {
    /// As the file has it.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// What header and table tell.
struct Frame {
    /// The precision of keys and values that the file was made for, if it says so.
    cache: Option<CachePrecision>,
    places: Places,
    /// Where the header and its table end; in version 1 all that stands before the tensors.
    table_end: usize,
}

/// Whether bytes have been accepted before, so that their checksums need not be computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    None,
    Seen,
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
    /// Reads header, sections and directory; every offset and length is checked here, tensors' contents by
    /// [`Self::verify`].
    ///
    /// # Errors
    /// Says what was expected and what was found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        Self::read(bytes, Trust::None)
    }

    /// As [`Self::parse`] for bytes that it has accepted before: the checksums, which take the time, are
    /// left out.
    ///
    /// # Errors
    /// As that.
    pub fn parse_again(bytes: &'a [u8]) -> Result<Self, FormatError> {
        Self::read(bytes, Trust::Seen)
    }

    fn read(bytes: &'a [u8], trust: Trust) -> Result<Self, FormatError> {
        let version = version(bytes)?;
        let frame = match version {
            Version::One => version_1::frame(bytes, trust),
            Version::Two => version_2::frame(bytes, trust),
        }?;
        let part = |section: Section| {
            let place = frame.places[section as usize];
            &bytes[place.offset..][..place.bytes]
        };
        let shape = shape_bytes::read(part(Section::Shape))?;
        let directory = part(Section::Tensors).len();
        if !directory.is_multiple_of(ENTRY_BYTES) {
            let (what, expected) = ("bytes of the tensor directory", "a multiple of 80");
            return Err(FormatError::out_of_range(what, expected, directory));
        }
        Prefix::parse(&shape, part(Section::Prefix))?;
        let of_prefix = prefix::precision(part(Section::Prefix));
        let cache = frame.cache.or(of_prefix).unwrap_or(CachePrecision::Sixteen);
        if let Some(bits) = of_prefix.filter(|of_prefix| *of_prefix != cache) {
            let (expected, found) = (cache.bits(), bits.bits());
            return Err(FormatError::differs("bits of the prefix", expected, found));
        }
        let packed = Self {
            bytes,
            version,
            shape,
            cache,
            places: frame.places,
            metadata_bytes: frame.table_end,
        };
        packed.apart(frame.table_end)
    }

    /// Checks that sections and tensors lie apart, and counts the bytes that are no tensors'.
    fn apart(self, table_end: usize) -> Result<Self, FormatError> {
        let first = (self.tensors() > 0)
            .then(|| self.try_entry(0))
            .transpose()?;
        let first = first.map_or(self.bytes.len(), |tensor| tensor.offset);
        // In order and apart, so that a model never has more weights than its file has bytes for.
        let mut end = table_end;
        // Sections before the tensors, the tensors, sections behind them.
        for section in self.sections().filter(|s| s.offset < first) {
            // In version 1 sections may stand in any order, before `table_end`.
            end = end.max(section.offset + section.bytes.len());
        }
        let mut metadata = end;
        for index in 0..self.tensors() {
            let entry = self.try_entry(index)?;
            if entry.offset < end {
                let expected = "past the metadata and the tensor before";
                return Err(FormatError::out_of_range(
                    "tensor offset",
                    expected,
                    entry.offset,
                ));
            }
            end = entry.offset + entry.matrix.bytes().len();
        }
        for section in self.sections().filter(|s| s.offset >= first) {
            if section.offset < end {
                let (what, expected) = ("offset of a section", "past the last tensor");
                return Err(FormatError::out_of_range(what, expected, section.offset));
            }
            metadata += section.bytes.len();
        }
        Ok(Self {
            metadata_bytes: metadata,
            ..self
        })
    }

    /// The version of the file.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The precision of keys and values that the file was made for: what it says, in version 1 that of its
    /// prefix, 16 bits where there is none.
    #[must_use]
    pub const fn cache(&self) -> CachePrecision {
        self.cache
    }

    /// The numbers of the model.
    #[must_use]
    pub const fn shape(&self) -> &Hyperparameters {
        &self.shape
    }

    /// Tensors in the directory.
    #[must_use]
    pub fn tensors(&self) -> u32 {
        let entries = self.section(Section::Tensors).len() / ENTRY_BYTES;
        u32::try_from(entries).unwrap_or(u32::MAX)
    }

    /// The whole file.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the header and its table of sections.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        match self.version {
            Version::One => version_1::HEADER_BYTES,
            Version::Two => HEADER_BYTES + self.sections().count() * SECTION_BYTES,
        }
    }

    /// Bytes that are no tensors': header, table and sections, padding before tensors not counted.
    #[must_use]
    pub const fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// The bytes of a section; none where the file lacks it.
    #[must_use]
    pub fn section(&self, section: Section) -> &'a [u8] {
        let place = self.places[section as usize];
        &self.bytes[place.offset..][..place.bytes]
    }

    /// Every section that the file lists, known or not, in file order.
    pub fn sections(&self) -> impl Iterator<Item = Listed<'a>> + use<'a> {
        let (bytes, version) = (self.bytes, self.version);
        (0..).map_while(move |index| match version {
            Version::One => version_1::listed(bytes, index),
            Version::Two => version_2::listed(bytes, index),
        })
    }

    /// The entry of a tensor.
    ///
    /// # Panics
    /// When there is no tensor `index`.
    #[must_use]
    pub fn entry(&self, index: u32) -> Entry<'a> {
        assert!(index < self.tensors());
        self.try_entry(index)
            .expect("every entry was checked when the file was parsed")
    }

    fn try_entry(&self, index: u32) -> Result<Entry<'a>, FormatError> {
        let entry = &self.section(Section::Tensors)[index as usize * ENTRY_BYTES..][..ENTRY_BYTES];
        let word = |at: usize| u32_at(entry, at);
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
        let (offset, len) = (u64_at(entry, 60), u64_at(entry, 68));
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
        (0..self.tensors()).map(move |i| packed.entry(i))
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
        Checked::Tensor(index).check(entry.crc, crc32(entry.matrix.bytes()))
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

/// The version that the file says it has.
fn version(bytes: &[u8]) -> Result<Version, FormatError> {
    if !bytes.starts_with(&MAGIC) {
        let mut found = [0; MAGIC.len()];
        found.iter_mut().zip(bytes).for_each(|(f, b)| *f = *b);
        return Err(FormatError::NotPacked { found });
    }
    let number = bytes.get(8..).and_then(<[u8]>::first_chunk);
    match number.map(|word| u32::from_le_bytes(*word)) {
        Some(1) => Ok(Version::One),
        Some(VERSION) => Ok(Version::Two),
        Some(found) => Err(FormatError::Version {
            newest: VERSION,
            found,
        }),
        None => Err(FormatError::Length {
            expected: HEADER_BYTES as u64,
            found: bytes.len() as u64,
        }),
    }
}

/// CRC-32 (ISO 3309, as in zlib), four bits at a time: small enough for a board's boot check.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32_after(0, bytes)
}

/// The CRC-32 of what had `crc` and of `bytes` after it; of nothing it is 0.
#[must_use]
pub fn crc32_after(crc: u32, bytes: &[u8]) -> u32 {
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
    !bytes.iter().fold(!crc, |crc, b| {
        step(step(crc, u32::from(*b)), u32::from(*b >> 4))
    })
}

#[cfg(test)]
mod tests;
