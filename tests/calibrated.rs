//! What a user does with a text: calibrate a model on it, once.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

#[path = "support/tiny_model.rs"]
mod tiny_model;

use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::session::Session;
use engine::shape::Role;
use ndarray::Array2;
use std::sync::atomic::{AtomicU64, Ordering};
use tiny_model::TinyModel;
use whittle::calibrate::{Calibration, CalibrationText, Hessian};
use whittle::compress::{compress, compress_tensor};
use whittle::forward::{Block, Frame, Head, Input, Seen, Values as _};
use whittle::job::{CancelToken, Job, Progress};
use whittle::model::Model;
use whittle::packed::{PackedModel, WeightSource as _};
use whittle::recipe::{Precision, Recipe, Setting};
use whittle::workers::Processor;

fn model(architecture: &'static str) -> Model {
    let tiny = TinyModel {
        architecture,
        ..TinyModel::default()
    };
    Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).unwrap()
}

fn text(model: &Model) -> CalibrationText {
    let text = "the quick brown fox turns on the light and you all the other ones. ".repeat(60);
    CalibrationText::of_text(model, "fox", &text, 1000).unwrap()
}

/// Logits `[tokens, vocab]` of the engine's float path.
fn engine_logits(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let compressed = compress(model, &Recipe::original(), &Job::silent()).unwrap();
    let packed = PackedModel::pack(model, &compressed, &Job::silent()).unwrap();
    let processor = Processor::with_level(None, Some(2)).unwrap();
    let limits = Limits {
        context: tokens.len(),
        batch: 16,
        cache: CachePrecision::Sixteen,
    };
    let shape = model.hyperparameters;
    let mut arena = vec![0; ArenaLayout::new(&shape, limits).words()];
    let mut logits = vec![0.0; tokens.len() * shape.vocab as usize];
    packed.lend(&mut |weights| {
        let mut session = Session::new(&shape, limits, &mut arena).unwrap();
        session
            .forward(weights, &processor.host(), tokens, &mut logits)
            .unwrap();
    });
    logits
}

#[test]
fn the_float_path_of_the_desktop_computes_what_the_engine_computes() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let model = model(architecture);
        let text = text(&model);
        let window = text.windows[0].len();
        let frame = Frame::new(&model, window);
        let mut x = model.embed(&text.windows.concat());
        for layer in 0..model.hyperparameters.layers {
            Block::load(&model, layer).forward(&frame, &mut x, &mut |_| ());
        }
        let logits = Head::load(&model).logits(&frame, &x);
        let last = text.windows.len() - 1;
        let expected = engine_logits(&model, &text.windows[last]);
        let found = logits.slice(ndarray::s![last * window.., ..]);
        let spread = expected.iter().fold(0f32, |most, x| x.abs().max(most));
        for (found, expected) in found.iter().zip(&expected) {
            // The engine keeps keys and values in 16 bits.
            assert!(
                (found - expected).abs() < spread * 0.01,
                "{architecture}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_calibration_is_paid_for_once_and_goes_on_where_it_was_stopped() {
    let model = model("llama");
    let text = text(&model);
    let folder = tempfile::tempdir().unwrap();
    let reports = AtomicU64::new(0);
    let cancel = CancelToken::new();
    let stop_at = AtomicU64::new(4);
    let count = |p: Progress<'_>| {
        if p.stage == "Calibrating"
            && reports.fetch_add(1, Ordering::Relaxed) + 1 == stop_at.load(Ordering::Relaxed)
        {
            cancel.cancel();
        }
    };
    let job = Job::new(&count, cancel.clone());
    assert!(Calibration::compute(&model, &text, folder.path(), &job).is_err());
    stop_at.store(u64::MAX, Ordering::Relaxed);
    let job = Job::new(&count, CancelToken::new());
    let resumed = Calibration::compute(&model, &text, folder.path(), &job).unwrap();
    let seen = reports.load(Ordering::Relaxed);
    assert_eq!(
        Calibration::compute(&model, &text, folder.path(), &job).unwrap(),
        resumed
    );
    assert_eq!(reports.load(Ordering::Relaxed), seen);

    let elsewhere = tempfile::tempdir().unwrap();
    let whole = Calibration::compute(&model, &text, elsewhere.path(), &Job::silent()).unwrap();
    let shape = &model.hyperparameters;
    for role in Role::ALL.into_iter().filter(|r| r.is_matrix()) {
        let layer = role.is_per_layer().then_some(1);
        let Some(hessian) = whole.hessian(role, layer).unwrap() else {
            assert!(model.tensor(role, layer).is_none(), "{role:?}");
            continue;
        };
        assert_eq!(resumed.hessian(role, layer).unwrap(), Some(hessian.clone()));
        let width = role.shape(shape).1 as usize;
        assert_eq!(hessian.moments().dim(), (width, width));
        assert_eq!(hessian.tokens(), text.tokens());
        assert!(hessian.mean_squares().iter().all(|d| *d > 0.0));
    }
}

