//! What a user does with a budget: ask for the best recipe within it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tiny_model::TinyModel;
use whittle::board::Board;
use whittle::calibrate::{Calibration, CalibrationText};
use whittle::compress::{compress, compress_calibrated};
use whittle::estimate::Options;
use whittle::evaluate::tasks;
use whittle::job::{CancelToken, Job, Progress};
use whittle::model::Model;
use whittle::packed::PackedModel;
use whittle::recipe::{Precision, Quantizer, Recipe};
use whittle::tune::{BoardGoal, TuneError, TuneOptions, Tuner};
use whittle::workers::Processor;

fn model() -> Model {
    // Tensors far larger than the pages in which files are counted.
    let tiny = TinyModel {
        hidden: 128,
        feed_forward: 256,
        ..TinyModel::default()
    };
    Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).unwrap()
}

struct Prepared {
    model: Model,
    calibration: Calibration,
    tokens: Vec<u32>,
}

fn prepared(folder: &Path) -> Prepared {
    let model = model();
    let text = "the quick brown fox turns on the light and you all the other ones. ".repeat(90);
    let all = CalibrationText::of_text(&model, "fox", &text, 3000).unwrap();
    let text = CalibrationText::of_text(&model, "fox", &text, 2000).unwrap();
    let calibration = Calibration::compute(&model, &text, folder, &Job::silent()).unwrap();
    let tokens = all.windows.concat()[text.tokens()..].to_vec();
    Prepared {
        model,
        calibration,
        tokens,
    }
}

fn options() -> TuneOptions {
    TuneOptions {
        exchanges: 6,
        ..TuneOptions::default()
    }
}

#[test]
fn a_budget_is_never_exceeded_and_more_bytes_cost_less_quality() {
    let folder = tempfile::tempdir().unwrap();
    let p = prepared(folder.path());
    let options = options();
    let job = Job::silent();
    let tuner = Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &job).unwrap();
    let (smallest, largest) = tuner.range();
    let mut last = f64::INFINITY;
    for budget in [smallest, (smallest + largest) / 2, largest] {
        let tuned = tuner.tune(budget, &job).unwrap();
        let compressed =
            compress_calibrated(&p.model, &tuned.recipe, Some(&p.calibration), &[], &job).unwrap();
        assert_eq!(compressed.tensors, tuned.compressed.tensors);
        let packed = PackedModel::pack(&p.model, &compressed, &job).unwrap();
        assert!(packed.bytes().len() as u64 <= tuned.bytes && tuned.bytes <= budget);
        assert!(tuned.measured_kl <= tuned.allocated_kl);
        assert!(tuned.measured_kl < last, "{budget}: {}", tuned.measured_kl);
        last = tuned.measured_kl;
    }
    assert!(last < 1e-3, "the largest settings cost {last}");
    match tuner.tune(smallest - 1, &job) {
        Err(TuneError::TooSmall { smallest: s, found }) => {
            assert_eq!((s, found), (smallest, smallest - 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tuned_recipe_is_better_than_an_even_one_of_as_many_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let p = prepared(folder.path());
    let options = options();
    let job = Job::silent();
    let tuner = Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &job).unwrap();
    let mut even = Recipe::original();
    even.set("*=bits:3").unwrap();
    let rounded = compress(&p.model, &even, &job).unwrap();
    let bytes = PackedModel::pack(&p.model, &rounded, &job).unwrap();
    let tuned = tuner.tune(bytes.bytes().len() as u64 + 4096, &job).unwrap();
    let divergence = tuner.divergence(&rounded, &job).unwrap();
    assert!(
        tuned.measured_kl < divergence * 0.7,
        "{} against {divergence}",
        tuned.measured_kl
    );
}

#[test]
fn what_was_measured_is_kept_when_a_tune_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let p = prepared(folder.path());
    let options = options();
    let probes = AtomicU64::new(0);
    let cancel = CancelToken::new();
    let stop = |progress: Progress<'_>| {
        if progress.stage == "Probing" && probes.fetch_add(1, Ordering::Relaxed) == 2 {
            cancel.cancel();
        }
    };
    let job = Job::new(&stop, cancel.clone());
    assert!(Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &job).is_err());
    let journal = std::fs::read_dir(p.calibration.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .unwrap();
    let kept = std::fs::read_to_string(&journal).unwrap();
    assert!(kept.lines().count() > 1);
    // As if the machine had lost power within a line.
    std::fs::write(&journal, format!("{kept}{{\"name\": \"bl")).unwrap();
    let silent = Job::silent();
    let resumed = Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &silent).unwrap();
    let found = std::fs::read_to_string(&journal).unwrap();
    assert!(found.starts_with(&kept));

    let elsewhere = tempfile::tempdir().unwrap();
    let q = prepared(elsewhere.path());
    let whole = Tuner::measure(&q.model, &q.calibration, &q.tokens, &options, &silent).unwrap();
    assert_eq!(resumed.tensors(), whole.tensors());
}

