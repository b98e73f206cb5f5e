//! One row, rounded column by column against the scales that are stored; exactly where its weights lie on a grid.

use super::feedback::Feedback;
use super::row::{Row, scaled_cols};
use super::scales::{Zeros, nearest};
use super::{Plan, exact, prune, search};
use crate::recipe::Quantizer;

/// How much scales may grow when they are fitted again to codes that make up for each other.
const HEADROOM: f32 = 1.2;

/// What a row is stored as when its columns are rounded one by one; where a pass over columns follows,
/// the scales and the mask with which it begins.
pub(super) fn row(plan: &Plan, feedback: Option<&Feedback<'_>>, weights: &[f32]) -> Row {
    let encoding = plan.encoding;
    let width = scaled_cols(encoding);
    // Weights that are on a grid already have the zeros that they shall have.
    if !plan.is_simple() {
        let (pruned, mask) = prune::pruned(&plan.simple(), None, weights);
        if *pruned == *weights
            && let Some(scales) = exact::scales(encoding, width, &pruned, &mask)
        {
            return Row::nearest(encoding, scales, &pruned, mask);
        }
    }
    // A kept weight may be zero: what a sparse row keeps is told by its place.
    let (pruned, mask) = prune::pruned(plan, feedback, weights);
    let zeros = if plan.kept < plan.cols {
        Zeros::Needed
    } else {
        Zeros::Rounded
    };
    if plan.is_simple()
        && let Some(scales) = exact::scales(encoding, width, &pruned, &mask)
    {
        return Row::nearest(encoding, scales, &pruned, mask);
    }
    let nearest = nearest(encoding, width, zeros, &pruned);
    let scales = match plan.quantizer {
        Quantizer::Nearest => nearest,
        Quantizer::Search | Quantizer::Gptq => {
            let importance: Vec<f32> = (0..plan.cols)
                .map(|col| match feedback {
                    _ if !mask[col] => 0.0,
                    Some(feedback) => feedback.importance()[col],
                    None => 1.0,
                })
                .collect();
            let headroom = match plan.quantizer {
                Quantizer::Nearest | Quantizer::Search => 1.0,
                Quantizer::Gptq => HEADROOM,
            };
            search::scales(encoding, zeros, &pruned, &importance, headroom, nearest)
        }
    };
    Row::nearest(encoding, scales, &pruned, mask)
}

/// Whether a row is stored without error.
pub(super) fn is_exact(plan: &Plan, row: &Row, weights: &[f32]) -> bool {
    let mut values = vec![0.0; weights.len()];
    row.values(plan.encoding, &mut values);
    values == weights
}
