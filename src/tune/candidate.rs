//! What a setting of a tensor costs, and what an error of that tensor costs the model.

use crate::recipe::Setting;
use engine::shape::Role;

/// What was found out about one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// GGUF name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// The settings in the order in which they were given, without those that store it as another does.
    pub options: Vec<Candidate>,
    /// Divergence in nats that a relative output error of one would cost, if it grew evenly.
    pub sensitivity: f64,
}

/// One setting of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The setting.
    pub setting: Setting,
    /// Bytes of the tensor.
    pub bytes: u64,
    /// Squared error of its outputs over their square, on the calibration text; of its weights where it
    /// is no linear map.
    pub error: f64,
}
