//! Texts that models are calibrated and measured on: apart from each other, and as their README lists them.

use sha2::{Digest, Sha256};
use std::collections::HashSet;

const README: &str = include_str!("../assets/texts/README.md");
const CALIBRATION: &str = include_str!("../assets/texts/calibration.txt");
const EVALUATION: [(&str, &str); 2] = [
    (
        "evaluation.txt",
        include_str!("../assets/texts/evaluation.txt"),
    ),
    (
        "evaluation-mixed.txt",
        include_str!("../assets/texts/evaluation-mixed.txt"),
    ),
];
const WORDS: usize = 8;
const CHARACTERS: usize = 40;

/// Words in lower case, without the quotes and dashes that sources write in more than one way.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Every run of eight words and of forty characters.
fn runs(text: &str) -> HashSet<String> {
    let words = words(text);
    let line: Vec<char> = words.join(" ").chars().collect();
    let of_words = words.windows(WORDS).map(|run| run.join(" "));
    let of_characters = line.windows(CHARACTERS).map(|run| run.iter().collect());
    of_words.chain(of_characters).collect()
}

#[test]
fn calibration_and_evaluation_share_no_sentence() {
    let calibration = runs(CALIBRATION);
    for (name, text) in EVALUATION {
        let shared = runs(text);
        let shared: Vec<_> = shared.intersection(&calibration).take(3).collect();
        assert!(shared.is_empty(), "{name} shares {shared:?}");
    }
    // The check would find what is shared.
    let borrowed: String = EVALUATION[0].1.chars().skip(5000).take(200).collect();
    assert!(!runs(&borrowed).is_disjoint(&runs(EVALUATION[0].1)));
}

#[test]
fn the_list_of_texts_has_their_hashes_and_lengths() {
    for (name, text) in [&[("calibration.txt", CALIBRATION)][..], &EVALUATION].concat() {
        let hash: String = Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let row = README
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}`")));
        let row = row.unwrap_or_else(|| panic!("no row for {name}"));
        assert!(row.contains(&hash), "{name} has the hash {hash}");
        assert!(
            row.contains(&format!("| {} |", text.len())),
            "{name} has {} bytes",
            text.len()
        );
    }
}

#[test]
fn every_beginning_of_the_calibration_text_is_a_mix() {
    // The first sixteenth already has talk, a command with its intent, and prose in long lines.
    let start = &CALIBRATION.as_bytes()[..CALIBRATION.len() / 16];
    let start = String::from_utf8_lossy(start);
    assert!(start.contains("\nA: ") && start.contains("\nHass"));
    assert!(start.lines().any(|line| line.len() > 1000));
}
