//! Version 2: a table of named sections. What a later engine adds is a section of another name.

use super::section::{Listed, Need, Place, Places, SECTION_NAME_BYTES, Section};
use super::{Frame, HEADER_BYTES, MAGIC, SECTION_ALIGNMENT, SECTION_BYTES, Trust, crc32};
use crate::bytes::{Checked, FormatError, u32_at, u64_at};
use crate::kernels::CachePrecision;

/// Most sections of a file: so few that a board can look for two of one name.
const MOST_SECTIONS: usize = 64;
/// Where the bytes begin that the header's checksum covers.
const COVERED: usize = 20;

/// One entry of the table, as it stands in the file.
struct Entry {
    name: [u8; SECTION_NAME_BYTES],
    need: Need,
    crc: u32,
    offset: u64,
    bytes: u64,
}

/// Reads header and table, of whose `bytes` magic and version have been seen.
pub(super) fn frame(bytes: &[u8], trust: Trust) -> Result<Frame, FormatError> {
    let sections = check_header(bytes)?;
    let table_end = HEADER_BYTES + sections * SECTION_BYTES;
    if trust == Trust::None {
        Checked::Metadata.check(u32_at(bytes, 16), crc32(&bytes[COVERED..table_end]))?;
    }
    let bits = u32_at(bytes, 20) as usize;
    let cache = CachePrecision::from_bits(bits)
        .ok_or_else(|| FormatError::out_of_range("KV bits", "16, 8 or 4", bits))?;
    let mut places = Places::default();
    let mut end = table_end;
    for index in 0..sections {
        let entry = Entry::read(entry_bytes(bytes, index))?;
        if (0..index).any(|before| entry_bytes(bytes, before)[..SECTION_NAME_BYTES] == entry.name) {
            return Err(entry.wrong("entries of this name", "one", 2));
        }
        let place = entry.place(bytes.len(), end)?;
        end = place.offset + place.bytes;
        match (entry.known(), entry.need) {
            (Some(section), Need::Optional | Need::Required) => places[section as usize] = place,
            (None, Need::Optional) => {}
            (None, Need::Required) => {
                return Err(FormatError::UnknownSection { name: entry.name });
            }
        }
        if trust == Trust::None {
            let found = crc32(&bytes[place.offset..][..place.bytes]);
            Checked::Section(entry.name).check(entry.crc, found)?;
        }
    }
    Ok(Frame {
        cache: Some(cache),
        places,
        table_end,
    })
}

/// The section at this place of the table; the file has been accepted before.
pub(super) fn listed(bytes: &[u8], index: usize) -> Option<Listed<'_>> {
    if index >= u32_at(bytes, 12) as usize {
        return None;
    }
    let stored = entry_bytes(bytes, index);
    let entry = Entry::read(stored).ok()?;
    let place = entry.place(bytes.len(), 0).ok()?;
    Some(Listed {
        name: core::str::from_utf8(&stored[..entry.name_len()]).ok()?,
        need: entry.need,
        offset: place.offset,
        bytes: &bytes[place.offset..][..place.bytes],
    })
}

/// Checks what the header says of itself; returns the number of sections.
fn check_header(bytes: &[u8]) -> Result<usize, FormatError> {
    let wrong_length = |expected: u64| FormatError::Length {
        expected,
        found: bytes.len() as u64,
    };
    if bytes.len() < HEADER_BYTES {
        return Err(wrong_length(HEADER_BYTES as u64));
    }
    let file_bytes = u64_at(bytes, 24);
    if file_bytes != bytes.len() as u64 {
        return Err(wrong_length(file_bytes));
    }
    let sections = u32_at(bytes, 12) as usize;
    if sections > MOST_SECTIONS {
        return Err(FormatError::out_of_range("sections", "0 to 64", sections));
    }
    let table_end = HEADER_BYTES + sections * SECTION_BYTES;
    if table_end > bytes.len() {
        let expected = "as many as the file has bytes for";
        return Err(FormatError::out_of_range("sections", expected, sections));
    }
    Ok(sections)
}

fn entry_bytes(bytes: &[u8], index: usize) -> &[u8] {
    &bytes[HEADER_BYTES + index * SECTION_BYTES..][..SECTION_BYTES]
}

