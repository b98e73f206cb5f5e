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
            "sha256",
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

/// What a bill must have to be CycloneDX 1.5 at all, and the file's hash.
fn require_bill(bench: &Bench, bill: &str, file: &str) {
    let text = std::fs::read_to_string(bench.path(bill)).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    let model = &bill["components"][0];
    assert_eq!(model["type"], "machine-learning-model");
    let hash = whittle::packed::sha256_hex(&std::fs::read(bench.path(file)).unwrap());
    assert_eq!(model["hashes"][0]["content"], hash.as_str(), "{text}");
    let source = whittle::packed::sha256_hex(&std::fs::read(bench.path("tiny.gguf")).unwrap());
    assert!(text.contains(&source), "{text}");
}

#[test]
fn an_export_brings_a_software_bill() {
    let bench = Bench::new();
    let of = ["compress", "tiny.gguf", "--recipe", "balanced-4bit"];
    let run = |arguments: &[&str]| assert!(bench.run(arguments).status.success());
    run(&[&of[..], &["--out", "tiny.whittle", "--sbom"]].concat());
    require_bill(&bench, "tiny.whittle.cdx.json", "tiny.whittle");

    let of = ["export", "tiny.whittle", "--model", "tiny.gguf"];
    run(&[&of[..], &["--gguf", "out.gguf"]].concat());
    assert!(!bench.path("out.gguf.cdx.json").exists(), "not asked for");
    run(&[&of[..], &["--gguf", "out.gguf", "--sbom"]].concat());
    require_bill(&bench, "out.gguf.cdx.json", "out.gguf");

    run(&[&of[..], &["--safetensors", "folder"]].concat());
    require_bill(&bench, "folder/sbom.cdx.json", "folder/model.safetensors");
    let licences = std::fs::read_to_string(bench.path("folder/LICENSES.md")).unwrap();
    assert!(licences.contains("- model.safetensors, "), "{licences}");
    // One of before, without either, is replaced as well.
    for name in ["sbom.cdx.json", "LICENSES.md"] {
        std::fs::remove_file(bench.path("folder").join(name)).unwrap();
    }
    run(&[&of[..], &["--safetensors", "folder"]].concat());

    let onto_itself = ["--out", "tiny.gguf.cdx.json", "--sbom"];
    std::fs::create_dir(bench.path("tiny.gguf.cdx.json.cdx.json")).unwrap();
    let of = ["compress", "tiny.gguf", "--recipe", "balanced-4bit"];
    let said = bench.failure(&[&of[..], &onto_itself].concat(), 1);
    assert!(
        said.contains("cannot write tiny.gguf.cdx.json.cdx.json"),
        "{said}"
    );
    assert!(
        !bench.path("tiny.gguf.cdx.json").exists(),
        "before the work"
    );
}
