//! What a user does with a packed model outside: write it as GGUF or safetensors, and read it again.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "support/tiny_folder.rs"]
mod tiny_folder;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use engine::float::{f16_from_f32, f32_from_f16};
use engine::format::Entry;
use engine::sampler::Sampling;
use engine::shape::Role;
use std::ops::ControlFlow;
use std::path::Path;
use tempfile::TempDir;
use tiny_folder::write_folder;
use tiny_model::{Stored, TinyModel};
use whittle::compress::compress;
use whittle::job::{CancelToken, Job};
use whittle::model::{Model, SourceType, Specials};
use whittle::packed::export::{Exported, FloatType, Values, to_gguf, to_safetensors};
use whittle::packed::{Conversation, PackedModel, Question};
use whittle::recipe::{Precision, Recipe};
use whittle::workers::Processor;

fn load(path: &Path) -> Model {
    Model::load(path, &Job::silent()).unwrap()
}

fn tiny(architecture: &'static str, stored: Stored) -> Model {
    let tiny = TinyModel {
        architecture,
        hidden: 256,
        feed_forward: 512,
        head_dim: 64,
        stored,
        ..TinyModel::default()
    };
    Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).unwrap()
}

fn pack(model: &Model, set: &str) -> PackedModel {
    let mut recipe = Recipe::original();
    recipe.set(set).unwrap();
    let compressed = compress(model, &recipe, &Job::silent()).unwrap();
    PackedModel::pack(model, &compressed, &Job::silent()).unwrap()
}

/// Writes a GGUF file and loads it again.
fn through_gguf(packed: &PackedModel, model: &Model, values: Values) -> (Model, Exported) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    let exported = to_gguf(packed, model, values, &path, &Job::silent()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), exported.bytes);
    (load(&path), exported)
}

fn dequantized(entry: &Entry<'_>) -> Vec<f32> {
    let matrix = entry.matrix;
    let mut values = vec![0.0; matrix.rows() * matrix.cols()];
    for (row, out) in values.chunks_exact_mut(matrix.cols()).enumerate() {
        matrix.dequantize_row(row, out);
    }
    values
}

/// Each tensor of the packed model with the one of the loaded model.
fn pairs<'a>(
    packed: &'a PackedModel,
    loaded: &'a Model,
) -> impl Iterator<Item = (Entry<'a>, Vec<f32>)> {
    let entries = packed.view().entries();
    entries
        .filter(|entry| entry.role != Role::RopeFrequencies)
        .map(|entry| {
            let layer = entry.role.is_per_layer().then_some(entry.layer);
            let tensor = loaded.tensor(entry.role, layer).unwrap();
            (entry, loaded.values(tensor))
        })
}

#[test]
fn formats_of_llama_cpp_come_out_as_they_went_in() {
    for stored in [Stored::Q8_0, Stored::Q4_1, Stored::Q4K, Stored::Q6K] {
        let model = tiny("llama", stored);
        let packed = pack(&model, "*=bits:source");
        let (loaded, exported) = through_gguf(&packed, &model, Values::AsStored);
        assert_eq!(exported.rounded_values, 0);
        for (before, after) in model.tensors.iter().zip(&loaded.tensors) {
            assert_eq!(before.name, after.name);
            // Rows that fill no block of sixteen are kept in 16 bits.
            if before.rows % 16 == 0 || before.rows == 1 {
                assert_eq!(before.source, after.source, "{}", before.name);
                assert!(model.source_bytes(before) == loaded.source_bytes(after));
            }
        }
    }
}

#[test]
fn every_format_of_whittle_comes_out_with_its_values() {
    let model = tiny("qwen2", Stored::F32);
    for precision in Precision::ALL {
        for sparsity in [0.0, 0.5] {
            let packed = pack(
                &model,
                &format!("*=bits:{},sparsity:{sparsity}", precision.name()),
            );
            let floats = Values::Dequantized(FloatType::F32);
            let (loaded, exported) = through_gguf(&packed, &model, floats);
            assert_eq!(exported.rounded_values, 0);
            assert!(pairs(&packed, &loaded).all(|(entry, values)| dequantized(&entry) == values));

            // In 16 bits no value is further off than they allow, and the report says how far.
            for values in [Values::AsStored, Values::Dequantized(FloatType::F16)] {
                let (loaded, exported) = through_gguf(&packed, &model, values);
                assert!(exported.largest_relative_rounding <= 1.0 / 2048.0);
                let mut changed = 0;
                for (entry, values) in pairs(&packed, &loaded) {
                    for (packed, exported) in dequantized(&entry).iter().zip(values) {
                        let rounded = f32_from_f16(f16_from_f32(*packed));
                        assert!(exported == *packed || exported == rounded);
                        changed += u64::from(exported != *packed);
                    }
                }
                assert_eq!(exported.rounded_values, changed, "{}", precision.name());
            }
        }
    }
}

#[test]
fn a_gguf_keeps_tokenizer_template_and_recipe() {
    let model = tiny("qwen3", Stored::F32);
    let packed = pack(&model, "*=bits:4");
    let (loaded, _) = through_gguf(&packed, &model, Values::AsStored);
    assert_eq!(loaded.hyperparameters, model.hyperparameters);
    assert_eq!(loaded.rope_frequencies, model.rope_frequencies);
    assert_eq!(loaded.chat.text(), model.chat.text());
    assert_eq!(loaded.provenance.licence, model.provenance.licence);
    let header = loaded.gguf_header().unwrap().unwrap();
    let recipe = header
        .entries
        .iter()
        .find(|(key, _)| *key == "whittle.recipe");
    assert!(String::from_utf8_lossy(recipe.unwrap().1).contains("bits"));
    // What was exported once can be packed and exported again.
    let packed = pack(&loaded, "*=bits:3");
    let (again, _) = through_gguf(&packed, &loaded, Values::AsStored);
    let recipes = again.gguf_header().unwrap().unwrap().entries;
    assert_eq!(
        recipes
            .iter()
            .filter(|(key, _)| *key == "whittle.recipe")
            .count(),
        1
    );
}

