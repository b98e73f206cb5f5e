//! Bits that must not drift: tiny models, their packed bytes, and what those answer to one prompt.
//!
//! The engine's own test (`firmware/engine/tests/golden.rs`) and the emulated board (`tests/slow/boards.rs`)
//! hold themselves to the same table. `make golden` writes models, packed files and table anew; a line in
//! CHANGELOG.md says why. The files in `version-1` were written by the last program that wrote packed
//! format version 1: they stay as they are, and so do their answers.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "../support/golden.rs"]
mod golden;
#[path = "../support/tiny_model.rs"]
mod tiny_model;

use engine::arena::CachePrecision;
use engine::sampler::Sampling;
use engine::workers::{Host, SimdLevel};
use golden::{CONTEXT, Golden, MAX_TOKENS, PROMPT};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tiny_model::{Head, Stored, TinyModel};
use whittle::compress::compress;
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::{Conversation, PackedModel, PrefixChoice, PrefixText, Question};
use whittle::recipe::{Precision, Recipe, Setting};
use whittle::workers::Processor;

/// A model and a recipe, and whether keys and values of its opening come along.
struct Case {
    name: &'static str,
    model: &'static str,
    recipe: fn(&Model) -> Recipe,
    prefix: Option<CachePrecision>,
}

const fn llama(name: &'static str, recipe: fn(&Model) -> Recipe) -> Case {
    Case {
        name,
        model: "llama",
        recipe,
        prefix: None,
    }
}

/// A file for each width, with dense matrices and sparse ones, and files in which encodings are mixed.
const CASES: [Case; 12] = [
    llama("llama-1bit", |_| dense_and_sparse("1", 0.6)),
    // Signs in one of four columns have an encoding of their own.
    llama("llama-ternary", |_| {
        let mut recipe = rules(&["*=bits:1.58"]);
        recipe.set("feed-forward.*=bits:1,sparsity:75%").unwrap();
        recipe
    }),
    llama("llama-2bit", |_| dense_and_sparse("2", 0.5)),
    llama("llama-3bit", |_| dense_and_sparse("3", 0.5)),
    Case {
        name: "llama-4bit",
        model: "llama",
        recipe: |_| {
            rules(&[
                "*=bits:4,method:search",
                "feed-forward.down=bits:4,sparsity:0.7",
            ])
        },
        prefix: Some(CachePrecision::Sixteen),
    },
    llama("llama-5bit", |_| dense_and_sparse("5", 0.6)),
    llama("llama-6bit", |_| dense_and_sparse("6", 0.7)),
    llama("llama-8bit", |_| dense_and_sparse("8", 0.8)),
    llama("llama-16bit", |_| Recipe::original()),
    Case {
        name: "qwen2-dense",
        model: "qwen2",
        recipe: |model| in_turn(model, &DENSE.map(Setting::bits)),
        prefix: Some(CachePrecision::Eight),
    },
    Case {
        name: "qwen3-sparse",
        model: "qwen3",
        recipe: |model| {
            let one_of_four = Setting::sparse(Precision::One, 0.75);
            let sparse = DENSE.map(|precision| match precision {
                Precision::Ternary => one_of_four,
                other => Setting::sparse(other, 0.6),
            });
            in_turn(model, &[&sparse[..], &[Setting::REFERENCE]].concat())
        },
        prefix: Some(CachePrecision::Four),
    },
    Case {
        name: "twins",
        model: "twins",
        recipe: |_| rules(&["*=bits:source"]),
        prefix: None,
    },
];

/// Every precision below 16 bits.
const DENSE: [Precision; 8] = [
    Precision::One,
    Precision::Ternary,
    Precision::Two,
    Precision::Three,
    Precision::Four,
    Precision::Five,
    Precision::Six,
    Precision::Eight,
];

fn rules(rules: &[&str]) -> Recipe {
    let mut recipe = Recipe::original();
    rules.iter().for_each(|rule| recipe.set(rule).unwrap());
    recipe
}

/// Attention and embedding dense, feed-forward blocks pruned.
fn dense_and_sparse(bits: &str, sparsity: f64) -> Recipe {
    rules(&[
        &format!("*=bits:{bits}"),
        &format!("feed-forward.*=bits:{bits},sparsity:{sparsity}"),
    ])
}

/// These settings, one after the other over the matrices of the model.
fn in_turn(model: &Model, settings: &[Setting]) -> Recipe {
    let mut recipe = Recipe::original();
    let matrices = model.tensors.iter().filter(|t| t.role.is_matrix());
    for (tensor, setting) in matrices.zip(settings.iter().cycle()) {
        recipe.except(tensor.role, tensor.layer, *setting);
    }
    recipe
}

