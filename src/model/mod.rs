//! A loaded language model: hyperparameters, named tensors, tokenizer, chat template.
//!
//! To come; the contract that the other modules build on is below.

use engine::shape::{Hyperparameters, Role};

/// A language model, never changed after loading.
#[derive(Debug)]
pub struct Model {
    /// Short name: the catalog's, or the file's.
    pub name: String,
    /// Its numbers.
    pub hyperparameters: Hyperparameters,
    /// Its tensors, in file order.
    pub tensors: Vec<Tensor>,
}

/// One tensor of a loaded model.
#[derive(Debug)]
pub struct Tensor {
    /// GGUF name: `blk.3.ffn_down.weight`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
}
