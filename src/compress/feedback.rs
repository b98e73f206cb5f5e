//! A Hessian made ready for what calibrated methods need of it: once, and shared by every matrix with
//! the same inputs.

use crate::calibrate::Hessian;
use crate::linear::upper_factor;
use ndarray::Array2;
use std::sync::OnceLock;

/// Columns that are visited before their errors reach the others, as a product of matrices.
pub(super) const BLOCK: usize = 128;

/// Share of the mean square of all inputs that is added to each input's.
const DAMPING: f32 = 0.01;

/// How often the damping is raised tenfold before a Hessian is given up.
const RAISES: u32 = 6;

/// A Hessian with what is computed of it when a method first asks: cheap to make, and to be shared
/// where several matrices have the same inputs, as queries, keys and values do.
#[derive(Debug)]
pub struct Feedback<'a> {
    hessian: &'a Hessian,
    /// Mean squares `[cols]` with the damping, so that none is zero.
    importance: Vec<f32>,
    damping: f32,
    sorted: OnceLock<Option<Factor>>,
    natural: OnceLock<Option<Factor>>,
}

impl<'a> Feedback<'a> {
    /// Nothing is computed yet.
    #[must_use]
    pub fn new(hessian: &'a Hessian) -> Self {
        let squares = hessian.mean_squares();
        let mean = squares.iter().map(|x| f64::from(*x)).sum::<f64>() / squares.len().max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a mean of such numbers")]
        let damping = DAMPING * mean as f32;
        // No text, or none that reached these inputs: all count the same.
        let damping = if damping.is_normal() { damping } else { 1.0 };
        let clean = |x: &f32| if x.is_finite() { x.max(0.0) } else { 0.0 };
        Self {
            hessian,
            importance: squares.iter().map(|x| clean(x) + damping).collect(),
            damping,
            sorted: OnceLock::new(),
            natural: OnceLock::new(),
        }
    }

    /// The Hessian.
    #[must_use]
    pub fn hessian(&self) -> &'a Hessian {
        self.hessian
    }

    /// Mean square of each input `[cols]`, a little more than 0.
    pub(super) fn importance(&self) -> &[f32] {
        &self.importance
    }

    /// What is added to the diagonal.
    pub(super) fn damping(&self) -> f32 {
        self.damping
    }

    /// Computes what methods of both orders will ask for, beside each other: who asks for a factor that
    /// another thread computes waits.
    pub fn prepare(&self) {
        rayon::join(
            || self.factor(Order::Descending),
            || self.factor(Order::Natural),
        );
    }

    /// The factor in this order; nothing when the Hessian is not finite, or far from positive
    /// semidefinite.
    pub(super) fn factor(&self, order: Order) -> Option<&Factor> {
        let cell = match order {
            Order::Descending => &self.sorted,
            Order::Natural => &self.natural,
        };
        cell.get_or_init(|| Factor::new(self, order)).as_ref()
    }
}

/// In which order columns are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Those with the largest inputs first, since the last have nobody left to make up for them.
    Descending,
    /// As they stand, so that a pattern of neighbours can be chosen.
    Natural,
}

/// The factor `H = U Uᵀ` of the damped, permuted Hessian, by columns: `U = (I + S) diag(d)`.
#[derive(Debug)]
pub(super) struct Factor {
    /// The column that is visited at each turn.
    pub(super) order: Vec<usize>,
    /// `d`: the square is the error of a column that all later ones make up for.
    pub(super) diagonal: Vec<f32>,
    /// Columns of `S`, [`BLOCK`] after [`BLOCK`], each down to the end of the block: `[end, columns]`.
    pub(super) blocks: Vec<Array2<f32>>,
}

impl Factor {
    fn new(feedback: &Feedback<'_>, order: Order) -> Option<Self> {
        let moments = feedback.hessian.moments();
        let n = moments.nrows();
        if !moments.iter().all(|x| x.is_finite()) {
            return None;
        }
        let mut columns: Vec<usize> = (0..n).collect();
        match order {
            Order::Natural => {}
            Order::Descending => {
                let square = |i: usize| moments[[i, i]];
                columns.sort_by(|a, b| square(*b).total_cmp(&square(*a)));
            }
        }
        let mut damped = Array2::from_shape_fn((n, n), |(r, c)| moments[[columns[r], columns[c]]]);
        let mut added = 0.0;
        let mut factor = None;
        for raise in 0..=RAISES {
            let damping = feedback.damping * 10f32.powi(raise.cast_signed());
            damped
                .diag_mut()
                .iter_mut()
                .for_each(|x| *x += damping - added);
            added = damping;
            let found = upper_factor(damped.view());
            factor = found.filter(|u| u.diag().iter().all(|d| d.is_normal() && *d > 0.0));
            if factor.is_some() {
                break;
            }
        }
        let u = factor?;
        let blocks = (0..n).step_by(BLOCK).map(|start| {
            let end = n.min(start + BLOCK);
            Array2::from_shape_fn((end, end - start), |(row, col)| {
                let col = start + col;
                if row < col {
                    u[[row, col]] / u[[col, col]]
                } else {
                    0.0
                }
            })
        });
        Some(Self {
            order: columns,
            diagonal: u.diag().to_vec(),
            blocks: blocks.collect(),
        })
    }
}
