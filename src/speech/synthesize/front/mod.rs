//! From English text to phonemes, without espeak.
//!
//! Ported from the front end of hibari (Copyright 2026 Maureese Williams, Apache-2.0), which is
//! itself after misaki (hexgrad, Apache-2.0) and spaCy (Explosion, MIT); it reads their tables from
//! the model's folder. The steps: [`normalize`] writes out dates, money and units; [`tokenize`]
//! splits words; [`tagger`] names parts of speech; [`lexicon`] and [`amounts`] find the sounds;
//! [`unknown`] guesses the others; compounds get their stress evened out here.
//!
//! Departures: American English only; a Markdown link is read as its text and cannot set phonemes;
//! of Unicode's compatibility forms only the common ones are folded; a number with more than 36
//! digits is read digit by digit.

mod amounts;
mod lexicon;
mod normalize;
mod phonemes;
pub(super) mod tables;
mod tagger;
mod tokenize;
mod unknown;

use super::SynthesizeError;
use amounts::{Place, Setting};
use fancy_regex::Regex;
use lexicon::{Ahead, Lexicon};
use normalize::Normalizer;
use phonemes::{PAUSES, PRIMARY, Stress, is_consonant, is_vowel};
use std::path::Path;
use tagger::Tagger;
use tokenize::Tokenizer;
use unknown::UnknownWords;

/// Characters that are silent within a word.
const SILENT: &str = "',-._‘’/";
/// Punctuation that stays as it is among the phonemes.
const PUNCTUATION: &str = ";:,.!?—…\"“”";
/// How a word is split further: at changes of case, at digits, hyphens and quotes.
const PARTS: &str = concat!(
    r"^['‘’]+|[A-ZÀ-ÖØ-Þ](?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ])|(?:^-)?(?:[0-9]?[,.]?[0-9])+|[-_]+|['‘’]{2,}",
    r"|[^\W\d_]*?(?:['‘’][^\W\d_])*?[a-zß-öø-ÿ](?=[A-ZÀ-ÖØ-Þ])|[^\W\d_]+(?:['‘’][^\W\d_])*",
    r"|[^\w\-'‘’]|['‘’]+$",
);
/// Words, numbers and symbols within what the lexicon could not read.
const FRAGMENTS: &str = r"[^\W\d_]+(?:['’][^\W\d_]+)*|[0-9]+(?:[,.][0-9]+)*|[^\w\s]+";

/// Turns sentences into phonemes.
#[derive(Debug)]
pub(super) struct FrontEnd {
    normalizer: Normalizer,
    tokenizer: Tokenizer,
    tagger: Tagger,
    lexicon: Lexicon,
    unknown: UnknownWords,
    parts: Regex,
    fragments: Regex,
    links: Regex,
}

/// A word or a part of one.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    tag: String,
    space_after: bool,
    /// Nothing until it is known.
    sound: Option<String>,
    place: Place,
    /// What is read in place of the text.
    alias: Option<&'static str>,
    currency: Option<char>,
    /// Whether a space goes before its sound although it is within a word.
    apart: bool,
}

impl FrontEnd {
    /// Reads all tables from the model's folder.
    ///
    /// # Errors
    /// When one cannot be read or is malformed.
    pub(super) fn load(folder: &Path) -> Result<Self, SynthesizeError> {
        let compile = |pattern: &str| Regex::new(pattern).expect("the pattern is a constant");
        Ok(Self {
            normalizer: Normalizer::load(folder)?,
            tokenizer: Tokenizer::load(folder)?,
            tagger: Tagger::load(folder)?,
            lexicon: Lexicon::load(folder)?,
            unknown: UnknownWords::load(folder)?,
            parts: compile(PARTS),
            fragments: compile(FRAGMENTS),
            links: compile(r"\[([^\]]+)\]\([^)]*\)"),
        })
    }

