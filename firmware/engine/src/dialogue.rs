//! How a model is asked: what a person typed or said, in the words that the model knows.
//!
//! Desktop and board hand their prompts to [`Dialogue::said`], so that the same words give the same
//! tokens on both.

/// How a model is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialogue {
    /// In any words, turn after turn.
    Conversation,
    /// In commands, each of which stands alone: lower-case words without punctuation.
    Commands,
}

impl Dialogue {
    /// As the packed file has it.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Conversation => 0,
            Self::Commands => 1,
        }
    }

    /// Bytes of room that [`Self::said`] needs for a text of so many bytes.
    #[must_use]
    pub const fn room(self, text_bytes: usize) -> usize {
        match self {
            Self::Conversation => 0,
            // A letter of two bytes may have a small one of three: Ⱥ and Ⱦ.
            Self::Commands => text_bytes.saturating_add(text_bytes.div_ceil(2)),
        }
    }

    /// The text as the model is to be asked; `None` when `room` is shorter than [`Self::room`] says.
    ///
    /// Of a command, lines of context may stand before the last line: they are in words of their own and
    /// stay as they are.
    #[must_use]
    pub fn said<'t>(self, text: &'t str, room: &'t mut [u8]) -> Option<&'t str> {
        match self {
            Self::Conversation => Some(text),
            Self::Commands => {
                let room = room.get_mut(..self.room(text.len()))?;
                let at = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
                let (context, command) = text.split_at(at);
                room[..at].copy_from_slice(context.as_bytes());
                let mut end = at;
                command_text(command, &mut |letter| {
                    end += letter.encode_utf8(&mut room[end..]).len();
                });
                core::str::from_utf8(&room[..end]).ok()
            }
        }
    }
}

/// A command as small models are trained on it: lower case, words apart by one space, apostrophes in
/// words and points in numbers kept, all other punctuation, % and degree signs gone. "It's 21.5°, set
/// 40%." is "it's 21.5 set 40". The data of the home model is written in the same way.
///
/// A letter becomes one letter, the first of its lower-case mapping, and keeps the accents that follow
/// it: only of İ is there more in the mapping, a dot that would part the word.
fn command_text(command: &str, emit: &mut dyn FnMut(char)) {
    let mut letters = command.chars().map(small).peekable();
    let (mut before, mut is_apart, mut is_empty) = (None::<char>, false, true);
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        let between = |test: fn(char) -> bool| before.is_some_and(test) && next.is_some_and(test);
        let kept = match letter {
            '\'' if between(char::is_alphabetic) => Some('\''),
            '.' | ',' if between(|c| c.is_ascii_digit()) => Some('.'),
            letter
                if letter.is_alphanumeric() || is_accent(letter) && before.is_some_and(in_word) =>
            {
                Some(letter)
            }
            _ => None,
        };
        match kept {
            None => is_apart = true,
            Some(letter) => {
                if is_apart && !is_empty {
                    emit(' ');
                }
                emit(letter);
                (is_apart, is_empty) = (false, false);
            }
        }
        before = Some(letter);
    }
}

/// A letter as its lower-case one; the apostrophe of typographers as that of keyboards.
fn small(letter: char) -> char {
    match letter {
        '’' => '\'',
        letter => letter.to_lowercase().next().unwrap_or(letter),
    }
}

/// Whether it stands in a word.
fn in_word(letter: char) -> bool {
    letter.is_alphanumeric() || is_accent(letter)
}

/// Whether it belongs to the letter before it (Unicode's block of combining diacritical marks).
const fn is_accent(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;
    use std::{format, vec};

    fn said(dialogue: Dialogue, text: &str) -> String {
        let mut room = vec![0; dialogue.room(text.len())];
        dialogue.said(text, &mut room).expect("room").into()
    }

    #[test]
    fn a_command_is_lower_case_words() {
        let check = |typed: &str, expected: &str| {
            assert_eq!(said(Dialogue::Commands, typed), expected, "{typed}");
            assert_eq!(said(Dialogue::Conversation, typed), typed);
        };
        check("Turn ON the kitchen light!", "turn on the kitchen light");
        check(" Turn on the kitchen light.", "turn on the kitchen light");
        check("It's 21.5°, set 40%.", "it's 21.5 set 40");
        check(
            "What’s the living-room's state?",
            "what's the living room's state",
        );
        check("'Quoted' at 7:30 a.m.!", "quoted at 7 30 a m");
        check("12, 5.", "12 5");
        check("...", "");
        check("", "");
        check("ÜBER DIE STRASSE", "über die strasse");
        // One letter for one letter, and no word is parted at an accent.
        check("İSTANBUL", "istanbul");
        check("CAFE\u{301} ON", "cafe\u{301} on");
        check("\u{301}on", "on");
    }

    #[test]
    fn lines_of_context_stay_as_they_are() {
        let check = |typed: &str, expected: &str| {
            assert_eq!(said(Dialogue::Commands, typed), expected, "{typed:?}");
        };
        check("Room: Kitchen\nLights OFF!\n", "Room: Kitchen\nlights off");
        check("A.\nB.\nC.", "A.\nB.\nc");
        check("\n", "");
    }

    #[test]
    fn room_that_is_too_short_is_refused() {
        let mut room = [0; 8];
        assert_eq!(Dialogue::Commands.room(6), 9);
        assert_eq!(Dialogue::Commands.said("lights", &mut room), None);
        assert_eq!(
            Dialogue::Conversation.said("lights", &mut []),
            Some("lights")
        );
    }

    /// The same by way of whole strings, as plain as it can be said.
    fn reference(typed: &str) -> String {
        let lower = typed.to_lowercase().replace('’', "'");
        let letters: Vec<char> = lower.chars().collect();
        let mut text = String::new();
        for (index, letter) in letters.iter().enumerate() {
            let next = letters.get(index + 1).copied();
            let before = index.checked_sub(1).map(|i| letters[i]);
            let between =
                |test: fn(char) -> bool| before.is_some_and(test) && next.is_some_and(test);
            match letter {
                '\'' if between(char::is_alphabetic) => text.push('\''),
                '.' | ',' if between(|c| c.is_ascii_digit()) => text.push('.'),
                letter if letter.is_alphanumeric() => text.push(*letter),
                _ => text.push(' '),
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_letter_has_room_and_becomes_one_letter() {
        for letter in '\0'..=char::MAX {
            let typed = format!("a{letter}b");
            let expected = match letter {
                '\n' => format!("a{letter}b"),
                // What whole strings do with them is told above.
                'İ' => "aib".into(),
                '\u{300}'..='\u{36f}' => typed.clone(),
                _ => reference(&typed),
            };
            assert_eq!(said(Dialogue::Commands, &typed), expected, "{letter:?}");
            let alone: String = [letter; 3].into_iter().collect();
            said(Dialogue::Commands, &alone);
        }
    }

    proptest! {
        #[test]
        fn streamed_as_whole_strings_are(typed in "[a-zA-Z0-9 .,'’°%!?ÄÖäößÉ-]{0,40}") {
            prop_assert_eq!(said(Dialogue::Commands, &typed), reference(&typed));
        }

        #[test]
        fn any_text_has_room(typed in "\\PC{0,40}") {
            said(Dialogue::Commands, &typed);
        }
    }
}
