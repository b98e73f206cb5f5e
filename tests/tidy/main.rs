//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a compiler does not check.
//!
//! Each rule is a function from a file's path and text to findings, and is itself tested on a text that breaks it.

mod folders;
mod functions;
#[cfg(unix)]
mod images;
mod lexer;
mod pages;
mod rules;
mod silent;

use pages::Tree;
use rules::{Finding, RULES, Source};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_repository_keeps_its_rules() {
    let tree = read();
    let folders = ["src/", "tests/", "benches/", "fuzz/", "firmware/"];
    let is_checked = |path: &str| folders.iter().any(|folder| path.starts_with(folder));
    let sources: Vec<Source<'_>> = tree
        .sources
        .iter()
        .filter(|(path, _)| is_checked(path))
        .map(|(path, text)| Source::new(path, text))
        .collect();
    let mut findings: Vec<Finding> = sources
        .iter()
        .flat_map(|source| RULES.iter().flat_map(|rule| rule(source)))
        .collect();
    findings.extend(folders::RULES.iter().flat_map(|rule| rule(&sources)));
    findings.extend(pages::findings(&tree));
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

/// The repository: every path, and the text of Rust and Markdown files.
fn read() -> Tree {
    let mut tree = Tree {
        paths: BTreeSet::new(),
        sources: Vec::new(),
        pages: Vec::new(),
    };
    collect(root(), root(), &mut tree);
    let (sources, pages) = (tree.sources.len(), tree.pages.len());
    assert!(
        sources > 200 && pages > 5,
        "only {sources} Rust files and {pages} pages found below {}",
        root().display()
    );
    tree
}

/// Adds what lies below `folder`, in the order of the names.
fn collect(root: &Path, folder: &Path, tree: &mut Tree) {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    for path in paths {
        let last = path.file_name().unwrap_or_default();
        // Not of the repository: what git keeps and what cargo makes.
        if last == ".git" || last == "target" {
            continue;
        }
        let name = path.strip_prefix(root).expect("a file below the root");
        // A file without a name in UTF-8 is none that a page could name.
        let Some(name) = name.to_str().map(|name| name.replace('\\', "/")) else {
            continue;
        };
        tree.paths.insert(name.clone());
        if path.is_dir() && !path.is_symlink() {
            collect(root, &path, tree);
            continue;
        }
        let texts = match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => &mut tree.sources,
            Some("md") => &mut tree.pages,
            Some(_) | None => continue,
        };
        let text = fs::read_to_string(&path).expect("a readable file in UTF-8");
        texts.push((name, text));
    }
}
