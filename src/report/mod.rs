//! What is known of a packed file, on one page: its bytes, its errors, its quality, its cost on boards.
//!
//! [`Report::new`] gathers what the file itself says; measurements are filled in by who has them: [`Against`]
//! and [`ask`] make them. [`html()`] writes a page that needs nothing else. [`Check`] holds a file against
//! the numbers of [`limits`], [`sweep`] measures many recipes, [`reproduce`] makes a file again.

mod beside;
mod check;
mod html;
pub mod limits;
mod measure;
mod pictures;
mod reproduce;
mod sizes;
pub mod sweep;

pub use check::{Check, Findings};
pub use html::{HtmlError, html};
pub use measure::{Against, MeasureError, Run, ask, estimate_packed, other_reference};
pub use reproduce::{Reproduced, reproduce};
pub use sizes::{SectionSize, SizePart, section_sizes, sizes};

use crate::estimate::Estimate;
use crate::evaluate::tasks::TaskReport;
use crate::evaluate::{Basis, Chosen, Evaluation, TensorError};
use crate::packed::{ENGINE_VERSION, PackError, PackedModel, Provenance, WeightSource, sha256_hex};
use crate::recipe::Recipe;
use crate::warning::Warning;
use serde::Serialize;

/// An evaluation and what it was computed from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// The figures.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// What they depend on.
    pub basis: Basis,
    /// How many windows were taken and why, where the machine's speed decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

/// What held of a set of tasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskQuality {
    /// Name of the set, or its file.
    pub tasks: String,
    /// What held.
    #[serde(flatten)]
    pub report: TaskReport,
}

/// The numbers of a model that its sizes follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in `engine::shape::Hyperparameters`")]
pub struct Shape {
    pub layers: u32,
    pub hidden: u32,
    pub feed_forward: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub vocab: u32,
    pub context: u32,
}

/// All that is known of a packed file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name of the file.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Version of the program that reports.
    pub engine: &'static str,
    /// Version of the packed format.
    pub format: u32,
    /// Length of the file.
    pub bytes: usize,
    /// Bits for each weight of the matrices, scales and masks counted.
    pub bits_per_weight: f64,
    /// Its model's numbers.
    pub shape: Shape,
    /// Bits of keys and values that the file was made for, with which it runs where nobody asks for others.
    pub kv_bits: usize,
    /// Tokens whose keys and values lie in the file.
    pub prefix_tokens: usize,
    /// Every byte of the file, by what it is for.
    pub sizes: Vec<SizePart>,
    /// Its sections, in file order.
    pub sections: Vec<SectionSize>,
    /// The recipe that made it.
    pub recipe: Recipe,
    /// What it was made from.
    pub provenance: Provenance,
    /// The error of each tensor, the largest first; empty if it was not compared with its source.
    pub tensors: Vec<TensorError>,
    /// Quality on a text, if it was measured.
    pub quality: Option<Quality>,
    /// Tasks, if they were asked.
    pub tasks: Option<TaskQuality>,
    /// What it costs on boards.
    pub estimates: Vec<Estimate>,
    /// What a person should know of these figures.
    pub warnings: Vec<Warning>,
}

impl Report {
    /// What the file says of itself; nothing is measured yet.
    ///
    /// # Errors
    /// When its recipe or provenance cannot be read.
    pub fn new(file: &str, packed: &PackedModel) -> Result<Self, PackError> {
        let h = packed.shape();
        Ok(Self {
            file: file.to_owned(),
            sha256: sha256_hex(packed.bytes()),
            engine: ENGINE_VERSION,
            format: packed.view().version().number(),
            bytes: packed.bytes().len(),
            bits_per_weight: packed.bits_per_weight(),
            shape: Shape {
                layers: h.layers,
                hidden: h.hidden,
                feed_forward: h.feed_forward,
                heads: h.heads,
                kv_heads: h.kv_heads,
                head_dim: h.head_dim,
                vocab: h.vocab,
                context: h.context,
            },
            kv_bits: packed.cache().bits(),
            prefix_tokens: packed.prefix().map_or(0, |p| p.positions()),
            sizes: sizes(packed),
            sections: section_sizes(packed),
            recipe: packed.recipe()?,
            provenance: packed.provenance()?,
            tensors: Vec::new(),
            quality: None,
            tasks: None,
            estimates: Vec::new(),
            warnings: Vec::new(),
        })
    }
}