#[test]
fn the_same_seed_gives_the_same_recipe_on_any_number_of_threads() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let folder = tempfile::tempdir().unwrap();
            let p = prepared(folder.path());
            let options = options();
            let job = Job::silent();
            let tuner =
                Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &job).unwrap();
            let (smallest, largest) = tuner.range();
            tuner.tune((smallest + largest) / 2, &job).unwrap()
        })
    };
    let (one, three) = (on(1), on(3));
    assert_eq!(one.recipe, three.recipe);
    assert_eq!(one.compressed.tensors, three.compressed.tensors);
    assert_eq!(one.measured_kl.to_bits(), three.measured_kl.to_bits());
}

#[test]
fn a_board_gets_what_it_holds_and_a_reason_when_nothing_does() {
    let folder = tempfile::tempdir().unwrap();
    let p = prepared(folder.path());
    let options = options();
    let job = Job::silent();
    let tuner = Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &job).unwrap();
    let mut goal = BoardGoal {
        board: Board::find("esp32-c3").unwrap().clone(),
        options: Options {
            context_tokens: 64,
            ..Options::default()
        },
        min_tokens_per_second: None,
    };
    let bytes = tuner.bytes_for(&goal).unwrap();
    assert_eq!(bytes, tuner.range().1);
    let recipe = tuner.tune(bytes, &job).unwrap().recipe;
    let speed = tuner.estimate(&recipe, &goal).tokens_per_second.unwrap();
    // A little more than that: some tensors must become smaller.
    goal.min_tokens_per_second = Some(speed.mid * 1.05);
    let faster = tuner.bytes_for(&goal).unwrap();
    assert!(faster < bytes, "{faster} of {bytes}");
    goal.min_tokens_per_second = Some(speed.mid * 1e6);
    let message = tuner.bytes_for(&goal).unwrap_err().to_string();
    assert!(
        message.contains("esp32-c3") && message.contains("tokens/s"),
        "{message}"
    );
}

#[test]
fn tasks_are_kept_with_the_fewest_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let p = prepared(folder.path());
    let options = TuneOptions {
        exchanges: 0,
        ..TuneOptions::default()
    };
    let job = Job::silent();
    let tuner = Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &job).unwrap();
    let processor = Processor::with_level(None, Some(2)).unwrap();
    let (_, largest) = tuner.range();
    let ask = |pattern: &str, min_pass| {
        let line = format!("{{\"prompt\": \"turn on the light\", \"pattern\": \"{pattern}\"}}\n");
        let tasks = tasks::parse("light", line.as_bytes(), &job).unwrap();
        tuner.tune_for_tasks(largest, &tasks, min_pass, &processor.host(), &job)
    };
    let (tuned, passed) = ask(".*", 1.0).unwrap();
    // Every answer will do, so the smallest settings do.
    assert_eq!(tuned.bytes, tuner.range().0);
    assert!(passed.share >= 1.0 && passed.tried < 20);
    let message = ask("never said by anybody", 1.0).unwrap_err().to_string();
    assert!(
        message.contains("100.0 %") && message.contains("0.0 %"),
        "{message}"
    );
}

#[test]
fn a_calibrated_recipe_says_so_and_loses_less_than_a_rounded_one() {
    let folder = tempfile::tempdir().unwrap();
    let p = prepared(folder.path());
    let job = Job::silent();
    let mut recipe = Recipe::original();
    recipe.set("*=bits:2,method:gptq").unwrap();
    assert!(recipe.is_calibrated());
    let calibrated =
        compress_calibrated(&p.model, &recipe, Some(&p.calibration), &[], &job).unwrap();
    let mut plain = Recipe::original();
    plain.set("*=bits:2").unwrap();
    let rounded = compress(&p.model, &plain, &job).unwrap();
    for (a, b) in calibrated.tensors.iter().zip(&rounded.tensors) {
        assert_eq!((&a.name, a.bytes.len()), (&b.name, b.bytes.len()));
        if a.role.is_matrix() {
            assert_eq!(a.methods.quantizer, Quantizer::Gptq, "{}", a.name);
            assert_eq!(a.setting.precision, Precision::Two);
        }
    }
    let options = options();
    let tuner = Tuner::measure(&p.model, &p.calibration, &p.tokens, &options, &job).unwrap();
    let of = |compressed| tuner.divergence(compressed, &job).unwrap();
    assert!(of(&calibrated) < of(&rounded) * 0.7);
}
