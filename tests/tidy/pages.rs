//! The rules for pages: what they name is there, and what is there stands on the map.

use crate::rules::{Finding, ORDER};
use std::collections::BTreeSet;

/// Most bytes of README.md: a page that is read to its end.
const README_BYTES: usize = 8_000;

/// Folders that a short path on the map may start in.
const ROOTS: &[&str] = &["", "src/", "firmware/engine/src/"];

/// Endings by which a word is a file's name.
const ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".sh", ".py", ".json", ".html"];

/// The repository as pages see it.
pub(crate) struct Tree {
    /// Every file and folder by its path from the root, folders without a slash at the end.
    pub(crate) paths: BTreeSet<String>,
    /// Rust files: path and text.
    pub(crate) sources: Vec<(String, String)>,
    /// Markdown files: path and text.
    pub(crate) pages: Vec<(String, String)>,
}

/// One Markdown file.
pub(crate) struct Page<'a> {
    path: &'a str,
    text: &'a str,
    tree: &'a Tree,
}

/// All rules for pages.
pub(crate) const RULES: &[fn(&Page<'_>) -> Vec<Finding>] = &[
    size,
    links,
    named_paths,
    mapped_modules,
    order_of_the_page,
    types_of_the_table,
];

/// What is wrong with the pages of `tree`.
pub(crate) fn findings(tree: &Tree) -> Vec<Finding> {
    let pages = tree
        .pages
        .iter()
        .map(|(path, text)| Page { path, text, tree });
    pages
        .flat_map(|page| {
            RULES
                .iter()
                .flat_map(|rule| rule(&page))
                .collect::<Vec<_>>()
        })
        .collect()
}

impl Page<'_> {
    fn finding(&self, line: usize, message: String) -> Finding {
        Finding::new(self.path, line, message)
    }

    fn is_architecture(&self) -> bool {
        self.path == "ARCHITECTURE.md"
    }

    /// Lines with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

/// README.md is short; what is long stands in docs/.
fn size(page: &Page<'_>) -> Vec<Finding> {
    if page.path != "README.md" || page.text.len() <= README_BYTES {
        return Vec::new();
    }
    let message = format!(
        "{} bytes, at most {README_BYTES}: move it to docs/",
        page.text.len()
    );
    vec![page.finding(1, message)]
}

/// A relative link leads to a file, and its anchor to a heading.
fn links(page: &Page<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in page.lines() {
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.path.to_owned()
            } else {
                resolved(page.path, file)
            };
            if !page.tree.paths.contains(&target) {
                findings.push(page.finding(line, format!("{link} leads to no file")));
            } else if !anchor.is_empty() && !has_heading(page.tree, &target, anchor) {
                findings.push(page.finding(line, format!("{link} leads to no heading")));
            }
        }
    }
    findings
}

/// `link` on the page `from`, as a path from the root.
fn resolved(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a page has a heading that the forge turns into `anchor`.
fn has_heading(tree: &Tree, path: &str, anchor: &str) -> bool {
    let Some((_, text)) = tree.pages.iter().find(|(page, _)| page == path) else {
        return false;
    };
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| slug(line.trim_start_matches('#')))
        .any(|slug| slug == anchor)
}

/// A heading as the forge writes its anchor.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// What ARCHITECTURE.md writes as a path, on its map or between backticks, is in the repository.
fn named_paths(page: &Page<'_>) -> Vec<Finding> {
    if !page.is_architecture() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut folder = String::new();
    let mut on_map = false;
    for (line, text) in page.lines() {
        if text.starts_with('#') {
            on_map = text == "## Map";
            folder.clear();
        }
        let mapped = on_map && text.starts_with("    ");
        let words = if mapped {
            path_words(text)
        } else {
            let quoted = text.split('`').skip(1).step_by(2);
            quoted.flat_map(path_words).collect()
        };
        if mapped && !text[4..].starts_with(' ') {
            let first = text.split_whitespace().next().unwrap_or_default();
            let end = first.rfind('/').map_or(0, |slash| slash + 1);
            first[..end].clone_into(&mut folder);
        }
        for word in words {
            let mut starts = ROOTS.iter().copied().chain([folder.as_str()]);
            if !starts.any(|start| {
                let path = format!("{start}{word}");
                page.tree.paths.contains(path.trim_end_matches('/'))
            }) {
                findings.push(page.finding(line, format!("{word} does not exist")));
            }
        }
    }
    findings
}

