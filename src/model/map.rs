//! The bytes of a model file: the project's one memory map.
//!
//! What of a file is small is copied: from then on nobody can change it. A model of a gigabyte is mapped, so
//! that it opens at once and only the pages that are read cost memory; then another process may shorten or
//! overwrite the file under us. Of the ways to live with that
//! - a lock is none: those of Unix ask everybody to ask for them, and nobody does;
//! - a copy of everything would double the memory and the time of what is used most, large models;
//! - a handler for SIGBUS that ends the process would take the window with it, and leave half-written files;
//! - so a handler puts zeros where pages are gone and notes it (`signals`), what a parser has seen of a packed
//!   file's metadata is made our own ([`Bytes::own`]), and whoever has a result asks whether the file is still
//!   the same before it is shown or gets its name (`source_file`): length, time of change, no page lost. The
//!   refusal is a sentence like any other, in the window too.
//!
//! What this does not see: a file that is overwritten within the tick of the clock in which it was opened,
//! 4 ms on Linux, and who sets the time back.

use super::ModelError;
use crate::signals;
use crate::source_file::{SourceChanged, SourceFile};
use memmap2::{Mmap, MmapMut, MmapOptions};
use std::io::{self, Read as _};
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

/// Longest file that is copied: 16 MiB take about 10 ms of a core, page faults and all.
const COPIED_BYTES: u64 = 16 << 20;

/// The bytes of one model file.
pub(crate) enum Bytes {
    /// Read in place.
    Mapped(Mapped),
    /// Copied to pages of our own; the file is held so that nothing replaces what was opened.
    Copied(Mmap, Arc<SourceFile>),
    /// Bytes that never were a file.
    Held(Vec<u8>),
    /// Bytes of the program itself.
    Static(&'static [u8]),
}

/// A private map of a file.
pub(crate) struct Mapped {
    map: MmapMut,
    source: Arc<SourceFile>,
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.source.is_read_in_place_no_longer();
    }
}

impl Bytes {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a regular file, or changes meanwhile.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        Self::open_in_place_above(COPIED_BYTES, path)
    }

    /// As [`Self::open`]; what is longer than `copied` bytes is mapped.
    pub(crate) fn open_in_place_above(copied: u64, path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Read {
            path: path.to_owned(),
            source,
        };
        let source = SourceFile::open(path).map_err(failed)?;
        let bytes = usize::try_from(source.bytes)
            .map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?;
        if bytes == 0 {
            return Ok(Self::Held(Vec::new()));
        }
        if source.bytes <= copied {
            let copy = copy(&source, bytes).map_err(failed)?;
            return Ok(Self::Copied(copy, source));
        }
        let map = map(&source, bytes).map_err(failed)?;
        Ok(Self::Mapped(map))
    }

    /// Whether what is read in place is still what was opened.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn unchanged(&self) -> Result<(), SourceChanged> {
        match self {
            Self::Mapped(Mapped { source, .. }) => source.unchanged(),
            Self::Copied(..) | Self::Held(_) | Self::Static(_) => Ok(()),
        }
    }

    /// Makes these bytes our own: what changes in the file from now on does not reach them.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(crate) fn own(&mut self, bytes: Range<usize>) -> io::Result<()> {
        match self {
            Self::Mapped(Mapped { map, .. }) => signals::own(map, bytes),
            Self::Copied(..) | Self::Held(_) | Self::Static(_) => Ok(()),
        }
    }
}

/// The file in pages of our own, on the boundaries that a map has.
fn copy(source: &SourceFile, bytes: usize) -> io::Result<Mmap> {
    let mut copy = MmapMut::map_anon(bytes)?;
    let mut file = source.file();
    file.read_exact(&mut copy).map_err(|error| {
        // Shortened meanwhile.
        source.unchanged().err().map_or(error, io::Error::from)
    })?;
    source.unchanged()?;
    copy.make_read_only()
}

