//! The rules, and for each a text that breaks it.

use crate::functions::long_functions;
use crate::lexer::{Split, is_word, split};
use std::fmt;

/// A module uses only names to its left. The last two do not know each other.
pub(crate) const ORDER: &[&str] = &[
    "engine",
    "number",
    "job",
    "path_text",
    "renamed",
    "warning",
    "signals",
    "source_file",
    "whole_file",
    "text_file",
    "saved_format",
    "workers",
    "lanes",
    "linear",
    "catalog",
    "model",
    "forward",
    "recipe",
    "measured",
    "board",
    "calibrate",
    "compress",
    "packed",
    "rewrite",
    "evaluate",
    "estimate",
    "tune",
    "report",
    "speech",
    "voice",
    "link",
    "project",
    "app",
    "cli",
];

/// Each outside world and the one door to it: a crate and where it may be named.
const DOORS: &[(&str, &[&str])] = &[
    ("cpal", &["src/voice/audio"]),
    ("espflash", &["src/link/"]),
    ("serialport", &["src/link/"]),
    ("object", &["src/link/elf.rs"]),
    ("rten", &["src/speech/"]),
    ("rten_tensor", &["src/speech/"]),
    ("faer", &["src/linear.rs"]),
    ("pulp", &["src/lanes.rs"]),
    ("ureq", &["src/catalog/"]),
    ("zip", &["src/catalog/"]),
    ("memmap2", &["src/model/map.rs"]),
    ("anyhow", &["src/cli/", "src/main.rs"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("indicatif", &["src/cli/"]),
    ("egui", &["src/app/", "src/main.rs"]),
    ("eframe", &["src/app/", "src/main.rs"]),
    ("egui_extras", &["src/app/"]),
    ("egui_plot", &["src/app/"]),
    ("rfd", &["src/app/"]),
];

/// Where `unsafe_code` may be lifted; CONTRIBUTING.md says why.
const UNSAFE: &[&str] = &[
    "firmware/boards/",
    "firmware/engine/src/kernels/",
    "firmware/engine/src/pool.rs",
    "src/model/map.rs",
    "src/signals.rs",
];

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "common", "misc",
];

/// Longest file in lines, its tests not counted.
const LONGEST: usize = 800;

/// One place that breaks a rule.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: String) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message,
        }
    }

    /// The file, as a path from the root.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The line from 1.
    #[cfg(test)]
    pub(crate) fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// One Rust file, read once for all rules.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
    pub(crate) split: Split,
    pub(crate) words: Vec<Word>,
}

/// A name or a path separator or another sign, and its line from 1.
pub(crate) struct Word {
    text: String,
    pub(crate) line: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(path: &'a str, text: &'a str) -> Self {
        let split = split(text);
        let words = words(&split.code);
        Self {
            path,
            text,
            split,
            words,
        }
    }

    pub(crate) fn finding(&self, line: usize, message: String) -> Finding {
        Finding::new(self.path, line, message)
    }

    pub(crate) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| &word.text)
    }

    /// The word at which the unit tests at the foot of the file begin, or its end.
    pub(crate) fn tests_start(&self) -> usize {
        let opening = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
        let starts = |at: &usize| {
            let begins = (0..opening.len()).all(|i| self.word(at + i) == opening[i]);
            begins && self.word(at + opening.len() + 1) == "{"
        };
        let end = self.words.len();
        (0..end).find(starts).unwrap_or(end)
    }

    /// The file's module of the library; none for `lib.rs`, `main.rs` and files outside of it.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?.trim_end_matches(".rs");
        (name != "lib" && name != "main").then_some(name)
    }
}

fn words(code: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            words.push(Word {
                text: rest[..length].to_owned(),
                line: index + 1,
            });
            rest = rest[length..].trim_start();
        }
    }
    words
}

