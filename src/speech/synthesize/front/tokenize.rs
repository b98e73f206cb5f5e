//! Splits text into words as spaCy's English tokenizer does (spaCy, MIT): special cases such as
//! contractions first, then prefixes and suffixes are peeled off each chunk between spaces, then
//! what is left is split at hyphens and the like.

use super::super::SynthesizeError;
use super::tables;
use fancy_regex::{Regex, escape};
use std::collections::HashMap;
use std::path::Path;

const LETTER: &str = r"[^\W\d_]";
const LOWER: &str = "a-zß-öø-ÿ";
const UPPER: &str = "A-ZÀ-ÖØ-Þ";
const QUOTES: &str = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉";
const STOPS: &str = "…,:;!?¿¡()[]{}<>_#*&。？！，、；：～·";
const ICONS: &str = "[™®©°§¶†‡•]";
const CURRENCY: &str = r"\$|£|€|¥|฿|US\$|C\$|A\$|₽|₹|₩|₪|₺|₴|₦|₫|₱|₲|₵|₸|₼|₾|₿";
const UNITS: &str = "km|km²|km³|m|m²|m³|dm|dm²|dm³|cm|cm²|cm³|mm|mm²|mm³|ha|µm|nm|yd|in|ft|kg|g|mg|µg|t|lb|oz|m/s|km/h\
    |kmh|mph|hPa|Pa|mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%";
const ADDRESS: &str = r"(?i)^(?:https?|ftp)://\S+$|^www\.\S+$|^[\w.+-]+@[\w-]+(?:\.[\w-]+)+$|^(?:[\w-]+\.)+(?:com|org|net|edu|gov|io|co|uk|de|fr|info|biz|us|ca|au|tv|me|ly|ai)(?:/\S*)?$";

/// A word and whether a space followed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) space_after: bool,
}

/// The rules, ready to use.
#[derive(Debug)]
pub(super) struct Tokenizer {
    special: HashMap<String, Vec<String>>,
    prefix: Regex,
    suffix: Regex,
    infix: Regex,
    address: Regex,
}

/// Each character of `set` as a pattern.
fn each(set: &str) -> Vec<String> {
    set.chars()
        .map(|symbol| escape(&symbol.to_string()).into_owned())
        .collect()
}

/// Characters as the inside of a bracketed class.
fn class(set: &str) -> String {
    set.chars()
        .map(|symbol| {
            if symbol.is_ascii_punctuation() {
                format!(r"\{symbol}")
            } else {
                symbol.to_string()
            }
        })
        .collect()
}

impl Tokenizer {
    /// Reads `tokenizer_exceptions.json` from `folder`.
    ///
    /// # Errors
    /// When it cannot be read or is not such a table.
    pub(super) fn load(folder: &Path) -> Result<Self, SynthesizeError> {
        const FILE: &str = "tokenizer_exceptions.json";
        let special: HashMap<String, Vec<String>> = tables::read(folder, FILE)?;
        let compile = |pattern: String| {
            Regex::new(&pattern).map_err(|error| SynthesizeError::Malformed {
                path: folder.join(FILE),
                why: error.to_string(),
            })
        };
        let own = |patterns: &[&str]| {
            patterns
                .iter()
                .map(|&pattern| pattern.to_owned())
                .collect::<Vec<_>>()
        };

        let mut prefixes = own(&["§", "%", "=", "—", "–", r"\+(?![0-9])", "…", "……"]);
        prefixes.extend(each(STOPS));
        prefixes.extend(own(&[r"\.\.+", "…"]));
        prefixes.extend(each(QUOTES));
        prefixes.extend(own(&[CURRENCY, ICONS]));

        let mut suffixes = own(&["…", "……"]);
        suffixes.extend(each(STOPS));
        suffixes.extend(own(&[r"\.\.+", "…"]));
        suffixes.extend(each(QUOTES));
        suffixes.extend(own(&[
            ICONS,
            "'s",
            "'S",
            "’s",
            "’S",
            "—",
            "–",
            r"(?<=[0-9])\+",
            r"(?<=°[FfCcKk])\.",
        ]));
        suffixes.push(format!("(?<=[0-9])(?:{CURRENCY})"));
        suffixes.push(format!("(?<=[0-9])(?:{UNITS})"));
        suffixes.push(format!(
            r"(?<=[0-9{LOWER}%²\-\+{}{}])\.",
            class(STOPS),
            class(QUOTES)
        ));
        suffixes.push(format!(r"(?<=[{UPPER}][{UPPER}])\."));

        let infixes = [
            r"\.\.+".to_owned(),
            "…".to_owned(),
            ICONS.to_owned(),
            r"(?<=[0-9])[+\-\*^](?=[0-9-])".to_owned(),
            format!(
                r"(?<=[{LOWER}{quotes}])\.(?=[{UPPER}{quotes}])",
                quotes = class(QUOTES)
            ),
            format!("(?<={LETTER}),(?={LETTER})"),
            format!(r"(?<=[^\W_])(?:-|–|—|--|---|——|~)(?={LETTER})"),
            format!(r"(?<=[^\W_])[:<>=/](?={LETTER})"),
        ];
        let joined = |patterns: &[String], start: &str, end: &str| {
            patterns
                .iter()
                .map(|pattern| format!("{start}(?:{pattern}){end}"))
                .collect::<Vec<_>>()
                .join("|")
        };
        Ok(Self {
            special,
            prefix: compile(joined(&prefixes, "^", ""))?,
            suffix: compile(joined(&suffixes, "", "$"))?,
            infix: compile(joined(&infixes, "", ""))?,
            address: compile(ADDRESS.to_owned())?,
        })
    }

