//! The phoneme alphabet, and how stress moves within a word.
//!
//! The alphabet is misaki's: IPA with capitals for diphthongs (`A` as in "day", `I` "my", `O` "go",
//! `Q` British "go", `W` "how", `Y` "boy"); a stress mark stands before its vowel.

/// Main stress.
pub(super) const PRIMARY: char = 'ˈ';
/// Lesser stress.
pub(super) const SECONDARY: char = 'ˌ';
/// Punctuation that the model reads as a pause, without quotation marks.
pub(super) const PAUSES: &str = ";:,.!?—…";

/// Whether a phoneme is a vowel.
pub(super) fn is_vowel(phoneme: char) -> bool {
    "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ".contains(phoneme)
}

/// Whether a phoneme is a consonant.
pub(super) fn is_consonant(phoneme: char) -> bool {
    "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ".contains(phoneme)
}

/// Whether an American "t" between this phoneme and a vowel becomes a tap, as in "waiting".
pub(super) fn makes_tap(phoneme: char) -> bool {
    "AIOWYiuæɑəɛɪɹʊʌ".contains(phoneme)
}

/// How much a word's place or spelling changes its stress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stress {
    /// Takes every mark away.
    None,
    /// Makes main stress lesser; adds nothing.
    Weaker,
    /// Makes main stress lesser; adds lesser stress where there is none.
    Lesser,
    /// Adds lesser stress where there is none: a capitalized word.
    Slight,
    /// Gives main stress: a word in capitals.
    Strong,
}

impl Stress {
    /// Applies the change to a word's phonemes.
    pub(super) fn apply(self, phonemes: &str) -> String {
        let (primary, secondary) = (phonemes.contains(PRIMARY), phonemes.contains(SECONDARY));
        match self {
            Self::None => phonemes.replace([PRIMARY, SECONDARY], ""),
            Self::Weaker | Self::Lesser if primary => {
                phonemes.replace(SECONDARY, "").replace(PRIMARY, "ˌ")
            }
            Self::Lesser | Self::Slight if !primary && !secondary => {
                mark_first_vowel(phonemes, SECONDARY)
            }
            Self::Strong if !primary && secondary => phonemes.replace(SECONDARY, "ˈ"),
            Self::Strong if !primary => mark_first_vowel(phonemes, PRIMARY),
            Self::Weaker | Self::Lesser | Self::Slight | Self::Strong => phonemes.to_owned(),
        }
    }
}

fn mark_first_vowel(phonemes: &str, mark: char) -> String {
    let mut marked = phonemes.to_owned();
    if let Some(at) = phonemes.find(is_vowel) {
        marked.insert(at, mark);
    }
    marked
}

/// How long a word sounds: phonemes, diphthongs and affricates counting twice.
pub(super) fn weight(phonemes: &str) -> usize {
    phonemes
        .chars()
        .map(|phoneme| if "AIOQWYʤʧ".contains(phoneme) { 2 } else { 1 })
        .sum()
}

/// The plural or third person of a word.
pub(super) fn with_s(stem: &str) -> Option<String> {
    let ending = match stem.chars().last()? {
        'p' | 't' | 'k' | 'f' | 'θ' => "s",
        's' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ' => "ᵻz",
        _ => "z",
    };
    Some(format!("{stem}{ending}"))
}

/// The past tense of a word.
pub(super) fn with_ed(stem: &str) -> Option<String> {
    let mut reversed = stem.chars().rev();
    let last = reversed.next()?;
    Some(match (last, reversed.next()) {
        ('p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ', _) => format!("{stem}t"),
        ('d', _) => format!("{stem}ᵻd"),
        ('t', None) => format!("{stem}ɪd"),
        ('t', Some(before)) if makes_tap(before) => format!("{}ɾᵻd", &stem[..stem.len() - 1]),
        ('t', Some(_)) => format!("{stem}ᵻd"),
        _ => format!("{stem}d"),
    })
}

/// The present participle of a word.
pub(super) fn with_ing(stem: &str) -> Option<String> {
    let mut reversed = stem.chars().rev();
    let last = reversed.next()?;
    Some(match reversed.next() {
        Some(before) if last == 't' && makes_tap(before) => {
            format!("{}ɾɪŋ", &stem[..stem.len() - 1])
        }
        _ => format!("{stem}ɪŋ"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stress_changes_as_its_name_says() {
        let check = |stress: Stress, phonemes: &str, expected: &str| {
            assert_eq!(stress.apply(phonemes), expected, "{stress:?}")
        };
        check(Stress::None, "pˈYnt", "pYnt");
        check(
            Stress::Weaker,
            "hˈɛlˌO",
            "hɛlˌO".replace('ɛ', "ˌɛ").replace("lˌO", "lO").as_str(),
        );
        check(Stress::Weaker, "ðə", "ðə");
        check(Stress::Lesser, "ðə", "ðˌə");
        check(Stress::Slight, "kˈæt", "kˈæt");
        check(Stress::Slight, "kæt", "kˌæt");
        check(Stress::Strong, "kˌæt", "kˈæt");
        check(Stress::Strong, "kæt", "kˈæt");
        check(Stress::Strong, "pst", "pst");
    }

    #[test]
    fn endings_agree_with_the_sound_before_them() {
        assert_eq!(with_s("kˈæt").as_deref(), Some("kˈæts"));
        assert_eq!(with_s("bˈʌs").as_deref(), Some("bˈʌsᵻz"));
        assert_eq!(with_ed("wˈAt").as_deref(), Some("wˈAɾᵻd"));
        assert_eq!(with_ed("wˈɔk").as_deref(), Some("wˈɔkt"));
        assert_eq!(with_ing("wˈAt").as_deref(), Some("wˈAɾɪŋ"));
        assert_eq!(with_s(""), None);
    }
}
