//! How words are pronounced: two dictionaries, special cases that depend on the next word, and
//! endings taken off and put back on.
//!
//! `gold` holds checked entries and goes before `silver`. An entry is one pronunciation or one for
//! each part of speech. A lower-case entry also answers to its capitalized form and the other way
//! round.

use super::super::SynthesizeError;
use super::phonemes::{PRIMARY, SECONDARY, Stress, with_ed, with_ing, with_s};
use super::tables;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// Symbols that are read as words wherever they stand.
const SYMBOLS: [(&str, &str); 4] = [("%", "percent"), ("&", "and"), ("+", "plus"), ("@", "at")];

/// What is known of the words that follow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ahead {
    /// Whether the next sound is a vowel; nothing before a pause.
    pub(super) vowel: Option<bool>,
    /// Whether the next word is "to".
    pub(super) to: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entry {
    One(Box<str>),
    ByTag(HashMap<Box<str>, Option<Box<str>>>),
}

impl Entry {
    fn default_sound(&self) -> Option<&str> {
        match self {
            Self::One(sound) => Some(sound),
            Self::ByTag(sounds) => sounds.get("DEFAULT")?.as_deref(),
        }
    }
}

/// The American dictionaries.
#[derive(Debug)]
pub(super) struct Lexicon {
    gold: HashMap<Box<str>, Entry>,
    silver: HashMap<Box<str>, Entry>,
}

impl Lexicon {
    /// Reads `lexicon_us_gold.json.gz` and `lexicon_us_silver.json.gz` from `folder`.
    ///
    /// # Errors
    /// When one cannot be read or is no dictionary.
    pub(super) fn load(folder: &Path) -> Result<Self, SynthesizeError> {
        Ok(Self {
            gold: tables::read(folder, "lexicon_us_gold.json.gz")?,
            silver: tables::read(folder, "lexicon_us_silver.json.gz")?,
        })
    }

    /// The sound of a written word with its part of speech; nothing when it is unknown.
    pub(super) fn word(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        if let Some(sound) = self.special(word, tag, stress, ahead) {
            return Some(sound);
        }
        let lower = word.to_lowercase();
        let decapitalize = word.chars().count() > 1
            && word.chars().all(|c| c.is_alphabetic() || c == '\'')
            && word != lower
            && (tag != "NNP" || word.chars().count() > 7)
            && !self.has(word)
            && (is_upper(word) || is_lower(tail(word)))
            && (self.has(&lower) || self.inflected(&lower, tag, stress, stress, ahead).is_some());
        let word = if decapitalize { &lower } else { word };
        let look_up = |word: &str| self.look_up(word, Some(tag), stress, Some(ahead));
        if self.knows(word) {
            return look_up(word);
        }
        if let Some(stem) = word.strip_suffix('\'') {
            let singular = stem.strip_suffix('s').map(|stem| format!("{stem}'s"));
            if let Some(singular) = singular.filter(|singular| self.knows(singular)) {
                return look_up(&singular);
            }
            if self.knows(stem) {
                return look_up(stem);
            }
        }
        self.inflected(
            word,
            tag,
            stress,
            Some(stress.unwrap_or(Stress::Slight)),
            ahead,
        )
    }

