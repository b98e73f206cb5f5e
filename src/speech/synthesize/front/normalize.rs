//! Rewrites what the lexicon cannot read by itself: times, dates, units, money, abbreviations,
//! Roman numerals, symbols. Plain numbers are left to the lexicon.

use super::super::SynthesizeError;
use super::tables;
use crate::speech::numbers;
use fancy_regex::{Captures, Regex, escape};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;

/// A number with thousands separators and a fraction.
const NUMBER: &str = r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?";
const ROMAN: &str = "((?=[IVXLC])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))";
const MAGNITUDE: &str = r"(hundred|thousand|million|billion|trillion|[kKmMbB]\b)";

/// `normalize.json`.
#[derive(Deserialize)]
struct Tables {
    /// "jan" to "January", in the order of the year.
    months: Map<String, Value>,
    titles: HashMap<String, String>,
    abbreviations: HashMap<String, String>,
    /// Singular and plural.
    units: HashMap<String, [String; 2]>,
    /// In the order in which they are replaced.
    symbols: Map<String, Value>,
    /// Singular and plural.
    currency: HashMap<String, [String; 2]>,
    roman_cardinal: Vec<String>,
    roman_ordinal: Vec<String>,
}

/// The rules, ready to use.
#[derive(Debug)]
pub(super) struct Normalizer {
    rules: Vec<(Regex, Rule)>,
    symbols: Vec<(Regex, String)>,
    /// The twelve full names.
    months: Vec<String>,
    titles: HashMap<String, String>,
    abbreviations: HashMap<String, String>,
    units: HashMap<String, [String; 2]>,
    currency: HashMap<String, [String; 2]>,
    spaces: Regex,
    space_before_stop: Regex,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    Time,
    IsoDate,
    UsDate,
    BigMoney,
    Cents,
    Currency,
    Degrees,
    Unit,
    MonthDay,
    DayMonth,
    Title,
    Abbreviation,
    Number,
    Hash,
    RomanCardinal,
    RomanOrdinal,
    Phone,
    Fraction,
    Range,
    Plus,
}

/// Any of `words`, the longest first.
fn any_of<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let mut words: Vec<&String> = words.into_iter().collect();
    words.sort_by_key(|word| (std::cmp::Reverse(word.chars().count()), word.as_str()));
    words
        .into_iter()
        .map(|word| escape(word))
        .collect::<Vec<_>>()
        .join("|")
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// What each rule looks for, in the order in which they are tried; `month` finds a month's name.
fn patterns(tables: &Tables, month: &str) -> Vec<(Rule, String)> {
    vec![
        (Rule::Time, r"\b([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?:\s?([AaPp])\.?[Mm]\.?(?![A-Za-z]))?(?![0-9])".to_owned()),
        (Rule::IsoDate, r"\b([0-9]{4})-([0-9]{2})-([0-9]{2})\b".to_owned()),
        (Rule::UsDate, r"\b([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2})\b".to_owned()),
        (Rule::BigMoney, format!(r"([$£€])({NUMBER})\s?{MAGNITUDE}")),
        (Rule::Cents, format!(r"(?<![\w.])({NUMBER})\s?¢")),
        (Rule::Currency, format!(r"(?<![\w])([¥₹₩]|Rs\.?|USD|EUR|GBP)\s?({NUMBER})(?:\s?{MAGNITUDE})?")),
        (Rule::Degrees, format!(r"(?<![\w.])(-?{NUMBER})\s?°\s?([CF])?(?![\w])")),
        (Rule::Unit, format!(r"(?<![\w.])(-?{NUMBER})\s?({})(?![\w])", any_of(tables.units.keys()))),
        (Rule::MonthDay, format!(r"\b({month})\.? ([0-9]{{1,2}})(?:st|nd|rd|th)?\b(?![0-9:%])(,? [0-9]{{4}}\b)?")),
        (Rule::DayMonth, format!(r"\b(the )?([0-9]{{1,2}}) (?:of )?({month})\b\.?")),
        (Rule::Title, format!(r"\b({})\.? (?=[A-Z])", any_of(tables.titles.keys()))),
        (Rule::Abbreviation, format!(r"(?<![\w.])({})(?![\w])", any_of(tables.abbreviations.keys()))),
        (Rule::Number, r"\b(No|Nos)\. ?(?=[0-9])".to_owned()),
        (Rule::Hash, r"(?<![\w&])#(?=[0-9])".to_owned()),
        (Rule::RomanCardinal, format!(r"\b({}) {ROMAN}\b(?![.'’]\w)", any_of(&tables.roman_cardinal))),
        (Rule::RomanOrdinal, format!(r"\b({}) {ROMAN}\b(?![.'’]\w)", any_of(&tables.roman_ordinal))),
        (Rule::Phone, r"(?<![\w.\-])(?:[0-9]{3}-)?[0-9]{3}-[0-9]{4}(?![\w.\-])".to_owned()),
        (Rule::Fraction, r"(?<![\w./])([0-9]{1,2})/([0-9]{1,2})(?![\w./])".to_owned()),
        (Rule::Range, r"(?<![\w.\-])([0-9]{1,4})\s?[-–]\s?([0-9]{1,4})(?![\w.\-%])".to_owned()),
        (Rule::Plus, r"(?<![\w+])\+(?=[0-9])".to_owned()),
    ]
}

