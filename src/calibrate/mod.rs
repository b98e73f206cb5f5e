//! What the inputs of each linear map look like on text: the second moments that calibrated
//! quantizers and pruners weigh their errors with.

use ndarray::{Array2, ArrayView1};

/// Second moments of the inputs of a linear map: the mean of `x xᵀ` over tokens, `[cols, cols]`,
/// symmetric.
///
/// Up to a factor the Hessian of the squared error of the map's outputs in the weights of one row, the
/// same for every row (Frantar et al. 2022, GPTQ, arXiv:2210.17323).
#[derive(Debug, Clone, PartialEq)]
pub struct Hessian {
    moments: Array2<f32>,
    tokens: usize,
}

impl Hessian {
    /// Moments `[cols, cols]` that were averaged over `tokens` tokens.
    ///
    /// # Panics
    /// When the matrix is not square.
    #[must_use]
    pub fn new(moments: Array2<f32>, tokens: usize) -> Self {
        assert!(moments.is_square(), "moments of {:?}", moments.dim());
        Self { moments, tokens }
    }

    /// The moments `[cols, cols]`.
    #[must_use]
    pub fn moments(&self) -> &Array2<f32> {
        &self.moments
    }

    /// The mean square of each input `[cols]`.
    #[must_use]
    pub fn mean_squares(&self) -> ArrayView1<'_, f32> {
        self.moments.diag()
    }

    /// Tokens that they are the mean of.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}
