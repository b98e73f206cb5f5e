//! Numbers that are none, and figures that say what they are of.

use super::{Bench, compress, has_keys};
use crate::tiny_model::{F32, TinyModel};
use serde_json::Value;
use std::sync::Arc;
use whittle::compress::{CompressedTensor, compress as compress_model};
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::PackedModel;
use whittle::recipe::Recipe;

const AGAINST: [&str; 6] = [
    "--reference",
    "tiny.gguf",
    "--text",
    "text.txt",
    "--tokens",
    "512",
];

/// The tiny model with some weights of one tensor replaced: row, column, weight.
fn damaged(tensor: &str, weights: &[(usize, usize, f32)]) -> Vec<u8> {
    let tiny = TinyModel::default();
    let (_, rows, cols) = tiny.tensors().into_iter().find(|t| t.0 == tensor).unwrap();
    let mut values = vec![0.01f32; (rows * cols) as usize];
    for (row, col, weight) in weights {
        values[row * cols as usize + col] = *weight;
    }
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape: &[u64] = if rows == 1 { &[cols] } else { &[cols, rows] };
    tiny.writer().tensor(tensor, shape, F32, bytes).bytes()
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_tensor_count_and_place() {
    let bench = Bench::new();
    let gptq = "name = 'q'\n[[rule]]\ntensors = '*'\nbits = 3\nmethod = 'gptq'\n";
    std::fs::write(bench.path("gptq.toml"), gptq).unwrap();
    let down = "blk.1.ffn_down.weight";
    let check = |arguments: &[&str], expected: &str| {
        let said = bench.failure(arguments, 1);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!bench.path("out.whittle").exists() && !bench.path("r.gguf").exists());
    };
    let compress = |recipe: &str, expected: &str| {
        let arguments = [
            "compress",
            "bad.gguf",
            "--recipe",
            recipe,
            "--out",
            "out.whittle",
        ];
        check(&arguments, expected);
    };
    for (weight, name) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let model = damaged(down, &[(3, 17, weight), (3, 18, weight), (9, 0, weight)]);
        std::fs::write(bench.path("bad.gguf"), model).unwrap();
        let expected = format!(
            "expected finite weights in {down}, found 3 that are not, the first {name} in row 3, column 17"
        );
        for recipe in [
            "original",
            "reference-8bit",
            "small-3bit",
            "seed-extreme",
            "gptq.toml",
        ] {
            compress(recipe, &expected);
        }
        let goal = ["--bytes", "150kB", "--out", "r.toml", "--exchanges", "1"];
        check(&[&["tune", "bad.gguf"], &goal[..]].concat(), &expected);
        for floats in ["f16", "f32"] {
            let rotate = ["rotate", "bad.gguf", "--floats", floats, "--out", "r.gguf"];
            check(&rotate, &expected);
        }
    }
    // A vector, which is kept in 32 bits.
    std::fs::write(
        bench.path("bad.gguf"),
        damaged("output_norm.weight", &[(0, 5, f32::NAN)]),
    )
    .unwrap();
    compress(
        "original",
        "in output_norm.weight, found NaN in row 0, column 5",
    );
}

#[test]
fn weights_beyond_what_holds_them_are_refused_and_32_bits_hold_them() {
    let bench = Bench::new();
    let up = "blk.0.ffn_up.weight";
    std::fs::write(bench.path("bad.gguf"), damaged(up, &[(2, 7, 70_000.0)])).unwrap();
    let compress = |recipe: &str, set: &str| {
        let start = [
            "compress",
            "bad.gguf",
            "--recipe",
            recipe,
            "--out",
            "out.whittle",
        ];
        let set: &[&str] = if set.is_empty() { &[] } else { &["--set", set] };
        bench.failure(&[&start[..], set].concat(), 1)
    };
    let said = compress("original", "");
    let expected = format!(
        "expected weights of {up} within ±65504, which f16 holds, found 70000 in row 2, column 7"
    );
    assert!(said.contains(&expected), "{said}");
    let said = compress("original", "*=bits:8");
    let expected = format!("expected weights of {up} within the scales of ");
    assert!(
        said.contains(&expected) && said.contains("70000 in row 2, column 7"),
        "{said}"
    );

    let rotate = ["rotate", "bad.gguf", "--basis", "heads", "--out", "r.gguf"];
    assert!(bench.run(&rotate).status.success(), "heads do not touch it");
    let rotate = ["rotate", "bad.gguf", "--basis", "stream", "--out", "r.gguf"];
    bench.json(&[&rotate[..], &["--floats", "f32"]].concat());

    // A norm is kept in 32 bits, which hold it.
    let norm = damaged("blk.0.ffn_norm.weight", &[(0, 1, 70_000.0)]);
    std::fs::write(bench.path("bad.gguf"), norm).unwrap();
    bench.json(&[
        "compress",
        "bad.gguf",
        "--recipe",
        "original",
        "--out",
        "out.whittle",
    ]);
}