/// The models, as files: every kind that the engine runs, and every block format that it keeps.
fn sources() -> [(&'static str, Vec<u8>); 4] {
    let llama = TinyModel {
        layers: 1,
        hidden: 32,
        feed_forward: 64,
        heads: 2,
        kv_heads: 1,
        head_dim: 16,
        head: Head::Own,
        stored: Stored::Q8_0,
        ..TinyModel::default()
    };
    // Its embedding serves as head, so it says one token for ever: the hash is what tells.
    let qwen2 = TinyModel {
        architecture: "qwen2",
        head: Head::Tied,
        stored: Stored::F32,
        seed: 2,
        ..llama.clone()
    };
    let qwen3 = TinyModel {
        architecture: "qwen3",
        seed: 3,
        ..llama.clone()
    };
    let twins = TinyModel {
        layers: 2,
        feed_forward: 256,
        exceptions: &[
            ("attn_k.weight", Stored::Q4_1),
            ("ffn_gate.weight", Stored::Q4_1),
            ("blk.0.ffn_down.weight", Stored::Q4K),
            ("blk.1.ffn_down.weight", Stored::Q6K),
        ],
        seed: 4,
        ..llama.clone()
    };
    let files = [
        ("llama", llama),
        ("qwen2", qwen2),
        ("qwen3", qwen3),
        ("twins", twins),
    ];
    files.map(|(name, tiny)| (name, tiny.gguf()))
}

fn pack(case: &Case) -> PackedModel {
    let source = sources().into_iter().find(|(name, _)| *name == case.model);
    let file_name = format!("{}.gguf", case.model);
    let model = Model::from_gguf(&file_name, source.unwrap().1, &Job::silent()).unwrap();
    let compressed = compress(&model, &(case.recipe)(&model), &Job::silent()).unwrap();
    let choice = PrefixChoice {
        text: case
            .prefix
            .map_or(PrefixText::None, |_| PrefixText::OfTemplate),
        cache: case.prefix.unwrap_or(CachePrecision::Sixteen),
    };
    let (host, job) = (Host::serial(), Job::silent());
    PackedModel::pack_with_prefix(&model, &compressed, choice, &host, &job).unwrap()
}

/// What the program answers, as a user would ask.
fn ask(name: &str, packed: &PackedModel, processor: &Processor, cache: CachePrecision) -> Golden {
    let question = Question {
        system: None,
        user: PROMPT,
        max_tokens: MAX_TOKENS,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let mut conversation = Conversation::with_cache(packed, CONTEXT, cache);
    let mut ignore = |_: &str| ControlFlow::Continue(());
    let answer = conversation.ask(packed, &processor.host(), &question, &mut ignore);
    let answer = answer.unwrap();
    Golden {
        name: name.to_owned(),
        cache,
        hash: answer.logits_hash,
        tokens: answer.tokens,
    }
}

/// The answers of all files on this processor, a line each.
fn table(files: &[(String, PackedModel)], processor: &Processor) -> String {
    let answers = files.iter().flat_map(|(name, packed)| {
        let of = |cache| ask(name, packed, processor, cache).to_string() + "\n";
        CachePrecision::ALL.map(of)
    });
    answers.collect()
}

/// Every level of this machine, on one thread and on three.
fn processors() -> Vec<Processor> {
    let levels = SimdLevel::available().flat_map(|level| [(level, 1), (level, 3)]);
    levels
        .map(|(level, threads)| Processor::with_level(Some(level.name()), Some(threads)).unwrap())
        .collect()
}

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/golden").join(name)
}

/// Golden files of this folder, without module and expression in name and header.
fn in_folder(name: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder(name));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn the_functions_of_floats_keep_their_bits() {
    in_folder("packed").bind(|| insta::assert_snapshot!("functions", golden::functions()));
}

#[test]
fn the_tiny_models_are_what_they_were() {
    for (name, file) in sources() {
        assert!(file.len() < 100_000, "{name}: {} bytes", file.len());
        in_folder("models").bind(|| {
            insta::assert_binary_snapshot!(&format!("{name}.gguf"), file);
        });
    }
}

#[test]
fn compressing_and_packing_gives_the_golden_bytes() {
    for case in CASES {
        let file = pack(&case).bytes().to_vec();
        in_folder("packed").bind(|| {
            insta::assert_binary_snapshot!(&format!("{}.whittle", case.name), file);
        });
    }
}

#[test]
fn every_level_and_number_of_threads_gives_the_golden_answers() {
    let mut files: Vec<(String, PackedModel)> = CASES
        .iter()
        .map(|case| (case.name.to_owned(), pack(case)))
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    for processor in processors() {
        let answers = table(&files, &processor);
        in_folder("packed").bind(|| insta::assert_snapshot!("answers", answers));
    }
}

#[test]
fn files_of_version_1_give_the_answers_that_they_gave() {
    let folder = folder("version-1");
    let open = |name: String| {
        let path = folder.join(&name).with_extension("whittle");
        (name, PackedModel::open(&path, &Job::silent()).unwrap())
    };
    let names = golden::files(&folder).into_iter().map(|(name, _)| name);
    let files: Vec<_> = names.map(open).collect();
    let expected = std::fs::read_to_string(folder.join("answers.txt")).unwrap();
    for processor in processors() {
        assert_eq!(table(&files, &processor), expected);
    }
}
