//! Word error rate, with numbers and titles written alike: "10" is "ten", "Mr." is "mister".
//!
//! Numbers are spelled as the synthesizer speaks them, by [`numbers`]: one that was spelled wrong would be no word error.
//! What numbers are called is tested there, against words that it did not make.

use super::numbers;

/// Edits and reference words, added up over utterances.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct WordErrors {
    /// Words to insert, delete or replace.
    pub edits: usize,
    /// Words in the reference.
    pub words: usize,
}

impl WordErrors {
    /// Compares one transcript with what was said and adds it up; returns this utterance's edits.
    pub fn add(&mut self, said: &str, heard: &str) -> usize {
        let (said, heard) = (spoken_words(said), spoken_words(heard));
        let edits = edit_distance(&said, &heard);
        self.edits += edits;
        self.words += said.len();
        edits
    }

    /// Edits for each hundred words.
    #[must_use]
    pub fn percent(&self) -> f64 {
        100.0 * self.edits as f64 / self.words.max(1) as f64
    }
}

/// The words as they are spoken, in lower case.
fn spoken_words(text: &str) -> Vec<String> {
    let text = text
        .to_lowercase()
        .replace('’', "'")
        .replace('%', " percent ");
    let words = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\''));
    let mut spoken = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        match word {
            "mr" => spoken.push("mister".to_owned()),
            "mrs" => spoken.push("missus".to_owned()),
            "dr" => spoken.push("doctor".to_owned()),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => spoken.extend(spelled(digits)),
            word => spoken.push(word.to_owned()),
        }
    }
    spoken
}

/// The words of a number; "and" is said or left out, and counts as neither.
fn spelled(digits: &str) -> Vec<String> {
    let spelled = numbers::cardinal(digits);
    let words = spelled.split([' ', '-', ',']);
    words
        .filter(|word| !matches!(*word, "" | "and"))
        .map(str::to_owned)
        .collect()
}

/// Levenshtein distance over words.
fn edit_distance(from: &[String], to: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_errors_count_what_a_listener_would() {
        let errors = |said, heard| WordErrors::default().add(said, heard);
        assert_eq!(
            errors("Mr. Dashwood had 10 cats.", "mister dashwood had ten cats"),
            0
        );
        assert_eq!(errors("go forward ten meters", "go forward meters"), 1);
        assert_eq!(errors("a b", "a x b y"), 2);
        assert_eq!(errors("1215", "one thousand two hundred fifteen"), 0);
        assert_eq!(errors("5000000000", "five billion"), 0);
        assert_eq!(errors("007", "seven"), 0);
        assert_eq!(errors("21st", "twenty first"), 2);
    }

    #[test]
    fn a_number_is_measured_in_the_words_in_which_it_is_spoken() {
        for digits in ["0", "13", "40", "99", "110", "1001", "1234", "2000000"] {
            let spoken = numbers::cardinal(digits).replace(" and ", " ");
            assert_eq!(WordErrors::default().add(digits, &spoken), 0, "{spoken}");
            assert_eq!(WordErrors::default().add(&spoken, digits), 0, "{spoken}");
        }
    }
}
