//! The voice loop with real models and real speech.
//!
//! Models come from `WHITTLE_CACHE` or the user's cache folder, speech from Debian's
//! `pocketsphinx-testdata`. A test whose material is missing fails and says what to install.

use crate::word_errors::WordErrors;
use std::path::{Path, PathBuf};
use std::time::Instant;
use whittle::job::Job;
use whittle::voice::recognize::Recognizer;
use whittle::voice::resample::Resampler;
use whittle::voice::synthesize::Synthesizer;

const SPEECH: &str = "/usr/share/pocketsphinx/test/data";

/// The folder of a model in the cache.
fn model(name: &str) -> PathBuf {
    let cache = std::env::var_os("WHITTLE_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let dirs = directories::ProjectDirs::from("", "", "whittle").expect("a home folder");
            dirs.cache_dir().to_owned()
        });
    let folder = cache.join("models").join(name);
    assert!(
        folder.is_dir(),
        "{} is missing: fetch the model {name} first",
        folder.display()
    );
    folder
}

fn recognizer() -> Recognizer {
    Recognizer::load(&model("whisper-tiny.en"), &Job::silent()).unwrap()
}

/// 16-bit little-endian samples at 16 kHz, after `header` bytes.
fn pcm(path: &str, header: usize) -> Vec<f32> {
    let path = Path::new(SPEECH).join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; install pocketsphinx-testdata", path.display())
    });
    bytes[header..]
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0)
        .collect()
}

/// The ten recordings with what is said in them; one word of the published transcript is corrected.
const RECORDINGS: [(&str, &str); 10] = [
    (
        "librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
        "and mister john dashwood had then leisure to consider how much there might be prudently in his power to do for them",
    ),
    (
        "librivox/sense_and_sensibility_01_austen_64kb-0880.wav",
        "he was not an ill disposed young man",
    ),
    (
        "librivox/sense_and_sensibility_01_austen_64kb-0890.wav",
        "unless to be rather cold hearted and rather selfish is to be ill disposed",
    ),
    (
        "librivox/sense_and_sensibility_01_austen_64kb-0920.wav",
        "had he married a more amiable woman he might have been made still more respectable than he was",
    ),
    (
        "librivox/sense_and_sensibility_01_austen_64kb-0930.wav",
        "he might even have been made amiable himself",
    ),
    ("cards/001.wav", "ten of clubs"),
    ("cards/002.wav", "four queen of clubs"),
    ("cards/003.wav", "seven of clubs"),
    ("cards/004.wav", "five five"),
    (
        "cards/005.wav",
        "eight of spades four of clubs seven of hearts",
    ),
];

/// CPU seconds that this process has used.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The most memory that this process has used, in MB.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}

#[test]
fn a_command_is_recognized() {
    let audio = pcm("goforward.raw", 0);
    let transcript = recognizer().recognize(&audio, &Job::silent()).unwrap();
    let mut errors = WordErrors::default();
    assert_eq!(
        errors.add("go forward ten meters", &transcript.text),
        0,
        "{transcript:?}"
    );
}

#[test]
fn ten_recordings_are_recognized() {
    let before_mb = peak_memory_mb();
    let recognizer = recognizer();
    let mut errors = WordErrors::default();
    let (mut audio_secs, cpu_before, begun) = (0.0, cpu_secs(), Instant::now());
    for (path, said) in RECORDINGS {
        let audio = pcm(path, 44);
        let transcript = recognizer.recognize(&audio, &Job::silent()).unwrap();
        audio_secs += audio.len() as f64 / 16_000.0;
        let edits = errors.add(said, &transcript.text);
        println!("{edits} {path}: {transcript:?}");
    }
    let cpu = cpu_secs() - cpu_before;
    println!(
        "{:.1} % of {} words wrong; {audio_secs:.1} s of audio, {cpu:.2} CPU s ({:.3} a second), {:.2} s; {:.0} MB more at the peak",
        errors.percent(),
        errors.words,
        cpu / audio_secs,
        begun.elapsed().as_secs_f64(),
        peak_memory_mb() - before_mb,
    );
    assert!(errors.percent() < 8.0, "{errors:?}");
}

fn synthesizer() -> Synthesizer {
    Synthesizer::load(&model("hibari"), &Job::silent()).unwrap()
}

/// Sentences with what hibari's own front end (0.2.1, Python) makes of them.
const PHONEMES: &str = include_str!("data/phonemes.tsv");

#[test]
fn text_becomes_the_phonemes_of_the_reference() {
    let synthesizer = synthesizer();
    let mut different = 0;
    for line in PHONEMES.lines() {
        let (text, expected) = line.split_once('\t').unwrap();
        let found = synthesizer.phonemes(text).unwrap().join(" ");
        if found.trim() != expected {
            different += 1;
            println!("{text}\n  expected {expected}\n  found    {found}");
        }
    }
    assert_eq!(different, 0, "of {}", PHONEMES.lines().count());
}

const SENTENCES: [&str; 10] = [
    "Good morning, how can I help you today?",
    "The kitchen light is now switched off.",
    "I have set a timer for ten minutes.",
    "It will rain in the afternoon, so take an umbrella.",
    "The front door is locked and the alarm is on.",
    "There are twenty four emails waiting for you.",
    "Water boils at one hundred degrees.",
    "Your next meeting starts at half past three.",
    "The robot moved forward and stopped at the wall.",
    "Please say that again, I did not hear you.",
];

#[test]
fn what_is_spoken_is_understood() {
    let (synthesizer, recognizer) = (synthesizer(), recognizer());
    let mut errors = WordErrors::default();
    let (mut audio_secs, mut cpu) = (0.0, 0.0);
    for sentence in SENTENCES {
        let before = cpu_secs();
        let audio = synthesizer.synthesize(sentence).unwrap();
        cpu += cpu_secs() - before;
        audio_secs += audio.len() as f64 / 24_000.0;
        assert_eq!(
            audio,
            synthesizer.synthesize(sentence).unwrap(),
            "the same text gives the same samples"
        );
        let audio = Resampler::convert(&audio, 24_000, 16_000).unwrap();
        let transcript = recognizer.recognize(&audio, &Job::silent()).unwrap();
        println!(
            "{} {sentence} | {}",
            errors.add(sentence, &transcript.text),
            transcript.text
        );
    }
    println!(
        "{:.1} % of {} words wrong; {:.3} CPU s a second",
        errors.percent(),
        errors.words,
        cpu / audio_secs
    );
    assert!(errors.percent() <= 10.0, "{errors:?}");
}

#[test]
fn text_without_words_gives_silence_and_no_error() {
    let synthesizer = synthesizer();
    for text in ["", "   \n", "😀", "...", "🎉🎉!", "\u{200b}", "()"] {
        let audio = synthesizer.synthesize(text).unwrap();
        assert!(
            audio.len() < 48_000,
            "{text:?} gave {} samples",
            audio.len()
        );
    }
    assert!(!synthesizer.synthesize(&"9".repeat(500)).unwrap().is_empty());
    assert!(
        !synthesizer
            .synthesize("一二三 Ωmega x".repeat(20).as_str())
            .unwrap()
            .is_empty()
    );
}
