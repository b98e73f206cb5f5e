//! The command line as a script sees it: JSON keys, exit codes, sentences. A key never changes once released.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "support/tiny_model.rs"]
mod tiny_model;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tiny_model::TinyModel;
use whittle::packed::intent::IntentLine;

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
fn info_tells_what_a_model_is_made_of() {
    let info = Bench::new().json(&["info", "tiny.gguf"]);
    has_keys(
        &info,
        &[
            "architecture",
            "parameters",
            "layers",
            "hidden",
            "vocab",
            "bits_per_weight",
            "file_bytes",
            "tensors",
        ],
    );
    has_keys(
        &info["tensors"][0],
        &["name", "role", "shape", "bits", "bytes"],
    );
}

#[test]
fn compress_reports_every_byte_and_the_error_of_each_tensor() {
    let bench = Bench::new();
    let report = compress(&bench, "balanced-4bit");
    has_keys(
        &report,
        &[
            "bytes",
            "bits_per_weight",
            "seconds",
            "peak_rss_bytes",
            "tensors",
        ],
    );
    has_keys(
        &report["tensors"][0],
        &["name", "bits", "sparsity", "encoding", "bytes", "nmse"],
    );
    let file = std::fs::metadata(bench.path("tiny.whittle")).unwrap();
    assert_eq!(report["bytes"].as_u64(), Some(file.len()));

    let set = "feed-forward.*=bits:1,sparsity:80%";
    let sparse = bench.json(&[
        "compress",
        "tiny.gguf",
        "--recipe",
        "balanced-4bit",
        "--set",
        set,
        "--out",
        "sparse.whittle",
    ]);
    let tensors = sparse["tensors"].as_array().unwrap();
    let down = tensors
        .iter()
        .find(|t| t["name"] == "blk.0.ffn_down.weight")
        .unwrap();
    assert_eq!(
        (&down["bits"], &down["sparsity"]),
        (&Value::from(1.0), &Value::from(0.8))
    );
    let dense = report["tensors"].as_array().unwrap();
    let dense = dense
        .iter()
        .find(|t| t["name"] == "blk.0.ffn_down.weight")
        .unwrap();
    assert!(down["bytes"].is_number() && down["nmse"].as_f64() > dense["nmse"].as_f64());
}

#[test]
fn a_model_trained_for_low_bits_is_packed_as_it_is_or_refused() {
    let bench = Bench::new();
    let mut file = TinyModel::default().low_bit();
    std::fs::write(bench.path("low.gguf"), file.bytes()).unwrap();
    let recipe = "name = 'low'
        rule = [{tensors = '*', bits = 4}, {tensors = 'feed-forward.*', bits = 1, sparsity = 0.75}]";
    std::fs::write(bench.path("low.toml"), recipe).unwrap();
    let arguments = |model, recipe| {
        let start = ["compress", model, "--recipe", recipe, "--exact"];
        [&start[..], &["--out", "low.whittle"]].concat()
    };
    let report = bench.json(&arguments("low.gguf", "low.toml"));
    assert_eq!(report["exact_matrices"], report["matrices"]);
    for tensor in report["tensors"].as_array().unwrap() {
        assert_eq!(tensor["nmse"], 0.0, "{tensor}");
    }
    let text = bench.run(&arguments("low.gguf", "low.toml")).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("15 of 15 matrices exact"), "{text}");

    // 1 + 2^-10, 0 and 1 in one group: 1,026 levels.
    let mut odd = [0x00, 0x3c].repeat(64 * 64);
    odd[0] = 1;
    odd[4..6].copy_from_slice(&[0, 0]);
    file.tensor("blk.1.attn_q.weight", &[64, 64], 1, odd);
    std::fs::write(bench.path("odd.gguf"), file.bytes()).unwrap();
    std::fs::remove_file(bench.path("low.whittle")).unwrap();
    let message = bench.failure(&arguments("odd.gguf", "low.toml"), 1);
    assert!(
        message.contains("expected weights that dense4 holds exactly, found blk.1.attn_q.weight"),
        "{message}"
    );
    assert!(!bench.path("low.whittle").exists());
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
        ],
    );
    assert_eq!(report["tokens"], 255);
    assert!(report["kl_mean"].as_f64().unwrap() < 0.01, "{report}");
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
fn the_built_in_model_is_there_without_a_network_and_mends_itself() {
    let bench = Bench::new();
    let listed = |bench: &Bench| {
        let models = bench.json(&["models"])["models"].clone();
        let found = models.as_array().unwrap().iter();
        let built_in: Vec<Value> = found.filter(|m| m["built_in"] == true).cloned().collect();
        assert_eq!(built_in.len(), 1, "{models}");
        built_in[0].clone()
    };
    let before = listed(&bench);
    assert_eq!(
        (&before["name"], &before["installed"]),
        (&"hearth".into(), &Value::Null)
    );
    let info = bench.json(&["info", "hearth"]);
    assert_eq!(
        (&info["dialogue"], &info["context"]),
        (&"commands".into(), &256.into())
    );
    assert!(info["licence"].is_string(), "{info}");
    let folder = listed(&bench)["installed"].as_str().unwrap().to_owned();

    let weights = Path::new(&folder).join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let mut flipped = whole.clone();
    flipped[3_000_000] ^= 1;
    for damage in [
        &flipped[..],
        &whole[..1_000_000],
        b"",
        &[whole.as_slice(), b"more"].concat(),
    ] {
        std::fs::write(&weights, damage).unwrap();
        bench.json(&["info", "hearth"]);
        assert!(std::fs::read(&weights).unwrap() == whole, "mended");
    }
    std::fs::write(&weights, flipped).unwrap();
    std::fs::remove_file(Path::new(&folder).join("tokenizer.json")).unwrap();
    bench.json(&["fetch", "hearth"]);
    bench.json(&["info", "hearth"]);
    assert!(std::fs::read(&weights).unwrap() == whole, "mended");
}

