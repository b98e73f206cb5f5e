//! What a locked product is given instead of being written: the parts of its flash.

use super::Bench;
use std::fs;

#[test]
fn the_parts_of_an_image_go_to_a_folder_with_the_commands_that_write_them() {
    let bench = Bench::new();
    let pack = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "balanced-4bit",
        "--out",
        "m.whittle",
    ];
    assert!(bench.run(&pack).status.success());
    let parts = [
        "flash",
        "m.whittle",
        "--board",
        "esp32-c3",
        "--parts",
        "parts",
    ];
    let report = bench.json(&parts);
    let listed = report["parts"].as_array().unwrap();
    assert_eq!(listed.len(), 4, "{report}");
    let page = fs::read_to_string(bench.path("parts/FLASH.md")).unwrap();
    for part in listed {
        let name = part["file"].as_str().unwrap();
        let bytes = fs::read(bench.path("parts").join(name)).unwrap();
        assert_eq!(
            bytes.len() as u64,
            part["bytes"].as_u64().unwrap(),
            "{name}"
        );
        let written = format!(" {:#x} {name}", part["offset"].as_u64().unwrap());
        assert!(page.contains(&written), "{page}");
    }
    let model = fs::read(bench.path("parts/model.whittle")).unwrap();
    assert_eq!(model, fs::read(bench.path("m.whittle")).unwrap());
    // What is in it: each part by its hash, the crates, the model.
    let bill = fs::read_to_string(bench.path("parts/sbom.cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    let components = bill["components"].as_array().unwrap();
    for file in ["bootloader.bin", "firmware.bin", "model.whittle"] {
        let bytes = fs::read(bench.path("parts").join(file)).unwrap();
        let hash = whittle::packed::sha256_hex(&bytes);
        let is_it = |c: &&serde_json::Value| c["hashes"][0]["content"] == hash.as_str();
        assert!(components.iter().any(|c| is_it(&c)), "{file}");
    }
    let has = |name: &str| components.iter().any(|c| c["name"] == name);
    assert!(has("esp-hal") && has("postcard") && has("whittle-esp32c3"));
    let licences = fs::read_to_string(bench.path("parts/LICENSES.md")).unwrap();
    assert!(licences.contains("- esp-hal ") && licences.contains("Apache License"));
    // Again over its own, and over nothing else.
    assert!(bench.run(&parts).status.success());
    fs::write(bench.path("parts/mine.txt"), "mine").unwrap();
    assert!(!bench.run(&parts).status.success());
    assert_eq!(
        fs::read_to_string(bench.path("parts/mine.txt")).unwrap(),
        "mine"
    );
    // One or the other.
    let neither = bench.run(&["flash", "m.whittle", "--board", "esp32-c3"]);
    assert_eq!(neither.status.code(), Some(1));
    let said = String::from_utf8_lossy(&neither.stderr);
    assert!(
        said.contains("expected --port, or --parts for a folder"),
        "{said}"
    );
}

/// Who leaves the board out is told which one it is taken for.
#[test]
fn without_a_board_it_is_the_one_whose_chip_answers() {
    let bench = Bench::new();
    let pack = [
        "compress",
        "tiny.gguf",
        "--recipe",
        "balanced-4bit",
        "--out",
        "m.whittle",
    ];
    assert!(bench.run(&pack).status.success());
    let planned = bench.run(&["flash", "m.whittle", "--port", "fake", "--plan"]);
    let said = String::from_utf8_lossy(&planned.stderr);
    assert!(planned.status.success(), "{said}");
    assert!(
        said.contains(
            "The chip that answers is an esp32c3: taken for ESP32-C3-DevKitM-1 (4 MB) (--board esp32-c3)"
        ),
        "{said}"
    );
    let plan = bench.json(&["flash", "m.whittle", "--port", "fake", "--plan"]);
    assert_eq!(plan["plan"]["chip"], "esp32c3");
    let refused = |args: &[&str]| {
        let run = bench.run(&[&["flash", "m.whittle"], args].concat());
        assert!(!run.status.success());
        String::from_utf8_lossy(&run.stderr).into_owned()
    };
    let socket = refused(&["--port", "tcp:127.0.0.1:1"]);
    assert!(socket.contains("name it with --board"), "{socket}");
    let loader = refused(&["--board", "esp32-c3", "--port", "tcp:127.0.0.1:1"]);
    assert!(
        loader.contains("a loader is behind a serial port"),
        "{loader}"
    );
    let nothing = refused(&["--port", ""]);
    assert!(
        nothing.contains("a value is required for '--port"),
        "{nothing}"
    );
    let neither = refused(&["--parts", "parts"]);
    assert!(neither.contains("--board"), "{neither}");
}
