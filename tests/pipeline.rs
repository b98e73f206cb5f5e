//! What a user does with a model: compress it, pack it, run it, measure it, swap a tensor while it runs.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "support/tiny_model.rs"]
mod tiny_model;

use engine::arena::CachePrecision;
use engine::encoding::Encoding;
use engine::sampler::Sampling;
use engine::shape::Role;
use engine::workers::SimdLevel;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tiny_model::{Stored, TinyModel};
use whittle::compress::{CompressedModel, compress, compress_tensor};
use whittle::evaluate::{evaluate, windows};
use whittle::job::{CancelToken, Job, Progress};
use whittle::model::{Model, Specials};
use whittle::packed::{
    Answer, Conversation, Layout, LiveModel, PackedModel, PrefixChoice, PrefixText, Question,
    TextSections, WeightSource,
};
use whittle::recipe::{Precision, Recipe, Setting};
use whittle::workers::Processor;

fn model() -> Model {
    Model::from_gguf("tiny.gguf", TinyModel::default().gguf(), &Job::silent()).unwrap()
}

fn packed(model: &Model, recipe: &Recipe) -> PackedModel {
    let compressed = compress(model, recipe, &Job::silent()).unwrap();
    PackedModel::pack(model, &compressed, &Job::silent()).unwrap()
}

