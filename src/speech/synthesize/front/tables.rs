//! Reads the front end's JSON tables, some of them gzipped, with a bound on their size.

use super::super::SynthesizeError;
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// More than any table holds once unpacked (the tagger: 8 MB).
const MAX_BYTES: u64 = 64 << 20;

/// Reads a JSON file; one that ends in `.gz` is unpacked first.
///
/// # Errors
/// When the file cannot be read, is larger than 64 MiB unpacked, or is not such JSON.
pub(in super::super) fn read<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> Result<T, SynthesizeError> {
    let path = folder.join(name);
    let io = |source| SynthesizeError::Io {
        path: path.clone(),
        source,
    };
    let file = File::open(&path).map_err(io)?;
    let mut text = Vec::new();
    // One byte more than allowed, to tell a full table from a cut one.
    if name.ends_with(".gz") {
        GzDecoder::new(file)
            .take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(io)?;
    } else {
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(io)?;
    }
    if text.len() as u64 > MAX_BYTES {
        let why = format!("holds more than {MAX_BYTES} bytes");
        return Err(SynthesizeError::Malformed { path, why });
    }
    serde_json::from_slice(&text).map_err(|error| SynthesizeError::Malformed {
        path,
        why: error.to_string(),
    })
}
