//! GPT-2's printable alphabet: each byte as one character, so that a vocabulary of bytes can be
//! written as text.
//!
//! Printable Latin-1 stands for itself; the other bytes, in order, are the characters from U+0100.

/// The byte that a character stands for, if it stands for one.
pub(super) fn byte_from_char(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        // The other bytes: 0x00 to 0x20, 0x7f to 0xa0, 0xad.
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The character that stands for a byte, by the definition.
pub(super) fn char_from_byte(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let others_before = (0..byte).filter(|&b| !printable(b)).count();
    u32::try_from(others_before)
        .ok()
        .and_then(|n| char::from_u32(0x100 + n))
        .expect("at most 68 characters from U+0100, all of them letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        for byte in 0..=255 {
            assert_eq!(byte_from_char(char_from_byte(byte)), Some(byte));
        }
        assert_eq!((char_from_byte(b' '), char_from_byte(b'\n')), ('Ġ', 'Ċ'));
        assert_eq!(
            (0..0x200)
                .filter_map(|c| byte_from_char(char::from_u32(c)?))
                .count(),
            256
        );
    }
}
