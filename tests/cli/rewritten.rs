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