impl Entry {
    fn read(stored: &[u8]) -> Result<Self, FormatError> {
        let mut name = [0; SECTION_NAME_BYTES];
        name.copy_from_slice(&stored[..SECTION_NAME_BYTES]);
        let entry = Self {
            name,
            need: Need::Required,
            crc: u32_at(stored, 20),
            offset: u64_at(stored, 24),
            bytes: u64_at(stored, 32),
        };
        let (letters, padding) = name.split_at(entry.name_len());
        let is_letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let wrong = letters.iter().find(|b| !is_letter(b));
        if let Some(byte) = wrong.or_else(|| padding.iter().find(|b| **b != 0)) {
            let expected = "lower-case letters, digits and hyphens, then zeros";
            let what = "byte of a section's name";
            return Err(FormatError::out_of_range(what, expected, (*byte).into()));
        }
        if letters.is_empty() {
            let (what, expected) = ("letters of a section's name", "1 to 16");
            return Err(FormatError::out_of_range(what, expected, 0));
        }
        let need = match u32_at(stored, 16) {
            0 => Need::Optional,
            1 => Need::Required,
            found => return Err(entry.wrong("flags", "0 or 1", found.into())),
        };
        Ok(Self { need, ..entry })
    }

    /// Where the section lies in a file of so many bytes, past the `end` of the one before.
    fn place(&self, file_bytes: usize, end: usize) -> Result<Place, FormatError> {
        let inside = |number: u64| usize::try_from(number).ok().filter(|n| *n <= file_bytes);
        let offset = inside(self.offset)
            .filter(|offset| *offset >= end && offset.is_multiple_of(SECTION_ALIGNMENT))
            .ok_or_else(|| {
                let expected = "a multiple of 4 past the section before, inside the file";
                self.wrong("offset", expected, self.offset)
            })?;
        let bytes = inside(self.bytes)
            .filter(|bytes| *bytes <= file_bytes - offset)
            .ok_or_else(|| self.wrong("length", "inside the file", self.bytes))?;
        Ok(Place { offset, bytes })
    }

    fn name_len(&self) -> usize {
        let end = self.name.iter().position(|b| *b == 0);
        end.unwrap_or(SECTION_NAME_BYTES)
    }

    fn known(&self) -> Option<Section> {
        Section::from_name(core::str::from_utf8(&self.name[..self.name_len()]).ok()?)
    }

    const fn wrong(&self, what: &'static str, expected: &'static str, found: u64) -> FormatError {
        FormatError::Section {
            name: self.name,
            what,
            expected,
            found,
        }
    }
}

/// A section that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewSection<'a> {
    /// Its name, at most 16 lower-case letters, digits and hyphens.
    pub name: &'a str,
    /// What a reader does that does not know it.
    pub need: Need,
    /// What it holds.
    pub bytes: &'a [u8],
}

impl<'a> NewSection<'a> {
    /// A section that this engine knows.
    #[must_use]
    pub const fn known(section: Section, bytes: &'a [u8]) -> Self {
        Self {
            name: section.name(),
            need: section.need(),
            bytes,
        }
    }
}

/// Bytes that header, table and sections of these lengths take before the first tensor.
#[must_use]
pub fn metadata_bytes(lengths: &[usize]) -> usize {
    let start = HEADER_BYTES + lengths.len() * SECTION_BYTES;
    lengths.iter().fold(start, |end, bytes| {
        end.next_multiple_of(SECTION_ALIGNMENT) + bytes
    })
}

/// Writes header, table and sections of a file of `file_bytes` bytes that is made for keys and values of
/// this precision into `out`, zeros, as long as [`metadata_bytes`] says.
///
/// # Panics
/// When `out` is not as long, or a name is longer than a section's may be.
pub fn write_metadata(
    cache: CachePrecision,
    sections: &[NewSection<'_>],
    file_bytes: u64,
    out: &mut [u8],
) {
    let mut end = HEADER_BYTES + sections.len() * SECTION_BYTES;
    let table_end = end;
    for (index, section) in sections.iter().enumerate() {
        let offset = end.next_multiple_of(SECTION_ALIGNMENT);
        end = offset + section.bytes.len();
        out[offset..end].copy_from_slice(section.bytes);
        let entry = &mut out[HEADER_BYTES + index * SECTION_BYTES..][..SECTION_BYTES];
        entry[..SECTION_NAME_BYTES][..section.name.len()].copy_from_slice(section.name.as_bytes());
        let flags: u32 = match section.need {
            Need::Optional => 0,
            Need::Required => 1,
        };
        entry[16..20].copy_from_slice(&flags.to_le_bytes());
        entry[20..24].copy_from_slice(&crc32(section.bytes).to_le_bytes());
        entry[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
        entry[32..40].copy_from_slice(&(section.bytes.len() as u64).to_le_bytes());
    }
    assert!(end == out.len(), "as long as its sections");
    out[..8].copy_from_slice(&MAGIC);
    let numbers = [super::VERSION as usize, sections.len(), 0, cache.bits()];
    for (word, number) in out[8..24].as_chunks_mut().0.iter_mut().zip(numbers) {
        let number = u32::try_from(number).expect("few sections, few bits");
        *word = number.to_le_bytes();
    }
    out[24..32].copy_from_slice(&file_bytes.to_le_bytes());
    let crc = crc32(&out[COVERED..table_end]).to_le_bytes();
    out[16..20].copy_from_slice(&crc);
}
