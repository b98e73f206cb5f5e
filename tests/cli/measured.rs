//! Commands that put measurements together: compare, check, sweep, report, reproduce.

use super::{Bench, compress, has_keys};
use serde_json::Value;

/// Packs the tiny model by a recipe.
fn pack(bench: &Bench, recipe: &str, out: &str) {
    bench.json(&["compress", "tiny.gguf", "--recipe", recipe, "--out", out]);
}

const AGAINST: [&str; 6] = [
    "--reference",
    "tiny.gguf",
    "--text",
    "text.txt",
    "--tokens",
    "1024",
];

#[test]
fn a_packed_file_says_what_it_was_made_from_and_is_made_again_to_the_byte() {
    let bench = Bench::new();
    for (recipe, extra) in [
        ("balanced-4bit", &["--prefix", "You are loud."][..]),
        ("small-3bit", &["--kv-bits", "8"]),
        ("reference-8bit", &["--no-prefix"]),
    ] {
        let start = ["compress", "tiny.gguf", "--recipe", recipe, "--out"];
        bench.json(&[&start[..], &["tiny.whittle"], extra].concat());
        // Where the model lies now, and what it is called, makes no difference.
        std::fs::copy(bench.path("tiny.gguf"), bench.path("other.gguf")).unwrap();
        let report = bench.json(&["reproduce", "tiny.whittle", "--model", "other.gguf"]);
        assert_eq!(report["same_bytes"], true, "{recipe}: {report}");
    }
    let info = bench.json(&["info", "tiny.whittle"]);
    has_keys(
        &info["provenance"],
        &["name", "file", "sha256", "engine", "recipe_sha256"],
    );
    assert_eq!(info["recipe"]["name"], "reference-8bit");
    let parts = info["sizes"].as_array().unwrap().iter();
    let sum: u64 = parts.map(|p| p["bytes"].as_u64().unwrap()).sum();
    assert_eq!(Some(sum), info["bytes"].as_u64());
    let text = String::from_utf8(bench.run(&["info", "tiny.whittle"]).stdout).unwrap();
    assert!(text.contains("Recipe           reference-8bit"), "{text}");
    assert!(text.contains("vocabulary"), "{text}");
}

/// Writes `text` over the first place of `find`, with the checksums that belong to it.
fn edit(bytes: &mut [u8], find: &str, text: &str) {
    let at = bytes.windows(find.len()).position(|w| w == find.as_bytes());
    bytes[at.unwrap()..][..text.len()].copy_from_slice(text.as_bytes());
    seal(bytes);
}

/// The entries of the table of sections: where each stands, and which bytes it leads to.
fn sections(bytes: &[u8]) -> Vec<(usize, std::ops::Range<usize>)> {
    let count = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let entries = (0..count).map(|index| 32 + 40 * index);
    entries
        .map(|entry| (entry, long(entry + 24)..long(entry + 24) + long(entry + 32)))
        .collect()
}