fn map(source: &Arc<SourceFile>, bytes: usize) -> io::Result<Mapped> {
    let mut options = MmapOptions::new();
    // Of a private map only the pages that are written to need memory.
    options.len(bytes).no_reserve_swap();
    #[expect(
        unsafe_code,
        reason = "a model is larger than is reasonable to copy; see SAFETY"
    )]
    // SAFETY: the map is private to this value: nothing that is written through it reaches the file, and
    // nothing is but what `own` does. That another process changes the file, the module's documentation
    // says what is done about: pages that are gone read as zeros, and no length or offset that was checked
    // is read a second time from a page that is not our own.
    let map = unsafe { options.map_copy(source.file()) }?;
    let watch = signals::watch(&map)
        .ok_or_else(|| io::Error::other("more than 256 files are mapped already"))?;
    source.is_read_in_place(watch);
    Ok(Mapped {
        map,
        source: Arc::clone(source),
    })
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(Mapped { map, .. }) => map,
            Self::Copied(copy, _) => copy,
            Self::Held(bytes) => bytes,
            Self::Static(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.len();
        let of_file = |f: &mut std::fmt::Formatter<'_>, kind, source: &SourceFile| {
            write!(f, "{kind}({bytes} bytes of {})", source.path.display())
        };
        match self {
            Self::Mapped(Mapped { source, .. }) => of_file(f, "Mapped", source),
            Self::Copied(_, source) => of_file(f, "Copied", source),
            Self::Held(_) => write!(f, "Held({bytes} bytes)"),
            Self::Static(_) => write!(f, "Static({bytes} bytes)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::time::{Duration, SystemTime};

    const PAGE: usize = 4096;

    /// A file of so many pages, each full of its number from 1.
    fn file_of(pages: usize) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..pages * PAGE).map(|at| (at / PAGE + 1) as u8).collect();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_small_file_is_what_it_was_whatever_becomes_of_it() {
        let file = file_of(3);
        let bytes = Bytes::open(file.path()).unwrap();
        std::fs::write(file.path(), b"short").unwrap();
        assert_eq!(
            (bytes[0], bytes[3 * PAGE - 1], bytes.len()),
            (1, 3, 3 * PAGE)
        );
        assert_eq!(bytes.as_ptr().addr() % PAGE, 0);
        let Bytes::Copied(_, source) = &bytes else {
            panic!("{bytes:?}")
        };
        assert!(source.unchanged().is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_gone_of_a_mapped_file_reads_as_zeros_and_is_said() {
        let file = file_of(6);
        let mut bytes = Bytes::open_in_place_above(0, file.path()).unwrap();
        assert_eq!(bytes[5 * PAGE], 6);
        bytes.own(0..2 * PAGE).unwrap();
        let Bytes::Mapped(mapped) = &bytes else {
            panic!("{bytes:?}")
        };
        let source = Arc::clone(&mapped.source);
        source.unchanged().unwrap();
        let shortened = OpenOptions::new().write(true).open(file.path()).unwrap();
        shortened.set_len(PAGE as u64 / 2).unwrap();
        // What is our own stays, though the file has it no longer.
        let firsts: Vec<u8> = bytes.iter().step_by(PAGE).copied().collect();
        assert_eq!(firsts, [1, 2, 0, 0, 0, 0]);
        assert_eq!((bytes[2 * PAGE - 1], bytes[6 * PAGE - 1]), (2, 0));
        assert!(signals::any_lost());
        let said = source.unchanged().unwrap_err().to_string();
        assert!(said.ends_with("changed while it was read: expected 24576 bytes, found 2048"));
        // At its old length again it is not what it was.
        shortened.set_len(6 * PAGE as u64).unwrap();
        source.unchanged().unwrap_err();
        drop(bytes);
        drop(source);
        assert!(!signals::any_lost());
    }

    #[test]
    fn what_is_written_into_a_mapped_file_is_noticed_and_does_not_reach_what_is_our_own() {
        let file = file_of(4);
        let mut bytes = Bytes::open_in_place_above(0, file.path()).unwrap();
        bytes.own(PAGE + 1..PAGE + 2).unwrap();
        bytes.own(3 * PAGE..4 * PAGE).unwrap();
        let other = OpenOptions::new().write(true).open(file.path()).unwrap();
        io::Write::write_all(&mut &other, &[9; 4 * PAGE]).unwrap();
        let later = SystemTime::now() + Duration::from_secs(9);
        other.set_modified(later).unwrap();
        let firsts: Vec<u8> = bytes.iter().step_by(PAGE).copied().collect();
        assert_eq!(firsts, [9, 2, 9, 4]);
        let Bytes::Mapped(mapped) = &bytes else {
            panic!("{bytes:?}")
        };
        let said = mapped.source.unchanged().unwrap_err().to_string();
        assert!(said.ends_with("it was written to"), "{said}");
    }
}
