//! What is printed stays as it was reviewed: `make snapshots` writes it anew.

#![cfg(all(unix, feature = "gui", feature = "voice", feature = "flash"))]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a command prints in an empty folder, with nothing to fetch from.
fn printed(arguments: &[String]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_whittle"))
        .args(arguments)
        .current_dir(folder.path())
        .env("WHITTLE_CACHE", folder.path())
        .env("WHITTLE_HUB", "")
        .env("WHITTLE_PYTHON", "no-such-python")
        .env_remove("COLUMNS")
        .output()
        .expect("the program");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // A key a line, so that a change is one.
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(object) => format!("{object:#}"),
        Err(_) => text.lines().map(of_every_build).collect(),
    }
}

/// A line without what changes with every edit of the engine: whether a firmware was built from the same sources.
fn of_every_build(line: &str) -> String {
    match line.split_once(", built from ") {
        Some((before, _)) => format!("{before}, built from [..]\n"),
        None => format!("{line}\n"),
    }
}

/// Name of the golden file and arguments, for all of them.
fn all() -> Vec<(String, Vec<String>)> {
    let case = |name: &str, arguments: &str| {
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        (name.to_owned(), arguments)
    };
    let mut all = vec![
        case("help", "--help"),
        case("boards", "boards"),
        case(
            "estimate-hearth",
            "estimate hearth --recipe balanced-4bit --board all",
        ),
        case("info-hearth", "info hearth --json"),
    ];
    for command in whittle::cli::arguments().get_subcommands() {
        let name = command.get_name();
        all.push(case(&format!("help-{name}"), &format!("{name} --help")));
    }
    all
}

#[test]
fn what_is_printed_is_as_reviewed() {
    let mut expected = BTreeSet::new();
    for (name, arguments) in all() {
        expected.insert(format!("printed__{name}.snap"));
        insta::assert_snapshot!(name, printed(&arguments));
    }
    // A file that nothing compares would say nothing.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/printed/snapshots");
    let found: BTreeSet<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|file| file.expect("a file").file_name().display().to_string())
        .filter(|name| name.ends_with(".snap"))
        .collect();
    assert_eq!(found, expected);
}
