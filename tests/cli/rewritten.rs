//! A model in another form.

use super::{Bench, has_keys};

#[test]
fn a_rotated_model_is_a_model_again() {
    let bench = Bench::new();
    let start = ["rotate", "tiny.gguf", "--out", "turned.gguf"];
    let report = bench.json(&[&start[..], &["--seed", "7", "--floats", "f32"]].concat());
    has_keys(
        &report,
        &["file", "basis", "seed", "bytes", "source_bytes", "matrices"],
    );
    assert_eq!(
        (&report["basis"], &report["seed"]),
        (&"both".into(), &7.into())
    );
    let file = std::fs::metadata(bench.path("turned.gguf")).unwrap();
    assert_eq!(report["bytes"].as_u64(), Some(file.len()));
    let information = bench.json(&["info", "turned.gguf"]);
    assert_eq!(information["architecture"], "llama");

    let said = bench.failure(&[&start[..], &["--basis", "up"]].concat(), 2);
    assert!(said.contains("expected stream, heads or both"), "{said}");
    let nowhere = ["rotate", "tiny.gguf", "--out", "no/such/turned.gguf"];
    let said = bench.failure(&nowhere, 1);
    assert!(said.contains("cannot write no/such/turned.gguf"), "{said}");
}

#[test]
fn a_trimmed_model_is_a_model_again_and_says_what_it_costs() {
    let bench = Bench::new();
    std::fs::write(
        bench.path("other.txt"),
        "hello to you and the other user ".repeat(9),
    )
    .unwrap();
    let start = ["trim", "tiny.gguf", "--out", "few.gguf"];
    let text = ["--text", "text.txt"];
    let measured = ["--measure", "other.txt", "--measure-tokens", "60"];
    let report = bench.json(&[&start[..], &text, &["--tokens", "290"], &measured].concat());
    has_keys(
        &report,
        &[
            "file",
            "tokens_before",
            "tokens_after",
            "tokens_in_samples",
            "bytes_before",
            "bytes_after",
            "text_tokens_before",
            "text_tokens_after",
            "measured_bytes",
            "bits_per_byte_before",
            "bits_per_byte_after",
        ],
    );
    assert_eq!(
        (&report["tokens_before"], &report["tokens_after"]),
        (&300.into(), &288.into())
    );
    let file = std::fs::metadata(bench.path("few.gguf")).unwrap();
    assert_eq!(report["bytes_after"].as_u64(), Some(file.len()));
    assert_eq!(bench.json(&["info", "few.gguf"])["vocab"], 288);
    let plain = bench.run(&[&start[..], &text].concat());
    let said = String::from_utf8(plain.stdout).unwrap();
    assert!(
        said.contains("of 300 tokens") && said.trim_end().lines().count() == 1,
        "{said}"
    );

    std::fs::write(bench.path("empty.txt"), "").unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let message = bench.failure(&[&start[..], arguments].concat(), 1);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    };
    check(&["--text", "no.txt"], "cannot read no.txt");
    check(&["--text", "empty.txt"], "two tokens or more in empty.txt");
    check(
        &["--text", "text.txt", "--tokens", "99"],
        "a vocabulary of 99 tokens is too small",
    );
    check(&["--chats", "text.txt"], "text.txt");
    bench.failure(&start, 2);
}
