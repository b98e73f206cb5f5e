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