    /// Words whose sound depends on their neighbours or their part of speech in a way of its own.
    fn special(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        let gold = |word: &str| {
            self.gold
                .get(word)
                .and_then(Entry::default_sound)
                .map(str::to_owned)
        };
        let noun = tag.starts_with("NN");
        match (word, tag) {
            (".", "ADD") => return self.look_up("dot", None, Some(Stress::Weaker), Some(ahead)),
            ("/", "ADD") => return self.look_up("slash", None, Some(Stress::Weaker), Some(ahead)),
            _ => {}
        }
        if let Some((_, name)) = SYMBOLS.iter().find(|(symbol, _)| *symbol == word) {
            return self.look_up(name, None, None, Some(ahead));
        }
        if is_dotted(word) {
            return self.letters(word);
        }
        let sound = match word {
            "a" | "A" => if tag == "DT" { "ɐ" } else { "ˈA" }.to_owned(),
            "am" | "Am" | "AM" if noun => return self.letters(word),
            "am" if ahead.vowel.is_some() && stress != Some(Stress::Strong) => "ɐm".to_owned(),
            "am" | "Am" | "AM" => return gold("am"),
            "AN" if noun => return self.letters(word),
            "an" | "An" | "AN" => "ɐn".to_owned(),
            "I" if tag == "PRP" => "ˌI".to_owned(),
            "by" | "By" | "BY" if general_tag(tag) == "ADV" => "bˈI".to_owned(),
            "to" | "To" | "TO" if word != "TO" || matches!(tag, "TO" | "IN") => match ahead.vowel {
                None => return gold("to"),
                Some(false) => "tə".to_owned(),
                Some(true) => "tʊ".to_owned(),
            },
            "in" | "In" | "IN" if word != "IN" || tag != "NNP" => {
                if ahead.vowel.is_none() || tag != "IN" {
                    "ˈɪn"
                } else {
                    "ɪn"
                }
                .to_owned()
            }
            "the" | "The" | "THE" if word != "THE" || tag == "DT" => if ahead.vowel == Some(true) {
                "ði"
            } else {
                "ðə"
            }
            .to_owned(),
            "used" | "Used" | "USED" => {
                let Some(Entry::ByTag(sounds)) = self.gold.get("used") else {
                    return None;
                };
                let past = ahead.to && matches!(tag, "VBD" | "JJ");
                return sounds
                    .get(if past { "VBD" } else { "DEFAULT" })?
                    .as_deref()
                    .map(str::to_owned);
            }
            _ if tag == "IN" && matches!(word.to_lowercase().as_str(), "vs" | "vs.") => {
                return self.look_up("versus", None, None, Some(ahead));
            }
            _ => return None,
        };
        Some(sound)
    }

    /// The sound of a dictionary word; of its letters when it is a name that is not in the dictionary.
    pub(super) fn look_up(
        &self,
        word: &str,
        tag: Option<&str>,
        stress: Option<Stress>,
        ahead: Option<Ahead>,
    ) -> Option<String> {
        let shouted = is_upper(word) && find(&self.gold, word).is_none();
        let name = shouted && tag == Some("NNP");
        let lower = word.to_lowercase();
        let word = if shouted { &lower } else { word };
        let mut entry = find(&self.gold, word);
        if entry.is_none() && !name {
            entry = find(&self.silver, word);
        }
        let sound = match entry {
            None => None,
            Some(Entry::One(sound)) => Some(&**sound),
            Some(Entry::ByTag(sounds)) => {
                let before_pause =
                    ahead.is_some_and(|ahead| ahead.vowel.is_none()) && sounds.contains_key("None");
                let key = match tag {
                    _ if before_pause => "None",
                    Some(tag) if sounds.contains_key(tag) => tag,
                    Some(tag) => general_tag(tag),
                    None => "DEFAULT",
                };
                sounds
                    .get(key)
                    .or_else(|| sounds.get("DEFAULT"))
                    .and_then(|sound| sound.as_deref())
            }
        };
        if sound.is_none_or(|sound| name && !sound.contains(PRIMARY))
            && let Some(letters) = self.letters(word)
        {
            return Some(letters);
        }
        sound.map(|sound| stress.map_or_else(|| sound.to_owned(), |stress| stress.apply(sound)))
    }

    /// A word spelled out: every letter by its name, the last one stressed.
    fn letters(&self, word: &str) -> Option<String> {
        let mut sound = String::new();
        for letter in word.chars().filter(|c| c.is_alphabetic()) {
            let upper: String = letter.to_uppercase().collect();
            sound += find(&self.gold, &upper)?.default_sound()?;
        }
        let mut sound = Stress::Lesser.apply(&sound);
        if let Some(at) = sound.rfind(SECONDARY) {
            sound.replace_range(at..at + SECONDARY.len_utf8(), "ˈ");
        }
        Some(sound)
    }

    /// A word with an ending that the dictionary has without it.
    fn inflected(
        &self,
        word: &str,
        tag: &str,
        stress: Option<Stress>,
        stress_before_ing: Option<Stress>,
        ahead: Ahead,
    ) -> Option<String> {
        let look_up = |stem: &str, stress| self.look_up(stem, Some(tag), stress, Some(ahead));
        let plural = || look_up(&self.stem_of_s(word)?, stress).and_then(|sound| with_s(&sound));
        if let Some(sound) = plural() {
            return Some(sound);
        }
        let past = || look_up(self.stem_of_ed(word)?, stress).and_then(|sound| with_ed(&sound));
        if let Some(sound) = past() {
            return Some(sound);
        }
        let stem = self.stem_of_ing(word)?;
        look_up(&stem, stress_before_ing).and_then(|sound| with_ing(&sound))
    }

