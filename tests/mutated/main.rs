//! Damaged files: whatever is wrong with one, it gets a sentence, at once, and leaves nothing behind.
//!
//! The damage is made by number ([`mutation::mutated`]), so that a finding is its kind and its number. The fast tests
//! open a few of each kind; `make test-mutated` opens thousands.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

mod mutation;
#[path = "../support/tiny_folder.rs"]
mod tiny_folder;
#[path = "../support/tiny_model.rs"]
mod tiny_model;

use mutation::mutated;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use tiny_folder::write_folder;
use tiny_model::{Stored, TinyModel};
use whittle::board::Board;
use whittle::compress::compress;
use whittle::estimate::ModelShape;
use whittle::evaluate::tasks;
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::{PackedModel, WeightSource as _};
use whittle::recipe::Recipe;
use whittle::report::limits::Limits;
use whittle::report::sweep::{Grid, Journal};

/// Files of each kind that the fast tests open.
const FAST: Range<u64> = 0..40;
/// And that `make test-mutated` opens beyond them.
const MANY: Range<u64> = 40..1000;
/// Longest sentence.
const LONGEST: usize = 2000;

/// A kind of file: a good one, and what reads it from its place in a folder.
struct Kind {
    name: &'static str,
    file: &'static str,
    good: Vec<u8>,
    open: fn(&Path) -> Result<(), String>,
}

fn old(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old-files");
    fs::read(folder.join(name)).unwrap()
}

fn said<T, E: std::error::Error>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    })
}

/// Loads a model, and makes of it what the engine runs.
fn model(path: &Path) -> Result<(), String> {
    let model = said(Model::load(path, &Job::silent()))?;
    let compressed = said(compress(&model, &Recipe::original(), &Job::silent()))?;
    said(PackedModel::pack(&model, &compressed, &Job::silent())).map(drop)
}

