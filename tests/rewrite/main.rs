//! What a user does with a model in another form: write it, load it again, find the same function.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap has done its work"
)]

mod rotation;
#[path = "../support/tiny_folder.rs"]
mod tiny_folder;
#[path = "../support/tiny_model.rs"]
mod tiny_model;
mod trimming;

use ndarray::Array2;
use std::path::Path;
use tiny_model::{Head, Stored, TinyModel};
use whittle::forward::{Block, Frame, Head as OutputHead, Values as _};
use whittle::job::Job;
use whittle::model::Model;

fn tiny(architecture: &'static str, head: Head, stored: Stored) -> Model {
    let tiny = TinyModel {
        architecture,
        head,
        stored,
        ..TinyModel::default()
    };
    Model::from_gguf("tiny.gguf", tiny.gguf(), &Job::silent()).unwrap()
}

fn load(path: &Path) -> Model {
    Model::load(path, &Job::silent()).unwrap()
}

/// Logits `[tokens, vocab]` by the float path.
fn logits(model: &Model, tokens: &[u32]) -> Array2<f32> {
    let frame = Frame::new(model, tokens.len());
    let mut x = model.embed(tokens);
    for layer in 0..model.hyperparameters.layers {
        Block::load(model, layer).forward(&frame, &mut x, &mut |_| ());
    }
    OutputHead::load(model).logits(&frame, &x)
}