/// A packed file whose last norm has a weight that is no number: no packer makes one.
fn pack_nan(bench: &Bench, name: &str) {
    let job = Job::silent();
    let model = Model::load(&bench.path("tiny.gguf"), &job).unwrap();
    let mut compressed =
        compress_model(&model, &Recipe::open("balanced-4bit").unwrap(), &job).unwrap();
    let norm = compressed
        .tensors
        .iter_mut()
        .find(|t| t.name == "output_norm.weight")
        .unwrap();
    let mut bytes = norm.bytes.clone();
    bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    *norm = Arc::new(CompressedTensor {
        bytes,
        ..CompressedTensor::clone(norm)
    });
    let packed = PackedModel::pack(&model, &compressed, &job).unwrap();
    packed.save(&bench.path(name)).unwrap();
}

#[test]
fn logits_that_are_no_numbers_end_an_answer_and_are_no_quality() {
    let bench = Bench::new();
    pack_nan(&bench, "nan.whittle");
    compress(&bench, "balanced-4bit");
    let check = |arguments: &[&str], expected: &str| {
        let said = bench.failure(arguments, 1);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    };
    let logit = "expected a finite logit of every token, found NaN for token 0";
    for extra in [&[][..], &["--temperature", "0.8"], &["--json"]] {
        let chat = ["chat", "nan.whittle", "--prompt", "hello"];
        check(
            &[&chat[..], extra].concat(),
            &format!("the answer ends after 0 tokens: {logit}"),
        );
    }
    std::fs::write(
        bench.path("t.jsonl"),
        "{\"prompt\": \"a\", \"pattern\": \".*\"}",
    )
    .unwrap();
    check(&["eval", "nan.whittle", "--tasks", "t.jsonl"], logit);

    // A KL of zero would hold any limit.
    let of_text = format!("after 65 tokens of window 1: {logit} of the candidate");
    check(&[&["eval", "nan.whittle"][..], &AGAINST].concat(), &of_text);
    let compare = ["compare", "tiny.whittle", "nan.whittle"];
    check(&[&compare[..], &AGAINST].concat(), &of_text);
    let report = ["report", "nan.whittle", "--out", "r.html"];
    check(
        &[&report[..], &AGAINST].concat(),
        "an error that is a number, found NaN for output_norm.weight",
    );
    assert!(!bench.path("r.html").exists());
    let layers = [
        "eval",
        "nan.whittle",
        "--reference",
        "tiny.gguf",
        "--layers",
    ];
    check(
        &layers,
        "an error that is a number, found NaN for output_norm.weight",
    );
    let limits = "max_kl = 9.0\nreference = 'tiny.gguf'\ntext = 'text.txt'\n";
    std::fs::write(bench.path("l.toml"), limits).unwrap();
    check(&["check", "nan.whittle", "--limits", "l.toml"], &of_text);
    let export = [
        "export",
        "nan.whittle",
        "--model",
        "tiny.gguf",
        "--gguf",
        "n.gguf",
    ];
    check(
        &export,
        "expected values of output_norm.weight that F32 holds, found NaN in row 0, column 0",
    );
    assert!(!bench.path("n.gguf").exists());
}

