//! What a saved file says of its own form: the number `format` at its top.
//!
//! Files of before have none: they are of format 1. A file of a newer Whittle is refused before anything
//! else of it is looked at, for what it holds may mean something else there. A change that an older Whittle
//! would misread raises the number; a key that it may do without does not.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The number `format` of a file whose newest form is `NEWEST`: any from 1 to it is read, and written is
/// the newest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format<const NEWEST: u32>;

/// A file that a newer Whittle wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {name}: expected format {known} or older, found format {found}: a newer Whittle wrote it"
)]
pub struct NewerFormat {
    /// What it is: `project`.
    pub kind: &'static str,
    /// The file.
    pub name: String,
    /// Its format.
    pub found: u64,
    /// The newest format that this Whittle reads.
    pub known: u32,
}

/// The only key that a file of any format has.
#[derive(serde::Deserialize)]
struct Head {
    format: Option<u64>,
}

impl<const NEWEST: u32> Format<NEWEST> {
    /// Refuses a text in TOML whose format is newer; what else is wrong with it is said by who reads it.
    /// `name` is for the sentence.
    ///
    /// # Errors
    /// When the file is of a newer format.
    pub fn check_toml(kind: &'static str, name: &str, text: &str) -> Result<(), NewerFormat> {
        Self::check(kind, name, toml::from_str(text).ok())
    }

    /// As [`Self::check_toml`], for an object in JSON.
    ///
    /// # Errors
    /// As there.
    pub fn check_json(kind: &'static str, name: &str, text: &[u8]) -> Result<(), NewerFormat> {
        Self::check(kind, name, serde_json::from_slice(text).ok())
    }

    fn check(kind: &'static str, name: &str, head: Option<Head>) -> Result<(), NewerFormat> {
        match head.and_then(|head| head.format) {
            Some(found) if found > u64::from(NEWEST) => Err(NewerFormat {
                kind,
                name: name.to_owned(),
                found,
                known: NEWEST,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl<const NEWEST: u32> Serialize for Format<NEWEST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(NEWEST)
    }
}

impl<'de, const NEWEST: u32> Deserialize<'de> for Format<NEWEST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = u64::deserialize(deserializer)?;
        if (1..=u64::from(NEWEST)).contains(&found) {
            Ok(Self)
        } else {
            let message = format!("expected a format from 1 to {NEWEST}, found {found}");
            Err(D::Error::custom(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        format: Format<3>,
        key: u8,
    }

    #[test]
    fn a_file_of_no_format_or_an_older_one_is_read_and_the_newest_is_written() {
        for text in ["key = 7", "format = 1\nkey = 7", "key = 7\nformat = 3"] {
            Format::<3>::check_toml("file", "f", text).unwrap();
            let file: File = toml::from_str(text).unwrap();
            assert_eq!(toml::to_string(&file).unwrap(), "format = 3\nkey = 7\n");
        }
        let refused = toml::from_str::<File>("format = 0\nkey = 7").unwrap_err();
        let expected = "expected a format from 1 to 3, found 0";
        assert!(refused.to_string().contains(expected), "{refused}");
    }

    #[test]
    fn a_newer_file_is_refused_by_its_number_whatever_else_it_holds() {
        let expected =
            "file f: expected format 3 or older, found format 4: a newer Whittle wrote it";
        for text in ["format = 4", "later = {a = 1}\nformat = 4\nkey = 'text'"] {
            let refused = Format::<3>::check_toml("file", "f", text).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
        let line = br#"{"later": [1], "format": 4}"#;
        let refused = Format::<3>::check_json("file", "f", line).unwrap_err();
        assert_eq!(refused.to_string(), expected);
        // What is no file at all is said by who reads it.
        Format::<3>::check_toml("file", "f", "= =").unwrap();
        Format::<3>::check_json("file", "f", b"{").unwrap();
    }
}
