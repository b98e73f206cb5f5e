//! A packed file as the estimate sees it.

use super::{Estimate, ModelShape, Options, RuntimeMemory, TensorPlan, estimate};
use crate::board::Board;
use crate::packed::{PackedModel, WeightSource as _};
use engine::arena::CachePrecision;
use engine::format::{Entry, Section};
use std::collections::{BTreeMap, BTreeSet};

/// Weighs a packed file against a board.
#[must_use]
pub fn estimate_file(
    packed: &PackedModel,
    name: &str,
    board: &Board,
    options: &Options,
) -> Estimate {
    let (shape, tensors) = planned(packed, name, options.cache);
    let memory = RuntimeMemory::of(&shape, options.context_tokens, options.cache);
    estimate(&shape, &tensors, memory, board, options)
}

/// The shape and the tensors that a packed file really holds; its prefix counts where its keys and values
/// are kept at `cache`.
#[must_use]
pub fn planned(
    packed: &PackedModel,
    name: &str,
    cache: CachePrecision,
) -> (ModelShape, Vec<TensorPlan>) {
    let view = packed.view();
    // At other bits the prefix lies in the file and is no use.
    let prefix = packed.prefix().filter(|p| p.precision() == cache);
    let prefix_bytes = prefix.map_or(0, |_| view.section(Section::Prefix).len());
    let tensor = |e: Entry<'_>| TensorPlan {
        role: e.role,
        layer: e.role.is_per_layer().then_some(e.layer),
        rows: e.matrix.rows(),
        cols: e.matrix.cols(),
        encoding: e.matrix.encoding(),
        kept: e.kept,
        bytes: e.matrix.bytes().len() as u64,
    };
    let optional = view.entries().map(|e| e.role).filter(|r| r.is_optional());
    let shape = ModelShape {
        name: name.to_owned(),
        hyperparameters: *view.shape(),
        optional: optional.collect::<BTreeSet<_>>().into_iter().collect(),
        metadata_bytes: (view.metadata_bytes() - prefix_bytes) as u64,
        prefix_tokens: prefix.map_or(0, |p| p.positions()),
        // What is packed has been stored already.
        sources: BTreeMap::new(),
    };
    (shape, view.entries().map(tensor).collect())
}