    /// The phonemes of one sentence; empty when nothing in it can be said.
    ///
    /// # Errors
    /// When the network for unknown words fails.
    pub(super) fn phonemes(&self, sentence: &str) -> Result<String, SynthesizeError> {
        let text = self.links.replace_all(sentence, "$1");
        let text = self.normalizer.normalize(&text);
        let pieces = self.tokenizer.pieces(&text);
        let words: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
        let tags = self.tagger.tags(&words);
        let tokens = pieces.iter().zip(tags).map(|(piece, tag)| Token {
            text: piece.text.clone(),
            tag: tag.to_owned(),
            space_after: piece.space_after,
            sound: None,
            place: Place::Head,
            alias: None,
            currency: None,
            apart: false,
        });
        let mut words = self.words(tokens.collect());
        let mut ahead = Ahead::default();
        for word in words.iter_mut().rev() {
            ahead = match word.as_mut_slice() {
                [token] => self.sound_alone(token, ahead)?,
                parts => self.sound_together(parts, ahead)?,
            };
        }
        let mut phonemes = String::new();
        for word in &words {
            phonemes += &joined_sound(word).replace('ɾ', "T").replace('ʔ', "t");
            if word.last().is_some_and(|token| token.space_after) {
                phonemes.push(' ');
            }
        }
        Ok(phonemes.trim().to_owned())
    }

    /// Splits tokens into parts and groups the parts that have no space between; punctuation and
    /// currency signs get their sound here and stand alone.
    fn words(&self, tokens: Vec<Token>) -> Vec<Vec<Token>> {
        let mut words: Vec<Vec<Token>> = Vec::new();
        let mut open = false;
        let mut currency = None;
        for (index, token) in tokens.iter().enumerate() {
            let mut parts: Vec<Token> = self
                .parts
                .find_iter(&token.text)
                .map_while(Result::ok)
                .map(|part| Token {
                    text: part.as_str().to_owned(),
                    space_after: false,
                    ..token.clone()
                })
                .collect();
            if parts.is_empty() {
                parts.push(token.clone());
            }
            let count = parts.len();
            parts[count - 1].space_after = token.space_after;
            let is_two = |at: usize| {
                let letter = |part: Option<char>| part.is_some_and(char::is_alphabetic);
                parts[at].text == "2"
                    && letter(parts[at - 1].text.chars().last())
                    && letter(parts[at + 1].text.chars().next())
            };
            let twos: Vec<bool> = (0..count)
                .map(|at| at > 0 && at + 1 < count && is_two(at))
                .collect();
            for (at, mut part) in parts.into_iter().enumerate() {
                let symbol = Some(part.text.as_str())
                    .filter(|_| part.tag == "$")
                    .and_then(currency_symbol);
                if symbol.is_some() {
                    currency = symbol;
                    part.sound = Some(String::new());
                } else if let Some(sound) = punctuation_sound(&part) {
                    part.sound = Some(sound);
                } else if currency.is_some() {
                    if part.tag != "CD" {
                        currency = None;
                    } else if at + 1 == count
                        && tokens.get(index + 1).is_none_or(|next| next.tag != "CD")
                    {
                        part.currency = currency;
                    }
                } else if twos[at] {
                    part.alias = Some("to");
                }
                let alone = part.alias.is_some() || part.sound.is_some();
                let joins = open
                    && words
                        .last()
                        .and_then(|word| word.last())
                        .is_some_and(|last| !last.space_after);
                match words.last_mut() {
                    Some(word) if joins && !alone => {
                        part.place = Place::Inside;
                        word.push(part);
                    }
                    Some(_) | None => {
                        open = !alone && !part.space_after;
                        words.push(vec![part]);
                    }
                }
            }
        }
        words
    }

    fn sound_alone(&self, token: &mut Token, ahead: Ahead) -> Result<Ahead, SynthesizeError> {
        if token.sound.is_none() {
            token.sound = self.known_sound(token, ahead);
        }
        if token.sound.is_none() {
            token.sound = Some(self.guessed_sound(&token.text)?);
        }
        Ok(look_back(
            ahead,
            token.sound.as_deref().unwrap_or_default(),
            token,
        ))
    }

