//! What the background threads are asked, and what they answer.

use super::candidate::Candidate;
use super::loaded::Loaded;
use super::measured::BuiltMatrix;
use crate::calibrate::Calibration;
use crate::packed::LiveModel;
use crate::recipe::Setting;
use std::sync::Arc;

/// One matrix to be quantized and exchanged in the running tensors.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) candidate: Candidate,
    /// Index in [`Loaded::matrices`].
    pub(super) matrix: usize,
    pub(super) setting: Setting,
    pub(super) stage: Stage,
    pub(super) loaded: Arc<Loaded>,
    pub(super) live: Arc<LiveModel>,
    pub(super) calibration: Option<Arc<Calibration>>,
}

/// Which of the threads computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// At once, without a calibration.
    Plain,
    /// In the background, with one if there is one.
    Fitted,
}

/// A matrix that was exchanged.
#[derive(Debug)]
pub(super) struct Requantized {
    pub(super) candidate: Candidate,
    pub(super) matrix: usize,
    pub(super) built: BuiltMatrix,
    pub(super) live: Arc<LiveModel>,
}
