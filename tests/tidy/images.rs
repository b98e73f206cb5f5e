//! What `make firmware` says of an image that comes along and was built again: scripts/compare-firmware.sh.

use std::path::Path;
use std::process::Command;

const COMPILER: &str = "rustc version 1.95.0 (59807616e 2026-04-14)";

/// A program that names its compiler and its engine; between them stands the magic once more, as the one that a firmware
/// looks for in others.
fn image(compiler: &str, engine: u64, code: &[u8]) -> Vec<u8> {
    let stamp = |layout: u32| {
        let words = [layout, 2].map(u32::to_le_bytes);
        let digests = [7, engine, 9].map(u64::to_le_bytes);
        [
            &b"WHITTLE FIRMWARE"[..],
            words.as_flattened(),
            digests.as_flattened(),
        ]
        .concat()
    };
    let (magic, stamp) = (stamp(0xFFFF), stamp(1));
    [
        code,
        &magic,
        b"\0\n",
        &stamp,
        b"\0",
        compiler.as_bytes(),
        b"\0",
    ]
    .concat()
}

#[test]
fn a_rebuilt_image_is_compared_where_its_engine_and_its_compiler_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let check = |committed: &[u8], rebuilt: &[u8], release: &str| {
        let [there, here] = ["there.elf", "here.elf"].map(|name| folder.path().join(name));
        std::fs::write(&there, committed).unwrap();
        std::fs::write(&here, rebuilt).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let run = Command::new("sh")
            .arg(root.join("scripts/compare-firmware.sh"))
            .args([there, here])
            .env("WHITTLE_RELEASE", release)
            .output()
            .unwrap();
        let said = [run.stdout, run.stderr].concat();
        (run.status.success(), String::from_utf8(said).unwrap())
    };
    let ours = image(COMPILER, 5, b"code");
    let (is_fine, said) = check(&ours, &ours, "1");
    assert!(is_fine && said.contains("byte for byte"), "{said}");

    let (is_fine, said) = check(&ours, &image(COMPILER, 5, b"cold"), "0");
    assert!(
        !is_fine && said.contains("is not what the sources give: cp "),
        "{said}"
    );

    for (other, reason) in [
        (
            image(COMPILER, 6, b"cold"),
            "older than the sources (engine and app 0000000000000005",
        ),
        (
            image("rustc version 1.96.0 (x)", 5, b"cold"),
            "here is rustc version 1.96.0 (x): not compared",
        ),
    ] {
        let (is_fine, said) = check(&ours, &other, "0");
        assert!(is_fine && said.contains(reason), "{said}");
        let (is_fine, said) = check(&ours, &other, "1");
        assert!(!is_fine && said.contains(reason), "a release: {said}");
    }
    let (is_fine, said) = check(&ours, b"no firmware", "0");
    assert!(
        !is_fine && said.contains("does not say which engine"),
        "{said}"
    );
}
