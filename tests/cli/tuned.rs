//! Calibrating, compressing with a calibration, tuning.

use super::Bench;
use serde_json::Value;

const FEW: [&str; 2] = ["--calibration-tokens", "1024"];

#[test]
fn a_calibrated_file_says_on_what_and_is_made_again_to_the_byte() {
    let bench = Bench::new();
    let cold = bench.json(&[&["calibrate", "tiny.gguf"][..], &FEW].concat());
    assert_eq!(
        (&cold["text"], &cold["tokens"]),
        (&"default".into(), &1024.into())
    );
    let recipe = "name = 'spared'\n[[rule]]\ntensors = '*'\nbits = 3\nmethod = 'gptq'\n";
    std::fs::write(bench.path("r.toml"), recipe).unwrap();
    let start = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "r.toml",
        "--out",
        "c.whittle",
    ];
    let report = bench.json(&[&start[..], &FEW].concat());
    let tensors = report["tensors"].as_array().unwrap();
    let is_weighed = |t: &&Value| t["encoding"] != "f32";
    for tensor in tensors.iter().filter(is_weighed) {
        assert_eq!(tensor["method"], "gptq", "{tensor}");
        assert!(tensor["output_error"].as_f64().unwrap() < 0.1, "{tensor}");
    }
    let info = bench.json(&["info", "c.whittle"]);
    assert_eq!(info["provenance"]["calibration"]["tokens"], 1024);
    assert_eq!(
        info["provenance"]["calibration"]["sha256"],
        cold["text_sha256"]
    );
    let again = bench.json(&["reproduce", "c.whittle", "--model", "tiny.gguf"]);
    assert_eq!(again["same_bytes"], true, "{again}");
}

#[test]
fn a_tune_writes_a_recipe_and_the_file_that_it_makes() {
    let bench = Bench::new();
    let start = ["tune", "tiny.gguf", "--out", "r.toml", "--exchanges", "2"];
    let tune = |goal: &[&str]| bench.json(&[&start[..], &FEW, goal].concat());
    let goal = [
        "--bytes",
        "150kB",
        "--pack",
        "t.whittle",
        "--front",
        "f.csv",
    ];
    let report = tune(&goal);
    let bytes = std::fs::metadata(bench.path("t.whittle")).unwrap().len();
    assert!(bytes <= report["bytes"].as_u64().unwrap() && bytes <= 150_000);
    let measured = report["measured_kl"].as_f64().unwrap();
    assert!(measured <= report["allocated_kl"].as_f64().unwrap());
    let front = std::fs::read_to_string(bench.path("f.csv")).unwrap();
    assert!(front.starts_with("bytes,predicted_kl\n") && front.lines().count() > 2);

    let compress = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "r.toml",
        "--out",
        "c.whittle",
    ];
    bench.json(&[&compress[..], &FEW].concat());
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    assert!(
        read("t.whittle") == read("c.whittle"),
        "the recipe makes another file"
    );

    // More settings to choose from never cost more.
    let sparse = tune(&["--bytes", "150kB", "--sparse"]);
    let expected = |report: &Value| report["predicted_kl"].as_f64().unwrap();
    assert!(expected(&sparse) <= expected(&report));

    let by_bits = tune(&["--bits-per-weight", "12"]);
    assert!(by_bits["bytes"].as_u64().unwrap() < 200_000);
    tune(&["--board", "esp32-c3"]);

    let fail = |goal: &[&str], expected: &str| {
        let message = bench.failure(&[&start[..], &FEW, goal].concat(), 1);
        assert!(
            message.contains(expected) && message.lines().count() == 1,
            "{message}"
        );
    };
    fail(&["--bytes", "10kB"], "expected a budget of at least");
    fail(
        &["--board", "esp32-c3", "--min-tokens-per-second", "1e9"],
        "no recipe keeps to esp32-c3",
    );
    fail(&["--board", "no-such"], "no board");
    fail(
        &["--bytes", "150kB", "--calibration-text", "no-such.txt"],
        "cannot read no-such.txt",
    );
    fail(
        &["--tasks", "no-such", "--min-pass", "95%"],
        "cannot read tasks from no-such",
    );
    let nowhere = ["--bytes", "150kB", "--pack", "no-such/t.whittle"];
    fail(&nowhere, "cannot write no-such/t.whittle");
    bench.failure(&[&start[..], &["--bytes", "many"]].concat(), 2);
    bench.failure(&start, 2);
}

#[test]
fn a_tune_trims_the_vocabulary_first() {
    let bench = Bench::new();
    let start = ["tune", "tiny.gguf", "--out", "r.toml", "--exchanges", "1"];
    let trim = [
        "--trim-vocabulary",
        "text.txt",
        "--vocabulary-tokens",
        "288",
    ];
    let goal = ["--bytes", "125kB", "--pack", "t.whittle"];
    let report = bench.json(&[&start[..], &FEW, &goal, &trim].concat());
    assert_eq!(report["trimmed_model"]["file"], "r.gguf");
    assert_eq!(report["trimmed_model"]["tokens_after"], 288);
    assert_eq!(bench.json(&["info", "r.gguf"])["vocab"], 288);
    let again = bench.json(&["reproduce", "t.whittle", "--model", "r.gguf"]);
    assert_eq!(again["same_bytes"], true, "{again}");

    std::fs::rename(bench.path("tiny.gguf"), bench.path("r.gguf")).unwrap();
    let start = ["tune", "r.gguf", "--out", "r.toml"];
    let said = bench.failure(&[&start[..], &goal, &trim].concat(), 1);
    assert!(said.contains("r.gguf, which is read"), "{said}");
}
