//! A test that passes has run: which tests leave themselves out, and which the slow suite must hold.

use crate::lexer::split;
use crate::{read, root};
use std::collections::BTreeSet;
use std::fs;

/// The one place that may leave a test out.
const DOOR: &str = "tests/support/required.rs";

/// Tests that do not run by themselves: file, name, what runs them.
const IGNORED: &[(&str, &str, &str)] = &[
    (
        "firmware/engine/tests/fuzz.rs",
        "write_corpus",
        "whoever changes what the fuzzer starts from",
    ),
    (
        "firmware/protocol/tests/fuzz.rs",
        "write_corpus",
        "whoever changes what the fuzzer starts from",
    ),
    (
        "tests/mutated/main.rs",
        "thousands_of_damaged_files_get_a_sentence",
        "make test-mutated",
    ),
    (
        "tests/slow/large.rs",
        "qwen_1_5b_answers_on_a_board_that_runs_linux",
        "make test-large",
    ),
    (
        "tests/slow/large.rs",
        "qwen_1_5b_is_compressed_and_answers_in_the_memory_that_it_needs",
        "make test-large",
    ),
    (
        "tests/slow/voice.rs",
        "apart_a_question_is_answered_live",
        "a_conversation_through_microphone_and_loudspeaker, with its own sound server",
    ),
];

/// The names of the slow tests that `.ci/run` must have seen pass; `scripts/test-slow.sh` compares.
const SLOW: &str = "tests/slow/tests.txt";

/// A function that libtest runs.
#[derive(Debug, PartialEq, Eq)]
struct Test {
    name: String,
    line: usize,
    attributes: String,
    body: String,
}

impl Test {
    fn is_ignored(&self) -> bool {
        self.attributes.contains("#[ignore") || self.attributes.contains("ignore =")
    }
}

/// The tests of a file, in its order.
fn tests_of(text: &str) -> Vec<Test> {
    let code = split(text).code;
    let mut tests = Vec::new();
    for (at, mark) in code.match_indices("#[test]") {
        let rest = &code[at + mark.len()..];
        let Some(function) = rest.find("fn ") else {
            continue;
        };
        let named = &rest[function + 3..];
        let name: String = named.chars().take_while(|c| *c != '(').collect();
        // Attributes before `#[test]` count too: back to the end of what stands before.
        let before = code[..at].rfind(['}', ';']).map_or(0, |end| end + 1);
        tests.push(Test {
            name,
            line: code[..at].lines().count() + 1,
            attributes: format!("{}{}", &code[before..at], &rest[..function]),
            body: block(named).to_owned(),
        });
    }
    tests
}

/// From the first brace to the one that closes it.
fn block(code: &str) -> &str {
    let Some(start) = code.find('{') else {
        return "";
    };
    let mut depth = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[start..=start + at];
        }
    }
    &code[start..]
}

/// How many times a test ends early without [`DOOR`]'s `required` having asked for it.
fn early_ends(body: &str) -> usize {
    let is_end = |at: usize| {
        let after = body[at + "return".len()..].trim_start();
        after.starts_with(';') || after.starts_with('}')
    };
    let is_asked = |at: usize| {
        let before = &body[..at];
        let Some(start) = before.rfind("let ") else {
            return false;
        };
        let words: String = before[start..].split_whitespace().collect();
        words.contains("=required(") && words.ends_with("else{")
    };
    body.match_indices("return")
        .filter(|(at, _)| is_end(*at) && !is_asked(*at))
        .count()
}

fn sources() -> Vec<(String, String)> {
    let mut sources = read().sources;
    let folders = ["src/", "tests/", "firmware/"];
    sources.retain(|(path, _)| folders.iter().any(|folder| path.starts_with(folder)));
    sources
}

#[test]
fn no_test_leaves_itself_out_but_by_the_one_door() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        for test in tests_of(&text) {
            if early_ends(&test.body) > 0 {
                let Test { name, line, .. } = test;
                findings.push(format!(
                    "{path}:{line}: {name} ends early: ask {DOOR} for what it needs"
                ));
            }
        }
        if path.starts_with("tests/") && path != DOOR && text.contains("\u{22}skipped:") {
            findings.push(format!("{path}: only {DOOR} says that a test is skipped"));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn ignored_tests_are_these() {
    let found: BTreeSet<(String, String)> = sources()
        .into_iter()
        .flat_map(|(path, text)| {
            let ignored = tests_of(&text).into_iter().filter(Test::is_ignored);
            ignored
                .map(|test| (path.clone(), test.name))
                .collect::<Vec<_>>()
        })
        .collect();
    let known = IGNORED
        .iter()
        .map(|(path, name, _)| ((*path).to_owned(), (*name).to_owned()))
        .collect();
    assert_eq!(found, known, "found, and IGNORED");
}

#[test]
fn the_list_of_slow_tests_is_that_of_the_sources() {
    let mut found = BTreeSet::new();
    for (path, text) in sources() {
        let Some(inside) = path.strip_prefix("tests/slow/") else {
            continue;
        };
        let module = inside.trim_end_matches(".rs").replace('/', "::");
        let module = module.trim_end_matches("::mod");
        let run = tests_of(&text).into_iter().filter(|t| !t.is_ignored());
        found.extend(run.map(|test| format!("{module}::{}", test.name)));
    }
    let text: String = found.iter().map(|name| format!("{name}\n")).collect();
    let path = root().join(SLOW);
    // Set by `make snapshots`.
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).expect("the list");
    }
    let listed = fs::read_to_string(&path).expect("the list");
    let names: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let (new, gone): (Vec<_>, Vec<_>) = (
        found.difference(&names).collect(),
        names.difference(&found).collect(),
    );
    assert!(
        new.is_empty() && gone.is_empty(),
        "tests of tests/slow that {SLOW} does not have: {new:?}; names without a test that runs: {gone:?}"
    );
    assert_eq!(listed, text, "{SLOW} is sorted");
}

#[test]
fn early_ends_are_found() {
    let check = |body: &str, expected: usize| {
        let text = format!("#[test]\nfn a() {{ {body} }}\nfn b() {{ return; }}");
        let tests = tests_of(&text);
        assert_eq!(tests.len(), 1, "{body}");
        assert_eq!(early_ends(&tests[0].body), expected, "{body}");
    };
    check("let Some(x) = required(f()) else { return; };", 0);
    check("let Some(x) = required(f())\n else {\n return\n };", 0);
    check("let Some(x) = f() else { return; };", 1);
    check(
        "let Some(x) = required(f()) else { return; }; if x { return; }",
        1,
    );
    check("if tool().is_err() { return }", 1);
    check("let f = |x| { return x; }; f(1); /* return; */", 0);
    check("let returned = 1;", 0);
}

#[test]
fn ignored_tests_are_found() {
    let check = |text: &str, expected: bool| {
        assert_eq!(tests_of(text)[0].is_ignored(), expected, "{text}");
    };
    check("fn x() {}\n#[ignore = \"slow\"]\n#[test]\nfn a() {}", true);
    check("#[test]\n#[ignore]\nfn a() {}", true);
    check(
        "#[test]\n#[cfg_attr(unix, ignore = \"x\")]\nfn a() {}",
        true,
    );
    check("#[test]\nfn a() {}\n#[test]\n#[ignore]\nfn b() {}", false);
    // `ignore` in a comment or in another attribute's text is none.
    check(
        "#[test]\n// #[ignore]\n#[expect(x, reason = \"ignore = 1\")]\nfn a() {}",
        false,
    );
}