#[test]
fn a_model_folder_that_cannot_be_written_is_one_sentence() {
    let bench = Bench::new();
    std::fs::write(bench.path("cache"), "a file where the folder should be").unwrap();
    let message = bench.failure(&["info", "hearth"], 1);
    assert!(
        message.contains("hearth is built in and must be written to the model folder"),
        "{message}"
    );
    assert!(
        message.contains("cannot write") && message.trim_end().lines().count() == 1,
        "{message}"
    );
}

/// The area of an intent line that turns something on.
fn area_turned_on(line: &Value) -> Option<String> {
    let line = line.as_str().unwrap();
    let parsed = IntentLine::parse(line).unwrap_or_else(|| panic!("no intent line: {line}"));
    (parsed.intent == "HassTurnOn").then(|| parsed.slots["area"].clone())
}

#[cfg(all(unix, feature = "voice", feature = "flash"))]
#[test]
fn the_demo_answers_in_writing_offline_and_says_what_voice_needs() {
    let bench = Bench::new();
    let output = bench
        .command(&["demo", "--json"])
        .env("WHITTLE_HUB", "")
        .env("WHITTLE_PYTHON", "no-such-python")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let demo: Value = serde_json::from_slice(&output.stdout).unwrap();
    let chat = &demo["chat"];
    assert_eq!(
        area_turned_on(&chat["intent"]).as_deref(),
        Some("kitchen"),
        "{chat}"
    );
    // The reply is what would be spoken: all that follows the intent line, and nothing of it.
    let reply = chat["reply"].as_str().unwrap();
    assert!(
        !reply.is_empty() && !reply.contains(['@', '\n']) && !reply.contains("Hass"),
        "{reply}"
    );
    assert!(chat["first_token_seconds_after_start"].as_f64().unwrap() > 0.0);

    let missing: Vec<_> = demo["talk"]["missing"].as_array().unwrap().iter().collect();
    let names: Vec<_> = missing
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["whisper-tiny.en", "hibari"]);
    assert!(
        missing
            .iter()
            .all(|m| m["bytes"].as_u64().unwrap() > 1_000_000)
    );
    assert_eq!(
        demo["flash"]["recipe"], "balanced-4bit",
        "hearth fits the board as it is"
    );
    let mut cached = std::fs::read_dir(bench.path("cache/models")).unwrap();
    let only = cached.next().unwrap().unwrap().file_name();
    assert!(
        only == "hearth" && cached.next().is_none(),
        "nothing was downloaded"
    );

    let told = bench.run(&["demo"]);
    let told = String::from_utf8(told.stdout).unwrap();
    let expected =
        "whisper-tiny.en (78 MB) and hibari (14 MB): run `whittle fetch whisper-tiny.en hibari`";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_packed_hearth_takes_a_command_however_it_is_typed_and_forgets_it() {
    let bench = Bench::new();
    let out = ["--recipe", "balanced-4bit", "--out", "hearth.whittle"];
    bench.json(&[&["compress", "hearth"], &out[..]].concat());
    let ask = |prompt: &str, more: &[&str]| {
        let chat = ["chat", "hearth.whittle", "--prompt", prompt];
        bench.json(&[&chat, more].concat())
    };
    let plain = ask("turn on the kitchen light", &[]);
    let (line, reply) = plain["text"].as_str().unwrap().split_once('\n').unwrap();
    assert_eq!(
        area_turned_on(&line.into()).as_deref(),
        Some("kitchen"),
        "{plain}"
    );
    assert!(!reply.is_empty(), "{plain}");
    let hash = |answer: &Value| answer["logits_hash"].clone();
    let own = ["--system", "You are hearth, the voice of this home."];
    for typed in [
        ask("Turn on the kitchen light!", &[]),
        ask("  turn ON the kitchen-light. ", &[]),
        ask("Turn on the kitchen light", &own),
    ] {
        assert_eq!(hash(&typed), hash(&plain), "{typed}");
    }
    let other = ask(
        "turn on the kitchen light",
        &["--system", "You are somebody else."],
    );
    assert_ne!(hash(&other), hash(&plain), "another system text counts");
    // What stands before the command is in words of its own, and stays as it is.
    let here = ask("here kitchen\nTurn on the light!", &[]);
    assert_eq!(
        hash(&here),
        hash(&ask("here kitchen\nturn on the light", &[]))
    );
    assert_ne!(hash(&here), hash(&ask("turn on the light", &[])));
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
        ("--min-p", "nan", "expected a share from 0 to 1"),
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