#[test]
fn every_figure_of_a_text_names_its_window_which_is_no_longer_than_the_context() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    // The tiny model's context is 128.
    let eval = [&["eval", "tiny.whittle"][..], &AGAINST].concat();
    let report = bench.json(&eval);
    assert_eq!(report["window_tokens"], 128);
    assert_eq!(
        (&report["windows"], &report["tokens"]),
        (&4.into(), &(4 * 63).into())
    );
    let said = |arguments: &[&str]| String::from_utf8(bench.run(arguments).stdout).unwrap();
    let text = said(&eval);
    assert!(
        text.contains("252 tokens in 4 windows of 128 tokens"),
        "{text}"
    );

    let compare = [&["compare", "tiny.whittle", "tiny.whittle"][..], &AGAINST].concat();
    assert!(said(&compare).contains("252 tokens in 4 windows of 128 tokens"));
    let report = [&["report", "tiny.whittle", "--out", "r.html"][..], &AGAINST].concat();
    assert_eq!(bench.json(&report)["quality"]["window_tokens"], 128);
    let page = std::fs::read_to_string(bench.path("r.html")).unwrap();
    assert!(
        page.contains("252 tokens in 4 windows of 128 tokens"),
        "{page}"
    );

    let limits = "max_kl = 9.0\nmax_bytes = 10_000_000\nreference = 'tiny.gguf'\ntext = 'text.txt'\ntokens = 512\n";
    std::fs::write(bench.path("l.toml"), limits).unwrap();
    let checked = bench.json(&["check", "tiny.whittle", "--limits", "l.toml"]);
    let limits = checked["limits"].as_array().unwrap();
    assert_eq!(
        limits[1]["note"],
        "252 positions in 4 windows of 128 tokens"
    );
    assert_eq!(limits[0]["note"], Value::Null);

    let grid = "model = 'tiny.gguf'\nrecipe = 'balanced-4bit'\ntext = 'text.txt'\ntokens = 512\n";
    std::fs::write(bench.path("g.toml"), grid).unwrap();
    bench.json(&["sweep", "g.toml"]);
    let rows = std::fs::read_to_string(bench.path("g.jsonl")).unwrap();
    assert!(rows.contains("\"window_tokens\":128"), "{rows}");
    let table = std::fs::read_to_string(bench.path("g.csv")).unwrap();
    let column = table
        .lines()
        .next()
        .unwrap()
        .split(',')
        .position(|c| c == "window_tokens");
    let row = table.lines().nth(1).unwrap();
    assert_eq!(row.split(',').nth(column.unwrap()), Some("128"), "{table}");

    let few = [
        "--calibration-tokens",
        "1024",
        "--exchanges",
        "0",
        "--out",
        "r.toml",
    ];
    let tune = ["tune", "tiny.gguf", "--bytes", "150kB"];
    assert_eq!(
        bench.json(&[&tune[..], &few].concat())["window_tokens"],
        128
    );
}

/// That a command tells just these warnings, in text and as JSON.
fn warns(bench: &Bench, arguments: &[&str], expected: &[&str]) {
    let report = bench.json(arguments);
    let warnings = report["warnings"].as_array();
    let warnings = warnings.unwrap_or_else(|| panic!("no warnings: {report}"));
    assert_eq!(
        warnings.len(),
        expected.len(),
        "{arguments:?}: {warnings:?}"
    );
    let told = String::from_utf8(bench.run(arguments).stderr).unwrap();
    assert_eq!(told.matches("Warning: ").count(), expected.len(), "{told}");
    for (warning, expected) in warnings.iter().zip(expected) {
        let warning = warning.as_str().unwrap();
        assert!(warning.contains(expected), "{arguments:?}: {warning}");
        assert!(told.contains(&format!("Warning: {warning}\n")), "{told}");
    }
}

