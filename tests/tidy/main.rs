//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a compiler does not check.
//!
//! Each rule is a function from a file's path and text to findings, and is itself tested on a text that breaks it.

mod lexer;
mod rules;
mod silent;

use rules::{Finding, RULES, Source};
use std::fs;
use std::path::Path;

#[test]
fn the_repository_keeps_its_rules() {
    let root = root();
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz", "firmware"] {
        collect(root, &root.join(folder), &mut sources);
    }
    assert!(
        sources.len() > 20,
        "only {} files found below {}",
        sources.len(),
        root.display()
    );

    let findings: Vec<Finding> = sources
        .iter()
        .flat_map(|(path, text)| {
            let source = Source::new(path, text);
            RULES
                .iter()
                .flat_map(move |rule| rule(&source))
                .collect::<Vec<_>>()
        })
        .collect();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} findings:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// The top folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Adds every Rust file below `folder` with its path from the root, in the order of the names.
fn collect(root: &Path, folder: &Path, sources: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(root, &path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("a file below the root");
            let name = name.to_str().expect("a path in UTF-8").replace('\\', "/");
            sources.push((
                name,
                fs::read_to_string(&path).expect("a readable file in UTF-8"),
            ));
        }
    }
}