    /// The plural of a dictionary word: of a currency.
    pub(super) fn plural(&self, singular: &str) -> Option<String> {
        with_s(&self.look_up(singular, None, None, None)?)
    }

    fn stem_of_s(&self, word: &str) -> Option<String> {
        let count = word.chars().count();
        let stem = word.strip_suffix('s').filter(|_| count >= 3)?;
        if !stem.ends_with('s') && self.knows(stem) {
            return Some(stem.to_owned());
        }
        let es = stem
            .strip_suffix('e')
            .filter(|stem| count > 4 && !stem.ends_with('i'));
        if let Some(stem) = stem
            .strip_suffix('\'')
            .or(es)
            .filter(|stem| self.knows(stem))
        {
            return Some(stem.to_owned());
        }
        let stem = format!("{}y", stem.strip_suffix("ie").filter(|_| count > 4)?);
        self.knows(&stem).then_some(stem)
    }

    fn stem_of_ed<'a>(&self, word: &'a str) -> Option<&'a str> {
        let count = word.chars().count();
        let stem = word.strip_suffix('d').filter(|_| count >= 4)?;
        if !stem.ends_with('d') && self.knows(stem) {
            return Some(stem);
        }
        let stem = stem
            .strip_suffix('e')
            .filter(|stem| count > 4 && !stem.ends_with('e'))?;
        self.knows(stem).then_some(stem)
    }

    fn stem_of_ing(&self, word: &str) -> Option<String> {
        let count = word.chars().count();
        let stem = word.strip_suffix("ing").filter(|_| count >= 5)?;
        if count > 5 && self.knows(stem) {
            return Some(stem.to_owned());
        }
        let with_e = format!("{stem}e");
        if self.knows(&with_e) {
            return Some(with_e);
        }
        // "running" from "run", "panicking" from "panic".
        let mut reversed = stem.chars().rev();
        let (last, before) = (reversed.next()?, reversed.next()?);
        let doubled =
            (last == before && "bcdgklmnprstvxz".contains(last)) || (before, last) == ('c', 'k');
        let stem = &stem[..stem.len() - last.len_utf8()];
        (count > 5 && doubled && self.knows(stem)).then(|| stem.to_owned())
    }

    fn has(&self, word: &str) -> bool {
        find(&self.gold, word).is_some() || find(&self.silver, word).is_some()
    }

    /// Whether the dictionary, or spelling out, gives this word a sound.
    fn knows(&self, word: &str) -> bool {
        if self.has(word) || SYMBOLS.iter().any(|(symbol, _)| *symbol == word) {
            return true;
        }
        if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphabetic()) {
            return false;
        }
        word.len() == 1
            || (is_upper(word) && find(&self.gold, &word.to_lowercase()).is_some())
            || is_upper(tail(word))
    }
}

/// An entry by its own spelling, or by its capitalized or lower-case one.
fn find<'a>(entries: &'a HashMap<Box<str>, Entry>, word: &str) -> Option<&'a Entry> {
    let found = entries.get(word);
    if found.is_some() || word.chars().nth(1).is_none() {
        return found;
    }
    let capitalized = capitalize(word);
    if is_lower(word) {
        return entries.get(&*capitalized);
    }
    if word == capitalized {
        entries.get(&*word.to_lowercase())
    } else {
        None
    }
}

fn capitalize(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first
        .chain(letters.as_str().to_lowercase().chars())
        .collect()
}

/// All but the first letter.
fn tail(word: &str) -> &str {
    let mut letters = word.chars();
    letters.next();
    letters.as_str()
}

fn is_upper(word: &str) -> bool {
    word == word.to_uppercase()
}

fn is_lower(word: &str) -> bool {
    word == word.to_lowercase()
}

/// "U.S.", "e.g.": letters with dots between, no more than two at a time.
fn is_dotted(word: &str) -> bool {
    word.trim_matches('.').contains('.')
        && word.chars().all(|c| c == '.' || c.is_alphabetic())
        && word.split('.').all(|part| part.chars().count() < 3)
}

/// The kind of a part of speech, as the dictionary's entries have it.
fn general_tag(tag: &str) -> &str {
    match tag {
        _ if tag.starts_with("VB") => "VERB",
        _ if tag.starts_with("NN") => "NOUN",
        _ if tag.starts_with("ADV") || tag.starts_with("RB") => "ADV",
        _ if tag.starts_with("ADJ") || tag.starts_with("JJ") => "ADJ",
        tag => tag,
    }
}