    /// The words of `text`.
    pub(super) fn pieces(&self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (chunk, after) = rest.split_at(end);
            let words = self.split(chunk);
            let last = words.len().saturating_sub(1);
            pieces.extend(words.into_iter().enumerate().map(|(index, text)| Piece {
                text,
                space_after: index == last && !after.is_empty(),
            }));
            rest = after.trim_start();
        }
        pieces
    }

    /// Splits one chunk without spaces; never empty.
    fn split(&self, chunk: &str) -> Vec<String> {
        if let Some(words) = self.special.get(chunk) {
            return words.clone();
        }
        let mut rest = chunk;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        while !rest.is_empty() && !self.special.contains_key(rest) {
            let length = rest.len();
            let prefix = span(&self.prefix, rest, Side::Start);
            let without = &rest[prefix..];
            if prefix > 0 && self.special.contains_key(without) {
                before.push(rest[..prefix].to_owned());
                rest = without;
                break;
            }
            let suffix = span(&self.suffix, without, Side::End);
            let shorter = &rest[..length - suffix];
            if suffix > 0 && self.special.contains_key(shorter) {
                after.push(rest[length - suffix..].to_owned());
                rest = shorter;
                break;
            }
            if prefix + suffix == 0 {
                break;
            }
            if prefix > 0 {
                before.push(rest[..prefix].to_owned());
            }
            if suffix > 0 {
                after.push(rest[length - suffix..].to_owned());
            }
            rest = &rest[prefix..length - suffix];
        }
        let mut words = before;
        if let Some(special) = self.special.get(rest) {
            words.extend(special.iter().cloned());
        } else if self.address.is_match(rest).unwrap_or(false) {
            words.push(rest.to_owned());
        } else {
            self.split_inside(rest, &mut words);
        }
        words.extend(after.into_iter().rev());
        if words.len() > 1 {
            self.rejoin(&words)
        } else {
            words
        }
    }

    fn split_inside(&self, text: &str, words: &mut Vec<String>) {
        let mut start = 0;
        for found in self.infix.find_iter(text).map_while(Result::ok) {
            if found.start() == 0 || found.start() == found.end() {
                continue;
            }
            if found.start() > start {
                words.push(text[start..found.start()].to_owned());
            }
            words.push(found.as_str().to_owned());
            start = found.end();
        }
        if start < text.len() {
            words.push(text[start..].to_owned());
        }
    }

    /// Puts pieces back together that spell a special case: "Sept" and "." to "Sept.".
    fn rejoin(&self, words: &[String]) -> Vec<String> {
        let mut joined = Vec::with_capacity(words.len());
        let mut at = 0;
        'words: while at < words.len() {
            for count in [3, 2] {
                let Some(run) = words.get(at..at + count) else {
                    continue;
                };
                if let Some(special) = self.special.get(&run.concat()) {
                    joined.extend(special.iter().cloned());
                    at += count;
                    continue 'words;
                }
            }
            joined.push(words[at].clone());
            at += 1;
        }
        joined
    }
}

#[derive(Clone, Copy)]
enum Side {
    Start,
    End,
}

/// How many bytes the pattern takes from one side of `text`.
fn span(pattern: &Regex, text: &str, side: Side) -> usize {
    match pattern.find(text) {
        Ok(Some(found)) => match side {
            Side::Start => found.end(),
            Side::End => text.len() - found.start(),
        },
        Ok(None) | Err(_) => 0,
    }
}
