//! What a model is made of, and what packing makes of it.

use super::tiny_model::TinyModel;
use super::{Bench, compress, has_keys};
use serde_json::Value;

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
