//! A packed model for other programs.

use super::{Bench, compress, has_keys};

#[test]
fn a_packed_model_is_exported_and_is_a_model_again() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let of = ["export", "tiny.whittle", "--model", "tiny.gguf"];
    let report = bench.json(&[&of[..], &["--gguf", "out.gguf"]].concat());
    has_keys(
        &report,
        &[
            "bytes",
            "tensors",
            "rounded_values",
            "largest_relative_rounding",
        ],
    );
    let file = std::fs::metadata(bench.path("out.gguf")).unwrap();
    assert_eq!(report["bytes"].as_u64(), Some(file.len()));
    assert!(report["rounded_values"].as_u64() > Some(0));
    bench.json(&["info", "out.gguf"]);

    let exact = ["--gguf", "exact.gguf", "--dequantize", "f32"];
    let report = bench.json(&[&of[..], &exact].concat());
    assert_eq!(report["rounded_values"], 0);
    let text = bench.run(&[&of[..], &["--safetensors", "folder"]].concat());
    let said = String::from_utf8(text.stdout).unwrap();
    assert!(said.contains("16-bit floats change"), "{said}");
    let remark = String::from_utf8(text.stderr).unwrap();
    assert!(remark.contains("the folder has none"), "{remark}");
    for name in ["config.json", "model.safetensors"] {
        assert!(bench.path("folder").join(name).exists());
    }

    let message = bench.failure(&[&of[..], &["--gguf", "no/such/out.gguf"]].concat(), 1);
    assert!(
        message.contains("cannot write no/such/out.gguf"),
        "{message}"
    );
    bench.failure(&of, 2);
}