    /// Finds the sound of a word of several parts: the longest runs of parts, from the end, that
    /// the lexicon knows. When one part stays unknown the whole word is guessed.
    fn sound_together(
        &self,
        parts: &mut [Token],
        mut ahead: Ahead,
    ) -> Result<Ahead, SynthesizeError> {
        let (mut left, mut right) = (0, parts.len());
        while left < right {
            let run = &parts[left..right];
            let known = if run
                .iter()
                .any(|token| token.alias.is_some() || token.sound.is_some())
            {
                None
            } else {
                let merged = merged(run);
                self.known_sound(&merged, ahead)
                    .map(|sound| (merged, sound))
            };
            if let Some((merged, sound)) = known {
                ahead = look_back(ahead, &sound, &merged);
                for token in &mut parts[left..right] {
                    token.sound = Some(String::new());
                }
                parts[left].sound = Some(sound);
                right = left;
                left = 0;
            } else if left + 1 < right {
                left += 1;
            } else {
                right -= 1;
                left = 0;
                let token = &mut parts[right];
                if token.sound.is_none() {
                    if !token.text.chars().all(|c| SILENT.contains(c)) {
                        let sound = self.guessed_sound(&merged(parts).text)?;
                        for token in parts.iter_mut() {
                            token.sound = Some(String::new());
                        }
                        parts[0].sound = Some(sound);
                        return Ok(ahead);
                    }
                    token.sound = Some(String::new());
                }
            }
        }
        even_out_stress(parts);
        Ok(ahead)
    }

    /// What the lexicon makes of a token.
    fn known_sound(&self, token: &Token, ahead: Ahead) -> Option<String> {
        let word: String = token
            .alias
            .unwrap_or(&token.text)
            .chars()
            .flat_map(plain_form)
            .collect();
        let stress = if word == word.to_lowercase() {
            None
        } else if word == word.to_uppercase() {
            Some(Stress::Strong)
        } else {
            Some(Stress::Slight)
        };
        if let Some(sound) = self.lexicon.word(&word, &token.tag, stress, ahead) {
            let name = token
                .currency
                .and_then(amounts::currency_names)
                .and_then(|names| self.lexicon.plural(names[0]));
            return Some(match name {
                Some(name) => format!("{sound} {name}"),
                None => sound,
            });
        }
        if !amounts::is_number(&word, token.place) {
            return None;
        }
        amounts::sound(
            &self.lexicon,
            &word,
            Setting {
                currency: token.currency,
                place: token.place,
            },
        )
    }

    /// The sound of what the lexicon does not know: letters by the network, digits as numbers,
    /// symbols by name.
    fn guessed_sound(&self, text: &str) -> Result<String, SynthesizeError> {
        let mut sounds = Vec::new();
        for fragment in self.fragments.find_iter(text).map_while(Result::ok) {
            let fragment = fragment.as_str();
            let sound = if fragment.starts_with(|c: char| c.is_ascii_digit()) {
                let setting = Setting {
                    currency: None,
                    place: Place::Inside,
                };
                amounts::sound(&self.lexicon, fragment, setting).unwrap_or_default()
            } else if fragment.starts_with(char::is_alphabetic) {
                self.unknown.sound(fragment)?
            } else {
                fragment.chars().map(symbol_sound).collect()
            };
            if !sound.is_empty() {
                sounds.push(sound);
            }
        }
        Ok(sounds.join(" "))
    }
}

/// `$`, `£` or `€`.
fn currency_symbol(text: &str) -> Option<char> {
    let symbol = text.chars().next()?;
    (text.len() == symbol.len_utf8() && amounts::currency_names(symbol).is_some()).then_some(symbol)
}

/// The sound of a token that its tag marks as punctuation.
fn punctuation_sound(token: &Token) -> Option<String> {
    if token.tag == ":" && matches!(token.text.as_str(), "-" | "–") {
        return Some("—".to_owned());
    }
    let sound = match token.tag.as_str() {
        "-LRB-" => "(",
        "-RRB-" => ")",
        "``" => "“",
        "\"\"" | "''" => "”",
        "." | "," | ":" | "$" | "#" | "NFP" => "",
        _ => return None,
    };
    if token.text.chars().all(|c| c.is_ascii_alphabetic()) {
        return None;
    }
    let kept = || {
        token
            .text
            .chars()
            .filter(|&c| PUNCTUATION.contains(c))
            .collect()
    };
    Some(if sound.is_empty() {
        kept()
    } else {
        sound.to_owned()
    })
}

/// What stands ahead for the word before this one.
fn look_back(ahead: Ahead, sound: &str, token: &Token) -> Ahead {
    let first = sound
        .chars()
        .find(|&c| is_vowel(c) || is_consonant(c) || PAUSES.contains(c));
    let vowel = match first {
        Some(pause) if PAUSES.contains(pause) => None,
        Some(phoneme) => Some(is_vowel(phoneme)),
        None => ahead.vowel,
    };
    let to = match token.text.as_str() {
        "to" | "To" => true,
        "TO" => matches!(token.tag.as_str(), "TO" | "IN"),
        _ => false,
    };
    Ahead { vowel, to }
}