#[test]
fn what_looks_wrong_is_told_in_text_and_as_json() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let check = |arguments: &[&str], expected: &[&str]| warns(&bench, arguments, expected);
    let eval = [
        "eval",
        "tiny.whittle",
        "--reference",
        "tiny.gguf",
        "--text",
        "text.txt",
    ];
    check(&eval, &[]);
    let few = "100 tokens are less than a window: one window of 128 tokens was scored";
    check(&[&eval[..], &["--tokens", "100"]].concat(), &[few]);

    // The same shape, other weights.
    let other = TinyModel {
        seed: 7,
        ..TinyModel::default()
    };
    std::fs::write(bench.path("other.gguf"), other.gguf()).unwrap();
    let not_source = "is not what tiny was made of, which is tiny (";
    let eval = ["eval", "tiny.whittle", "--reference", "other.gguf"];
    check(
        &[&eval[..], &["--text", "text.txt"]].concat(),
        &[not_source],
    );
    check(&[&eval[..], &["--layers"]].concat(), &[not_source]);
    let compare = [
        "compare",
        "tiny.whittle",
        "tiny.whittle",
        "--reference",
        "other.gguf",
    ];
    check(
        &[&compare[..], &["--text", "text.txt"]].concat(),
        &[not_source; 2],
    );
    check(&compare, &[not_source; 2]);
    let report = [
        "report",
        "tiny.whittle",
        "--reference",
        "other.gguf",
        "--out",
        "r.html",
    ];
    check(&report, &[not_source]);
    let page = std::fs::read_to_string(bench.path("r.html")).unwrap();
    assert!(page.contains(not_source), "the page does not say it");
    let limits = "max_kl = 99.0\nreference = 'other.gguf'\ntext = 'text.txt'\ntokens = 5\n";
    std::fs::write(bench.path("l.toml"), limits).unwrap();
    check(
        &["check", "tiny.whittle", "--limits", "l.toml"],
        &["5 tokens are less", not_source],
    );
}

#[test]
fn rules_that_match_no_tensor_are_told_wherever_a_recipe_goes() {
    let bench = Bench::new();
    let check = |arguments: &[&str], expected: &[&str]| warns(&bench, arguments, expected);
    let compress = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "balanced-4bit",
        "--out",
        "c.whittle",
    ];
    check(&compress, &[]);
    let idle = [
        "--set",
        "blk.99.*=bits:2",
        "--set",
        "output=bits:8",
        "--set",
        "attention.*@90..99=bits:2",
    ];
    let told = [
        "rule for blk.99.* matches no tensor",
        "output head is its embedding",
        "attention.*@90..99",
    ];
    check(&[&compress[..], &idle].concat(), &told);
    let estimate = [
        "estimate",
        "tiny.gguf",
        "--recipe",
        "balanced-4bit",
        "--board",
        "esp32-c3",
    ];
    check(&estimate, &[]);
    check(&[&estimate[..], &idle].concat(), &told);
    let grid = "model = 'tiny.gguf'\nrecipe = 'balanced-4bit'\ntext = 'text.txt'\ntokens = 9\n\
                [[axis]]\ntensors = 'blk.99.*'\nbits = [2, 3]\n";
    std::fs::write(bench.path("g.toml"), grid).unwrap();
    check(
        &["sweep", "g.toml"],
        &["9 tokens are less", "rule for blk.99.*"],
    );
}

#[test]
fn a_calibration_that_is_too_short_is_told() {
    let bench = Bench::new();
    let gptq = "name = 'q'\n[[rule]]\ntensors = '*'\nbits = 3\nmethod = 'gptq'\n";
    std::fs::write(bench.path("gptq.toml"), gptq).unwrap();
    std::fs::write(
        bench.path("short.txt"),
        "the light in the kitchen is on. ".repeat(3),
    )
    .unwrap();
    let check = |arguments: &[&str], calibration: [&str; 2], count: usize| {
        let report = bench.json(&[arguments, &calibration].concat());
        let warnings = report["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), count, "{arguments:?}: {warnings:?}");
        let expected = " tokens knows less than the 64 inputs of the model's matrices";
        let is_told = |w: &Value| w.as_str().unwrap().contains(expected);
        assert!(warnings.iter().all(is_told), "{warnings:?}");
    };
    let compress = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "gptq.toml",
        "--out",
        "c.whittle",
    ];
    let tune = [
        "tune",
        "tiny.gguf",
        "--bytes",
        "150kB",
        "--exchanges",
        "0",
        "--out",
        "r.toml",
    ];
    let (short, enough) = (
        ["--calibration-text", "short.txt"],
        ["--calibration-tokens", "1024"],
    );
    for command in [&["calibrate", "tiny.gguf"][..], &compress] {
        check(command, short, 1);
        check(command, enough, 0);
    }
    check(&tune, enough, 0);
    // A recipe that is not fitted to it needs none.
    let plain = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "small-3bit",
        "--out",
        "c.whittle",
    ];
    check(&plain, short, 0);
}

