//! The assistant on real weights: the reference recipe is nearly the original, and it hears and speaks.

use crate::models::installed;
use std::path::Path;
use std::process::Command;
use whittle::job::Job;
use whittle::packed::intent::{AnswerParts, IntentLine};
use whittle::speech::synthesize::Synthesizer;
use whittle::speech::{SYNTHESIZER, WordErrors};
use whittle::voice::wav::{self, Recording};

const MODEL: &str = "smollm2-135m";

fn run(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_whittle"))
        .args(arguments)
        .arg("--json")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn compress(model: &str, recipe: &str, folder: &Path) -> String {
    let path = in_folder(folder, recipe);
    run(&["compress", model, "--recipe", recipe, "--out", &path]);
    path
}

fn in_folder(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    path.to_str().expect("a UTF-8 path").to_owned()
}

fn kl(path: &str) -> f64 {
    let text = "assets/texts/evaluation.txt";
    let report = run(&[
        "eval",
        path,
        "--reference",
        MODEL,
        "--text",
        text,
        "--tokens",
        "512",
    ]);
    report["kl_mean"].as_f64().expect("a number")
}

#[test]
fn eight_bits_are_hardly_to_be_told_from_the_original_and_the_seed_recipe_is_ruin() {
    let folder = tempfile::tempdir().expect("a folder");
    let eight = kl(&compress(MODEL, "reference-8bit", folder.path()));
    assert!(eight < 0.01, "{eight}");
    let ruin = kl(&compress(MODEL, "seed-extreme", folder.path()));
    assert!(ruin > 1.0, "{ruin}");
}

#[test]
fn a_spoken_question_gets_a_spoken_answer_that_its_own_recognizer_understands() {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = compress(MODEL, "balanced-4bit", folder.path());
    let answer = in_folder(folder.path(), "answer.wav");
    let turn = run(&[
        "talk",
        &packed,
        "--in",
        "assets/speech/go-forward.wav",
        "--out",
        &answer,
    ]);
    let text = |key: &str| turn[key].as_str().expect("a text").to_owned();
    let edits = WordErrors::default().add("go forward ten meters", &text("heard"));
    assert_eq!(edits, 0, "{}", text("heard"));
    for key in [
        "endpoint_ms",
        "recognize_ms",
        "first_token_ms",
        "first_audio_ms",
        "total_ms",
    ] {
        assert!(turn[key].as_f64().expect("milliseconds") > 0.0, "{key}");
    }
    // The answer as a question: what is heard is what was said.
    let echo = in_folder(folder.path(), "echo.wav");
    let echo = run(&["talk", &packed, "--in", &answer, "--out", &echo]);
    let heard = echo["heard"].as_str().expect("a text");
    let mut errors = WordErrors::default();
    errors.add(&text("said"), heard);
    assert!(
        errors.percent() <= 10.0,
        "said {}, heard {heard}",
        text("said")
    );
}

/// A recording of this sentence, as the synthesizer says it.
fn spoken(sentence: &str, folder: &Path) -> String {
    let model = installed(SYNTHESIZER).unwrap_or_else(|why| panic!("{why}"));
    let synthesizer = Synthesizer::load(&model, &Job::silent()).expect("a voice");
    let audio = synthesizer.synthesize(sentence).expect("audio");
    let recording = Recording {
        samples: [vec![0.0; 6000], audio].concat(),
        sample_rate_hz: 24_000,
    };
    let path = in_folder(folder, "question.wav");
    wav::write(Path::new(&path), &recording).expect("a file");
    path
}

#[test]
fn hearth_hears_a_command_and_speaks_only_the_reply() {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = compress("hearth", "balanced-4bit", folder.path());
    let question = spoken("Turn on the kitchen light.", folder.path());
    let answer = in_folder(folder.path(), "answer.wav");

    let turn = run(&["talk", &packed, "--in", &question, "--out", &answer]);
    let text = |key: &str| turn[key].as_str().expect("a text").to_owned();
    // As the recognizer writes it; the model is asked without capitals and the stop.
    assert_eq!(text("heard").trim(), "Turn on the kitchen light.");
    let said = text("said");
    let AnswerParts { line, reply } = AnswerParts::of(&said);
    let intent = line.and_then(IntentLine::parse).expect("an intent line");
    assert_eq!(intent.intent, "HassTurnOn");
    assert_eq!(intent.slots["area"], "kitchen");
    // The answer as a question: what is heard is the reply.
    let echo = in_folder(folder.path(), "echo.wav");
    let echo = run(&["talk", &packed, "--in", &answer, "--out", &echo]);
    let heard = echo["heard"].as_str().expect("a text");
    let mut errors = WordErrors::default();
    errors.add(reply, heard);
    assert!(errors.percent() <= 25.0, "reply {reply}, heard {heard}");
}

/// The board's turn: heard here, answered there, spoken here.
#[cfg(all(unix, feature = "flash"))]
#[test]
fn a_board_answers_a_spoken_question_aloud() {
    use std::os::unix::fs::symlink;
    use whittle::speech::RECOGNIZER;
    use whittle::speech::recognize::Recognizer;
    let folder = tempfile::tempdir().expect("a folder");
    // An account of its own, whose emulated board is new.
    let cache = folder.path().join("cache");
    std::fs::create_dir_all(cache.join("models")).expect("a folder");
    for name in [RECOGNIZER, SYNTHESIZER] {
        let model = installed(name).unwrap_or_else(|why| panic!("{why}"));
        symlink(model, cache.join("models").join(name)).expect("a link");
    }
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_whittle"))
            .args(arguments)
            .arg("--json")
            .env("WHITTLE_CACHE", &cache)
            .output()
            .expect("the program starts");
        let said = serde_json::from_slice::<serde_json::Value>(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (said.unwrap_or_else(|_| panic!("{error}")), error)
    };
    let path = |name: &str| in_folder(folder.path(), name);
    let (packed, other) = (path("hearth.whittle"), path("other.whittle"));
    for (recipe, file) in [("balanced-4bit", &packed), ("seed-extreme", &other)] {
        run(&[
            "compress",
            "hearth",
            "--recipe",
            recipe,
            "--kv-bits",
            "8",
            "--out",
            file,
        ]);
    }
    run(&["flash", &packed, "--board", "esp32-c3", "--port", SIM]);

    let question = spoken("Turn on the kitchen light.", folder.path());
    let answer = path("answer.wav");
    let talk = ["--port", SIM, "--in", &question, "--out", &answer];
    let (turn, _) = run(&[&["talk", &packed], &talk[..]].concat());
    let board = &turn["board"];
    assert_eq!(board["same_here"], true, "{board}");
    assert_eq!(board["hello"]["board"], "esp32c3");
    assert_eq!(board["estimated"]["board"], "esp32-c3");
    // As the board answers in writing.
    let hash = board["logits_hash"].as_str().expect("a hash");
    assert_eq!(hash, "63d6c2efa4fe8df4");
    for key in ["recognize_ms", "first_token_ms", "first_audio_ms"] {
        assert!(turn[key].as_f64().expect("milliseconds") > 0.0, "{key}");
    }
    let said = turn["said"].as_str().expect("a text");
    assert_eq!(said, board["text"].as_str().expect("a text").trim());
    let AnswerParts { line, reply } = AnswerParts::of(said);
    assert_eq!(line, Some("HassTurnOn@area kitchen@domain light"));
    // Only the reply is in the recording of the answer, and it is understood.
    let model = installed(RECOGNIZER).expect("a recognizer");
    let recognizer = Recognizer::load(&model, &Job::silent()).expect("a recognizer");
    let audio = wav::read_16k(Path::new(&answer)).expect("a recording");
    let heard = recognizer.recognize(&audio, &Job::silent()).expect("words");
    let mut errors = WordErrors::default();
    errors.add(reply, &heard.text);
    assert!(errors.percent() <= 25.0, "{reply}, heard {}", heard.text);

    // Nobody says what it should be: it just answers. Another model is told, and no success.
    let (turn, _) = run(&[&["talk"], &talk[..]].concat());
    assert_eq!(
        (&turn["board"]["same_here"], &turn["board"]["differs"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    let (turn, error) = run(&[&["talk", &other], &talk[..]].concat());
    assert_eq!(turn["board"]["logits_hash"], hash);
    assert!(error.contains("the board runs another model: "), "{error}");
}

/// The port of the emulated board.
#[cfg(all(unix, feature = "flash"))]
const SIM: &str = "sim:esp32-c3";
