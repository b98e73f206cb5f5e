//! What an evaluation was computed from: without it a figure cannot be repeated.

use crate::model::Model;
use crate::packed::{ENGINE_VERSION, sha256_hex};
use crate::workers::Processor;
use engine::arena::CachePrecision;
use serde::Serialize;

/// What a result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Basis {
    /// SHA-256 of the packed file; absent where tensors were measured that no file holds.
    pub candidate_sha256: Option<String>,
    /// SHA-256 of the recipe as TOML.
    pub recipe_sha256: String,
    /// Bits of an element of the candidate's keys and values.
    pub kv_bits: usize,
    /// Name of the model that it was compared with.
    pub reference: String,
    /// SHA-256 of its files.
    pub reference_sha256: String,
    /// How its own weights are stored: "Q4_1 79 %, Q8_0 21 %, 5.5 bits a weight".
    pub reference_precision: String,
    /// Name of the text.
    pub text: String,
    /// SHA-256 of its bytes.
    pub text_sha256: String,
    /// Vector instructions that computed; every level gives the same bits.
    pub simd_level: &'static str,
    /// Version of the engine that computed.
    pub engine: &'static str,
}

/// A text with its name.
#[derive(Debug, Clone, Copy)]
pub struct NamedText<'a> {
    /// Name or file.
    pub name: &'a str,
    /// What is scored.
    pub text: &'a str,
}

impl Basis {
    /// That of a candidate, given by the hashes of its file and of its recipe, against `reference`.
    #[must_use]
    pub fn new(
        (candidate_sha256, recipe_sha256): (Option<String>, String),
        cache: CachePrecision,
        (reference, reference_sha256): (&Model, String),
        text: NamedText<'_>,
        processor: &Processor,
    ) -> Self {
        Self {
            candidate_sha256,
            recipe_sha256,
            kv_bits: cache.bits(),
            reference: reference.name.clone(),
            reference_sha256,
            reference_precision: stored_precision(reference),
            text: text.name.to_owned(),
            text_sha256: sha256_hex(text.text.as_bytes()),
            simd_level: processor.level_name(),
            engine: ENGINE_VERSION,
        }
    }
}

/// How a model's own weights are stored, as "Q4_1 79 %, Q8_0 21 %, 5.5 bits a weight": a KL of 0
/// says that nothing was lost since then.
#[must_use]
pub fn stored_precision(model: &Model) -> String {
    let bytes: u64 = model.tensors.iter().map(|t| t.bytes).sum();
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let bits = 8.0 * bytes as f64 / model.parameters().max(1) as f64;
    format!(
        "{}, {bits:.1} bits a weight",
        model.provenance.source_precision
    )
}
