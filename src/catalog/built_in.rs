//! The files of models that the program itself holds, so that they are there without a network.

use super::entry::{Entry, File, Origin};
use super::error::FetchError;
use super::partial::{Meter, Partial, Stopped};

/// Path below `assets/`, and bytes; `assets/catalog.toml` has the length and hash of each, which a test compares.
static FILES: [(&str, &[u8]); 6] = [
    (
        "hearth/config.json",
        include_bytes!("../../assets/hearth/config.json"),
    ),
    (
        "hearth/generation_config.json",
        include_bytes!("../../assets/hearth/generation_config.json"),
    ),
    (
        "hearth/model.safetensors",
        include_bytes!("../../assets/hearth/model.safetensors"),
    ),
    (
        "hearth/tokenizer.json",
        include_bytes!("../../assets/hearth/tokenizer.json"),
    ),
    (
        "hearth/tokenizer_config.json",
        include_bytes!("../../assets/hearth/tokenizer_config.json"),
    ),
    (
        "hearth/README.md",
        include_bytes!("../../assets/hearth/README.md"),
    ),
];

impl Entry {
    /// The files that the program itself holds, by name: they need neither network nor disk.
    #[must_use]
    pub fn built_in_files(&self) -> Option<Vec<(&'static str, &'static [u8])>> {
        self.sources.iter().find_map(|source| match &source.origin {
            Origin::BuiltIn { folder } => Some(files(folder)),
            Origin::Hub { .. } | Origin::PyPi => None,
        })
    }
}

/// All files of the folder that a source names, under the names that they have in it.
fn files(folder: &str) -> Vec<(&'static str, &'static [u8])> {
    let inside = |(path, bytes): &(&'static str, &'static [u8])| {
        let name = path.strip_prefix(folder)?.strip_prefix('/')?;
        Some((name, *bytes))
    };
    FILES.iter().filter_map(inside).collect()
}

/// The bytes of a file of the folder, if the program holds it.
pub(super) fn bytes(folder: &str, file: &File) -> Option<&'static [u8]> {
    let path = format!("{folder}/{}", file.parts.first()?.path);
    let found = FILES.iter().find(|(known, _)| *known == path);
    found.map(|(_, bytes)| *bytes)
}

/// Writes the file's `.part`.
pub(super) fn file(
    folder: &str,
    partial: &Partial<'_>,
    meter: &Meter<'_>,
) -> Result<(), FetchError> {
    let name = || format!("{folder}/{}", partial.file.name);
    let mut bytes =
        bytes(folder, partial.file).ok_or_else(|| FetchError::NotBuiltIn { file: name() })?;
    let length = |found| FetchError::Length {
        place: name(),
        found,
        expected: partial.file.bytes,
    };
    let whole = bytes.len() as u64;
    partial.truncate(0)?;
    match partial.append(&mut bytes, partial.file.bytes, meter) {
        Ok(reached) if reached == partial.file.bytes => Ok(()),
        Ok(_) | Err(Stopped::TooLong) => Err(length(whole)),
        Err(Stopped::Here(error)) => Err(error),
        Err(Stopped::There(error)) => Err(FetchError::disk(folder.as_ref(), error, whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, DEFAULT_MODEL, Origin};
    use sha2::{Digest, Sha256};
    use std::fmt::Write as _;

    /// The entry as it must be for the files that are built in: what to write when weights are exchanged.
    #[test]
    fn the_catalog_has_length_and_hash_of_each_file_that_is_built_in() {
        let catalog = Catalog::builtin();
        let entry = catalog.entry(DEFAULT_MODEL).expect("the default model");
        let [source] = entry.sources.as_slice() else {
            panic!("expected one source, found {:?}", entry.sources);
        };
        let folder = DEFAULT_MODEL.to_owned();
        assert_eq!(source.origin, Origin::BuiltIn { folder });
        let line = |name: &str, bytes: u64, sha256: &str| {
            format!("{name}: bytes = {bytes}, sha256 = \"{sha256}\"\n")
        };
        let listed: String = source
            .files
            .iter()
            .map(|f| line(&f.name, f.bytes, &f.sha256))
            .collect();
        let held = FILES.iter().map(|(path, bytes)| {
            let mut hash = String::new();
            for byte in Sha256::digest(bytes) {
                write!(hash, "{byte:02x}").expect("a string takes any text");
            }
            let name = path.strip_prefix("hearth/").expect("a file of hearth");
            line(name, bytes.len() as u64, &hash)
        });
        assert_eq!(
            listed,
            held.collect::<String>(),
            "assets/catalog.toml, and what assets/hearth needs there"
        );
    }
}
