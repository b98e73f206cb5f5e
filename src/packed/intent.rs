//! The two parts of an assistant's answer: a first line that says what to do, and the reply that is
//! spoken.
//!
//! The line is `HassTurnOn@area kitchen@domain light`: an intent's name, then each slot with its
//! value, `^[A-Z][A-Za-z]+(@[a-z_]+ [^@\n]+)*$`. Models that know nothing of intents answer with a
//! reply alone.

use engine::intent::{Opening, is_line, opening};
use std::collections::BTreeMap;
use std::fmt;

/// What an answer says is to be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IntentLine {
    /// Name of the intent, such as `HassTurnOn`.
    pub intent: String,
    /// Its slots by name, such as `area`.
    pub slots: BTreeMap<String, String>,
}

impl IntentLine {
    /// Reads a line, without the end of the line; nothing when it is no intent line, or names a slot
    /// twice.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        if !is_line(line) {
            return None;
        }
        let mut parts = line.split('@');
        let intent = parts.next()?.to_owned();
        let mut slots = BTreeMap::new();
        for part in parts {
            let (name, value) = part.split_once(' ')?;
            if slots.insert(name.to_owned(), value.to_owned()).is_some() {
                return None;
            }
        }
        Some(Self { intent, slots })
    }
}

impl fmt::Display for IntentLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.intent)?;
        let mut slots = self.slots.iter();
        slots.try_for_each(|(name, value)| write!(f, "@{name} {value}"))
    }
}

/// An answer, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerParts<'a> {
    /// The intent line, without the end of the line.
    pub line: Option<&'a str>,
    /// What is spoken.
    pub reply: &'a str,
}

impl<'a> AnswerParts<'a> {
    /// Takes an answer apart. "Yes" is a reply, although it might be the name of an intent: a line
    /// without slots counts only before a reply, and when it is a name such as `HassNevermind`.
    #[must_use]
    pub fn of(answer: &'a str) -> Self {
        let at = match opening(answer) {
            Opening::Reply(at) => at,
            Opening::Open if !answer.contains('\n') && answer.contains('@') => {
                // The answer was cut within its line, or right after it.
                answer.len()
            }
            Opening::Open => 0,
        };
        let line = answer[..at].strip_suffix('\n').unwrap_or(&answer[..at]);
        Self {
            line: (at > 0).then_some(line),
            reply: &answer[at..],
        }
    }
}

/// Lets through what is spoken of an answer that comes in pieces.
///
/// All that comes out, put together, is the reply of [`AnswerParts::of`]. A first line is held back
/// while it can still be an intent line; of prose that is a word at most.
#[derive(Debug, Default)]
pub struct SpokenText {
    held: String,
    is_reply: bool,
}

impl SpokenText {
    /// A filter that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece; returns what is certain to be spoken, perhaps nothing yet.
    pub fn push(&mut self, piece: &str) -> String {
        if self.is_reply {
            return piece.to_owned();
        }
        self.held += piece;
        match opening(&self.held) {
            Opening::Open => String::new(),
            Opening::Reply(at) => {
                self.is_reply = true;
                std::mem::take(&mut self.held).split_off(at)
            }
        }
    }

    /// What is left when the answer is over; the next piece is one of another answer.
    pub fn finish(&mut self) -> String {
        self.is_reply = false;
        let held = std::mem::take(&mut self.held);
        AnswerParts::of(&held).reply.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::intent::LONGEST_LINE;
    use proptest::prelude::*;

    #[test]
    fn an_intent_line_has_a_name_and_slots() {
        let check = |line: &str, expected: Option<(&str, &[(&str, &str)])>| {
            let found = IntentLine::parse(line);
            let expected = expected.map(|(intent, slots)| IntentLine {
                intent: intent.into(),
                slots: slots
                    .iter()
                    .map(|(k, v)| ((*k).into(), (*v).into()))
                    .collect(),
            });
            assert_eq!(found, expected, "{line:?}");
            if let Some(found) = found {
                assert_eq!(IntentLine::parse(&found.to_string()), Some(found));
            }
        };
        check(
            "HassTurnOn@area kitchen@domain light",
            Some(("HassTurnOn", &[("area", "kitchen"), ("domain", "light")])),
        );
        check("Chat", Some(("Chat", &[])));
        check(
            "HassListAddItem@item oat milk 2%",
            Some(("HassListAddItem", &[("item", "oat milk 2%")])),
        );
        for line in [
            "",
            "H",
            "hassTurnOn",
            "Hass TurnOn",
            "HassTurnOn@",
            "HassTurnOn@area",
            "HassTurnOn@area ",
            "HassTurnOn@Area kitchen",
            "HassTurnOn@ kitchen",
            "HassTurnOn@area kitchen@",
            "HassTurnOn@area a@area b",
            "HassTurnOn@area kitchen\nmore",
            "Größe@area x",
        ] {
            check(line, None);
        }
        check(&format!("HassX@item {}", "x".repeat(LONGEST_LINE)), None);
    }

    #[test]
    fn only_what_follows_the_intent_line_is_spoken() {
        let check = |answer: &str, line: Option<&str>, reply: &str| {
            assert_eq!(
                AnswerParts::of(answer),
                AnswerParts { line, reply },
                "{answer:?}"
            );
        };
        let line = "HassTurnOn@area kitchen";
        check(
            "HassTurnOn@area kitchen\nDone. All on.\nBye.",
            Some(line),
            "Done. All on.\nBye.",
        );
        check(line, Some(line), "");
        check("HassTurnOn@are", Some("HassTurnOn@are"), "");
        check(
            "HassNevermind\nFine, never mind.",
            Some("HassNevermind"),
            "Fine, never mind.",
        );
        check("Chat\nHello!", Some("Chat"), "Hello!");
        // Words that only look like it.
        for prose in [
            "",
            "Yes",
            "Yes\n\nIt is on.",
            "OK\nDone",
            "JavaScript",
            "JavaScript\n",
            "Hello, you.",
            "Write to me@home. It works.",
            " HassTurnOn@area kitchen\nDone.",
            "The sky\nis blue",
        ] {
            check(prose, None, prose);
        }
    }

    #[test]
    fn prose_is_held_back_for_a_word_at_most() {
        let mut spoken = SpokenText::new();
        assert_eq!(spoken.push("Hel"), "");
        assert_eq!(spoken.push("lo"), "");
        assert_eq!(spoken.push(", you"), "Hello, you");
        assert_eq!(spoken.push("\nHass"), "\nHass");
        assert_eq!(spoken.finish(), "");
        // The next answer begins anew.
        let pieces = ["Hass", "Turn", "On@", "area hall", "\nDo", "ne."].map(|p| spoken.push(p));
        assert_eq!(pieces, ["", "", "", "", "Do", "ne."]);
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_are_spoken_as_the_whole(
            answer in "([A-Z][a-zA-Z]{0,9}(@[a-z_]{0,4} ?[a-z ]{0,5}){0,2}\n{0,2})?\\PC{0,20}",
            length in 1_usize..7,
        ) {
            let mut spoken = SpokenText::new();
            let letters: Vec<char> = answer.chars().collect();
            let mut said: String = letters
                .chunks(length)
                .map(|piece| spoken.push(&piece.iter().collect::<String>()))
                .collect();
            said += &spoken.finish();
            let parts = AnswerParts::of(&answer);
            prop_assert_eq!(&said, parts.reply);
            let line = parts.line.map_or(0, str::len);
            prop_assert!(answer.len() - said.len() <= line + 1);
        }
    }
}