/// All rules.
pub(crate) const RULES: &[fn(&Source<'_>) -> Vec<Finding>] = &[
    layering,
    engine_stands_alone,
    doors,
    unsafe_places,
    names,
    length,
    head,
    bare_todo,
    long_functions,
];

/// A module uses only modules to its left in [`ORDER`].
fn layering(source: &Source<'_>) -> Vec<Finding> {
    let Some(module) = source.module() else {
        return Vec::new();
    };
    let Some(own) = rank(module) else {
        return vec![source.finding(
            1,
            format!(
                "module `{module}` has no place in the order: {}",
                ORDER.join(" < ")
            ),
        )];
    };
    let top =
        source.path == format!("src/{module}.rs") || source.path == format!("src/{module}/mod.rs");
    let mut findings = Vec::new();
    for index in 0..source.words.len() {
        let from_root = match source.word(index) {
            "crate" | "whittle" => true,
            // From a module of the first level, `super` is the root; deeper, it is a module's own business.
            "super" => top,
            _ => false,
        };
        if !from_root || source.word(index + 1) != "::" {
            continue;
        }
        for used in first_names(source, index + 2) {
            let Some(other) = rank(source.word(used)) else {
                continue;
            };
            if source.word(used) != module && other >= own {
                findings.push(source.finding(
                    source.words[used].line,
                    format!(
                        "`{module}` may not use `{}`, which is not to its left",
                        source.word(used)
                    ),
                ));
            }
        }
    }
    findings
}

/// The place of a module in [`ORDER`]; `app` and `cli` share the last.
fn rank(module: &str) -> Option<usize> {
    let place = ORDER.iter().position(|name| *name == module)?;
    Some(place.min(ORDER.len() - 2))
}

/// Indices of the first names of a path or of a `{…}` group of paths that starts at `index`.
fn first_names(source: &Source<'_>, index: usize) -> Vec<usize> {
    if source.word(index) != "{" {
        return vec![index];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for at in index..source.words.len() {
        match source.word(at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(source.word(at - 1), "{" | ",") => names.push(at),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// The engine is compiled for boards: it cannot know the desktop.
fn engine_stands_alone(source: &Source<'_>) -> Vec<Finding> {
    if !source.path.starts_with("firmware/") {
        return Vec::new();
    }
    let naming = source
        .words
        .iter()
        .filter(|word| word.text == "whittle" || word.text == "whittle_studio");
    naming
        .map(|word| {
            source.finding(
                word.line,
                "firmware may not use the desktop's library".to_owned(),
            )
        })
        .collect()
}

/// Each outside world is named behind its door only.
fn doors(source: &Source<'_>) -> Vec<Finding> {
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, word) in source.words.iter().enumerate() {
        let Some((name, allowed)) = DOORS.iter().find(|(name, _)| *name == word.text) else {
            continue;
        };
        let before = if index == 0 {
            ""
        } else {
            source.word(index - 1)
        };
        // A path's first name, or a whole import; not a field, a variable or a module of that name.
        let names_crate =
            source.word(index + 1) == "::" && before != "::" || matches!(before, "use" | "crate");
        if names_crate && !allowed.iter().any(|door| source.path.starts_with(door)) {
            findings.push(source.finding(
                word.line,
                format!("`{name}` may be named in {} only", allowed.join(" and ")),
            ));
        }
    }
    findings
}

/// Unsafe code is where its list says.
fn unsafe_places(source: &Source<'_>) -> Vec<Finding> {
    if UNSAFE.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let lifted = source
        .words
        .iter()
        .filter(|word| word.text == "unsafe_code");
    lifted
        .map(|word| {
            let message = format!("unsafe code may be in {} only", UNSAFE.join(", "));
            source.finding(word.line, message)
        })
        .collect()
}

/// A file is named by what it holds.
fn names(source: &Source<'_>) -> Vec<Finding> {
    let parts = source
        .path
        .split('/')
        .map(|part| part.trim_end_matches(".rs"));
    parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| {
            source.finding(
                1,
                format!("`{part}` says nothing: name it by a noun of the field"),
            )
        })
        .collect()
}

/// A file has at most [`LONGEST`] lines before its tests.
fn length(source: &Source<'_>) -> Vec<Finding> {
    if !source.path.starts_with("src/") && !source.path.starts_with("firmware/")
        || source.path.ends_with("/tests.rs")
    {
        return Vec::new();
    }
    // Unit tests stand at the foot of a file.
    let lines = source
        .split
        .code
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    if lines <= LONGEST {
        return Vec::new();
    }
    vec![source.finding(
        LONGEST + 1,
        format!("{lines} lines before the tests, at most {LONGEST}: split it"),
    )]
}

/// A module of the library or the engine opens with what it is for.
fn head(source: &Source<'_>) -> Vec<Finding> {
    let documented =
        source.path.starts_with("src/") || source.path.starts_with("firmware/engine/src/");
    if !documented || source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![source.finding(
        1,
        "opens without a `//!` line that says what it is for".to_owned(),
    )]
}

/// Unfinished work carries a name.
fn bare_todo(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.split.comments.lines().enumerate() {
        for mark in ["TODO", "FIXME", "XXX"] {
            for (at, _) in line.match_indices(mark) {
                let after = &line[at + mark.len()..];
                let whole = !line[..at].ends_with(is_word) && !after.starts_with(is_word);
                let named = after.starts_with('(') && after.find("):").is_some_and(|end| end > 1);
                if whole && !named {
                    findings.push(
                        source.finding(index + 1, format!("bare {mark}: write {mark}(name): …")),
                    );
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rule` finds exactly `lines` in `text`.
    fn check(rule: fn(&Source<'_>) -> Vec<Finding>, path: &str, text: &str, lines: &[usize]) {
        let found: Vec<usize> = rule(&Source::new(path, text))
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(found, lines, "{path}:\n{text}");
    }

    #[test]
    fn a_name_to_the_right_is_found() {
        check(
            layering,
            "src/recipe.rs",
            "use crate::job::Job;\nuse crate::packed::PackedModel;",
            &[2],
        );
        check(
            layering,
            "src/recipe.rs",
            "fn f(x: crate::app::State) {}",
            &[1],
        );
        check(
            layering,
            "src/recipe.rs",
            "use crate::{\n    job::Job,\n    tune::{self, cli},\n};",
            &[3],
        );
        check(layering, "src/recipe.rs", "use super::board;", &[1]);
        check(
            layering,
            "src/voice/vad.rs",
            "use super::link;\nuse crate::link;",
            &[2],
        );
        check(layering, "src/app/mod.rs", "use crate::cli::Output;", &[1]);
        check(layering, "src/cli/mod.rs", "use crate::app::State;", &[1]);
        check(
            layering,
            "src/cli/mod.rs",
            "use crate::cli::output::Output;\nuse crate::project::Project;",
            &[],
        );
        check(
            layering,
            "src/recipe.rs",
            "// crate::app\nlet s = \"crate::app\";\nuse engine::shape;",
            &[],
        );
        check(layering, "src/main.rs", "whittle::app::run()", &[]);
        check(layering, "src/gadget.rs", "", &[1]);
    }

    #[test]
    fn an_engine_that_knows_the_desktop_is_found() {
        check(
            engine_stands_alone,
            "firmware/engine/src/lib.rs",
            "use whittle::recipe::Recipe;",
            &[1],
        );
        check(
            engine_stands_alone,
            "firmware/engine/src/lib.rs",
            "use crate::shape::Role;",
            &[],
        );
        check(
            engine_stands_alone,
            "tests/cli.rs",
            "use whittle::recipe::Recipe;",
            &[],
        );
    }

    #[test]
    fn a_second_door_is_found() {
        check(doors, "src/voice/mod.rs", "\nuse cpal::Stream;", &[2]);
        check(doors, "src/voice/audio.rs", "use cpal::Stream;", &[]);
        check(
            doors,
            "src/model/mod.rs",
            "fn f() -> anyhow::Result<()>",
            &[1],
        );
        check(doors, "src/job.rs", "#[derive(clap::Args)]", &[1]);
        check(
            doors,
            "src/cli/fetch.rs",
            "#[derive(clap::Args)]\nuse anyhow::Context;",
            &[],
        );
        check(doors, "src/packed.rs", "use egui;", &[1]);
        check(doors, "src/evaluate.rs", "rten::Model::load(p)", &[1]);
        check(
            doors,
            "src/estimate.rs",
            "a.zip(b); let zip = 3; // zip::x",
            &[],
        );
        check(doors, "src/estimate.rs", "std::iter::zip(a, b)", &[]);
        check(doors, "tests/ui.rs", "use egui::Context;", &[]);
        for (name, allowed) in DOORS {
            check(doors, "src/elsewhere.rs", &format!("use {name}::x;"), &[1]);
            check(
                doors,
                &format!("{}x.rs", allowed[0]),
                &format!("use {name}::x;"),
                &[],
            );
        }
    }

    #[test]
    fn unsafe_code_elsewhere_is_found() {
        let lifted = "x\n#[expect(unsafe_code, reason = \"y\")]";
        check(unsafe_places, "src/model/mod.rs", lifted, &[2]);
        check(unsafe_places, "src/signals.rs", lifted, &[]);
        check(
            unsafe_places,
            "firmware/boards/esp-riscv/src/main.rs",
            lifted,
            &[],
        );
        check(unsafe_places, "src/job.rs", "// unsafe_code", &[]);
    }

    #[test]
    fn an_empty_name_is_found() {
        check(names, "src/utils.rs", "", &[1]);
        check(names, "tests/common/mod.rs", "", &[1]);
        check(names, "src/voice/vad.rs", "", &[]);
    }

    #[test]
    fn a_long_file_is_found() {
        let long = "x\n".repeat(LONGEST + 1);
        check(length, "src/packed.rs", &long, &[LONGEST + 1]);
        check(length, "src/packed.rs", &long[2..], &[]);
        check(
            length,
            "src/packed.rs",
            &format!("x\n#[cfg(test)]\n{long}"),
            &[],
        );
        check(length, "tests/cli.rs", &long, &[]);
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        check(head, "src/packed.rs", "use std::io;\n//! Late.", &[1]);
        check(head, "src/packed.rs", "//! What runs.", &[]);
        check(head, "firmware/boards/esp-riscv/src/main.rs", "", &[]);
    }

    #[test]
    fn a_bare_mark_is_found() {
        check(
            bare_todo,
            "src/job.rs",
            "x\n// TODO: later\n// FIXME",
            &[2, 3],
        );
        check(
            bare_todo,
            "src/job.rs",
            "// TODO(mara): count retries\n// TODOS and a XXXL",
            &[],
        );
        check(
            bare_todo,
            "src/job.rs",
            "// TODO(): nobody\nlet s = \"TODO\";",
            &[1],
        );
    }
}
