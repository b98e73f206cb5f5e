//! A command as it was typed or heard, in the words of models that know commands only.

/// A command as small models are trained on it: lower case, words apart by one space, apostrophes in
/// words and points in numbers kept, all other punctuation, % and degree signs gone. "It's 21.5°, set
/// 40%." is "it's 21.5 set 40". The data of the home model is written in the same way.
#[must_use]
pub fn command_text(recognized: &str) -> String {
    let lower = recognized.to_lowercase().replace('’', "'");
    let letters: Vec<char> = lower.chars().collect();
    let mut text = String::with_capacity(lower.len());
    for (index, letter) in letters.iter().enumerate() {
        let next = letters.get(index + 1).copied();
        let before = index.checked_sub(1).map(|i| letters[i]);
        let between = |test: fn(char) -> bool| before.is_some_and(test) && next.is_some_and(test);
        match letter {
            '\'' if between(char::is_alphabetic) => text.push('\''),
            '.' | ',' if between(|c| c.is_ascii_digit()) => text.push('.'),
            letter if letter.is_alphanumeric() => text.push(*letter),
            _ => text.push(' '),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_lower_case_words() {
        let check = |recognized: &str, expected: &str| {
            assert_eq!(command_text(recognized), expected);
        };
        check(" Turn on the kitchen light.", "turn on the kitchen light");
        check("It's 21.5°, set 40%.", "it's 21.5 set 40");
        check(
            "What’s the living-room's state?",
            "what's the living room's state",
        );
        check("'Quoted' at 7:30 a.m.!", "quoted at 7 30 a m");
        check("12, 5.", "12 5");
        check("...", "");
    }
}