impl Normalizer {
    /// Reads `normalize.json` from `folder`.
    ///
    /// # Errors
    /// When it cannot be read or lacks a table.
    pub(super) fn load(folder: &Path) -> Result<Self, SynthesizeError> {
        const FILE: &str = "normalize.json";
        let malformed = |why: String| SynthesizeError::Malformed {
            path: folder.join(FILE),
            why,
        };
        let tables: Tables = tables::read(folder, FILE)?;
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| malformed(format!("expected text, found {value}")))
        };
        let months = tables
            .months
            .values()
            .map(text)
            .collect::<Result<Vec<_>, _>>()?;
        if months.len() != 12 {
            return Err(malformed(format!(
                "expected 12 months, found {}",
                months.len()
            )));
        }
        let short_months: Vec<String> = tables
            .months
            .keys()
            .map(|month| capitalized(month))
            .chain(["Sept".to_owned()])
            .collect();
        let month = any_of(months.iter().chain(&short_months));
        let compile =
            |pattern: &str| Regex::new(pattern).map_err(|error| malformed(error.to_string()));
        let rules = patterns(&tables, &month)
            .into_iter()
            .map(|(rule, pattern)| Ok((compile(&pattern)?, rule)));
        let symbols = tables.symbols.iter().map(|(symbol, word)| {
            let pattern = match symbol.as_str() {
                "=" | "<" | ">" | "~" => format!(r"(?<=\S) ?{} ?(?=\S)", escape(symbol)),
                _ => escape(symbol).into_owned(),
            };
            let word = text(word)?;
            Ok((
                compile(&pattern)?,
                if word.is_empty() {
                    " ".to_owned()
                } else {
                    format!(" {word} ")
                },
            ))
        });
        Ok(Self {
            rules: rules.collect::<Result<_, SynthesizeError>>()?,
            symbols: symbols.collect::<Result<_, SynthesizeError>>()?,
            months,
            titles: tables.titles,
            abbreviations: tables.abbreviations,
            units: tables.units,
            currency: tables.currency,
            spaces: compile(r"\s+")?,
            space_before_stop: compile(" +([,.;:!?])")?,
        })
    }

    /// The text with everything spelled out that the rules know.
    pub(super) fn normalize(&self, text: &str) -> String {
        let mut text = replace(&self.spaces, text.trim(), |_, _| Some(" ".to_owned()));
        text = text.replace('’', "'").replace('‒', "-").replace('―', "—");
        for (pattern, rule) in &self.rules {
            text = replace(pattern, &text, |found, text| {
                self.rewrite(*rule, found, text)
            });
        }
        for (pattern, word) in &self.symbols {
            text = replace(pattern, &text, |_, _| Some(word.clone()));
        }
        let text = replace(&self.spaces, &text, |_, _| Some(" ".to_owned()));
        replace(&self.space_before_stop, &text, |found, _| {
            Some(group(found, 1).to_owned())
        })
        .trim()
        .to_owned()
    }

    /// What one rule makes of one match; nothing when it should stay.
    fn rewrite(&self, rule: Rule, found: &Captures<'_>, text: &str) -> Option<String> {
        let part = |index| group(found, index);
        let end = found.get(0)?.end();
        match rule {
            Rule::Time => time(found, &text[end..]),
            Rule::IsoDate => self.date(part(1), part(2), part(3)),
            Rule::UsDate => self.us_date(part(1), part(2), part(3)),
            Rule::BigMoney => Some(format!(
                "{} {} {}",
                part(2),
                magnitude(part(3)),
                self.currency.get(part(1))?[1]
            )),
            Rule::Cents => Some(format!(
                "{} {}",
                part(1),
                plural(part(1), self.currency.get("¢")?)
            )),
            Rule::Currency => {
                let names = self.currency.get(part(1).trim_end_matches('.'))?;
                Some(match part(3) {
                    "" => format!("{} {}", part(2), plural(part(2), names)),
                    big => format!("{} {} {}", part(2), magnitude(big), names[1]),
                })
            }
            Rule::Degrees => Some(degrees(part(1), part(2))),
            Rule::Unit => Some(format!(
                "{} {}",
                part(1),
                plural(part(1), self.units.get(part(2))?)
            )),
            Rule::MonthDay => Some(format!(
                "{} {}{}",
                self.month_named(part(1))?,
                day_of_month(part(2))?,
                part(3)
            )),
            Rule::DayMonth => Some(format!(
                "the {} of {}",
                day_of_month(part(2))?,
                self.month_named(part(3))?
            )),
            Rule::Title => Some(format!("{} ", self.titles.get(part(1))?)),
            Rule::Abbreviation => {
                // A dot that ends the text ends its sentence too.
                let stop = if end == text.len() && part(1).ends_with('.') {
                    "."
                } else {
                    ""
                };
                Some(format!("{}{stop}", self.abbreviations.get(part(1))?))
            }
            Rule::Number => Some(
                if part(1) == "No" {
                    "Number "
                } else {
                    "Numbers "
                }
                .to_owned(),
            ),
            Rule::Hash => Some("number ".to_owned()),
            Rule::RomanCardinal => Some(format!("{} {}", part(1), number_from_roman(part(2)))),
            Rule::RomanOrdinal => Some(format!(
                "{} the {}",
                part(1),
                numbers::ordinal(&number_from_roman(part(2)).to_string())
            )),
            Rule::Phone => Some(phone(part(0))),
            Rule::Fraction => self.fraction(part(1), part(2)),
            Rule::Range => Some(format!("{} to {}", part(1), part(2))),
            Rule::Plus => Some("plus ".to_owned()),
        }
    }

    /// Month first, unless no month has that number; a year of two digits is one from 1931 to 2030.
    fn us_date(&self, first: &str, second: &str, year: &str) -> Option<String> {
        let century = match year.parse::<u16>() {
            Ok(number) if year.len() == 2 && number > 30 => "19",
            Ok(_) if year.len() == 2 => "20",
            Ok(_) | Err(_) => "",
        };
        let (month, day) = if first.parse::<u8>().ok()? <= 12 {
            (first, second)
        } else {
            (second, first)
        };
        self.date(&format!("{century}{year}"), month, day)
    }

    fn date(&self, year: &str, month: &str, day: &str) -> Option<String> {
        let month = self
            .months
            .get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
        let day = day_of_month(day)?;
        Some(if year.is_empty() {
            format!("{month} {day}")
        } else {
            format!("{month} {day}, {year}")
        })
    }

    fn month_named(&self, name: &str) -> Option<&String> {
        let start = name.get(..3)?;
        self.months
            .iter()
            .find(|month| month.get(..3) == Some(start))
    }

    fn fraction(&self, top: &str, bottom: &str) -> Option<String> {
        const UNITS: [&str; 9] = [
            "half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
        ];
        let (a, b): (usize, usize) = (top.parse().ok()?, bottom.parse().ok()?);
        if 0 < a && a < b && b <= 10 {
            return Some(match (a, UNITS[b - 2]) {
                (1, "half") => "one half".to_owned(),
                (1, unit) => format!("1 {unit}"),
                (_, unit) => format!("{a} {unit}s"),
            });
        }
        if (1..=12).contains(&a) && (1..=31).contains(&b) {
            return self.date("", top, bottom);
        }
        Some(format!("{a} slash {b}"))
    }
}

