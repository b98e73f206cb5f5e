//! Why a model cannot be compressed.

use super::unstorable::Unstorable;
use crate::calibrate::CalibrateError;
use crate::job::Cancelled;

/// Why a model cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The calibration cannot be read.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// Weights of the model cannot be stored as the recipe asks.
    #[error(transparent)]
    Weights(#[from] Unstorable),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
