//! The commands of the pages: each exists with its options, and what is shown of its output is what it prints.

#![cfg(all(unix, feature = "gui", feature = "voice", feature = "flash"))]

mod page;

use page::{Command, Shown, commands, words};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time of one command.
const LIMIT: Duration = Duration::from_secs(120);

/// Commands of blocks that are not run here: a part of them, and why.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "smollm2-135m",
        "98 MB to fetch, and minutes: the slow tests compress and evaluate it",
    ),
    (
        "--recipe balanced-4bit --out hearth.whittle",
        "what the two below it begin with",
    ),
    (
        "--reference hearth",
        "sums of floats over 4,096 tokens, whose last digit is the processor's",
    ),
    (
        "tune hearth --bytes 1564800B",
        "a script goes on with it that builds llama.cpp",
    ),
    (
        "--safetensors hearth-out",
        "a second program goes on with it",
    ),
    (
        "--port tcp:127.0.0.1:7433",
        "a board that runs Linux answers there: the slow tests emulate one",
    ),
    (
        "--port P --model-only",
        "1.6 MB over an emulated line: tests/emulated/store.rs sends a smaller model",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Path from the top folder and text of every page for users.
fn pages() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "firmware/README.md", "training/README.md"]
        .map(|name| root().join(name))
        .into();
    let docs = fs::read_dir(root().join("docs")).expect("docs");
    paths.extend(docs.map(|entry| entry.expect("a page").path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root()).expect("a page below the root");
        let text = fs::read_to_string(path).expect("a page in UTF-8");
        (name.display().to_string(), text)
    };
    paths.iter().map(read).collect()
}

/// Every command of every page with the page's name.
fn all_commands() -> Vec<(String, Command)> {
    pages()
        .into_iter()
        .flat_map(|(name, text)| {
            commands(&text)
                .into_iter()
                .map(move |command| (name.clone(), command))
        })
        .collect()
}

#[test]
fn every_command_of_a_block_is_one() {
    let mut findings = Vec::new();
    let mut seen = 0;
    for (page, command) in all_commands() {
        if command.shown == Shown::Named {
            continue;
        }
        seen += 1;
        let parsed = whittle::cli::arguments().try_get_matches_from(words(&command.text));
        if let Err(error) = parsed {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            findings.push(format!(
                "{page}:{}: {}: {first}",
                command.line, command.text
            ));
        }
    }
    assert!(seen > 5, "{seen} commands");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// Tables and sentences have placeholders: the subcommand and each option have to exist.
#[test]
fn every_command_and_option_of_a_sentence_exists() {
    let mut arguments = whittle::cli::arguments();
    arguments.build();
    let mut findings = Vec::new();
    let mut seen = 0;
    for (page, command) in all_commands() {
        let mut finding = |what: &str| {
            findings.push(format!(
                "{page}:{}: {what} in `{}`",
                command.line, command.text
            ));
        };
        let name = command.text.split(' ').nth(1).unwrap_or_default();
        // `whittle COMMAND --help`
        if name.starts_with(|c: char| c.is_uppercase() || c == '-') {
            continue;
        }
        seen += 1;
        let Some(subcommand) = arguments.find_subcommand(name) else {
            finding("no such command");
            continue;
        };
        // `whittle boards report`
        let second = command.text.split(' ').nth(2).unwrap_or_default();
        let subcommand = subcommand.find_subcommand(second).unwrap_or(subcommand);
        for option in options(&command.text) {
            let is_known = subcommand.get_arguments().any(|argument| {
                argument.get_long() == Some(option)
                    || argument
                        .get_all_aliases()
                        .is_some_and(|all| all.contains(&option))
            });
            if !is_known {
                finding(&format!("no option --{option}"));
            }
        }
    }
    assert!(seen > 20, "{seen} commands");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// The names of the long options in a command's text, without their dashes.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split(" # ").next().unwrap_or_default();
    text.split("--").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        let option = &rest[..end.unwrap_or(rest.len())];
        (!option.is_empty()).then_some(option)
    })
}

#[test]
fn what_is_not_run_has_a_reason() {
    let told: Vec<(String, Command)> = all_commands()
        .into_iter()
        .filter(|(_, command)| command.shown == Shown::Told)
        .collect();
    for (page, command) in &told {
        let reason = NOT_RUN.iter().find(|(part, _)| command.text.contains(part));
        assert!(
            reason.is_some(),
            "{page}:{}: show in a `console` block what `{}` prints, or say in NOT_RUN why not",
            command.line,
            command.text
        );
    }
    for (part, why) in NOT_RUN {
        let is_used = told.iter().any(|(_, command)| command.text.contains(part));
        assert!(is_used, "no command has {part}: {why}");
    }
}

/// Each page in a folder of its own, where `assets` is as in the repository; its commands build on one another.
/// One test, because the commands of a page run in this process's folder.
#[test]
fn what_the_pages_show_is_what_is_printed() {
    let mut seen = 0;
    let mut cases: Vec<PathBuf> = pages()
        .into_iter()
        .filter(|(_, text)| {
            let run = commands(text)
                .iter()
                .filter(|c| c.shown == Shown::Run)
                .count();
            seen += run;
            run > 0
        })
        .map(|(name, _)| root().join(name))
        .collect();
    let more = fs::read_dir(root().join("tests/cmd")).expect("tests/cmd");
    cases.extend(more.map(|entry| entry.expect("a case").path()));
    assert!(seen > 5, "{seen} commands with their output");
    for case in cases {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(root().join("assets"), folder.path().join("assets"))
            .expect("a link");
        std::env::set_current_dir(folder.path()).expect("a folder");
        let cache = folder.path().join("cache");
        trycmd::TestCases::new()
            .register_bin("whittle", Path::new(env!("CARGO_BIN_EXE_whittle")))
            .env("WHITTLE_CACHE", cache.display().to_string())
            // Nothing is fetched.
            .env("WHITTLE_HUB", "")
            .env("WHITTLE_PYTHON", "no-such-python")
            .timeout(LIMIT)
            .case(&case);
    }
}