/// Replaces each match for which `rewrite` returns something. A pattern that would backtrack for
/// too long stops matching, so the rest of the text stays as it is.
fn replace(
    pattern: &Regex,
    text: &str,
    rewrite: impl Fn(&Captures<'_>, &str) -> Option<String>,
) -> String {
    let mut result = String::with_capacity(text.len());
    let mut done = 0;
    for found in pattern.captures_iter(text).map_while(Result::ok) {
        let Some(whole) = found.get(0) else { continue };
        if let Some(new) = rewrite(&found, text) {
            result += &text[done..whole.start()];
            result += &new;
            done = whole.end();
        }
    }
    result + &text[done..]
}

/// A group's text; empty when it took no part.
fn group<'t>(found: &Captures<'t>, index: usize) -> &'t str {
    found.get(index).map_or("", |part| part.as_str())
}

fn is_one(number: &str) -> bool {
    matches!(number.replace(',', "").as_str(), "1" | "1.0" | "-1")
}

fn plural<'a>(number: &str, names: &'a [String; 2]) -> &'a str {
    &names[usize::from(!is_one(number))]
}

fn magnitude(word: &str) -> String {
    match word {
        "k" | "K" => "thousand".to_owned(),
        "m" | "M" => "million".to_owned(),
        "b" | "B" => "billion".to_owned(),
        word => word.to_owned(),
    }
}