#[test]
fn a_file_is_written_as_it_is_in_memory_and_one_that_is_cancelled_leaves_the_older() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.whittle");
    let processor = Processor::new(None).unwrap();
    let choice = PrefixChoice {
        text: PrefixText::OfTemplate,
        cache: CachePrecision::Eight,
    };
    let lay_out = |recipe: &str| {
        let compressed = compress(&model, &Recipe::open(recipe).unwrap(), &Job::silent());
        let (compressed, job) = (compressed.unwrap(), Job::silent());
        Layout::new(&model, &compressed, choice, &processor.host(), &job).unwrap()
    };
    let layout = lay_out("small-3bit");
    layout.save(&path, &Job::silent()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let joined = layout.join().unwrap();
    assert!(bytes == joined.bytes() && bytes.len() == layout.bytes());
    let prefix = joined.prefix().map_or(0, |prefix| prefix.positions());
    assert_eq!(layout.prefix().0, prefix);

    let cancel = CancelToken::new();
    let stop = |progress: Progress<'_>| {
        if progress.stage == "Writing" && progress.done * 2 > progress.total {
            cancel.cancel();
        }
    };
    let job = Job::new(&stop, cancel.clone());
    let other = lay_out("reference-8bit");
    assert!(other.save(&path, &job).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn ask(source: &dyn WeightSource, processor: &Processor, tokens: usize) -> Answer {
    let question = Question {
        system: None,
        user: "turn on the light",
        max_tokens: tokens,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let mut conversation = Conversation::new(source, 128);
    conversation
        .ask(source, &processor.host(), &question, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap()
}

/// One recipe for every precision, dense and pruned.
fn recipes() -> Vec<Recipe> {
    let mut recipes = Vec::new();
    for precision in Precision::ALL {
        for sparsity in [0.0, 0.5, 0.9] {
            let mut recipe = Recipe::original();
            recipe
                .set(&format!("*=bits:{},sparsity:{sparsity}", precision.name()))
                .unwrap();
            recipes.push(recipe);
        }
    }
    recipes
}

#[test]
fn every_precision_and_sparsity_gives_the_same_bits_on_every_processor() {
    let model = model();
    for recipe in recipes() {
        let packed = packed(&model, &recipe);
        let scalar = Processor::with_level(Some("scalar"), Some(1)).unwrap();
        let expected = ask(&packed, &scalar, 6);
        assert!(!expected.tokens.is_empty(), "{:?}", recipe.rules);
        for threads in [1, 3] {
            let best = Processor::with_level(None, Some(threads)).unwrap();
            let found = ask(&packed, &best, 6);
            assert_eq!(
                (found.tokens, found.logits_hash),
                (expected.tokens.clone(), expected.logits_hash),
                "{:?}",
                recipe.rules
            );
        }
    }
}

#[test]
fn a_packed_file_survives_the_disk_and_any_damage_is_noticed() {
    let model = model();
    let packed = packed(&model, &Recipe::open("balanced-4bit").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.whittle");
    packed.save(&path).unwrap();
    let opened = PackedModel::open(&path, &Job::silent()).unwrap();
    assert_eq!(opened.bytes(), packed.bytes());
    let processor = Processor::with_level(None, Some(1)).unwrap();
    assert_eq!(
        ask(&opened, &processor, 4).logits_hash,
        ask(&packed, &processor, 4).logits_hash
    );

    let view = packed.view();
    let last = view.entry(view.tensors() - 1);
    let places = [
        9,
        13,
        20,
        33,
        70,
        200,
        view.metadata_bytes() - 5,
        last.offset,
        view.entry(3).offset + 7,
    ];
    for place in places {
        let mut damaged = packed.bytes().to_vec();
        damaged[place] ^= 0x40;
        std::fs::write(&path, &damaged).unwrap();
        let message = PackedModel::open(&path, &Job::silent())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("tiny.whittle")
                && message.contains("expected")
                && message.contains("found"),
            "byte {place}: {message}"
        );
    }
    for len in [
        0,
        7,
        100,
        159,
        packed.bytes().len() / 2,
        packed.bytes().len() - 1,
    ] {
        std::fs::write(&path, &packed.bytes()[..len]).unwrap();
        assert!(
            PackedModel::open(&path, &Job::silent()).is_err(),
            "{len} bytes"
        );
    }
}

#[test]
fn the_same_model_and_recipe_pack_to_the_same_bytes() {
    let recipe = Recipe::open("small-3bit").unwrap();
    assert_eq!(
        packed(&model(), &recipe).bytes(),
        packed(&model(), &recipe).bytes()
    );
}

#[test]
fn bits_per_weight_count_scales_masks_and_padding() {
    let model = model();
    for recipe in recipes() {
        let compressed = compress(&model, &recipe, &Job::silent()).unwrap();
        let matrices = || compressed.tensors.iter().filter(|t| t.role.is_matrix());
        let bytes: usize = matrices()
            .map(|t| t.encoding.bytes(t.rows, t.cols, t.kept))
            .sum();
        let weights: usize = matrices().map(|t| t.rows * t.cols).sum();
        assert!((compressed.bits_per_weight() - bytes as f64 * 8.0 / weights as f64).abs() < 1e-9);
        assert!(packed(&model, &recipe).bytes().len() > compressed.bytes());
    }
}

#[test]
fn a_conversation_does_not_depend_on_how_its_tokens_are_cut() {
    let model = model();
    let packed = packed(&model, &Recipe::open("balanced-4bit").unwrap());
    let tokens = model
        .tokenizer
        .encode("the light in the kitchen is on", Specials::Plain)
        .unwrap();
    let host = engine::workers::Host::serial();
    let vocab = packed.shape().vocab as usize;
    let run = |cache: CachePrecision, batch: usize, cut: usize| {
        let limits = engine::arena::Limits {
            context: 64,
            batch,
            cache,
        };
        let mut arena = vec![0; engine::arena::ArenaLayout::new(packed.shape(), limits).words()];
        let mut logits = vec![0.0; vocab];
        packed.lend(&mut |weights| {
            let mut session =
                engine::session::Session::new(weights.shape(), limits, &mut arena).unwrap();
            for part in tokens.chunks(cut) {
                session.forward(weights, &host, part, &mut logits).unwrap();
            }
        });
        logits
    };
    for cache in CachePrecision::ALL {
        let expected = run(cache, 1, 1);
        for (batch, cut) in [(1, 5), (3, tokens.len()), (16, 4), (16, tokens.len())] {
            assert_eq!(
                run(cache, batch, cut),
                expected,
                "{cache:?} batch {batch}, cut {cut}"
            );
        }
    }
}

#[test]
fn a_tensor_is_replaced_while_the_model_speaks() {
    let model = model();
    let compressed = compress(&model, &Recipe::original(), &Job::silent()).unwrap();
    let text = Arc::new(TextSections::new(&model).unwrap());
    let live = LiveModel::new(model.hyperparameters, text, &compressed).unwrap();
    let processor = Processor::with_level(None, Some(1)).unwrap();
    let untouched = ask(&live, &processor, 8);
    let tensor = model.tensor(Role::Embedding, None).unwrap();
    let coarse = compress_tensor(&model, tensor, Setting::bits(Precision::One), None);
    let coarse = Arc::new(coarse.unwrap());

    let question = Question {
        system: None,
        user: "turn on the light",
        max_tokens: 8,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let mut conversation = Conversation::new(&live, 128);
    let mut swapped = false;
    let answer = conversation
        .ask(&live, &processor.host(), &question, &mut |_| {
            if !swapped {
                assert!(live.replace(Arc::clone(&coarse)).unwrap() < 0);
                swapped = true;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(swapped);
    assert_eq!(
        answer.tokens[0], untouched.tokens[0],
        "the first token came before the swap"
    );
    assert_ne!(answer.logits_hash, untouched.logits_hash, "the swap shows");
}

/// The same tensors for themselves: who shares them reads them, and a ceiling counts what is read.
fn copy_of(compressed: &CompressedModel) -> CompressedModel {
    let tensors = compressed.tensors.iter();
    CompressedModel {
        calibration: compressed.calibration.clone(),
        recipe: compressed.recipe.clone(),
        tensors: tensors.map(|t| Arc::new((**t).clone())).collect(),
    }
}

#[test]
fn a_conversation_goes_on_over_replacements_and_the_kv_cache_stays() {
    let model = model();
    let compressed = compress(&model, &Recipe::original(), &Job::silent()).unwrap();
    let packed = Arc::new(PackedModel::pack(&model, &compressed, &Job::silent()).unwrap());
    let text = Arc::new(TextSections::new(&model).unwrap());
    let live = LiveModel::new(model.hyperparameters, text, &copy_of(&compressed)).unwrap();
    let processor = Processor::with_level(None, Some(1)).unwrap();
    let talk = |live: &LiveModel, replace: &dyn Fn()| {
        let mut conversation = Conversation::new(live, 128);
        ["turn on the light", "and off"].map(|user| {
            let question = Question {
                system: None,
                user,
                max_tokens: 8,
                sampling: Sampling::GREEDY,
                stop: &[],
            };
            let answer = conversation.ask(live, &processor.host(), &question, &mut |_| {
                replace();
                ControlFlow::Continue(())
            });
            (answer.unwrap().logits_hash, conversation.position())
        })
    };
    let untouched = talk(&live, &|| ());
    for live in [live, LiveModel::of_packed(packed)] {
        // Every tensor, by a copy of itself: what the cache holds and what follows stay as they are.
        let replaced = talk(&live, &|| {
            for tensor in &compressed.tensors {
                assert_eq!(live.replace(Arc::new((**tensor).clone())).unwrap(), 0);
                assert!(live.held_bytes() <= live.ceiling_bytes());
            }
        });
        assert_eq!(replaced, untouched);
    }
}

#[test]
fn a_replacement_waits_for_readers_or_is_refused_below_the_ceiling() {
    let model = model();
    let compressed = compress(&model, &Recipe::original(), &Job::silent()).unwrap();
    let text = Arc::new(TextSections::new(&model).unwrap());
    let largest = compressed.tensors.iter().max_by_key(|t| t.bytes.len());
    let largest = largest.unwrap();
    let copy = || Arc::new((**largest).clone());
    let ceiling = compressed.bytes() + largest.bytes.len();
    let live = |ceiling, patience| {
        LiveModel::new(
            model.hyperparameters,
            Arc::clone(&text),
            &copy_of(&compressed),
        )
        .unwrap()
        .with_ceiling(ceiling, patience)
    };

    let impatient = live(ceiling, Duration::ZERO);
    let reader = impatient.tensors();
    impatient.replace(copy()).unwrap();
    assert_eq!(impatient.held_bytes(), ceiling);
    let refused = impatient.replace(copy()).unwrap_err().to_string();
    let needed = ceiling + largest.bytes.len();
    let expected = format!(
        "cannot replace {}: with the tensors that are still being read it needs {needed} bytes, \
         the ceiling is {ceiling}",
        largest.name
    );
    assert_eq!(refused, expected);
    drop(reader);
    assert_eq!(impatient.held_bytes(), compressed.bytes());
    impatient.replace(copy()).unwrap();

    // No reader is in the way: there is nothing to wait for.
    let low = live(ceiling - 1, Duration::MAX);
    assert!(low.replace(copy()).is_err());
    assert_eq!(low.held_bytes(), compressed.bytes());

    let patient = live(ceiling, Duration::MAX);
    let reader = patient.tensors();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..20).try_for_each(|_| patient.replace(copy()).map(drop)));
        while Arc::ptr_eq(&patient.tensors(), &reader) {
            std::thread::yield_now();
        }
        assert!(!writer.is_finished(), "the first version is still read");
        drop(reader);
        writer.join().unwrap().unwrap();
    });
    assert_eq!(patient.held_bytes(), compressed.bytes());
}

#[test]
fn an_evaluation_of_the_reference_against_itself_finds_no_difference_and_of_one_bit_a_large_one() {
    let model = model();
    let processor = Processor::with_level(None, Some(2)).unwrap();
    let text = "the quick brown fox turns on the light and the other one off again. ".repeat(40);
    let windows = windows(&model, &text, 1024).unwrap();
    let reference = packed(&model, &Recipe::original());
    let mut coarse = Recipe::original();
    coarse.set("*=bits:1").unwrap();
    let coarse = packed(&model, &coarse);
    let same = evaluate(
        &reference,
        CachePrecision::Sixteen,
        &reference,
        &windows,
        &processor.host(),
        &Job::silent(),
    )
    .unwrap();
    assert_eq!((same.kl_mean, same.same_top), (0.0, 1.0));
    // The model's context is 128: windows are no longer.
    assert_eq!((same.window_tokens, windows.len()), (128, 8));
    assert_eq!(same.tokens, windows.len() * 63);
    let other = evaluate(
        &coarse,
        CachePrecision::Sixteen,
        &reference,
        &windows,
        &processor.host(),
        &Job::silent(),
    )
    .unwrap();
    assert!(
        other.kl_mean > 0.0 && other.kl_p99 >= other.kl_mean && other.same_top < 1.0,
        "{other:?}"
    );
}

#[test]
fn cancelled_work_stops() {
    let cancel = CancelToken::new();
    cancel.cancel();
    assert!(compress(&model(), &Recipe::original(), &Job::new(&|_| {}, cancel)).is_err());
}

#[test]
fn what_llama_cpp_quantized_is_kept_without_loss_in_no_more_bytes() {
    for stored in [Stored::Q8_0, Stored::Q4_1, Stored::Q4K, Stored::Q6K] {
        let tiny = TinyModel {
            stored,
            layers: 1,
            hidden: 256,
            feed_forward: 256,
            head_dim: 64,
            ..TinyModel::default()
        };
        let model = Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).unwrap();
        let mut recipe = Recipe::original();
        recipe.set("*=bits:source").unwrap();
        let compressed = compress(&model, &recipe, &Job::silent()).unwrap();
        let mut twins = 0;
        for (tensor, source) in compressed.tensors.iter().zip(&model.tensors) {
            if let Encoding::Twin(_) = tensor.encoding {
                assert_eq!(tensor.bytes.len() as u64, source.bytes, "{}", tensor.name);
                assert_eq!(tensor.nmse, 0.0, "{}", tensor.name);
                let mut row = vec![0.0; tensor.cols];
                let values = model.values(source);
                for (i, expected) in values.chunks_exact(tensor.cols).enumerate() {
                    tensor.matrix().dequantize_row(i, &mut row);
                    assert_eq!(row, expected, "{} row {i}", tensor.name);
                }
                twins += 1;
            }
        }
        assert_eq!(twins, 7, "every matrix of the layer: {stored:?}");
        // They run, and on every level alike.
        let packed = PackedModel::pack(&model, &compressed, &Job::silent()).unwrap();
        let hashes: BTreeSet<u64> = SimdLevel::available()
            .map(|level| {
                let processor = Processor::with_level(Some(level.name()), Some(2)).unwrap();
                let question = Question {
                    system: None,
                    user: "hello",
                    max_tokens: 4,
                    sampling: Sampling::GREEDY,
                    stop: &[],
                };
                let mut conversation = Conversation::new(&packed, 64);
                let mut ignore = |_: &str| ControlFlow::Continue(());
                let answer = conversation.ask(&packed, &processor.host(), &question, &mut ignore);
                answer.unwrap().logits_hash.0
            })
            .collect();
        assert_eq!(hashes.len(), 1, "{stored:?}");
    }
}
