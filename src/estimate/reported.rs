//! What a board has reported of one model, scaled to another: each kind of work by what it grows with.
//!
//! Products grow with the bytes that are read, at the speed that the board reads its model, and with the instructions of
//! their encodings; attention with the positions that are read, the rest with the
//! elements that it touches. How far that is off is known from reports of an emulated board that predict each other
//! (`tests/emulated/measure.rs`): [`SCALED_ERROR`].

use super::instructions::{Cost, Products};
use super::shape::TensorPlan;
use super::work::{self, Range, Work};
use crate::board::Board;
use crate::measured::{BoardReport, Clock, Matrices, WorkName};
use engine::arena::CachePrecision;
use engine::shape::Role;

/// What is scaled from one recipe to another is off by at most so much.
pub const SCALED_ERROR: f64 = 0.15;
/// Most of the products' time that is reading.
const READING_SHARE: f64 = 0.9;
/// What attention may take more or less at another precision of keys and values. Assumed: nobody has compared them.
const OTHER_CACHE: f64 = 2.0;

/// Seconds for a unit of each kind of work.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scaled {
    /// What the times are.
    pub(super) clock: Clock,
    /// For a byte of the weights that is read.
    byte: f64,
    /// For an instruction of the products, by the count of their encodings.
    product: f64,
    /// For a multiply-accumulate of attention.
    attention: f64,
    /// For an element of norms, rotations and the like.
    element: f64,
    /// For each token.
    once: f64,
    cost: Cost,
    /// How much more or less attention may take than it says.
    slack: f64,
    source: String,
}

impl Scaled {
    /// What the report of a board says, where there is one.
    pub(super) fn of(board: &Board, cache: CachePrecision) -> Option<Self> {
        let report = board.measured.as_deref()?;
        let cost = Cost::of(board);
        let mut products = Products::default();
        for matrices in &report.model.matrices {
            add(&mut products, matrices)?;
        }
        let model = &report.model;
        let attention = 2.0
            * f64::from(model.layers)
            * f64::from(model.heads)
            * f64::from(model.head_dim)
            * report.mean_position().max(1.0);
        let elements = elements(report);
        let multiplied = report.secs_of(WorkName::Products) + report.secs_of(WorkName::Head);
        #[expect(clippy::cast_precision_loss, reason = "sizes of a flash")]
        let (bytes, byte) = {
            let bytes: u64 = model.matrices.iter().map(|m| m.bytes).sum();
            let read = report.memories.iter().find(|m| m.name == "model");
            (
                bytes as f64,
                read.map_or(0.0, |m| m.secs / m.bytes.max(1) as f64),
            )
        };
        // Reading alone cannot take longer than reading and multiplying.
        let byte = byte.min(READING_SHARE * multiplied / bytes.max(1.0));
        let is_same_cache = usize::from(model.kv_bits) == cache.bits();
        Some(Self {
            clock: report.clock,
            byte,
            product: (multiplied - byte * bytes) / cost.instructions(&products),
            attention: report.secs_of(WorkName::Attention) / attention,
            element: report.secs_of(WorkName::Elementwise) / elements,
            once: report.secs_of(WorkName::Embedding),
            cost,
            slack: if is_same_cache { 1.0 } else { OTHER_CACHE },
            source: report.title(),
        })
    }

    /// What the numbers rest on.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Seconds that the work takes.
    pub(super) fn seconds(&self, work: &Work) -> Range {
        let fixed = self.byte * work.weight_bytes
            + self.product * self.cost.instructions(&work.products.without_attention())
            + self.element * work.elements
            + self.once;
        let attention = self.attention * work.products.attention();
        Range {
            low: (fixed + attention / self.slack) * (1.0 - SCALED_ERROR),
            mid: fixed + attention,
            high: (fixed + attention * self.slack) * (1.0 + SCALED_ERROR),
            source: self.source.clone(),
        }
    }
}

/// The work of matrices as a report has them, as that of one of one row.
fn add(products: &mut Products, matrices: &Matrices) -> Option<()> {
    let encoding = matrices.encoding()?;
    let [weights, kept] = [matrices.weights, matrices.kept].map(usize::try_from);
    products.add(&TensorPlan {
        role: Role::Query,
        layer: None,
        rows: 1,
        cols: weights.ok()?,
        encoding,
        kept: kept.ok()?,
        bytes: matrices.bytes,
    });
    Some(())
}

fn elements(report: &BoardReport) -> f64 {
    let model = &report.model;
    work::elements(
        model.layers,
        model.hidden,
        model.heads * model.head_dim,
        model.kv_heads * model.head_dim,
        model.feed_forward,
    )
}