fn day_of_month(day: &str) -> Option<String> {
    (1..=31)
        .contains(&day.parse::<u8>().ok()?)
        .then(|| numbers::ordinal(day))
}

/// "21 degrees Celsius".
fn degrees(number: &str, scale: &str) -> String {
    let scale = match scale {
        "C" => " Celsius",
        "F" => " Fahrenheit",
        _ => "",
    };
    let unit = if is_one(number) { "degree" } else { "degrees" };
    format!("{number} {unit}{scale}")
}

/// Digit by digit, with a pause at each hyphen.
fn phone(number: &str) -> String {
    let spaced: Vec<String> = number
        .replace('-', ", ")
        .chars()
        .map(String::from)
        .collect();
    spaced.join(" ")
}

/// "7:05 pm" is "seven oh five P.M.", dotted so that the letters are spelled.
fn time(found: &Captures<'_>, after: &str) -> Option<String> {
    let (hour, minute, second) = (group(found, 1), group(found, 2), group(found, 3));
    if hour.parse::<u8>().ok()? > 24
        || minute.parse::<u8>().ok()? > 59
        || second.parse::<u8>().is_ok_and(|s| s > 59)
    {
        return None;
    }
    let half = group(found, 4);
    let mut words = numbers::cardinal(hour);
    match minute.parse::<u8>().ok()? {
        0 if half.is_empty() && second.is_empty() => words += " o'clock",
        0 => {}
        1..=9 => words += &format!(" oh {}", numbers::cardinal(minute)),
        _ => words += &format!(" {}", numbers::cardinal(minute)),
    }
    if let Ok(count) = second.parse::<u8>() {
        words += &format!(
            " and {} second{}",
            numbers::cardinal(second),
            if count == 1 { "" } else { "s" }
        );
    }
    if !half.is_empty() {
        words += &format!(
            " {}.M{}",
            half.to_uppercase(),
            if after.starts_with('.') { "" } else { "." }
        );
    }
    Some(words)
}

fn number_from_roman(numeral: &str) -> u32 {
    let value = |letter: char| match letter {
        'I' => 1,
        'V' => 5,
        'X' => 10,
        'L' => 50,
        'C' => 100,
        'D' => 500,
        'M' => 1000,
        _ => 0,
    };
    let values: Vec<u32> = numeral.chars().map(value).collect();
    let mut total = 0;
    for (index, &value) in values.iter().enumerate() {
        // A smaller one before a larger is taken from it.
        match values.get(index + 1) {
            Some(&next) if next > value => total -= value as i64,
            Some(_) | None => total += value as i64,
        }
    }
    u32::try_from(total).unwrap_or(0)
}
