//! Ctrl-C, as a shell sends it.

use std::fs;
use std::process::{Command, Stdio};

/// Files of a folder.
fn files(folder: &std::path::Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn an_interrupted_compression_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_whittle"))
        .args(["compress", "smollm2-135m", "--recipe", "balanced-4bit"])
        .args([
            "--set",
            "*=bits:4,method:search",
            "--calibration-tokens",
            "512",
            "--out",
        ])
        .arg(folder.path().join("m.whittle"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    // The file is begun, under another name.
    while files(folder.path()) == 0 {
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "ended before it wrote: {ended:?}");
        std::thread::yield_now();
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("kill").success());
    let output = child.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(files(folder.path()), 0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cancelled"), "{said}");
}
