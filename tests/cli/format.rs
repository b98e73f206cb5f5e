//! The packed format as the commands show it: version, sections, KV bits, and files of version 1.

use crate::Bench;
use crate::formats::{version_1, with_section};
use engine::format::{Need, NewSection, Packed, Section};
use serde_json::Value;

const PROMPT: &str = "turn on the light";

/// Packs the tiny model, with a text that opens its conversations, for keys and values of these bits.
fn pack(bench: &Bench, kv_bits: &str, prefix: &[&str], out: &str) {
    let arguments = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "balanced-4bit",
        "--kv-bits",
        kv_bits,
        "--out",
        out,
    ];
    bench.json(&[&arguments[..], prefix].concat());
}

fn chat(bench: &Bench, file: &str, more: &[&str]) -> Value {
    let arguments = ["chat", file, "--prompt", PROMPT, "--max-tokens", "8"];
    bench.json(&[&arguments[..], more].concat())
}

/// The file rewritten as version 1.
fn of_before(bench: &Bench, file: &str, out: &str) {
    let bytes = std::fs::read(bench.path(file)).unwrap();
    std::fs::write(bench.path(out), version_1(&bytes)).unwrap();
}

#[test]
fn what_a_file_was_made_for_is_how_it_runs() {
    let bench = Bench::new();
    let prefix = ["--prefix", "You are brief."];
    pack(&bench, "4", &["--no-prefix"], "plain.whittle");
    pack(&bench, "4", &prefix, "prefix.whittle");
    of_before(&bench, "prefix.whittle", "before.whittle");
    for file in ["plain.whittle", "prefix.whittle", "before.whittle"] {
        let found = chat(&bench, file, &[]);
        let [four, sixteen] = ["4", "16"].map(|bits| chat(&bench, file, &["--kv-bits", bits]));
        assert_eq!(found["kv_bits"], 4, "{file}");
        assert_eq!(found["logits_hash"], four["logits_hash"], "{file}");
        assert_ne!(found["logits_hash"], sixteen["logits_hash"], "{file}");
        assert_eq!(sixteen["kv_bits"], 16, "{file}");
        let bench_of = bench.json(&["bench", file, "--repetitions", "1"]);
        assert_eq!(bench_of["kv_bits"], 4, "{file}");
        let estimate = bench.json(&["estimate", file, "--board", "esp32-c3"]);
        assert_eq!(estimate["kv_bits"], 4, "{file}");
        let eval = [
            "eval",
            file,
            "--reference",
            "tiny.gguf",
            "--text",
            "text.txt",
        ];
        assert_eq!(bench.json(&eval)["basis"]["kv_bits"], 4, "{file}");
        assert_eq!(bench.json(&["info", file])["kv_bits"], 4, "{file}");
    }
    // A file of version 1 says nothing of it unless it has a prefix.
    of_before(&bench, "plain.whittle", "before.whittle");
    assert_eq!(chat(&bench, "before.whittle", &[])["kv_bits"], 16);
    // Each of several files by its own.
    pack(&bench, "8", &prefix, "eight.whittle");
    let text = ["--reference", "tiny.gguf", "--text", "text.txt"];
    let compare = ["compare", "plain.whittle", "eight.whittle"];
    let compared = bench.json(&[&compare[..], &text].concat());
    let bits = |index: usize| &compared["files"][index]["quality"]["basis"]["kv_bits"];
    assert_eq!(*bits(0), 4);
    assert_eq!(*bits(1), 8);
}

