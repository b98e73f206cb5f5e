//! Text on its way out: characters split over tokens come whole, stop strings never come.

/// Bytes that cannot be shown yet: the beginning of a character, or of a stop string.
#[derive(Debug)]
pub(super) struct HeldText<'a> {
    stops: &'a [String],
    bytes: Vec<u8>,
}

/// What the bytes of a token bring.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Text to show, perhaps none yet.
    Text(String),
    /// The last text: a stop string follows it, which stays held.
    BeforeStop(String),
}

impl<'a> HeldText<'a> {
    /// Holds nothing. No stop string may be empty.
    pub(super) const fn new(stops: &'a [String]) -> Self {
        Self {
            stops,
            bytes: Vec::new(),
        }
    }

    /// Takes the bytes of a token.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Arrival {
        self.bytes.extend_from_slice(bytes);
        let starts_stop = |at: &usize| {
            let rest = &self.bytes[*at..];
            self.stops
                .iter()
                .any(|stop| rest.starts_with(stop.as_bytes()))
        };
        match (0..self.bytes.len()).find(starts_stop) {
            Some(at) => Arrival::BeforeStop(self.show(at)),
            None => Arrival::Text(self.show(self.bytes.len() - self.beginning())),
        }
    }

    /// Bytes that are held.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is left when no more can come: it was no stop string, and a character that never came
    /// whole is replaced.
    pub(super) fn finish(&mut self) -> String {
        self.show(self.bytes.len())
    }

    /// The first `count` bytes as text. They end where a character or an invalid sequence does.
    fn show(&mut self, count: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes[..count]).into_owned();
        self.bytes.drain(..count);
        text
    }

    /// Bytes at the end that may be the beginning of a stop string or of a character.
    fn beginning(&self) -> usize {
        let of_stop = |stop: &String| {
            let stop = stop.as_bytes();
            let longest = self.bytes.len().min(stop.len() - 1);
            (1..=longest)
                .rev()
                .find(|n| self.bytes.ends_with(&stop[..*n]))
        };
        let of_character = |n: &usize| {
            let tail = &self.bytes[self.bytes.len() - n..];
            // Only at its first byte is an unfinished character an error without a length.
            std::str::from_utf8(tail)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        };
        let stop = self.stops.iter().filter_map(of_stop).max();
        let character = (1..=self.bytes.len().min(3)).find(of_character);
        stop.unwrap_or(0).max(character.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts that are shown token by token, and what is left: text at a natural end, or the bytes
    /// of the stop string.
    fn check(stops: &[&str], tokens: &[&[u8]], shown: &[&str], left: Result<&str, usize>) {
        let stops: Vec<String> = stops.iter().map(|s| (*s).to_owned()).collect();
        let mut held = HeldText::new(&stops);
        let mut found = Vec::new();
        for token in tokens {
            match held.push(token) {
                Arrival::Text(text) => found.push(text),
                Arrival::BeforeStop(text) => {
                    found.push(text);
                    assert_eq!((&found[..], Err(held.len())), (&owned(shown)[..], left));
                    return;
                }
            }
        }
        assert_eq!(found, shown);
        assert_eq!(Ok(held.finish().as_str()), left);
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn characters_split_over_tokens_come_whole() {
        check(
            &[],
            &[b"caf", &[0xc3], &[0xa9, b'!'], &[0xff, b'x'], &[0xe2, 0x82]],
            &["caf", "", "é!", "\u{fffd}x", ""],
            Ok("\u{fffd}"),
        );
        check(
            &[],
            &[&[0xf0, 0x9f], &[0xa6], &[0x80], &[0xe2, b'a']],
            &["", "", "🦀", "\u{fffd}a"],
            Ok(""),
        );
    }

    #[test]
    fn a_stop_string_is_never_shown_wherever_tokens_cut_it() {
        check(&["END"], &[b"so END of"], &["so "], Err(6));
        check(
            &["END"],
            &[b"so", b" E", b"N", b"D!"],
            &["so", " ", "", ""],
            Err(4),
        );
        check(
            &["\n\n"],
            &[b"a\n", b"b\n", b"\n"],
            &["a", "\nb", ""],
            Err(2),
        );
        // Both may begin; the first that is whole counts.
        check(&["abc", "bX"], &[b"ab", b"X"], &["", "a"], Err(2));
        check(
            &["aab"],
            &[b"a", b"a", b"a", b"b"],
            &["", "", "a", ""],
            Err(3),
        );
        // Within characters that tokens cut.
        check(
            &["é€"],
            &[b"c", &[0xc3], &[0xa9, 0xe2], &[0x82], &[0xac, b'!']],
            &["c", "", "", "", ""],
            Err(6),
        );
    }

    #[test]
    fn what_only_began_like_a_stop_string_is_shown_late() {
        check(&["END"], &[b"EN", b"ter"], &["", "ENter"], Ok(""));
        check(&["END"], &[b"EN"], &[""], Ok("EN"));
        check(
            &["é€"],
            &[&[0xc3, 0xa9, 0xe2], &[0x82], b"!"],
            &["", "", "é\u{fffd}!"],
            Ok(""),
        );
    }
}
