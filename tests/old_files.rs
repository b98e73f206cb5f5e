//! What earlier versions wrote, read and named stays good; what a later one wrote is refused by a sentence.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

use std::path::{Path, PathBuf};
use whittle::board::Board;
use whittle::catalog::Catalog;
use whittle::estimate::ModelShape;
use whittle::evaluate::tasks;
use whittle::job::Job;
use whittle::recipe::Recipe;
use whittle::report::limits::Limits;
use whittle::report::sweep::{Grid, Journal};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/old-files");

fn old(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(old(name)).unwrap()
}

/// A copy of an old file, with `format` raised to what no Whittle knows and keys that none has.
fn newer(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let text = match text(name) {
        // Each row says its own.
        rows if name.ends_with(".jsonl") => {
            let (first, rest) = rows.split_once('\n').unwrap();
            let later = first.replacen('{', "{\"later\":[1],\"format\":9,", 1);
            format!("{first}\n{later}\n{rest}")
        }
        toml => format!("later = true\nformat = 9\n{toml}"),
    };
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn recipes_limits_grids_boards_and_shapes_of_before_are_read() {
    let recipe = Recipe::open(old("recipe.toml").to_str().unwrap()).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.rules.len()), ("tuned", 4));
    // What is written of it today says its format, and says the same.
    let today = recipe.file_text();
    assert!(today.starts_with("format = 1\n"), "{today}");
    assert_eq!(Recipe::parse("today", &today).unwrap(), recipe);
    assert_eq!(today["format = 1\n".len()..], text("recipe.toml"));

    let limits = Limits::load(&old("limits.toml")).unwrap();
    assert_eq!((limits.max_kl, limits.boards.len()), (Some(0.05), 1));
    let grid = Grid::load(&old("grid.toml")).unwrap();
    assert_eq!((grid.count(), grid.kv_bits), (10, 8));
    let board = Board::load(&old("board.toml")).unwrap();
    assert_eq!(board.clock_hz.value, 160_000_000);
    let shape = ModelShape::load(&old("shape.toml")).unwrap();
    assert_eq!(shape.hyperparameters.layers, 30);
}

#[cfg(feature = "gui")]
#[test]
fn projects_of_before_are_read_and_say_their_format_when_saved() {
    use whittle::project::Project;
    let project = Project::parse("p.toml", &text("project.toml")).unwrap();
    assert_eq!(project.a.rules.len(), 2);
    assert_eq!(project.sampling.seed, u32::MAX);
    let saved = project.to_toml();
    assert!(saved.starts_with("format = 1\n"), "{saved}");
    assert_eq!(Project::parse("saved.toml", &saved).unwrap(), project);
    let plain = Project::parse("p.toml", &text("project-without-defaults.toml")).unwrap();
    assert_eq!((plain.context_tokens, plain.model), (64, None));
}

#[test]
fn rows_of_before_are_kept_and_others_follow_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::copy(old("rows.jsonl"), &path).unwrap();
    let mut journal = Journal::open(&path).unwrap();
    assert!(journal.has("5f1c7a") && journal.has("77aa01"));
    let row = journal.rows[1].clone();
    journal.push(row).unwrap();
    let found = std::fs::read_to_string(&path).unwrap();
    let added = found.strip_prefix(&text("rows.jsonl")).unwrap();
    assert!(
        added.starts_with("{\"format\":1,\"point\":\"77aa01\""),
        "{added}"
    );
    // Keys are only added.
    let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let (now, before) = (
        value(added),
        value(text("rows.jsonl").lines().nth(1).unwrap()),
    );
    for (key, expected) in before.as_object().unwrap() {
        assert_eq!(now.get(key), Some(expected), "{key}");
    }
    assert_eq!(Journal::open(&path).unwrap().rows.len(), 3);
}

#[test]
fn a_file_of_a_newer_whittle_is_refused_with_its_name_and_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let newer = |name| newer(folder.path(), name);
    let mut said = Vec::new();
    let path = newer("recipe.toml");
    said.push((
        path.clone(),
        Recipe::open(path.to_str().unwrap())
            .unwrap_err()
            .to_string(),
    ));
    let path = newer("limits.toml");
    said.push((path.clone(), Limits::load(&path).unwrap_err().to_string()));
    let path = newer("grid.toml");
    said.push((path.clone(), Grid::load(&path).unwrap_err().to_string()));
    let path = newer("board.toml");
    said.push((path.clone(), Board::load(&path).unwrap_err().to_string()));
    let path = newer("shape.toml");
    said.push((
        path.clone(),
        ModelShape::load(&path).unwrap_err().to_string(),
    ));
    let path = newer("rows.jsonl");
    let before = std::fs::read(&path).unwrap();
    said.push((path.clone(), Journal::open(&path).unwrap_err().to_string()));
    assert_eq!(
        std::fs::read(&path).unwrap(),
        before,
        "and nothing is cut off"
    );
    #[cfg(feature = "gui")]
    {
        let path = newer("project.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let refused = whittle::project::Project::parse(&name, &text);
        said.push((path, refused.unwrap_err().to_string()));
    }
    for (path, sentence) in said {
        let expected = format!(
            "{}: expected format 1 or older, found format 9: a newer Whittle wrote it",
            path.display()
        );
        assert!(sentence.ends_with(&expected), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
    }
}

#[test]
fn every_name_that_there_ever_was_still_means_something() {
    let catalog = Catalog::builtin();
    let opens = |kind: &str, name: &str| match kind {
        "recipe" => Recipe::open(name).is_ok(),
        "board" => Board::open(name).is_ok(),
        "tasks" => tasks::load(name, &Job::silent()).is_ok(),
        "model" => catalog.entry(name).is_some(),
        other => panic!("names.txt: expected recipe, board, tasks or model, found {other}"),
    };
    let list = text("names.txt");
    for line in list.lines() {
        let (kind, name) = line.split_once(' ').unwrap();
        assert!(
            opens(kind, name),
            "{kind} {name}: add a line to src/renamed.rs"
        );
    }
    let recipes = Recipe::presets()
        .into_iter()
        .map(|r| format!("recipe {}", r.name));
    let boards = Board::presets().iter().map(|b| format!("board {}", b.id));
    let sets = tasks::shipped().iter().map(|s| format!("tasks {}", s.name));
    let models = catalog.entries.iter().map(|m| format!("model {}", m.name));
    for name in recipes.chain(boards).chain(sets).chain(models) {
        assert!(
            list.lines().any(|line| line == name),
            "add \"{name}\" to names.txt"
        );
    }
}