fn answer(model: &Model) -> Vec<u32> {
    let packed = pack(model, "*=bits:source");
    let processor = Processor::with_level(None, Some(1)).unwrap();
    let question = Question {
        system: None,
        user: "turn on the light",
        max_tokens: 12,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let mut conversation = Conversation::new(&packed, 128);
    let mut listen = |_: &str| ControlFlow::Continue(());
    let host = processor.host();
    conversation
        .ask(&packed, &host, &question, &mut listen)
        .unwrap()
        .tokens
}

#[test]
fn a_folder_becomes_a_gguf_that_talks_alike() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let folder = TempDir::new().unwrap();
        let tiny = TinyModel {
            architecture,
            ..TinyModel::default()
        };
        write_folder(&tiny, folder.path(), 1);
        let model = load(folder.path());
        let packed = pack(&model, "*=bits:source");
        let (loaded, _) = through_gguf(&packed, &model, Values::Dequantized(FloatType::F32));
        assert_eq!(
            loaded.hyperparameters.context,
            model.hyperparameters.context
        );
        assert_eq!(loaded.rope_frequencies, model.rope_frequencies);
        assert_eq!(loaded.tokenizer.eos, model.tokenizer.eos);
        for text in ["hello <|im_end|> in the café, 12 of you", "  and\n\n\tthe"] {
            for specials in [Specials::Parse, Specials::Plain] {
                let [a, b] = [&loaded, &model].map(|m| m.tokenizer.encode(text, specials).unwrap());
                assert_eq!(a, b, "{text}");
            }
        }
        assert_eq!(answer(&loaded), answer(&model), "{architecture}");
    }
}

#[test]
fn a_folder_becomes_a_folder_with_the_same_values() {
    let (folder, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_folder(&TinyModel::default(), folder.path(), 2);
    let model = load(folder.path());
    let packed = pack(&model, "feed-forward=bits:2");
    let to = out.path().join("new");
    to_safetensors(&packed, &model, FloatType::F32, &to, &Job::silent()).unwrap();
    assert!(to.join("tokenizer.json").exists());
    let loaded = load(&to);
    assert_eq!(loaded.hyperparameters, model.hyperparameters);
    assert_eq!(loaded.rope_frequencies, model.rope_frequencies);
    assert_eq!(loaded.tokenizer.eos, model.tokenizer.eos);
    assert!(pairs(&packed, &loaded).all(|(entry, values)| dequantized(&entry) == values));
}

#[test]
fn heads_of_a_llama_gguf_are_put_in_the_order_of_transformers_and_back() {
    let model = tiny("llama", Stored::F32);
    let packed = pack(&model, "*=bits:source");
    let (folder, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // The tokenizer of the tiny folder is the tiny GGUF's.
    write_folder(&TinyModel::default(), folder.path(), 1);
    to_safetensors(&packed, &model, FloatType::F32, out.path(), &Job::silent()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(folder.path().join(name), out.path().join(name)).unwrap();
    }
    let turned = load(out.path());
    assert!(pairs(&packed, &turned).any(|(entry, values)| dequantized(&entry) != values));
    let turned_packed = pack(&turned, "*=bits:source");
    let floats = Values::Dequantized(FloatType::F32);
    let (back, _) = through_gguf(&turned_packed, &turned, floats);
    assert!(pairs(&packed, &back).all(|(entry, values)| dequantized(&entry) == values));
}

#[test]
fn ternary_weights_with_a_scale_for_256_columns_go_out_in_two_bits() {
    let check = |period: usize, expected: SourceType| {
        let mut file = TinyModel {
            hidden: 256,
            feed_forward: 512,
            head_dim: 64,
            ..TinyModel::default()
        }
        .writer();
        let values = (0..512 * 256_usize).map(|i| {
            let scale = if (i / period).is_multiple_of(2) {
                0.25_f32
            } else {
                0.5
            };
            scale * ((i * 7 + i / 256) % 3) as f32 - scale
        });
        let bytes = values.flat_map(|x| f16_from_f32(x).to_le_bytes()).collect();
        file.tensor("blk.0.ffn_up.weight", &[256, 512], 1, bytes);
        let model = Model::from_gguf("tiny.gguf", file.bytes(), &Job::silent()).unwrap();
        let packed = pack(&model, "feed-forward.up@0..1=bits:1.58");
        let (loaded, _) = through_gguf(&packed, &model, Values::AsStored);
        let up = loaded.tensor(Role::Up, Some(0)).unwrap();
        assert_eq!(up.source, expected);
        let before = model.values(model.tensor(Role::Up, Some(0)).unwrap());
        assert!(before.iter().zip(loaded.values(up)).all(|(a, b)| *a == b));
    };
    check(256, SourceType::TQ2_0);
    check(64, SourceType::Q4_0);
}

#[test]
fn another_model_is_refused_and_a_cancelled_export_leaves_nothing() {
    let model = tiny("llama", Stored::F32);
    let packed = pack(&model, "*=bits:4");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    let other =
        Model::from_gguf("other.gguf", TinyModel::default().gguf(), &Job::silent()).unwrap();
    let error = to_gguf(&packed, &other, Values::AsStored, &path, &Job::silent()).unwrap_err();
    assert!(error.to_string().contains("found other: the shape differs"));

    let cancel = CancelToken::new();
    cancel.cancel();
    let job = Job::new(&|_| {}, cancel);
    assert!(to_gguf(&packed, &model, Values::AsStored, &path, &job).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
