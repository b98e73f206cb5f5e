//! The voice loop with real models and real speech.
//!
//! Models come from `WHITTLE_CACHE` or the user's cache folder, speech from Debian's
//! `pocketsphinx-testdata`. A test whose material is missing fails and says what to install.

use crate::models::installed;
use crate::sound_server::SoundServer;
use engine::dialogue::Dialogue;
use std::io::{BufRead as _, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use whittle::evaluate::tasks::parse;
use whittle::job::Job;
use whittle::speech::recognize::Recognizer;
use whittle::speech::resample::Resampler;
use whittle::speech::synthesize::Synthesizer;
use whittle::speech::{WordErrors, hear_tasks};
use whittle::voice::audio::{AudioError, LiveAudio, devices};
use whittle::voice::live::{LiveEvent, LiveVoice};
use whittle::voice::{
    Assistant, AssistantError, BargeIn, TurnEvent, VoiceError, speak_reply, talk, wav,
};

const SPEECH: &str = "/usr/share/pocketsphinx/test/data";

/// The folder of a model in the cache.
fn model(name: &str) -> PathBuf {
    installed(name).unwrap_or_else(|why| panic!("{why}"))
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

/// Answers with what it heard and a second sentence, a few letters at a time.
struct Parrot;

impl Assistant for Parrot {
    fn reply(
        &mut self,
        heard: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), AssistantError> {
        let answer = format!("You said: {heard} I will do that now.");
        for piece in answer.split_inclusive(' ') {
            if on_text(piece).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Says what is to be done and then that it was, a few letters at a time.
struct Home;

impl Assistant for Home {
    fn reply(
        &mut self,
        _heard: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), AssistantError> {
        let answer = "HassTurnOn@area kitchen@domain light\nThe kitchen light is on.";
        for piece in answer.as_bytes().chunks(3) {
            let piece = std::str::from_utf8(piece).expect("ASCII");
            assert!(on_text(piece).is_continue());
        }
        Ok(())
    }
}

#[test]
fn an_intent_line_is_answered_and_not_spoken() {
    let spoken = Mutex::new(Vec::new());
    let note = |event| {
        if let TurnEvent::Spoken { sentence, .. } = event {
            spoken.lock().unwrap().push(sentence);
        }
    };
    let question = "turn on the kitchen light".to_owned();
    let turn = speak_reply(&synthesizer(), &mut Home, question, &Job::silent(), &note).unwrap();
    assert!(turn.said.starts_with("HassTurnOn@area kitchen"), "{turn:?}");
    assert_eq!(spoken.into_inner().unwrap(), ["The kitchen light is on."]);
}

/// As the model is asked.
fn command_text(typed: &str) -> String {
    let mut room = vec![0; Dialogue::Commands.room(typed.len())];
    let said = Dialogue::Commands.said(typed, &mut room);
    said.unwrap().to_owned()
}

#[test]
fn the_command_of_a_task_goes_through_speech_and_its_context_does_not() {
    let file = br#"{"prompt": "here kitchen\nturn on the light", "answer": "Done."}
{"prompt": "what time is it", "answer": "Noon."}"#;
    let tasks = parse("two.jsonl", file, &Job::silent()).unwrap();
    let heard = hear_tasks(&tasks, &recognizer(), &synthesizer(), &Job::silent()).unwrap();
    let parts = heard.tasks.iter().map(|t| t.prompt.rsplit_once('\n'));
    let context: Vec<_> = parts
        .map(|parts| parts.map(|(context, _)| context))
        .collect();
    assert_eq!(context, [Some("here kitchen"), None]);
    let commands = heard.tasks.iter().map(|t| t.prompt.lines().next_back());
    let commands: Vec<_> = commands.map(|c| command_text(c.unwrap())).collect();
    assert_eq!(commands, ["turn on the light", "what time is it"]);
    assert_eq!(heard.tasks[0].said.as_ref(), Some(&tasks[0].prompt));
    assert_eq!((heard.word_errors.edits, heard.word_errors.words), (0, 8));
}

#[test]
fn a_recording_is_answered_with_a_recording() {
    let (recognizer, synthesizer) = (recognizer(), synthesizer());
    let folder = tempfile::tempdir().unwrap();
    let question = folder.path().join("question.wav");
    let samples = pcm("goforward.raw", 0);
    wav::write(
        &question,
        &wav::Recording {
            samples,
            sample_rate_hz: 16_000,
        },
    )
    .unwrap();
    let audio = wav::read_16k(&question).unwrap();

    let events = Mutex::new(Vec::new());
    let run = || {
        talk(
            &recognizer,
            &synthesizer,
            &mut Parrot,
            &audio,
            &Job::silent(),
            &|event| events.lock().unwrap().push(event),
        )
    };
    let turn = run().unwrap();
    println!("{:?}: {:?}, {:?}", turn.heard, turn.said, turn.timings);
    assert_eq!(
        WordErrors::default().add("go forward ten meters", &turn.heard),
        0
    );
    let audio_16k = Resampler::convert(&turn.audio_24k, 24_000, 16_000).unwrap();
    let understood = recognizer
        .recognize(&audio_16k, &Job::silent())
        .unwrap()
        .text;
    let mut errors = WordErrors::default();
    errors.add(&turn.said, &understood);
    assert!(errors.percent() <= 20.0, "{understood}");
    let spoken: Vec<TurnEvent> = events.into_inner().unwrap();
    let sentences = spoken
        .iter()
        .filter(|event| matches!(event, TurnEvent::Spoken { .. }))
        .count();
    assert_eq!(sentences, 2, "the answer is spoken sentence by sentence");
    let timings = turn.timings;
    assert!(
        timings.endpoint_ms < timings.recognize_ms
            && timings.recognize_ms <= timings.first_token_ms
    );
    assert!(
        timings.first_token_ms < timings.first_audio_ms
            && timings.first_audio_ms < timings.total_ms
    );

    let again = talk(
        &recognizer,
        &synthesizer,
        &mut Parrot,
        &audio,
        &Job::silent(),
        &|_| {},
    )
    .unwrap();
    assert_eq!(
        again.audio_24k, turn.audio_24k,
        "the same recording gives the same answer"
    );
    let silence = talk(
        &recognizer,
        &synthesizer,
        &mut Parrot,
        &[0.0; 32_000],
        &Job::silent(),
        &|_| {},
    );
    assert!(matches!(silence, Err(VoiceError::NoSpeech { .. })));
}

/// Runs one ignored test of this binary as a process of its own, because the sound server is found
/// through the environment. Calls `on_listening` once that process says that it listens.
fn run_apart(test: &str, address: &str, on_listening: impl FnOnce()) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", test])
        .env("PULSE_SERVER", address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut on_listening = Some(on_listening);
    let mut passed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        println!("  {line}");
        passed |= line.contains("1 passed");
        if line.contains("Listening")
            && let Some(on_listening) = on_listening.take()
        {
            on_listening();
        }
    }
    assert!(
        child.wait().unwrap().success() && passed,
        "{test} failed or did not run"
    );
}

#[test]
fn a_conversation_through_microphone_and_loudspeaker() {
    let server = SoundServer::start();
    let question = server.question(&pcm("goforward.raw", 0));
    let recording = server.record();
    run_apart(
        "voice::apart_a_question_is_answered_live",
        &server.address(),
        || {
            // The first two seconds after opening are irregular.
            std::thread::sleep(Duration::from_secs(2));
            server.speak(&question);
        },
    );
    let played = recording.stop();
    let understood = recognizer()
        .recognize(&loud_part(&played), &Job::silent())
        .unwrap()
        .text;
    println!("from the loudspeaker: {understood}");
    let mut errors = WordErrors::default();
    errors.add(
        "You said go forward ten meters. I will do that now. The kitchen is warm. Nobody is at home.",
        &understood,
    );
    assert!(errors.percent() <= 20.0, "{understood}");
}

/// From the first to the last sample that can be heard.
fn loud_part(audio: &[f32]) -> Vec<f32> {
    let loud = |sample: &&f32| sample.abs() > 0.01;
    let first = audio
        .iter()
        .position(|sample| loud(&sample))
        .expect("nothing was played");
    let last = audio.iter().rposition(|sample| loud(&sample)).unwrap();
    audio[first..=last].to_vec()
}

// Long: one conversation from its beginning to its end.
#[test]
#[ignore = "is run by a_conversation_through_microphone_and_loudspeaker"]
fn apart_a_question_is_answered_live() {
    let found = devices();
    assert!(
        !found.microphones.is_empty() && !found.speakers.is_empty(),
        "{found:?}"
    );
    let unknown = LiveAudio::open(Some("no such device"), None).unwrap_err();
    assert!(
        matches!(unknown, AudioError::UnknownDevice { .. }),
        "{unknown}"
    );

    let (recognizer, synthesizer) = (Arc::new(recognizer()), Arc::new(synthesizer()));
    let audio = LiveAudio::open(None, None).unwrap();
    let live = LiveVoice::start(
        recognizer,
        synthesizer,
        Box::new(Parrot),
        audio,
        BargeIn::Ignored,
    );
    let deadline = Instant::now() + Duration::from_secs(90);
    let turn = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match live
            .events
            .recv_timeout(left)
            .expect("an answer within 90 s")
        {
            LiveEvent::Finished(turn) => break turn,
            LiveEvent::Failed(why) => panic!("{why}"),
            // The first words may be cut off by the opening of the microphone.
            LiveEvent::NoAnswer(why) => println!("{why}"),
            LiveEvent::State(state) => println!("{state:?}"),
            LiveEvent::Turn(_) => {}
        }
    };
    println!(
        "{:?} {:?}, {} underruns",
        turn.heard,
        turn.timings,
        live.monitor.underruns()
    );
    assert_eq!(
        WordErrors::default().add("go forward ten meters", &turn.heard),
        0
    );
    assert!(live.monitor.input_heard());

    // Two answers to the same question, as the window replays it through both candidates.
    let (pieces, answers) = sync_channel(16);
    live.say("How is the house?".to_owned(), answers);
    for piece in [
        "The kitchen ",
        "is warm.",
        "\n",
        "Nobody ",
        "is at home.",
        "\n",
    ] {
        pieces.send(piece.to_owned()).unwrap();
    }
    drop(pieces);
    let mut sentences = Vec::new();
    let replay = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match live
            .events
            .recv_timeout(left)
            .expect("both answers within 90 s")
        {
            LiveEvent::Finished(turn) => break turn,
            LiveEvent::Failed(why) | LiveEvent::NoAnswer(why) => panic!("{why}"),
            LiveEvent::Turn(TurnEvent::Spoken { sentence, .. }) => sentences.push(sentence),
            LiveEvent::State(_) | LiveEvent::Turn(_) => {}
        }
    };
    assert_eq!(sentences, ["The kitchen is warm.", "Nobody is at home."]);
    assert_eq!(replay.heard, "How is the house?");
    live.stop();
}
