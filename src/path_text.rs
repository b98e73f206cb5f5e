//! Paths in text: for people as far as they are text, for a file that is read again byte for byte.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize as _, Serializer};
use std::path::{Path, PathBuf};

/// A path as JSON and people get it: what is no UTF-8 in it becomes U+FFFD.
///
/// # Errors
/// Those of the serializer.
pub fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// A path that is read again: a string, or where it is no UTF-8 its bytes in hexadecimal as `{ hex = ".." }`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Exact {
    Text(String),
    Bytes { hex: String },
}

/// Writes a path so that [`read`] reads the same.
///
/// # Errors
/// Those of the serializer.
pub fn write<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let exact = path.as_deref().map(|path| match path.to_str() {
        Some(text) => Exact::Text(text.to_owned()),
        None => Exact::Bytes {
            hex: hex(path.as_os_str().as_encoded_bytes()),
        },
    });
    exact.serialize(serializer)
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// When it is neither a string nor bytes that this system has in paths.
pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let exact = Option::<Exact>::deserialize(deserializer)?;
    exact
        .map(|exact| match exact {
            Exact::Text(text) => Ok(text.into()),
            Exact::Bytes { hex } => bytes(&hex).and_then(path_of).ok_or_else(|| {
                D::Error::custom(format!("expected a path of this system, found {hex}"))
            }),
        })
        .transpose()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct File {
        #[serde(default, serialize_with = "write", deserialize_with = "read")]
        path: Option<PathBuf>,
    }

    #[test]
    fn a_path_is_read_as_it_was_written() {
        let check = |path: PathBuf, expected: &str| {
            let file = File { path: Some(path) };
            let text = toml::to_string(&file).unwrap();
            assert_eq!(text.trim_end(), expected);
            assert_eq!(toml::from_str::<File>(&text).unwrap(), file);
        };
        check("build/board.elf".into(), "path = \"build/board.elf\"");
        #[cfg(unix)]
        check(
            path_of(b"\xff/b".to_vec()).unwrap(),
            "[path]\nhex = \"ff2f62\"",
        );
        for wrong in ["path = {hex = \"f\"}", "path = {hex = \"zz\"}", "path = 3"] {
            toml::from_str::<File>(wrong).unwrap_err();
        }
        assert_eq!(toml::from_str::<File>("").unwrap().path, None);
    }
}
