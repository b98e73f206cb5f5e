//! The bytes of a model file: the project's one memory map.
//!
//! A model of a gigabyte opens at once and only the pages that are read cost memory.

use super::ModelError;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// The bytes of one model file, mapped from disk or held in memory.
pub(crate) enum Bytes {
    /// A read-only map of a file.
    Mapped(memmap2::Mmap),
    /// Bytes that never were a file.
    Held(Vec<u8>),
}

impl Bytes {
    /// Maps the file at `path` read-only.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a regular file, or changes its length meanwhile.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(ModelError::malformed(
                path.display(),
                "a regular file",
                "something else",
            ));
        }
        if metadata.len() == 0 {
            return Ok(Self::Held(Vec::new()));
        }
        #[expect(
            unsafe_code,
            reason = "a model is larger than is reasonable to copy; see SAFETY"
        )]
        // SAFETY: the map is private to this value and read-only, so nothing here can write through
        // it. Another process that shortens the file while it is open would make reads fault: the
        // same holds for every program that maps its models, and Whittle itself replaces files only
        // by renaming a finished one over them, which leaves this map its old bytes.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
        if u64::try_from(map.len()) != Ok(metadata.len()) {
            return Err(ModelError::malformed(
                path.display(),
                format_args!("{} bytes", metadata.len()),
                format_args!("{} bytes mapped", map.len()),
            ));
        }
        Ok(Self::Mapped(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Mapped(_) => "Mapped",
            Self::Held(_) => "Held",
        };
        write!(f, "{kind}({} bytes)", self.len())
    }
}
