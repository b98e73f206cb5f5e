//! A model of 1.5 billion parameters: `make test-large`.

use std::process::Command;

/// Loads, compresses, answers; running takes at most packed size + KV + 300 MB.
#[test]
#[ignore = "1.1 GB of model and 4 GB of memory: make test-large"]
fn qwen_1_5b_is_compressed_and_answers_in_the_memory_that_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("qwen.whittle");
    let run = |arguments: &[&str]| -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_whittle"))
            .args(arguments)
            .arg("--json")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let path = packed.to_str().unwrap();
    let report = run(&[
        "compress",
        "qwen2.5-coder-1.5b",
        "--recipe",
        "balanced-4bit",
        "--out",
        path,
    ]);
    assert!(
        report["bits_per_weight"].as_f64().unwrap() < 5.6,
        "{}",
        report["bits_per_weight"]
    );
    let answer = run(&[
        "chat",
        path,
        "--prompt",
        "What is the capital of France?",
        "--max-tokens",
        "16",
    ]);
    assert!(
        answer["text"].as_str().unwrap().contains("Paris"),
        "{answer}"
    );
    let bench = run(&["bench", path, "--repetitions", "1"]);
    let number = |key: &str| bench[key].as_u64().unwrap();
    let allowed = number("file_bytes") + number("kv_cache_bytes") + 300_000_000;
    assert!(
        number("peak_rss_bytes") <= allowed,
        "{} of {allowed} bytes",
        number("peak_rss_bytes")
    );
}

/// A model of this size answers on a board that runs Linux, emulated, as it does here.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "1.1 GB of model and 4 GB of memory: make test-large"]
fn qwen_1_5b_answers_on_a_board_that_runs_linux() {
    use crate::linux::{Running, ask, built};
    use crate::required::required;
    let Some(program) = required(built()) else {
        return;
    };
    let Some(folder) = required(crate::models::installed("qwen2.5-coder-1.5b")) else {
        return;
    };
    let job = whittle::job::Job::silent();
    let file = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "gguf"))
        .expect("a GGUF file");
    let model = whittle::model::Model::load(&file, &job).unwrap();
    let recipe = whittle::recipe::Recipe::open("balanced-4bit").unwrap();
    let compressed = whittle::compress::compress(&model, &recipe, &job).unwrap();
    let packed = whittle::packed::PackedModel::pack(&model, &compressed, &job).unwrap();
    drop((compressed, model));
    let running = Running::start(&program, packed.bytes(), &["--pty"]);
    let turn = ask(&running, &packed, "Write a loop in Rust.", 3);
    assert_eq!(turn.same_here, Some(true), "{turn:?}");
    println!("{} bytes: {turn:?}", packed.bytes().len());
}
