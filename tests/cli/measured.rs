//! Commands that put measurements together: report, reproduce.

use super::{Bench, has_keys};

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

/// Writes `text` over the start of a packed file's provenance, the rest of which becomes a comment.
fn edit(bytes: &mut [u8], find: &str, text: &str) {
    let at = bytes.windows(find.len()).position(|w| w == find.as_bytes());
    bytes[at.unwrap()..][..text.len()].copy_from_slice(text.as_bytes());
    let metadata = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let crc = engine::format::crc32(&bytes[24..metadata]);
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
        &["was fitted to 9 tokens of the text c.txt", "not at hand"],
    );

    // A weight that another engine rounded otherwise: in the last tensor but one, with its checksums.
    let mut weight = whole.clone();
    let directory = u32::from_le_bytes(weight[72..76].try_into().unwrap()) as usize;
    let entry = directory + 80;
    let offset = u64::from_le_bytes(weight[entry + 60..entry + 68].try_into().unwrap()) as usize;
    let long = u64::from_le_bytes(weight[entry + 68..entry + 76].try_into().unwrap()) as usize;
    weight[offset + long - 1] ^= 1;
    let crc = engine::format::crc32(&weight[offset..offset + long]);
    weight[entry + 76..entry + 80].copy_from_slice(&crc.to_le_bytes());
    edit(&mut weight, "WHITTLE", "WHITTLE");
    let name = String::from_utf8(weight[entry..entry + 40].to_vec()).unwrap();
    let name = format!(
        "tensor {} differs in 1 bytes of {long}",
        name.trim_end_matches('\0')
    );
    check(&weight, &[&name]);
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
