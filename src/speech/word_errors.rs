//! Word error rate, with numbers and titles written alike: "10" is "ten", "Mr." is "mister".

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
        match (word, word.parse::<u32>()) {
            (_, Ok(number)) => spell(number, &mut spoken),
            ("mr", _) => spoken.push("mister".to_owned()),
            ("mrs", _) => spoken.push("missus".to_owned()),
            ("dr", _) => spoken.push("doctor".to_owned()),
            (word, Err(_)) => spoken.push(word.to_owned()),
        }
    }
    spoken
}

fn spell(number: u32, into: &mut Vec<String>) {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = [
        "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ];
    for (size, name) in [(1_000_000, "million"), (1000, "thousand"), (100, "hundred")] {
        if number >= size {
            spell(number / size, into);
            into.push(name.to_owned());
            if !number.is_multiple_of(size) {
                spell(number % size, into);
            }
            return;
        }
    }
    match number {
        0..20 => into.push(SMALL[number as usize].to_owned()),
        _ => {
            into.push(TENS[number as usize / 10 - 2].to_owned());
            if !number.is_multiple_of(10) {
                spell(number % 10, into);
            }
        }
    }
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
    }
}