#[test]
fn moments_are_the_means_of_the_inputs() {
    let model = model("llama");
    let text = text(&model);
    let frame = Frame::new(&model, text.windows[0].len());
    let mut x = model.embed(&text.windows.concat());
    let mut expected: Option<Array2<f32>> = None;
    Block::load(&model, 0).forward(&frame, &mut x, &mut |seen| {
        if let Seen::Input(Input::Down, x) = seen {
            expected = Some(x.t().dot(&x) / x.nrows() as f32);
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let calibration = Calibration::compute(&model, &text, folder.path(), &Job::silent()).unwrap();
    let found = calibration.hessian(Role::Down, Some(0)).unwrap().unwrap();
    let expected = expected.unwrap();
    let largest = expected.iter().fold(0f32, |most, x| x.abs().max(most));
    for (found, expected) in found.moments().iter().zip(&expected) {
        assert!((found - expected).abs() < largest * 1e-3);
    }
}

#[test]
fn a_calibration_knows_how_large_the_outputs_are_that_errors_are_compared_with() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let model = model(architecture);
        let folder = tempfile::tempdir().unwrap();
        let calibration =
            Calibration::compute(&model, &text(&model), folder.path(), &Job::silent()).unwrap();
        let matrices = model.tensors.iter().filter(|t| t.role.is_matrix());
        for tensor in matrices.filter(|t| t.layer.is_some()) {
            let hessian = calibration.hessian(tensor.role, tensor.layer).unwrap();
            let hessian = hessian.unwrap();
            let bare = Hessian::new(hessian.moments().clone(), hessian.tokens());
            assert_eq!(bare.output_squares(tensor.role), None);
            let setting = Setting::bits(Precision::Three);
            let error = |hessian| {
                let compressed = compress_tensor(&model, tensor, setting, Some(hessian)).unwrap();
                compressed.output_error.unwrap()
            };
            let (known, computed) = (error(&hessian), error(&bare));
            // The moments on disk have 16 bits, the squares are those of the activations.
            assert!(
                (known / computed - 1.0).abs() < 1e-3,
                "{}: {known} {computed}",
                tensor.name
            );
        }
    }
}

#[test]
fn conversations_are_written_out_as_the_model_has_them() {
    let model = model("llama");
    let line = r#"{"messages": [{"role": "user", "content": "turn on the light"}, {"role": "assistant", "content": "the light is on"}]}"#;
    let chats = format!("{line}\n\n{line}\n");
    let text = CalibrationText::of_chats(&model, "home.jsonl", &chats, 200).unwrap();
    let shown = model.tokenizer.decode(&text.windows.concat());
    assert!(shown.contains("the light is on"), "{shown}");
    let error = CalibrationText::of_chats(&model, "home.jsonl", "\n{\"text\": 3}", 200);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("home.jsonl, line 2"), "{message}");
    let error = CalibrationText::of_text(&model, "short.txt", "hello", 200);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("short.txt"), "{message}");
}