#[test]
fn info_names_the_version_and_every_section_with_its_bytes() {
    let bench = Bench::new();
    pack(&bench, "8", &["--prefix", "You are brief."], "a.whittle");
    of_before(&bench, "a.whittle", "before.whittle");
    let bytes = std::fs::read(bench.path("a.whittle")).unwrap();
    let packed = Packed::parse(&bytes).unwrap();
    for (file, format) in [("a.whittle", 2), ("before.whittle", 1)] {
        let info = bench.json(&["info", file]);
        assert_eq!(info["format"], format);
        assert_eq!(info["kv_bits"], 8);
        let sections = info["sections"].as_array().unwrap();
        for section in Section::ALL {
            // In version 1 the shape lies in the header.
            let listed = sections.iter().find(|s| s["name"] == section.name());
            match listed {
                Some(listed) => assert_eq!(listed["bytes"], packed.section(section).len()),
                None => assert_eq!((section, format), (Section::Shape, 1)),
            }
        }
        let sizes = info["sizes"].as_array().unwrap();
        let sum: u64 = sizes.iter().map(|s| s["bytes"].as_u64().unwrap()).sum();
        assert_eq!(sum, info["bytes"].as_u64().unwrap(), "every byte counts");
        let text = String::from_utf8(bench.run(&["info", file]).stdout).unwrap();
        assert!(
            text.contains(&format!("Format version   {format}\n")),
            "{text}"
        );
        assert!(text.contains("section stop-tokens"), "{text}");
    }
}

#[test]
fn a_file_of_version_1_is_made_again_with_the_same_contents() {
    let bench = Bench::new();
    pack(&bench, "8", &["--prefix", "You are brief."], "a.whittle");
    of_before(&bench, "a.whittle", "before.whittle");
    let again = |file: &str| bench.json(&["reproduce", file, "--model", "tiny.gguf"]);
    let new = again("a.whittle");
    assert_eq!(new["same_bytes"], true);
    assert_eq!(new["format"], 2);
    let old = again("before.whittle");
    assert_eq!(old["same_bytes"], false);
    assert_eq!(old["same_contents"], true);
    assert_eq!(old["format"], 1);
    let run = bench.run(&["reproduce", "before.whittle", "--model", "tiny.gguf"]);
    let text = String::from_utf8(run.stdout).unwrap();
    let expected = "same contents, every section and tensor: the file is of format version 1, version \
                    2 is written here";
    assert!(text.contains(expected), "{text}");
    // Where contents differ it is no less a difference than in one version.
    let mut bytes = std::fs::read(bench.path("a.whittle")).unwrap();
    let place = {
        let packed = Packed::parse(&bytes).unwrap();
        let section = packed.section(Section::StopTokens);
        section.as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[place] ^= 1;
    std::fs::write(bench.path("other.whittle"), version_1(&bytes)).unwrap();
    let message = bench.failure(&["reproduce", "other.whittle", "--model", "tiny.gguf"], 1);
    assert!(
        message.contains("section stop-tokens differs in 1 bytes"),
        "{message}"
    );
}

#[test]
fn a_section_of_a_later_version_is_passed_over_or_refused_by_name() {
    let bench = Bench::new();
    pack(&bench, "8", &["--no-prefix"], "a.whittle");
    let bytes = std::fs::read(bench.path("a.whittle")).unwrap();
    let with = |name, need, out| {
        let bytes = with_section(
            &bytes,
            NewSection {
                name,
                need,
                bytes: b"0123456789",
            },
        );
        std::fs::write(bench.path(out), bytes).unwrap();
    };
    with("licences", Need::Optional, "optional.whittle");
    let [plain, optional] = ["a.whittle", "optional.whittle"].map(|file| chat(&bench, file, &[]));
    assert_eq!(plain["logits_hash"], optional["logits_hash"]);
    let info = bench.json(&["info", "optional.whittle"]);
    let listed = info["sections"].as_array().unwrap().last().unwrap();
    let expected =
        serde_json::json!({"name": "licences", "bytes": 10, "required": false, "known": false});
    assert_eq!(*listed, expected);
    let sizes = info["sizes"].as_array().unwrap();
    assert!(
        sizes
            .iter()
            .any(|s| s["part"] == "other sections" && s["bytes"] == 10)
    );
    with("dialogue", Need::Required, "required.whittle");
    for command in [
        &["info", "required.whittle"][..],
        &["chat", "required.whittle", "--prompt", "x"],
    ] {
        let message = bench.failure(command, 1);
        assert!(
            message.contains(
                "required.whittle: expected sections that this version knows, found dialogue"
            ),
            "{message}"
        );
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    }
}
