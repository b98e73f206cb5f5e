//! The same function in another basis.

use super::tiny_folder::write_folder;
use super::tiny_model::{self, Head, Stored, TinyModel};
use super::{load, logits, tiny};
use engine::shape::Role;
use tempfile::TempDir;
use whittle::job::{CancelToken, Job};
use whittle::model::{Model, SourceType};
use whittle::rewrite::{Basis, FloatType, RewriteError, Rotated, Rotation, rotate};

/// Largest difference of two logits of size 1: products in 32 bits with another order of sums.
const ROUNDING: f32 = 2e-4;
/// The same with weights in 16 bits, where each is off by up to 1/2048 of itself.
const HALVES: f32 = 2e-2;

/// Largest difference of two models' logits, and the largest logit.
fn difference(a: &Model, b: &Model) -> (f32, f32) {
    let tokens: Vec<u32> = (0..24).map(|i| i * 37 % 300).collect();
    let (a, b) = (logits(a, &tokens), logits(b, &tokens));
    let most = |x: &ndarray::Array2<f32>| x.iter().fold(0.0, |most: f32, x| x.abs().max(most));
    (most(&(&a - &b)), most(&a))
}

/// The model that a rotation writes, and its report.
fn rotated(model: &Model, basis: Basis, floats: FloatType) -> (Model, Rotated) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    let rotation = Rotation {
        basis,
        seed: 5,
        floats,
    };
    let report = rotate(model, &rotation, &path, &Job::silent()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), report.bytes);
    (load(&path), report)
}

#[test]
fn a_rotated_model_is_the_same_function() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        for head in [Head::Tied, Head::Own] {
            let model = tiny(architecture, head, Stored::F32);
            for basis in [Basis::Stream, Basis::Heads, Basis::Both] {
                let (exact, _) = rotated(&model, basis, FloatType::F32);
                let (off, _) = difference(&model, &exact);
                assert!(off < ROUNDING, "{architecture} {head:?} {basis:?}: {off}");
                let (halves, _) = rotated(&model, basis, FloatType::F16);
                let (off, _) = difference(&model, &halves);
                assert!(off < HALVES, "{architecture} {head:?} {basis:?}: {off}");
            }
        }
    }
}

#[test]
fn what_a_rotation_touches_is_what_it_says() {
    let model = tiny("qwen2", Head::Tied, Stored::Q8_0);
    let (both, report) = rotated(&model, Basis::Both, FloatType::F16);
    assert_eq!(report.matrices, 2 + 7 * 2, "a head of its own, 7 a layer");
    assert!(both.tensor(Role::Output, None).is_some());
    let value = model.tensor(Role::Value, Some(1)).unwrap();
    let turned = both.tensor(Role::Value, Some(1)).unwrap();
    let (before, after) = (model.values(value), both.values(turned));
    let size = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(a, b)| (*a - *b).abs() > 0.01);
    assert!(moved.count() > before.len() / 2);
    assert!(size(&after) / size(&before) > 0.5);
    let norm = both.tensor(Role::OutputNorm, None).unwrap();
    assert!(both.values(norm).iter().all(|gain| *gain == 1.0));

    // Heads alone leave the rest as it is stored, the tied head included.
    let (heads, report) = rotated(&model, Basis::Heads, FloatType::F16);
    assert_eq!(report.matrices, 2 * 2);
    assert!(heads.tensor(Role::Output, None).is_none());
    for (before, after) in model.tensors.iter().zip(&heads.tensors) {
        let changes = [Role::Value, Role::ValueBias, Role::AttentionOutput].contains(&before.role);
        assert_eq!(before.name, after.name);
        assert_eq!(
            model.source_bytes(before) != heads.source_bytes(after),
            changes
        );
    }
    assert_eq!(heads.hyperparameters, model.hyperparameters);
    assert_eq!(heads.chat.text(), model.chat.text());
}

#[test]
fn a_folder_becomes_a_file_in_the_order_of_llama_cpp() {
    for architecture in ["llama", "qwen2"] {
        let folder = TempDir::new().unwrap();
        let shape = TinyModel {
            architecture,
            ..TinyModel::default()
        };
        write_folder(&shape, folder.path(), 1);
        let model = load(folder.path());
        for basis in [Basis::Heads, Basis::Both] {
            let (turned, _) = rotated(&model, basis, FloatType::F32);
            let (off, size) = difference(&model, &turned);
            let off = off / size.max(1.0);
            assert!(off < ROUNDING, "{architecture} {basis:?}: {off}");
            assert_eq!(turned.rope_frequencies, model.rope_frequencies);
            assert_eq!(turned.tokenizer.bpe(), model.tokenizer.bpe());
        }
        // What stays is stored as the folder has it.
        let (heads, _) = rotated(&model, Basis::Heads, FloatType::F16);
        let query = heads.tensor(Role::Query, Some(0)).unwrap();
        assert_eq!(query.source, SourceType::BF16);
    }
}

#[test]
fn a_seed_names_one_file_on_any_number_of_threads() {
    let model = tiny("llama", Head::Own, Stored::Q8_0);
    let folder = TempDir::new().unwrap();
    let on = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let path = folder.path().join("out.gguf");
        let rotation = Rotation {
            basis: Basis::Both,
            seed,
            floats: FloatType::F16,
        };
        let pool = pool.build().unwrap();
        pool.install(|| rotate(&model, &rotation, &path, &Job::silent()))
            .unwrap();
        std::fs::read(&path).unwrap()
    };
    assert!(on(1, 3) == on(3, 3));
    assert!(on(1, 3) != on(1, 4));
}

#[test]
fn a_rotation_that_fails_leaves_the_older_file() {
    let model = tiny("llama", Head::Tied, Stored::F32);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    std::fs::write(&path, "older").unwrap();
    let rotation = Rotation {
        basis: Basis::Both,
        seed: 0,
        floats: FloatType::F16,
    };
    let cancel = CancelToken::new();
    cancel.cancel();
    let job = Job::new(&|_| {}, cancel);
    let stopped = rotate(&model, &rotation, &path, &job);
    assert!(matches!(stopped, Err(RewriteError::Cancelled(_))));

    let mut large = TinyModel::default().writer();
    let bytes = 1e6_f32.to_le_bytes().repeat(64 * 96);
    large.tensor("blk.1.ffn_down.weight", &[96, 64], tiny_model::F32, bytes);
    let large = Model::from_gguf("large.gguf", large.bytes(), &Job::silent()).unwrap();
    let refused = rotate(&large, &rotation, &path, &Job::silent()).unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("blk.1.ffn_down.weight") && said.contains("32-bit"),
        "{said}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"older");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
