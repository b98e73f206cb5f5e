//! How numbers and amounts of money are read: which digits together, which one by one.

use super::lexicon::Lexicon;
use super::phonemes::{Stress, with_ed, with_ing, with_s};
use crate::speech::numbers;

/// Endings that a number may have: "1990s", "3rd".
const ENDINGS: [&str; 9] = ["ing", "'d", "ed", "'s", "st", "nd", "rd", "th", "s"];

/// What a number counts and whether it begins its word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// `$`, `£` or `€` when it is an amount of money.
    pub(super) currency: Option<char>,
    /// Whether nothing stands before it: "7" but not the one in "Boeing747".
    pub(super) place: Place,
}

/// Where in its word a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At the beginning, so that it is a quantity.
    Head,
    /// After something else, so that it is a name and read in pieces.
    Inside,
}

/// The names of a currency and of its hundredth.
pub(super) fn currency_names(symbol: char) -> Option<[&'static str; 2]> {
    match symbol {
        '$' => Some(["dollar", "cent"]),
        '£' => Some(["pound", "pence"]),
        '€' => Some(["euro", "cent"]),
        _ => None,
    }
}

/// Whether a word is a number, perhaps with an ending.
pub(super) fn is_number(word: &str, place: Place) -> bool {
    let stem = ENDINGS
        .iter()
        .find_map(|ending| word.strip_suffix(ending))
        .unwrap_or(word);
    let allowed = |(index, c): (usize, char)| {
        c.is_ascii_digit()
            || matches!(c, ',' | '.')
            || (c == '-' && index == 0 && place == Place::Head)
    };
    word.contains(|c: char| c.is_ascii_digit()) && stem.chars().enumerate().all(allowed)
}

/// The sound of a number; nothing when it has no digits.
pub(super) fn sound(lexicon: &Lexicon, word: &str, setting: Setting) -> Option<String> {
    let number = word.trim_end_matches(|c: char| c.is_ascii_lowercase() || c == '\'');
    let ending = &word[number.len()..];
    if !number.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut sounds = Vec::new();
    let (number, negative) = match number.strip_prefix('-') {
        Some(number) => (number, true),
        None => (number, false),
    };
    if negative {
        sounds.extend(lexicon.look_up("minus", None, None, None));
    }
    let ordinal = matches!(ending, "st" | "nd" | "rd" | "th");
    let digits_only = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let is_money = setting.currency.is_some();
    let dots = number.matches('.').count();
    if digits_only && ordinal {
        say(lexicon, &numbers::ordinal(number), &mut sounds);
    } else if digits_only && !negative && number.len() == 4 && !is_money {
        say(lexicon, &numbers::year(number), &mut sounds);
    } else if setting.place == Place::Inside && dots == 0 {
        read_in_name(lexicon, &number.replace(',', ""), &mut sounds);
    } else if dots > 1 || setting.place == Place::Inside {
        read_version(lexicon, number, &mut sounds);
    } else if let Some(names) = setting
        .currency
        .and_then(currency_names)
        .filter(|_| has_cents_at_most(number))
    {
        read_money(lexicon, number, names, &mut sounds);
    } else {
        let number = number.replace(',', "");
        let words = match (dots, number.strip_prefix('.')) {
            (0, _) if ordinal => numbers::ordinal(&number),
            (0, _) => numbers::cardinal(&number),
            (_, Some(fraction)) => format!("point {}", numbers::each_digit(fraction)),
            (_, None) => numbers::decimal(&number),
        };
        say(lexicon, &words, &mut sounds);
    }
    let sound = sounds.join(" ");
    match ending {
        "s" | "'s" => with_s(&sound),
        "ed" | "'d" => with_ed(&sound),
        "ing" => with_ing(&sound),
        _ => Some(sound).filter(|sound| !sound.is_empty()),
    }
}

/// Adds the sounds of number words; "and" is left out, as Americans do.
fn say(lexicon: &Lexicon, words: &str, sounds: &mut Vec<String>) {
    for word in words
        .split(|c: char| !c.is_ascii_lowercase())
        .filter(|word| !word.is_empty() && *word != "and")
    {
        let stress = (word == "point").then_some(Stress::None);
        sounds.extend(lexicon.look_up(word, None, stress, None));
    }
}

/// A number within a name: "747" is "seven forty-seven", "1024" digit by digit.
fn read_in_name(lexicon: &Lexicon, digits: &str, sounds: &mut Vec<String>) {
    if digits.starts_with('0') || digits.len() > 3 {
        say(lexicon, &numbers::each_digit(digits), sounds);
    } else if digits.len() == 3 && !digits.ends_with("00") {
        let (hundreds, rest) = digits.split_at(1);
        say(lexicon, &numbers::cardinal(hundreds), sounds);
        match rest.strip_prefix('0') {
            Some(ones) => {
                sounds.extend(lexicon.look_up("O", None, Some(Stress::None), None));
                say(lexicon, &numbers::cardinal(ones), sounds);
            }
            None => say(lexicon, &numbers::cardinal(rest), sounds),
        }
    } else {
        say(lexicon, &numbers::cardinal(digits), sounds);
    }
}

/// Several numbers with dots between, as in a version: the dots are not read.
fn read_version(lexicon: &Lexicon, number: &str, sounds: &mut Vec<String>) {
    for part in number
        .replace(',', "")
        .split('.')
        .filter(|part| !part.is_empty())
    {
        let round = part.bytes().skip(1).all(|b| b == b'0');
        if part.starts_with('0') || (part.len() != 2 && !round) {
            say(lexicon, &numbers::each_digit(part), sounds);
        } else {
            say(lexicon, &numbers::cardinal(part), sounds);
        }
    }
}

/// Whether an amount has no fraction or one of at most two digits.
fn has_cents_at_most(number: &str) -> bool {
    number
        .split_once('.')
        .is_none_or(|(_, cents)| cents.len() < 3)
}

fn read_money(lexicon: &Lexicon, number: &str, names: [&str; 2], sounds: &mut Vec<String>) {
    let number = number.replace(',', "");
    let (whole, cents) = number.split_once('.').unwrap_or((&number, ""));
    let is_zero = |digits: &str| digits.bytes().all(|b| b == b'0');
    let mut parts = vec![(whole, names[0]), (cents, names[1])];
    if is_zero(cents) {
        parts.truncate(1);
    } else if is_zero(whole) {
        parts.remove(0);
    }
    for (index, (amount, name)) in parts.into_iter().enumerate() {
        if index > 0 {
            sounds.extend(lexicon.look_up("and", None, None, None));
        }
        let amount = if amount.is_empty() { "0" } else { amount };
        say(lexicon, &numbers::cardinal(amount), sounds);
        let one = amount.trim_start_matches('0') == "1";
        sounds.extend(if one || name == "pence" {
            lexicon.look_up(name, None, None, None)
        } else {
            lexicon.plural(name)
        });
    }
}