/// The words of a text that are paths, `{a,b}` written out.
fn path_words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        let inside = c.is_alphanumeric() || "_-./{}*".contains(c) || c == ',' && depth > 0;
        if inside {
            words.last_mut().expect("starts with one").push(c);
        } else {
            words.push(String::new());
        }
    }
    let words = words.iter().map(|word| word.trim_end_matches(['.', '*']));
    words
        .filter(|word| is_path(word))
        .flat_map(alternatives)
        .collect()
}

fn is_path(word: &str) -> bool {
    let has_name = word.chars().any(char::is_alphanumeric);
    has_name && (word.contains('/') || ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn alternatives(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else {
        return vec![word.to_owned()];
    };
    let (inside, after) = rest.split_once('}').unwrap_or((rest, ""));
    let each = inside.split(',');
    each.map(|name| format!("{before}{}{after}", name.trim()))
        .collect()
}

/// Each module of the library stands on the map.
fn mapped_modules(page: &Page<'_>) -> Vec<Finding> {
    if !page.is_architecture() {
        return Vec::new();
    }
    let firsts: BTreeSet<&str> = page
        .lines()
        .filter_map(|(_, text)| text.strip_prefix("    "))
        .filter_map(|text| text.split_whitespace().next())
        .map(|first| first.trim_end_matches('/'))
        .collect();
    let modules = page.tree.paths.iter().filter(|path| {
        let inside = path.strip_prefix("src/");
        inside.is_some_and(|name| !name.contains('/'))
    });
    modules
        .filter(|path| !firsts.contains(path.as_str()))
        .map(|path| page.finding(1, format!("{path} is not on the map")))
        .collect()
}

/// The order of modules on the page is the one that is checked, and each of them exists.
fn order_of_the_page(page: &Page<'_>) -> Vec<Finding> {
    if !page.is_architecture() {
        return Vec::new();
    }
    let (last, before) = ORDER.split_last().expect("modules have an order");
    let expected = format!("{}, {last}", before.join(" < "));
    let stated = page.lines().find(|(_, text)| text.contains("engine < "));
    let mut findings = Vec::new();
    match stated {
        Some((_, text)) if text.trim() == expected => {}
        Some((line, _)) => findings.push(page.finding(line, format!("expected {expected}"))),
        None => findings.push(page.finding(1, format!("lacks the order {expected}"))),
    }
    let missing = ORDER
        .iter()
        .filter(|module| folder_of(page.tree, module).is_none());
    findings.extend(missing.map(|module| page.finding(1, format!("no module is named {module}"))));
    findings
}

/// Where a module's code lies: a folder with a slash at the end, or a file.
fn folder_of(tree: &Tree, module: &str) -> Option<String> {
    let folder = match module {
        "engine" => "firmware/engine/src".to_owned(),
        _ => format!("src/{module}"),
    };
    let file = format!("{folder}.rs");
    if tree.paths.contains(&folder) {
        Some(format!("{folder}/"))
    } else {
        tree.paths.contains(&file).then_some(file)
    }
}

/// A type of the table is defined in the module that the table names.
fn types_of_the_table(page: &Page<'_>) -> Vec<Finding> {
    if !page.is_architecture() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, text) in page.lines().filter(|(_, text)| text.starts_with("| `")) {
        let mut cells = text.split('|').map(|cell| cell.trim().trim_matches('`'));
        let (Some(name), Some(module)) = (cells.nth(1), cells.next()) else {
            continue;
        };
        let folder = folder_of(page.tree, module);
        let is_there = folder.is_some_and(|folder| {
            let sources = page.tree.sources.iter();
            sources
                .filter(|(path, _)| path.starts_with(&folder))
                .any(|(_, text)| defines(text, name))
        });
        if !is_there {
            findings.push(page.finding(line, format!("`{module}` defines no `{name}`")));
        }
    }
    findings
}

/// Whether a line of `text` defines the public type `name`.
fn defines(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        let kind = matches!(words[..], ["pub", "struct" | "enum" | "trait" | "type", ..]);
        kind && words.get(2) == Some(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        let source = "//! x\npub struct Model {\n}\nstruct Hidden;\n";
        let page = "# One\n## What a tune makes, really\n";
        Tree {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            sources: vec![("src/model/mod.rs".to_owned(), source.to_owned())],
            pages: vec![("docs/b.md".to_owned(), page.to_owned())],
        }
    }

    /// `rule` finds exactly `lines` in `text`.
    fn check(
        rule: fn(&Page<'_>) -> Vec<Finding>,
        tree: &Tree,
        (path, text): (&str, &str),
        lines: &[usize],
    ) {
        let found: Vec<usize> = rule(&Page { path, text, tree })
            .iter()
            .map(Finding::line)
            .collect();
        assert_eq!(found, lines, "{path}:\n{text}");
    }

    #[test]
    fn a_long_readme_is_found() {
        let long = "x".repeat(README_BYTES + 1);
        check(size, &tree(&[]), ("README.md", &long), &[1]);
        check(size, &tree(&[]), ("README.md", &long[1..]), &[]);
        check(size, &tree(&[]), ("docs/quality.md", &long), &[]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let tree = tree(&[
            "docs",
            "docs/a.md",
            "docs/b.md",
            "README.md",
            "assets/x.png",
        ]);
        let check = |path, text, lines: &[usize]| check(links, &tree, (path, text), lines);
        check(
            "README.md",
            "[a](docs/a.md) ![x](assets/x.png)\n[b](docs/c.md)",
            &[2],
        );
        check("docs/a.md", "[b](b.md) [r](../README.md) [d](./b.md)", &[]);
        check("docs/a.md", "[b](docs/b.md)", &[1]);
        check(
            "docs/a.md",
            "[b](b.md#what-a-tune-makes-really) [b](b.md#what)",
            &[1],
        );
        check("docs/b.md", "[o](#one)\n\n[t](#two)", &[3]);
        check("docs/a.md", "[x](https://keepachangelog.com/)", &[]);
    }

    #[test]
    fn a_path_to_nothing_is_found() {
        let tree = tree(&[
            "src",
            "src/voice",
            "src/voice/vad.rs",
            "firmware",
            "firmware/boards",
            "firmware/engine/src/encoding.rs",
            "src/compress/grid.rs",
            "tests/tidy",
        ]);
        let check = |text, lines: &[usize]| {
            check(named_paths, &tree, ("ARCHITECTURE.md", text), lines);
        };
        check(
            "## Map\n    src/voice/   the loop (vad.rs, tests/tidy/)\n                 and turn.rs",
            &[3],
        );
        check("## Map\n    src/gone/   what was", &[2]);
        check(
            "`voice/vad.rs`, `encoding.rs` and `firmware/boards/*` and/or `gone.rs`.",
            &[1],
        );
        check("`compress/{grid,write}.rs`", &[1]);
        check("`compress/{grid}.rs`, own exp/sin", &[]);
    }

    #[test]
    fn a_module_beside_the_map_is_found() {
        let tree = tree(&["src", "src/job.rs", "src/voice", "src/voice/vad.rs"]);
        let text = "## Map\n    src/job.rs   work";
        check(mapped_modules, &tree, ("ARCHITECTURE.md", text), &[1]);
        let text = "## Map\n    src/job.rs   work\n    src/voice/   the loop";
        check(mapped_modules, &tree, ("ARCHITECTURE.md", text), &[]);
    }

    #[test]
    fn another_order_and_a_module_that_is_not_there_are_found() {
        let mut paths: Vec<String> = ORDER.iter().map(|module| format!("src/{module}")).collect();
        paths.push("firmware/engine/src".to_owned());
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let (last, before) = ORDER.split_last().unwrap();
        let right = format!("\n    {}, {last}\n", before.join(" < "));
        fn architecture(text: &str) -> (&str, &str) {
            ("ARCHITECTURE.md", text)
        }
        check(order_of_the_page, &tree(&paths), architecture(&right), &[]);
        let wrong = right.replace(" < recipe", "");
        check(order_of_the_page, &tree(&paths), architecture(&wrong), &[2]);
        check(order_of_the_page, &tree(&paths), architecture("none"), &[1]);
        check(
            order_of_the_page,
            &tree(&paths[1..]),
            architecture(&right),
            &[],
        );
        check(
            order_of_the_page,
            &tree(&paths[2..]),
            architecture(&right),
            &[1],
        );
    }

    #[test]
    fn a_type_that_is_not_there_is_found() {
        let tree = tree(&["src", "src/model", "src/model/mod.rs"]);
        let text = "| type | module |\n|---|---|\n| `Model` | `model` | x |\n| `Hidden` | `model` | x |\n\
                    | `Mode` | `model` | x |\n| `Model` | `gone` | x |";
        check(
            types_of_the_table,
            &tree,
            ("ARCHITECTURE.md", text),
            &[4, 5, 6],
        );
    }
}