/// Makes the checksums of sections and table those of the bytes that are there.
fn seal(bytes: &mut [u8]) {
    let sections = sections(bytes);
    let end = 32 + 40 * sections.len();
    for (entry, section) in sections {
        let crc = engine::format::crc32(&bytes[section]);
        bytes[entry + 20..entry + 24].copy_from_slice(&crc.to_le_bytes());
    }
    let crc = engine::format::crc32(&bytes[20..end]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn what_is_not_the_same_is_named() {
    let bench = Bench::new();
    pack(&bench, "balanced-4bit", "tiny.whittle");
    let whole = std::fs::read(bench.path("tiny.whittle")).unwrap();
    let reproduce = ["reproduce", "tiny.whittle", "--model", "tiny.gguf"];
    let check = |bytes: &[u8], expected: &[&str]| {
        std::fs::write(bench.path("tiny.whittle"), bytes).unwrap();
        let message = bench.failure(&reproduce, 1);
        assert_eq!(message.lines().count(), 1, "{message}");
        for expected in expected {
            assert!(message.contains(expected), "{expected}: {message}");
        }
    };

    let mut recipe = whole.clone();
    edit(
        &mut recipe,
        "name = \"balanced-4bit\"",
        "name = \"balanced-5bit\"",
    );
    // The hash of the recipe that the file has is another now.
    check(&recipe, &["section provenance differs in ", "here 0."]);

    let mut other = whole.clone();
    let sha256 = other.windows(10).position(|w| w == b"sha256 = \"").unwrap();
    let first = if other[sha256 + 10] == b'0' { "1" } else { "0" };
    edit(&mut other, "sha256 = \"", &format!("sha256 = \"{first}"));
    check(
        &other,
        &["expected the model that tiny.whittle was made of, tiny with SHA-256"],
    );

    let mut fitted = whole.clone();
    let calibration = "calibration = {text = 'c.txt', sha256 = 'ab', tokens = 9} #";
    edit(&mut fitted, "recipe_sha256 = \"", calibration);
    check(
        &fitted,
        &[
            "was fitted to 9 tokens of the text c.txt",
            "--calibration-text",
        ],
    );

    // A weight that another engine rounded otherwise: in the last tensor but one, with its checksums.
    let mut weight = whole.clone();
    let is_directory = |entry: usize| weight[entry..].starts_with(b"tensors\0");
    let directory = sections(&weight)
        .into_iter()
        .find(|(entry, _)| is_directory(*entry));
    let entry = directory.unwrap().1.start + 80;
    let offset = u64::from_le_bytes(weight[entry + 60..entry + 68].try_into().unwrap()) as usize;
    let long = u64::from_le_bytes(weight[entry + 68..entry + 76].try_into().unwrap()) as usize;
    weight[offset + long - 1] ^= 1;
    let crc = engine::format::crc32(&weight[offset..offset + long]);
    weight[entry + 76..entry + 80].copy_from_slice(&crc.to_le_bytes());
    seal(&mut weight);
    let name = String::from_utf8(weight[entry..entry + 40].to_vec()).unwrap();
    let name = format!(
        "tensor {} differs in 1 bytes of {long}",
        name.trim_end_matches('\0')
    );
    check(&weight, &[&name]);
}

#[test]
fn files_are_compared_on_the_same_windows_with_the_error_of_their_difference() {
    let bench = Bench::new();
    pack(&bench, "balanced-4bit", "a.whittle");
    pack(&bench, "seed-extreme", "b.whittle");
    let start = [
        "compare",
        "a.whittle",
        "b.whittle",
        "--board",
        "esp32-c3",
        "esp32-p4",
    ];
    let report = bench.json(&[&start[..], &AGAINST].concat());
    let files = report["files"].as_array().unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let kl = |file: &Value| number(&file["quality"]["kl_mean"]);
    let difference = &files[1]["kl_difference"];
    let expected = kl(&files[1]) - kl(&files[0]);
    assert!(
        (number(&difference["mean"]) - expected).abs() < 1e-9,
        "{difference}"
    );
    assert!(number(&difference["standard_error"]) > 0.0);
    assert_eq!(files[0]["kl_difference"], Value::Null);
    assert_eq!(files[1]["boards"].as_array().unwrap().len(), 2);
    let basis = &files[1]["quality"]["basis"];
    has_keys(
        basis,
        &[
            "candidate_sha256",
            "recipe_sha256",
            "reference_sha256",
            "text_sha256",
        ],
    );
    let tensor = &report["tensors"][0];
    assert_ne!(
        tensor["files"][0]["encoding"],
        tensor["files"][1]["encoding"]
    );
    assert!(number(&tensor["files"][1]["nmse"]) > number(&tensor["files"][0]["nmse"]));
    let text = bench.run(&[&start[..3], &AGAINST].concat());
    let text = String::from_utf8(text.stdout).unwrap();
    for expected in [
        "KL less the first's",
        "token_embd.weight",
        "tensors are the same bytes in all files",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Alone, without a reference.
    let report = bench.json(&["compare", "a.whittle", "a.whittle"]);
    assert_eq!(report["files"][0]["quality"], Value::Null);
    bench.failure(&["compare", "a.whittle"], 2);
}

#[test]
fn a_file_is_held_against_limits_and_every_broken_one_is_named() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    std::fs::create_dir(bench.path("ci")).unwrap();
    std::fs::copy(bench.path("text.txt"), bench.path("ci/near.txt")).unwrap();
    std::fs::write(
        bench.path("ci/t.jsonl"),
        "{\"prompt\": \"hello\", \"pattern\": \".*\"}",
    )
    .unwrap();
    let limits = |kl: f64, bytes: u64, speed: f64| {
        let text = format!(
            "max_kl = {kl}\nmax_bytes = {bytes}\nmin_same_top = 0.0\nmax_perplexity_ratio = 9.0\n\
             reference = 'tiny.gguf'\ntext = 'near.txt'\ntokens = 512\nmin_task_pass = 1.0\n\
             tasks = 't.jsonl'\nmax_bits_per_weight = 16\n\
             [[board]]\nid = 'esp32-c3'\nfits = true\nmin_tokens_per_second = {speed}\n\
             max_ram_bytes = 1_000_000"
        );
        std::fs::write(bench.path("ci/limits.toml"), text).unwrap();
    };
    let check = ["check", "tiny.whittle", "--limits", "ci/limits.toml"];
    limits(5.0, 10_000_000, 0.001);
    let report = bench.json(&check);
    assert_eq!(report["held"], true, "{report}");
    assert_eq!(report["limits"].as_array().unwrap().len(), 9);
    let kl = &report["limits"][2];
    assert_eq!(
        (&kl["limit"], kl["standard_error"].is_number()),
        (&"max_kl".into(), true)
    );

    limits(1e-9, 1000, 1e9);
    let output = bench.run(&check);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = "breaks max_bytes, max_kl, min_tokens_per_second of esp32-c3";
    assert!(error.contains(expected), "{error}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told.lines().count(), 9, "{told}");
    assert_eq!(told.matches("BROKEN").count(), 3, "{told}");
    std::fs::write(bench.path("ci/limits.toml"), "max_size = 3").unwrap();
    assert!(
        bench
            .failure(&check, 1)
            .contains("unknown field `max_size`")
    );
}

#[test]
fn a_sweep_has_a_row_for_each_point_and_goes_on_where_it_was_broken_off() {
    let bench = Bench::new();
    let grid = "model = 'tiny.gguf'\nrecipe = 'balanced-4bit'\nrecipes = ['reference-8bit']\n\
                text = 'text.txt'\ntokens = 512\nboards = ['esp32-c3']\n\
                [[axis]]\ntensors = 'feed-forward.*'\nbits = [2, 4]\nsparsity = [0, 0.5]";
    std::fs::write(bench.path("grid.toml"), grid).unwrap();
    let done = bench.json(&["sweep", "grid.toml"]);
    assert_eq!((&done["points"], &done["skipped"]), (&5.into(), &0.into()));
    let rows = |bench: &Bench| std::fs::read_to_string(bench.path("grid.jsonl")).unwrap();
    let first = rows(&bench);
    let parsed: Vec<Value> = first
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(parsed.len(), 5);
    assert_eq!(parsed[1]["set"], "feed-forward.*=bits:2,sparsity:0.5");
    assert!(parsed[1]["kl_mean"].as_f64() > parsed[4]["kl_mean"].as_f64());
    let csv = std::fs::read_to_string(bench.path("grid.csv")).unwrap();
    assert_eq!(csv.lines().count(), 6);
    assert!(csv.starts_with("point,model,recipe,set,bytes"), "{csv}");

    // Broken off in the middle of the third row.
    let third = first.match_indices('\n').nth(2).unwrap().0;
    std::fs::write(bench.path("grid.jsonl"), &first[..third - 9]).unwrap();
    std::fs::remove_file(bench.path("grid.csv")).unwrap();
    let done = bench.json(&["sweep", "grid.toml"]);
    assert_eq!((&done["points"], &done["skipped"]), (&5.into(), &2.into()));
    let told = String::from_utf8(bench.run(&["sweep", "grid.toml"]).stdout).unwrap();
    assert!(told.contains("5 points, 5 of them from before"), "{told}");
    let points = |text: &str| -> Vec<Value> {
        let row = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        text.lines().map(|l| row(l)["kl_mean"].clone()).collect()
    };
    assert_eq!(points(&rows(&bench)), points(&first));

    // The same file may keep the rows of another grid; the table has its own only.
    std::fs::write(bench.path("grid.toml"), grid.replace("512", "1024")).unwrap();
    let done = bench.json(&["sweep", "grid.toml"]);
    assert_eq!(done["skipped"], 0);
    assert_eq!(rows(&bench).lines().count(), 10);
    std::fs::write(bench.path("grid.toml"), format!("max_points = 4\n{grid}")).unwrap();
    let message = bench.failure(&["sweep", "grid.toml"], 1);
    assert!(
        message.contains("the grid has 5 points, at most 4"),
        "{message}"
    );
}

#[test]
fn a_report_is_one_page_that_needs_nothing_and_trusts_no_text() {
    let bench = Bench::new();
    let recipe = "name = '<script>alert(1)</script>'\nrule = [{tensors = '*', bits = 4}]";
    std::fs::write(bench.path("odd.toml"), recipe).unwrap();
    let odd = "<img src=x onerror=alert(1)>.gguf";
    std::fs::copy(bench.path("tiny.gguf"), bench.path(odd)).unwrap();
    let packed = ["--recipe", "odd.toml", "--out", "tiny.whittle"];
    bench.json(&[&["compress", odd], &packed[..]].concat());
    std::fs::write(
        bench.path("t.jsonl"),
        "{\"prompt\": \"hello\", \"pattern\": \".*\", \"group\": \"<b>bold</b>\"}",
    )
    .unwrap();
    let start = [
        "report",
        "tiny.whittle",
        "--tasks",
        "t.jsonl",
        "--board",
        "esp32-c3",
    ];
    let report = bench.json(&[&start[..], &AGAINST, &["--out", "r.html"]].concat());
    has_keys(
        &report,
        &[
            "sizes",
            "recipe",
            "provenance",
            "tensors",
            "quality",
            "tasks",
            "estimates",
        ],
    );
    let page = std::fs::read_to_string(bench.path("r.html")).unwrap();
    for text in [
        "<script",
        "<img",
        "<b>bold",
        "javascript:",
        "<link",
        "@import",
    ] {
        assert!(!page.contains(text), "{text} is in the page");
    }
    // No address but the name of SVG's own grammar.
    assert_eq!(
        page.matches("http").count(),
        page.matches("http://www.w3.org/2000/svg").count() + 1
    );
    for text in [
        "&lt;script&gt;alert(1)",
        "&lt;b&gt;bold",
        "esp32-c3",
        "Mean KL divergence",
        "blk.1.ffn_down.weight",
        "vocabulary: ",
    ] {
        assert!(page.contains(text), "no {text} in the page");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    // Without a text, tasks or boards there is a page too.
    let bare = [
        "report",
        "tiny.whittle",
        "--reference",
        odd,
        "--out",
        "bare.html",
    ];
    assert!(bench.run(&bare).status.success());
    let page = std::fs::read_to_string(bench.path("bare.html")).unwrap();
    assert!(page.contains("Not measured on a text") && page.contains("No board was named"));
}
