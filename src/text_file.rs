//! Text files that are read whole: never more than they may hold, and only text.
//!
//! A pipe is as good as a file here, so that a shell may hand over what a command prints.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Most bytes of a text that people write by hand: recipes, projects, limits, grids, boards, shapes.
pub const WRITTEN_BYTES: u64 = 1 << 20;
/// Most bytes of a text to measure, calibrate or trim on; what is used of one are its first millions.
pub const PROSE_BYTES: u64 = 1 << 30;

/// Reads the text at `path`, of at most `most` bytes.
///
/// # Errors
/// When the system cannot read it, it is longer, or it is not UTF-8.
pub fn read(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    // One byte more than is allowed tells that there is more.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("expected at most {most} bytes, found more");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("expected UTF-8, found another byte at {at}");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_up_to_its_limit_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        std::fs::write(&path, "äb").unwrap();
        assert_eq!(read(&path, 3).unwrap(), "äb");
        let refused = |most| read(&path, most).unwrap_err().to_string();
        assert_eq!(refused(2), "expected at most 2 bytes, found more");
        std::fs::write(&path, b"ab\xff").unwrap();
        assert_eq!(refused(9), "expected UTF-8, found another byte at 2");
        let missing = read(&folder.path().join("no"), 3).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(read(folder.path(), 3).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_never_ends_is_left_at_its_limit() {
        let error = read(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected at most 1048576 bytes, found more"
        );
    }
}
