//! The command line as a script sees it: JSON keys, exit codes, sentences. A key never changes once released.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

mod built_in;
mod compress;
mod eval;
mod export;
mod files;
mod format;
#[path = "../support/formats.rs"]
mod formats;
mod json;
mod measured;
mod numbers;
#[cfg(feature = "flash")]
mod parts;
mod paths;
mod rewritten;
#[path = "../support/tiny_model.rs"]
mod tiny_model;
mod tuned;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tiny_model::TinyModel;

/// A folder with a tiny model and a text, and the program to run in it.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.gguf"), TinyModel::default().gguf()).unwrap();
        let text = "the light in the kitchen is on and the other one is off. ".repeat(60);
        std::fs::write(folder.path().join("text.txt"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whittle"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("WHITTLE_CACHE", self.path("cache"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The one sentence of a failure.
    fn failure(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn has_keys(object: &Value, keys: &[&str]) {
    for key in keys {
        assert!(object.get(key).is_some(), "no key {key} in {object}");
    }
}

fn compress(bench: &Bench, recipe: &str) -> Value {
    bench.json(&[
        "compress",
        "tiny.gguf",
        "--recipe",
        recipe,
        "--out",
        "tiny.whittle",
    ])
}

#[test]
fn chat_is_reproducible_and_says_how_fast_it_was() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let ask = |extra: &[&str]| {
        bench.json(
            &[
                &[
                    "chat",
                    "tiny.whittle",
                    "--prompt",
                    "hello",
                    "--max-tokens",
                    "5",
                ],
                extra,
            ]
            .concat(),
        )
    };
    let first = ask(&["--seed", "3", "--temperature", "0.8"]);
    has_keys(
        &first,
        &[
            "text",
            "tokens",
            "logits_hash",
            "stop",
            "prefill_tokens_per_second",
            "decode_tokens_per_second",
        ],
    );
    let again = ask(&["--seed", "3", "--temperature", "0.8", "--threads", "1"]);
    assert_eq!(
        (&first["tokens"], &first["logits_hash"]),
        (&again["tokens"], &again["logits_hash"])
    );
    assert_eq!(first["logits_hash"].as_str().unwrap().len(), 16);
    assert_eq!(first["stop"], "max_tokens");

    // A stop string from the middle of the answer ends it there.
    let text = first["text"].as_str().unwrap();
    let is_plain = |c: &char| c.is_ascii_graphic();
    let stop = text.chars().find(is_plain).unwrap().to_string();
    let stop = stop.as_str();
    let sampled = ["--seed", "3", "--temperature", "0.8", "--stop", stop];
    let stopped = ask(&[&sampled[..], &["--stop", "never said"]].concat());
    assert_eq!(stopped["stop"], "stop_string");
    assert_eq!(stopped["text"], text.split(stop).next().unwrap());

    let comma = ask(&["--seed", "3", "--temperature", "0,8"]);
    assert_eq!(comma["logits_hash"], first["logits_hash"]);
    // One token of choice is no choice, at any temperature.
    let greedy = ask(&[]);
    let narrow = ask(&["--temperature", "2", "--top-k", "1"]);
    assert_eq!(narrow["tokens"], greedy["tokens"]);
    let narrow = ask(&["--temp", "2", "--min-p", "1"]);
    assert_eq!(narrow["tokens"], greedy["tokens"]);
    let varied = ask(&["--repeat-penalty", "100", "--repetition-window", "512"]);
    let mut tokens = varied["tokens"].as_array().unwrap().clone();
    tokens.sort_by_key(Value::as_u64);
    tokens.dedup();
    assert_eq!(tokens.len(), 5, "{varied}");
}

#[test]
fn estimate_answers_for_a_model_a_packed_file_and_a_shape() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let shape = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/shapes/smollm2-135m.toml");
    for model in [
        &["tiny.gguf", "--recipe", "balanced-4bit"][..],
        &["tiny.whittle"],
        &["--shape", shape.to_str().unwrap(), "--recipe", "small-3bit"],
    ] {
        let report = bench.json(&[&["estimate"], model, &["--board", "all"]].concat());
        let boards = report["boards"].as_array().unwrap();
        assert!(boards.len() >= 12);
        for board in boards {
            has_keys(
                board,
                &[
                    "id",
                    "fits",
                    "limited_by",
                    "flash_bytes",
                    "ram_bytes",
                    "tokens_per_second",
                    "first_token_seconds",
                    "reply_seconds",
                    "joules_per_token",
                ],
            );
            let speed = &board["tokens_per_second"];
            if speed.is_null() {
                assert!(!board["missing"].as_array().unwrap().is_empty());
            } else {
                has_keys(speed, &["low", "mid", "high", "source"]);
            }
        }
    }
    // What is not spoken comes on top of the first token, at the speed of answers.
    let seconds = |unspoken: &str, what: &str| {
        let at = [
            "--board",
            "esp32-c3",
            "--prompt",
            "8",
            "--unspoken",
            unspoken,
        ];
        let report = bench.json(&[&["estimate", "tiny.whittle"], &at[..]].concat());
        report["boards"][0][what]["mid"].as_f64().unwrap()
    };
    let first = seconds("6", "first_token_seconds");
    assert!((seconds("0", "reply_seconds") - first).abs() < 1e-9);
    assert!(seconds("6", "reply_seconds") > first * 1.2);
    let boards = bench.json(&["boards"]);
    assert!(boards["boards"].as_array().unwrap().len() >= 12);
}

#[test]
fn the_estimate_of_a_model_is_the_size_of_its_packed_file() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let flash = |model: &[&str]| {
        let report = bench.json(&[&["estimate"], model, &["--board", "esp32-c3"]].concat());
        report["boards"][0]["flash_bytes"].as_u64().unwrap()
    };
    let (planned, packed) = (
        flash(&["tiny.gguf", "--recipe", "balanced-4bit"]),
        flash(&["tiny.whittle"]),
    );
    assert!(
        planned.abs_diff(packed) <= 4096,
        "{planned} planned, {packed} packed"
    );
}