#[test]
fn a_budget_below_the_smallest_file_is_refused_before_any_work_in_its_unit() {
    let bench = Bench::new();
    let tune = |goal: &[&str]| {
        let start = ["tune", "tiny.gguf", "--out", "r.toml", "--front", "f.csv"];
        bench.failure(&[&start[..], goal].concat(), 1)
    };
    let said = tune(&["--bytes", "10kB"]);
    assert!(
        said.contains("bytes, found 10000: that is every tensor in its smallest"),
        "{said}"
    );
    let least = said
        .split("at least ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let said = tune(&["--bits-per-weight", "0.1"]);
    assert!(
        said.contains("bits for each weight, found 0.1: that is every tensor"),
        "{said}"
    );
    let bits = said
        .split("at least ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let board = std::fs::read_to_string("presets/boards/esp32-c3.toml").unwrap();
    let small = board
        .replace("4_194_304", "400_000")
        .replace("esp32-c3\"", "small\"");
    std::fs::write(bench.path("small.toml"), small).unwrap();
    let said = tune(&["--board", "small.toml"]);
    assert!(
        said.contains("no recipe keeps to small") && said.contains("kB of flash"),
        "{said}"
    );
    // Nothing was calibrated, measured or written.
    for path in ["cache/calibrations", "r.toml", "f.csv"] {
        assert!(!bench.path(path).exists(), "{path}");
    }
    // What is told is enough.
    let few = [
        "--calibration-tokens",
        "1024",
        "--exchanges",
        "0",
        "--out",
        "r.toml",
    ];
    for goal in [["--bytes", &least], ["--bits-per-weight", &bits]] {
        bench.json(&[&["tune", "tiny.gguf"], &few[..], &goal].concat());
    }
}

#[test]
fn what_is_only_estimated_is_never_shown_without_saying_so() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let boards = ["--board", "all"];
    let estimate = [&["estimate", "tiny.whittle"][..], &boards].concat();
    let report = bench.json(&estimate);
    let of_boards = report["boards"].as_array().unwrap();
    for board in of_boards {
        assert_eq!(board["validation"], "unvalidated", "{board}");
        has_keys(board, &["tokens_per_second", "reply_seconds"]);
    }
    let said = |arguments: &[&str]| String::from_utf8(bench.run(arguments).stdout).unwrap();
    // In the very line of each board.
    let lines = said(&estimate);
    for board in of_boards {
        let id = board["id"].as_str().unwrap();
        let mut lines = lines.lines();
        let line = lines.find(|l| l.split(' ').next() == Some(id)).unwrap();
        assert!(line.contains("unvalidated"), "{line}");
    }
    let compare = [&["compare", "tiny.whittle", "tiny.whittle"][..], &boards].concat();
    let table = said(&compare);
    assert_eq!(
        table.matches("unvalidated").count(),
        2 * of_boards.len(),
        "{table}"
    );
    assert!(said(&["boards"]).contains("unvalidated"));
    let report = [
        "report",
        "tiny.whittle",
        "--reference",
        "tiny.gguf",
        "--out",
        "r.html",
    ];
    assert!(bench.run(&[&report[..], &boards].concat()).status.success());
    let page = std::fs::read_to_string(bench.path("r.html")).unwrap();
    assert_eq!(page.matches(">unvalidated<").count(), of_boards.len());
    let limits = "[[board]]\nid = 'esp32-c3'\nmin_tokens_per_second = 0.001\n";
    std::fs::write(bench.path("l.toml"), limits).unwrap();
    let told = said(&["check", "tiny.whittle", "--limits", "l.toml"]);
    assert!(told.contains("(unvalidated, expected value of"), "{told}");
    let grid = "model = 'tiny.gguf'\nrecipe = 'balanced-4bit'\nboards = ['esp32-c3', 'ek-ra8m1']\n";
    std::fs::write(bench.path("g.toml"), grid).unwrap();
    bench.json(&["sweep", "g.toml"]);
    let table = std::fs::read_to_string(bench.path("g.csv")).unwrap();
    assert_eq!(table.matches(",unvalidated").count(), 2, "{table}");
}
