//! Every key that a command ever printed with `--json`: keys are added, and none goes away.

use super::{Bench, compress};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// The keys of a value, with those above them; a list has `[]`.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{path}.{key}");
                found.insert(path.clone());
                keys(value, &path, found);
            }
        }
        Value::Array(list) => {
            for value in list {
                keys(value, &format!("{path}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

// Long: one command after the other, each on the files of those before.
#[test]
fn no_key_that_a_command_ever_printed_is_gone() {
    let bench = Bench::new();
    fs::write(
        bench.path("tasks.jsonl"),
        r#"{"prompt": "hello", "intent": "HassTurnOn", "slots": {"area": "kitchen"}}"#,
    )
    .unwrap();
    let limits = "max_kl = 99.0\nreference = 'tiny.gguf'\ntext = 'text.txt'\ntokens = 256\n\
                  [[board]]\nid = 'esp32-c3'\nfits = true\n";
    fs::write(bench.path("limits.toml"), limits).unwrap();
    let grid = "model = 'tiny.gguf'\nrecipe = 'original'\ntext = 'text.txt'\ntokens = 256\n\
                boards = ['esp32-c3']\ntasks = 'tasks.jsonl'\n";
    fs::write(bench.path("grid.toml"), grid).unwrap();
    compress(&bench, "balanced-4bit");
    let few = [
        "--calibration-tokens",
        "256",
        "--measure-tokens",
        "256",
        "--exchanges",
        "0",
    ];
    let measured = [
        "--reference",
        "tiny.gguf",
        "--text",
        "text.txt",
        "--tokens",
        "256",
    ];
    let all = ["--tasks", "tasks.jsonl", "--board", "esp32-c3", "esp32-p4"];
    let calibrated = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "original",
        "--set",
        "*=bits:3,method:gptq",
    ];
    let tuned = [
        "tune",
        "tiny.gguf",
        "--bytes",
        "1MB",
        "--out",
        "r.toml",
        "--pack",
        "t.whittle",
    ];
    let trimmed = [
        "trim",
        "tiny.gguf",
        "--text",
        "text.txt",
        "--measure",
        "text.txt",
        "--out",
    ];
    let commands: Vec<(&str, Vec<&str>)> = vec![
        ("bench", vec!["bench", "tiny.whittle", "--repetitions", "1"]),
        ("boards", vec!["boards"]),
        (
            "calibrate",
            vec!["calibrate", "tiny.gguf", "--calibration-tokens", "256"],
        ),
        (
            "chat",
            vec![
                "chat",
                "tiny.whittle",
                "--prompt",
                "hello",
                "--max-tokens",
                "2",
            ],
        ),
        (
            "check",
            vec!["check", "tiny.whittle", "--limits", "limits.toml"],
        ),
        (
            "compare",
            [
                &["compare", "tiny.whittle", "tiny.whittle"][..],
                &measured,
                &all,
            ]
            .concat(),
        ),
        (
            "compress",
            [
                &calibrated[..],
                &["--calibration-tokens", "256", "--out", "c.whittle"],
            ]
            .concat(),
        ),
        ("estimate", vec!["estimate", "tiny.whittle"]),
        (
            "eval",
            [&["eval", "tiny.whittle", "--layers"][..], &measured].concat(),
        ),
        (
            "eval --tasks",
            vec!["eval", "tiny.whittle", "--tasks", "tasks.jsonl"],
        ),
        (
            "export",
            vec![
                "export",
                "tiny.whittle",
                "--model",
                "tiny.gguf",
                "--gguf",
                "e.gguf",
            ],
        ),
        ("info", vec!["info", "tiny.gguf"]),
        ("info packed", vec!["info", "tiny.whittle"]),
        ("models", vec!["models"]),
        (
            "report",
            [&["report", "tiny.whittle"][..], &measured, &all].concat(),
        ),
        (
            "reproduce",
            vec!["reproduce", "tiny.whittle", "--model", "tiny.gguf"],
        ),
        ("rotate", vec!["rotate", "tiny.gguf", "--out", "o.gguf"]),
        ("sweep", vec!["sweep", "grid.toml"]),
        (
            "trim",
            [&trimmed[..], &["s.gguf", "--measure-tokens", "64"]].concat(),
        ),
        ("tune", [&tuned[..], &few].concat()),
    ];
    let mut found = BTreeSet::new();
    for (name, arguments) in commands {
        keys(&bench.json(&arguments), name, &mut found);
    }
    let list = include_str!("../old-files/json-keys.txt");
    let listed: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(
        gone.is_empty(),
        "scripts read these keys: {gone:#?}; new are, for tests/old-files/json-keys.txt: {new:#?}"
    );
}