#[test]
fn models_lists_the_catalog() {
    let models = Bench::new().json(&["models"]);
    let names: Vec<_> = models["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        names.iter().any(|n| n == "smollm2-135m")
            && names.iter().any(|n| n == "qwen2.5-coder-1.5b"),
        "{names:?}"
    );
}

#[test]
fn bench_reports_speed_and_memory() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let report = bench.json(&[
        "bench",
        "tiny.whittle",
        "--threads",
        "1",
        "--repetitions",
        "1",
    ]);
    has_keys(
        &report,
        &[
            "prefill_tokens_per_second",
            "decode_tokens_per_second",
            "weight_gigabytes_per_second",
            "peak_rss_bytes",
            "threads",
            "load_to_first_token_seconds",
            "swap_tensor_bytes",
            "swap_ms_median",
            "swap_ms_worst",
        ],
    );
    assert_eq!(report["swap_tokens_until_used"], 1, "the next token");
    assert_eq!(report["swap_tensor"], "token_embd.weight");
}

// Long: a case a wrong input.
#[test]
fn wrong_input_gets_one_sentence_and_loses_nothing() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let before = std::fs::read(bench.path("tiny.whittle")).unwrap();
    let check = |arguments: &[&str], code: i32, expected: &str| {
        let message = bench.failure(arguments, code);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(
            code == 2 || message.trim_end().lines().count() == 1,
            "{message}"
        );
    };
    check(
        &[
            "compress",
            "no.gguf",
            "--recipe",
            "balanced-4bit",
            "--out",
            "tiny.whittle",
        ],
        1,
        "no.gguf",
    );
    check(
        &[
            "compress",
            "tiny.gguf",
            "--recipe",
            "no-recipe",
            "--out",
            "tiny.whittle",
        ],
        1,
        "no recipe named `no-recipe`",
    );
    check(
        &[
            "compress",
            "tiny.gguf",
            "--recipe",
            "original",
            "--set",
            "x=bits:4",
            "--out",
            "tiny.whittle",
        ],
        1,
        "found `x`",
    );
    check(
        &[
            "compress",
            "text.txt",
            "--recipe",
            "original",
            "--out",
            "tiny.whittle",
        ],
        1,
        "text.txt",
    );
    check(
        &["chat", "tiny.gguf", "--prompt", "hi"],
        1,
        "expected a packed model",
    );
    check(
        &["info", "smollm2-135m"],
        1,
        "run `whittle fetch smollm2-135m`",
    );
    check(
        &["estimate", "tiny.whittle", "--board", "no-board"],
        1,
        "no-board",
    );
    check(&["chat", "tiny.whittle"], 2, "--prompt");
    for (argument, value, expected) in [
        ("--temperature", "-1", "expected a number from 0 up"),
        ("--temperature", "warm", "expected a number"),
        ("--top-k", "-1", "--top-k"),
        ("--top-p", "1.5", "expected a share from 0 to 1"),
        (
            "--min-p",
            "nan",
            "expected a number such as 1.5, found `nan`",
        ),
        ("--temperature", "1,200", "may be 1.200 or 1200"),
        ("--repetition-window", "1,5", "expected a whole number"),
        ("--max-tokens", "1,5", "--max-tokens"),
        ("--repetition-penalty", "0", "expected a number above 0"),
        ("--repetition-window", "99999", "expected 0 to 2048 tokens"),
        ("--stop", "", "--stop"),
    ] {
        let set = format!("{argument}={value}");
        check(
            &["chat", "tiny.whittle", "--prompt", "hi", &set],
            2,
            expected,
        );
    }
    check(&["no-command"], 2, "no-command");
    assert_eq!(std::fs::read(bench.path("tiny.whittle")).unwrap(), before);
}
