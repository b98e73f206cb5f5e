//! Ctrl-C, as a shell sends it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Files of a folder.
fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

/// A compression of minutes.
fn begun(out: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_whittle"))
        .args(["compress", "smollm2-135m", "--recipe", "balanced-4bit"])
        .args(["--set", "*=bits:4,method:search"])
        .args(["--calibration-tokens", "512", "--out"])
        .arg(out)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program")
}

#[test]
fn an_interrupted_compression_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = begun(&folder.path().join("m.whittle"));
    // The file is begun, under another name.
    while files(folder.path()) == 0 {
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "ended before it wrote: {ended:?}");
        std::thread::yield_now();
    }
    interrupt(&child);
    let output = child.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(files(folder.path()), 0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cancelled"), "{said}");
}

/// A command that waits inside of its work for a text that nobody writes, and what keeps it waiting.
fn waiting(folder: &Path, arguments: &[&str]) -> (Child, fs::File) {
    let child = Command::new(env!("CARGO_BIN_EXE_whittle"))
        .args(arguments)
        .current_dir(folder)
        .env("WHITTLE_CACHE", folder.join("cache"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    // Opens once the text is asked for.
    let pipe = fs::OpenOptions::new().write(true).open(folder.join("text"));
    (child, pipe.expect("a pipe"))
}

fn interrupt(child: &Child) {
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("kill").success());
}

#[test]
fn work_that_does_not_hear_an_interrupt_ends_within_two_seconds_and_takes_its_files_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let whittle = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whittle"));
        let status = command.args(arguments).current_dir(folder.path()).output();
        assert!(status.expect("the program").status.success());
    };
    whittle(&[
        "compress",
        "hearth",
        "--recipe",
        "original",
        "--out",
        "m.whittle",
    ]);
    let made = Command::new("mkfifo")
        .arg(folder.path().join("text"))
        .status();
    assert!(made.expect("mkfifo").success());
    let before = files(folder.path());
    let measured = [
        "eval",
        "m.whittle",
        "--reference",
        "hearth",
        "--text",
        "text",
    ];
    let asked = [
        "eval",
        "m.whittle",
        "--tasks",
        "text",
        "--lines",
        "out.jsonl",
    ];
    for arguments in [&measured[..], &asked] {
        let (child, pipe) = waiting(folder.path(), arguments);
        let begun = Instant::now();
        interrupt(&child);
        let output = child.wait_with_output().expect("a child");
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim_end(), "whittle: cancelled");
        drop(pipe);
        assert_eq!(files(folder.path()), before);
    }
}

#[test]
fn a_second_interrupt_leaves_nothing_behind_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("m.whittle");
    let mut child = begun(&out);
    while files(folder.path()) == 0 {
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "ended before it wrote: {ended:?}");
        std::thread::yield_now();
    }
    interrupt(&child);
    interrupt(&child);
    let output = child.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(files(folder.path()), 0);
}
