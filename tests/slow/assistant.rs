//! The assistant on real weights: the reference recipe is nearly the original, and it hears and speaks.

use std::path::Path;
use std::process::Command;
use whittle::voice::WordErrors;

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

fn compress(recipe: &str, folder: &Path) -> String {
    let path = folder
        .join(recipe)
        .to_str()
        .expect("a UTF-8 path")
        .to_owned();
    run(&["compress", MODEL, "--recipe", recipe, "--out", &path]);
    path
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
    let eight = kl(&compress("reference-8bit", folder.path()));
    assert!(eight < 0.01, "{eight}");
    let ruin = kl(&compress("seed-extreme", folder.path()));
    assert!(ruin > 1.0, "{ruin}");
}

#[test]
fn a_spoken_question_gets_a_spoken_answer_that_its_own_recognizer_understands() {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = compress("balanced-4bit", folder.path());
    let answer = folder
        .path()
        .join("answer.wav")
        .to_str()
        .expect("a UTF-8 path")
        .to_owned();
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
    let echo = run(&["talk", &packed, "--in", &answer, "--out", &answer]);
    let heard = echo["heard"].as_str().expect("a text");
    let mut errors = WordErrors::default();
    errors.add(&text("said"), heard);
    assert!(
        errors.percent() <= 10.0,
        "said {}, heard {heard}",
        text("said")
    );
}
