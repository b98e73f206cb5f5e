//! Addresses of files, for the programs that show them.

use std::fmt::Write as _;
use std::path::Path;

/// The address of a file, as RFC 8089 has it.
pub(super) fn file_url(path: &Path) -> String {
    let mut url = "file://".to_owned();
    let text = path.as_os_str().as_encoded_bytes();
    if !text.starts_with(b"/") {
        // A drive.
        url.push('/');
    }
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                url.push(char::from(*byte));
            }
            b'\\' if cfg!(windows) => url.push('/'),
            _ => write!(url, "%{byte:02X}").expect("a string grows"),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_any_name() {
        let check = |path: &str, expected: &str| assert_eq!(file_url(Path::new(path)), expected);
        check("/home/me/a.html", "file:///home/me/a.html");
        check(
            "/tmp/my page #1?.html",
            "file:///tmp/my%20page%20%231%3F.html",
        );
        check("/tmp/Küche.html", "file:///tmp/K%C3%BCche.html");
    }
}
