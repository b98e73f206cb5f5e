//! Quality: against the source, and by tasks.

use super::{Bench, compress, has_keys};
use serde_json::Value;

#[test]
fn eval_compares_with_the_source() {
    let bench = Bench::new();
    compress(&bench, "reference-8bit");
    let report = bench.json(&[
        "eval",
        "tiny.whittle",
        "--reference",
        "tiny.gguf",
        "--text",
        "text.txt",
        "--tokens",
        "512",
    ]);
    has_keys(
        &report,
        &[
            "tokens",
            "perplexity",
            "reference_perplexity",
            "kl_mean",
            "kl_mean_standard_error",
            "kl_p99",
            "same_top",
            "kl_median",
            "kl_p95",
            "kl_max",
            "delta_p_rms",
            "ln_perplexity_ratio",
            "ln_perplexity_ratio_standard_error",
        ],
    );
    has_keys(
        &report["basis"],
        &[
            "candidate_sha256",
            "recipe_sha256",
            "reference_sha256",
            "reference_precision",
            "text",
            "text_sha256",
            "simd_level",
            "engine",
        ],
    );
    assert_eq!(report["independent"], "windows");
    assert_eq!(report["tokens"], 4 * 63);
    assert!(report["kl_mean"].as_f64().unwrap() < 0.01, "{report}");
}

#[test]
fn eval_fills_a_time_and_says_what_it_chose() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let eval = ["eval", "tiny.whittle", "--reference", "tiny.gguf"];
    let quick = ["--text", "text.txt", "--quick"];
    let report = bench.json(&[&eval[..], &quick].concat());
    let chosen = &report["chosen"];
    // The text is short: all of it fits.
    assert_eq!(chosen["whole_text"], true, "{report}");
    assert_eq!(chosen["windows"], report["windows"]);
    assert_eq!(report["independent"], "windows");
    let tokens = chosen["tokens"].to_string();
    let again = ["--text", "text.txt", "--tokens", &tokens];
    let again = bench.json(&[&eval[..], &again].concat());
    assert_eq!(again["kl_mean"], report["kl_mean"]);
    let told = bench.run(&[&eval[..], &quick].concat());
    let (out, error) = (told.stdout, String::from_utf8(told.stderr).unwrap());
    assert!(
        error.contains("chose ") && error.contains("repeats it"),
        "{error}"
    );
    let out = String::from_utf8(out).unwrap();
    for expected in ["ln ratio", "RMS Δp", "reference: tiny, F", "bits a weight"] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

#[test]
fn eval_lists_the_error_of_each_tensor_the_worst_first() {
    let bench = Bench::new();
    let packed = compress(&bench, "balanced-4bit");
    let layers = [
        "eval",
        "tiny.whittle",
        "--reference",
        "tiny.gguf",
        "--layers",
    ];
    let report = bench.json(&layers);
    let tensors = report["layers"].as_array().unwrap();
    let errors: Vec<f64> = tensors
        .iter()
        .map(|t| t["nmse"].as_f64().unwrap())
        .collect();
    assert!(
        errors.is_sorted_by(|a, b| a >= b) && errors[0] > 0.0,
        "{errors:?}"
    );
    // The same as packing said, to the bit.
    for tensor in tensors {
        has_keys(
            tensor,
            &[
                "encoding",
                "source",
                "bits_per_weight",
                "bytes",
                "squared_error",
            ],
        );
        let mut all = packed["tensors"].as_array().unwrap().iter();
        let same = all.find(|t| t["name"] == tensor["name"]).unwrap();
        assert_eq!(tensor["nmse"], same["nmse"], "{tensor}");
    }
    let wrong = ["--layers", "--tasks", "home"];
    bench.failure(&[&["eval", "tiny.whittle"], &wrong[..]].concat(), 2);
    bench.failure(&["eval", "tiny.whittle", "--layers"], 2);
}

