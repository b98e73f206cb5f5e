//! Part-of-speech tags (Penn Treebank) by an averaged perceptron: "read" and "live" sound different
//! as a noun, a verb or a past tense.
//!
//! A word with one usual tag is answered from a table; the others from the weights of features of
//! the word, its neighbours and the two tags before it.

use super::super::SynthesizeError;
use super::tables;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// `tagger.json.gz`.
#[derive(Deserialize)]
struct Table {
    tags: Vec<String>,
    tagdict: HashMap<String, String>,
    vocab: HashSet<String>,
    weights: HashMap<String, HashMap<String, f64>>,
}

/// The trained tagger.
#[derive(Debug)]
pub(super) struct Tagger {
    /// In alphabetical order, so that a later index wins a tie as in the original.
    tags: Vec<String>,
    usual: HashMap<String, usize>,
    known: HashSet<String>,
    /// Feature to (index of the tag, weight).
    weights: HashMap<String, Box<[(usize, f64)]>>,
}

impl Tagger {
    /// Reads `tagger.json.gz` from `folder`.
    ///
    /// # Errors
    /// When it cannot be read or names a tag that it does not list.
    pub(super) fn load(folder: &Path) -> Result<Self, SynthesizeError> {
        const FILE: &str = "tagger.json.gz";
        let table: Table = tables::read(folder, FILE)?;
        let mut tags = table.tags;
        tags.sort();
        tags.dedup();
        let index: HashMap<String, usize> = tags.iter().cloned().zip(0..).collect();
        let find = |tag: &str| {
            index
                .get(tag)
                .copied()
                .ok_or_else(|| SynthesizeError::Malformed {
                    path: folder.join(FILE),
                    why: format!("the tag {tag:?} is not listed"),
                })
        };
        let usual = table
            .tagdict
            .into_iter()
            .map(|(word, tag)| Ok((word, find(&tag)?)));
        let usual = usual.collect::<Result<_, SynthesizeError>>()?;
        let weights = table.weights.into_iter().map(|(feature, weights)| {
            let weights = weights
                .into_iter()
                .map(|(tag, weight)| Ok((find(&tag)?, weight)));
            Ok((feature, weights.collect::<Result<_, SynthesizeError>>()?))
        });
        let weights = weights.collect::<Result<_, SynthesizeError>>()?;
        Ok(Self {
            tags,
            usual,
            known: table.vocab,
            weights,
        })
    }

    /// A tag for each word.
    pub(super) fn tags<'a>(&'a self, words: &[&str]) -> Vec<&'a str> {
        let mut context = vec!["-START2-".to_owned(), "-START-".to_owned()];
        context.extend(words.iter().map(|word| {
            let normal = normal_form(word);
            if self.known.contains(&normal) {
                normal
            } else {
                format!("<{}>", shape(word))
            }
        }));
        context.extend(["-END-".to_owned(), "-END2-".to_owned()]);
        let mut tags: Vec<&str> = Vec::with_capacity(words.len());
        for (index, word) in words.iter().enumerate() {
            let tag = match self.usual.get(*word) {
                Some(&tag) => &self.tags[tag],
                None => {
                    let previous = tags.last().copied().unwrap_or("-START-");
                    let before = match index {
                        0 => "-START2-",
                        1 => "-START-",
                        _ => tags[index - 2],
                    };
                    self.predict(&features(index, word, &context, previous, before))
                }
            };
            tags.push(tag);
        }
        tags
    }

    fn predict(&self, features: &[String]) -> &str {
        let mut scores = vec![0.0; self.tags.len()];
        let mut scored = false;
        for weights in features
            .iter()
            .filter_map(|feature| self.weights.get(feature))
        {
            scored = true;
            for &(tag, weight) in weights {
                scores[tag] += weight;
            }
        }
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        match best {
            Some(best) if scored => &self.tags[best],
            Some(_) | None => "NN",
        }
    }
}

fn features(
    index: usize,
    word: &str,
    context: &[String],
    previous: &str,
    before: &str,
) -> [String; 15] {
    let at = index + 2;
    let around = |offset: isize| context[at.wrapping_add_signed(offset)].as_str();
    [
        "b".to_owned(),
        format!("s3={}", last_three(word)),
        format!(
            "p1={}",
            word.chars().next().map(String::from).unwrap_or_default()
        ),
        format!("w={}", around(0)),
        format!("sh={}", shape(word)),
        if index == 0 { "i0" } else { "i+" }.to_owned(),
        format!("t-1={previous}"),
        format!("t-2={before}"),
        format!("t-12={previous},{before}"),
        format!("w-1={}", around(-1)),
        format!("s3-1={}", last_three(around(-1))),
        format!("w-2={}", around(-2)),
        format!("w+1={}", around(1)),
        format!("s3+1={}", last_three(around(1))),
        format!("w+2={}", around(2)),
    ]
}

fn last_three(word: &str) -> &str {
    word.char_indices()
        .rev()
        .nth(2)
        .map_or(word, |(at, _)| &word[at..])
}

/// The word as the table of known words has it.
fn normal_form(word: &str) -> String {
    let digits = word.chars().all(char::is_numeric);
    if word.contains('-') && !word.starts_with('-') {
        "!HYPHEN".to_owned()
    } else if digits && word.chars().count() == 4 {
        "!YEAR".to_owned()
    } else if word.starts_with(char::is_numeric) {
        "!DIGITS".to_owned()
    } else {
        word.to_lowercase()
    }
}

/// The word's pattern of capitals and digits.
fn shape(word: &str) -> String {
    let all = |test: fn(char) -> bool| word.chars().all(test);
    if all(char::is_alphabetic) {
        let tail_is_lower = word.chars().skip(1).all(char::is_lowercase);
        if all(char::is_lowercase) {
            "x"
        } else if all(char::is_uppercase) {
            if word.chars().count() > 1 { "XX" } else { "X1" }
        } else if word.starts_with(char::is_uppercase) && tail_is_lower {
            "Xx"
        } else {
            "xX"
        }
        .to_owned()
    } else if all(char::is_numeric) {
        "d".to_owned()
    } else {
        let symbol = |c: char| {
            if c.is_numeric() {
                'd'
            } else if c.is_alphabetic() {
                'x'
            } else {
                c
            }
        };
        word.chars().take(4).map(symbol).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_normal_forms() {
        for (word, expected) in [
            ("cat", "x"),
            ("A", "X1"),
            ("USA", "XX"),
            ("Cat", "Xx"),
            ("iPod", "xX"),
            ("42", "d"),
            ("3rd-x", "dxx-"),
        ] {
            assert_eq!(shape(word), expected, "{word}");
        }
        for (word, expected) in [
            ("Cat", "cat"),
            ("well-read", "!HYPHEN"),
            ("1984", "!YEAR"),
            ("42", "!DIGITS"),
            ("-", "-"),
        ] {
            assert_eq!(normal_form(word), expected, "{word}");
        }
        assert_eq!((last_three("walking"), last_three("é")), ("ing", "é"));
    }
}