/// Several parts as one token, with the tag of the weightiest part; it has no sound yet.
fn merged(parts: &[Token]) -> Token {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        text += &part.text;
        if part.space_after && index + 1 < parts.len() {
            text.push(' ');
        }
    }
    let weight = |token: &Token| {
        token
            .text
            .chars()
            .map(|c| if c.is_uppercase() { 2 } else { 1 })
            .sum::<usize>()
    };
    let heaviest = parts
        .iter()
        .rev()
        .max_by_key(|token| weight(token))
        .expect("a word has parts");
    Token {
        text,
        tag: heaviest.tag.clone(),
        space_after: parts[parts.len() - 1].space_after,
        sound: None,
        place: parts[0].place,
        alias: None,
        currency: parts.iter().filter_map(|part| part.currency).max(),
        apart: parts[0].apart,
    }
}

/// The sounds of a word's parts in one.
fn joined_sound(parts: &[Token]) -> String {
    let mut joined = String::new();
    for part in parts {
        let sound = part.sound.as_deref().unwrap_or_default();
        if part.apart
            && !sound.is_empty()
            && !joined.is_empty()
            && !joined.ends_with(char::is_whitespace)
        {
            joined.push(' ');
        }
        joined += sound;
    }
    joined
}

/// Takes stress from the shorter half of a compound's parts, so that one word sounds like one.
fn even_out_stress(parts: &mut [Token]) {
    let text = merged(parts).text;
    let kind = |c: char| {
        if c.is_alphabetic() {
            0
        } else if c.is_ascii_digit() {
            1
        } else {
            2
        }
    };
    let mut kinds: Vec<u8> = text
        .chars()
        .filter(|&c| !SILENT.contains(c))
        .map(kind)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let apart = text.contains([' ', '/']) || kinds.len() > 1;
    for part in parts.iter_mut().skip(1) {
        part.apart = apart;
    }
    if apart {
        return;
    }
    let sound = |part: &Token| part.sound.clone().unwrap_or_default();
    let mut spoken: Vec<(bool, usize, usize)> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let sound = sound(part);
        if !sound.is_empty() {
            spoken.push((sound.contains(PRIMARY), phonemes::weight(&sound), index));
        }
    }
    let weakened = match spoken.as_slice() {
        [first, second] if parts[first.2].text.chars().count() == 1 => vec![second.2],
        [] | [_] => return,
        all if all.iter().filter(|part| part.0).count() <= all.len().div_ceil(2) => return,
        _ => {
            spoken.sort_unstable();
            spoken[..spoken.len() / 2]
                .iter()
                .map(|part| part.2)
                .collect()
        }
    };
    for index in weakened {
        parts[index].sound = Some(Stress::Weaker.apply(&sound(&parts[index])));
    }
}

/// What espeak calls a symbol that stands in an unknown word.
fn symbol_sound(symbol: char) -> &'static str {
    match symbol {
        '/' => "slˈæʃ",
        '=' => "ˈikwᵊlz",
        '+' => "plˈʌs",
        '&' => "ænd",
        '@' => "æt",
        '%' => "pəɹsˈɛnt",
        '#' => "hˈæʃ",
        '*' => "ˈæstəɹˌɪsk",
        '~' => "tˈɪldə",
        '^' => "kˈɛɹət",
        '<' => "lˈɛs ðən",
        '>' => "ɡɹˈATəɹ ðən",
        '—' => "—",
        _ => "",
    }
}

/// The usual form of a typographic variant: straight quotes, plain digits, split ligatures.
fn plain_form(c: char) -> impl Iterator<Item = char> {
    let plain = match c {
        '‘' | '’' => '\'',
        '\u{a0}' => ' ',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁰' | '⁴'..='⁹' => char::from_digit(u32::from(c) - 0x2070, 10).unwrap_or(c),
        '₀'..='₉' => char::from_digit(u32::from(c) - 0x2080, 10).unwrap_or(c),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        'ﬁ' | 'ﬂ' | 'ﬀ' => 'f',
        c => c,
    };
    let second = match c {
        'ﬁ' => Some('i'),
        'ﬂ' => Some('l'),
        'ﬀ' => Some('f'),
        _ => None,
    };
    std::iter::once(plain).chain(second)
}