#[test]
fn eval_by_tasks_says_what_held_line_by_line_and_in_all() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let hello = ["chat", "tiny.whittle", "--prompt", "hello"];
    let answer = bench.json(&[&hello[..], &["--max-tokens", "5"]].concat())["text"].clone();
    let tasks = [
        serde_json::json!({"prompt": "hello", "answer": answer, "group": "small talk"}),
        serde_json::json!({"prompt": "hello", "answer": "another", "group": "small talk"}),
        serde_json::json!({"prompt": "hello", "pattern": ".", "name": "anything"}),
        serde_json::json!({
            "prompt": "turn on the light", "system": "You are loud.",
            "intent": "HassTurnOn", "slots": {"domain": "light"}
        }),
        serde_json::json!({"prompt": "hello ".repeat(200), "pattern": ""}),
    ];
    let tasks = tasks.map(|task| task.to_string());
    std::fs::write(bench.path("t.jsonl"), tasks[..4].join("\n")).unwrap();
    let eval = |extra: &[&str]| {
        let eval = [
            "eval",
            "tiny.whittle",
            "--tasks",
            "t.jsonl",
            "--max-tokens",
            "5",
        ];
        bench.json(&[&eval[..], extra].concat())
    };
    let report = eval(&["--lines", "out.jsonl"]);
    let counts = |share: &Value| (share["held"].as_u64(), share["of"].as_u64());
    assert_eq!(counts(&report["held"]), (Some(2), Some(4)));
    assert_eq!(counts(&report["intents"]), (Some(0), Some(1)));
    has_keys(&report["held"], &["share", "low", "high"]);
    has_keys(
        &report,
        &[
            "tasks",
            "macro_held",
            "macro_intents",
            "unanswered",
            "seconds",
        ],
    );
    let groups = report["groups"].as_array().unwrap().iter();
    let groups: Vec<_> = groups.map(|g| g["group"].as_str().unwrap()).collect();
    assert_eq!(groups, ["HassTurnOn", "pattern", "small talk"]);

    let lines = std::fs::read_to_string(bench.path("out.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let held: Vec<_> = lines.iter().map(|line| line["held"].as_bool()).collect();
    assert_eq!(held, [true, false, true, false].map(Some));
    assert_eq!((&lines[0]["got"], &lines[2]["got"]), (&answer, &answer));
    assert_eq!(lines[2]["name"], "anything");
    assert_eq!(lines[3]["expected"], "HassTurnOn@domain light");
    assert_eq!(lines[3]["intent_held"], false);

    // The same again, on another number of threads and with smaller keys and values.
    assert_eq!(eval(&["--threads", "1"])["held"], report["held"]);
    assert_eq!(counts(&eval(&["--kv-bits", "8"])["held"]).1, Some(4));
    let text = bench.run(&["eval", "tiny.whittle", "--tasks", "t.jsonl"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for expected in ["small talk", "macro average", "of 4 (95 % interval"] {
        assert!(text.contains(expected), "{text}");
    }

    // A prompt that is too long did not hold; the others are asked all the same.
    let long = tasks[4].replace("\"\"", "\".*\"");
    std::fs::write(bench.path("t.jsonl"), format!("{long}\n{}", tasks[2])).unwrap();
    let report = eval(&[]);
    assert_eq!(counts(&report["held"]), (Some(1), Some(2)));
    assert_eq!(report["unanswered"], 1);
}

#[test]
fn wrong_tasks_get_one_sentence_before_any_work() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    std::fs::write(bench.path("bad.jsonl"), "{\"prompt\": \"hello\"}").unwrap();
    std::fs::write(bench.path("out.jsonl"), "before").unwrap();
    let check = |extra: &[&str], code: i32, expected: &str| {
        let message = bench.failure(&[&["eval", "tiny.whittle"], extra].concat(), code);
        assert!(message.contains(expected), "{extra:?}: {message}");
        assert!(code == 2 || message.lines().count() == 1, "{message}");
    };
    let lines = ["--tasks", "bad.jsonl", "--lines", "out.jsonl"];
    check(&lines, 1, "bad.jsonl, line 1: expected `answer`");
    check(
        &["--tasks", "no.jsonl"],
        1,
        "cannot read tasks from no.jsonl",
    );
    check(&["--tasks", "."], 1, "cannot read tasks from .");
    std::fs::write(
        bench.path("good.jsonl"),
        "{\"prompt\": \"a\", \"answer\": \"b\"}",
    )
    .unwrap();
    let lines = ["--tasks", "good.jsonl", "--lines", "no/such/out.jsonl"];
    check(&lines, 1, "cannot write no/such/out.jsonl");
    check(&[], 2, "--tasks");
    check(&["--text", "text.txt"], 2, "--reference");
    check(&["--lines", "out.jsonl"], 2, "--tasks");
    let both = ["--tasks", "good.jsonl", "--text", "text.txt"];
    check(&both, 2, "cannot be used with");
    assert_eq!(std::fs::read(bench.path("out.jsonl")).unwrap(), b"before");
}