fn packed(path: &Path) -> Result<(), String> {
    let packed = said(PackedModel::open(path, &Job::silent()))?;
    packed.lend(&mut |_| {});
    said(packed.recipe())?;
    said(packed.provenance())?;
    let _sum: usize = packed
        .view()
        .entries()
        .map(|e| e.matrix.bytes().len())
        .sum();
    Ok(())
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

fn kinds() -> Vec<Kind> {
    let kind = |name, file, good, open| Kind {
        name,
        file,
        good,
        open,
    };
    let tiny = TinyModel::default();
    let blocks = TinyModel {
        stored: Stored::Q8_0,
        ..tiny.clone()
    };
    let silent = Job::silent();
    let loaded = Model::from_gguf("tiny.gguf", tiny.gguf(), &silent).unwrap();
    let balanced = Recipe::open("balanced-4bit").unwrap();
    let compressed = compress(&loaded, &balanced, &silent).unwrap();
    let whole = PackedModel::pack(&loaded, &compressed, &silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_folder(&tiny, folder.path(), 1);
    let beside = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let task =
        br#"{"prompt": "turn on the light", "intent": "HassTurnOn", "slots": {"area": "kitchen"}}
{"prompt": "hello", "pattern": "^h.*o$", "group": "plain"}
"#;
    let mut kinds = vec![
        kind("GGUF", "m.gguf", tiny.gguf(), model as fn(&Path) -> _),
        kind("GGUF in blocks", "m.gguf", blocks.gguf(), model),
        kind("packed", "m.whittle", whole.bytes().to_vec(), packed),
        kind(
            "safetensors",
            "model.safetensors",
            beside("model.safetensors"),
            |path| model(path.parent().unwrap()),
        ),
        kind("config", "config.json", beside("config.json"), |path| {
            model(path.parent().unwrap())
        }),
        kind(
            "tokenizer",
            "tokenizer.json",
            beside("tokenizer.json"),
            |path| model(path.parent().unwrap()),
        ),
        kind("recipe", "r.toml", old("recipe.toml"), |path| {
            said(Recipe::open(path.to_str().unwrap())).map(drop)
        }),
        kind("limits", "l.toml", old("limits.toml"), |path| {
            said(Limits::load(path)).map(drop)
        }),
        kind("grid", "g.toml", old("grid.toml"), |path| {
            let grid = said(Grid::load(path))?;
            said(grid.points()).map(drop)
        }),
        kind("board", "b.toml", old("board.toml"), |path| {
            said(Board::load(path)).map(drop)
        }),
        kind("shape", "s.toml", old("shape.toml"), |path| {
            said(ModelShape::load(path)).map(drop)
        }),
        kind("rows", "rows.jsonl", old("rows.jsonl"), |path| {
            said(Journal::open(path)).map(drop)
        }),
        kind("tasks", "t.jsonl", task.to_vec(), |path| {
            said(tasks::load(path.to_str().unwrap(), &Job::silent())).map(drop)
        }),
    ];
    #[cfg(feature = "gui")]
    kinds.push(kind("project", "p.toml", old("project.toml"), |path| {
        said(whittle::project::Project::parse("p.toml", &text(path))).map(drop)
    }));
    #[cfg(feature = "voice")]
    kinds.push(kind("WAV", "q.wav", speech(), |path| {
        said(whittle::voice::wav::read_16k(path)).map(drop)
    }));
    kinds
}

/// A quarter of a second.
#[cfg(feature = "voice")]
fn speech() -> Vec<u8> {
    let samples = (0..4000).map(|at| (at as f32 * 0.1).sin() * 0.5).collect();
    let recording = whittle::voice::wav::Recording {
        samples,
        sample_rate_hz: 16_000,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("speech.wav");
    whittle::voice::wav::write(&path, &recording).unwrap();
    fs::read(path).unwrap()
}

/// A folder with what stands beside a file of this kind.
fn place(kind: &Kind) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    if ["model.safetensors", "config.json", "tokenizer.json"].contains(&kind.file) {
        write_folder(&TinyModel::default(), folder.path(), 1);
    }
    folder
}

/// How many entries there are in a folder.
fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn open_all(numbers: &Range<u64>) {
    for kind in kinds() {
        let folder = place(&kind);
        let path = folder.path().join(kind.file);
        fs::write(&path, &kind.good).unwrap();
        (kind.open)(&path).unwrap_or_else(|error| panic!("{}: {error}", kind.name));
        let before = count(folder.path());
        let mut refused = 0_u64;
        for number in numbers.clone() {
            fs::write(&path, mutated(&kind.good, number)).unwrap();
            let opened = catch_unwind(AssertUnwindSafe(|| (kind.open)(&path)));
            let found = format!("{} {number}", kind.name);
            let Ok(opened) = opened else {
                panic!("{found} panics");
            };
            if let Err(sentence) = opened {
                refused += 1;
                // A parser shows the line that it stumbled over.
                let lines = sentence.trim_end().lines().count();
                assert!(
                    !sentence.is_empty() && sentence.len() <= LONGEST,
                    "{found}: {sentence}"
                );
                assert!(lines <= 6, "{found}: {sentence}");
            }
            assert_eq!(count(folder.path()), before, "{found}");
        }
        // Damage that is never noticed is none.
        assert!(
            refused * 4 >= numbers.end - numbers.start,
            "{}: {refused}",
            kind.name
        );
    }
}

#[test]
fn a_damaged_file_gets_a_sentence() {
    open_all(&FAST);
}

#[test]
#[ignore = "takes minutes: `make test-mutated`"]
fn thousands_of_damaged_files_get_a_sentence() {
    open_all(&MANY);
}

#[test]
fn a_command_says_one_sentence_of_a_damaged_file_and_leaves_nothing_behind() {
    let program = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whittle"));
        command.args(arguments).current_dir(folder);
        command
            .env("WHITTLE_CACHE", folder.join("cache"))
            .output()
            .unwrap()
    };
    for kind in kinds() {
        let arguments: &[&str] = match kind.name {
            "GGUF" | "GGUF in blocks" => &[
                "compress",
                "m.gguf",
                "--recipe",
                "balanced-4bit",
                "--out",
                "new",
            ],
            "packed" => &[
                "chat",
                "m.whittle",
                "--prompt",
                "hello",
                "--max-tokens",
                "2",
            ],
            "safetensors" | "config" | "tokenizer" => &["info", "."],
            "recipe" => &["compress", "hearth", "--recipe", "r.toml", "--out", "new"],
            "board" => &["estimate", "hearth", "--board", "b.toml"],
            "shape" => &["estimate", "--shape", "s.toml"],
            // What they name is not there: the library's tests open them.
            "limits" | "grid" | "rows" | "tasks" | "project" | "WAV" => continue,
            other => panic!("no command for {other}"),
        };
        for number in 0..4 {
            let folder = place(&kind);
            fs::write(folder.path().join(kind.file), mutated(&kind.good, number)).unwrap();
            let before = count(folder.path());
            let output = program(folder.path(), arguments);
            let found = format!("{} {number}: {output:?}", kind.name);
            let made = folder.path().join("new").exists();
            assert_eq!(
                made,
                output.status.success() && arguments.contains(&"new"),
                "{found}"
            );
            assert!(
                count(folder.path()) - usize::from(made) <= before + 1,
                "{found}"
            );
            if !output.status.success() {
                assert_eq!(output.status.code(), Some(1), "{found}");
                let said = String::from_utf8(output.stderr).unwrap();
                assert!(said.starts_with("whittle: "), "{found}");
                assert!(output.stdout.is_empty(), "{found}");
            }
        }
    }
}
