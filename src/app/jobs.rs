//! What runs.

use super::candidate::Candidate;
use super::dialogs::Purpose;
use super::forms::{Checked, Rewritten};
use super::measured::{Evaluated, Tasked};
use super::running::Running;
use super::tuning::{Calibrated, TuneOutcome};
use super::work::{BuiltModel, Opened, Quick};
#[cfg(feature = "flash")]
use crate::link::{Flashed, Port};
use crate::packed::{Answer, ChatError, Conversation};
use crate::report::Reproduced;
use crate::report::sweep::Swept;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// One field for each kind of work.
#[derive(Debug, Default)]
pub struct Jobs {
    /// Opens a model, project or recipe.
    pub open: Option<Running<Opened>>,
    /// Brings a model of the catalog; its name.
    pub fetch: Option<Running<String>>,
    /// Compresses candidate A as a whole.
    pub build_a: Option<Running<BuiltModel>>,
    /// Compresses candidate B as a whole.
    pub build_b: Option<Running<BuiltModel>>,
    /// Measures a candidate.
    pub evaluate: Option<Running<(Candidate, Evaluated)>>,
    /// Measures a candidate on a few tokens after its slider moved.
    pub quick: Option<Running<Quick>>,
    /// Looks for a calibration in the cache.
    pub find: Option<Running<Calibrated>>,
    /// Calibrates.
    pub calibrate: Option<Running<Calibrated>>,
    /// Finds a recipe, and for whom.
    pub tune: Option<Running<TuneOutcome>>,
    /// Asks a candidate a set of tasks.
    pub tasks: Option<Running<(Candidate, Tasked)>>,
    /// Writes the packed model; its path and length in bytes.
    pub export: Option<Running<(PathBuf, u64)>>,
    /// Holds a candidate against limits.
    pub check: Option<Running<Checked>>,
    /// Runs the recipes of a grid.
    pub sweep: Option<Running<Swept>>,
    /// Makes a packed file again; its path.
    pub reproduce: Option<Running<(String, Reproduced)>>,
    /// Writes the open model in another form.
    pub rewrite: Option<Running<Rewritten>>,
    /// Writes the project; its path.
    pub save: Option<Running<PathBuf>>,
    /// Writes a board.
    #[cfg(feature = "flash")]
    pub flash: Option<Running<Flashed>>,
    /// Lists serial ports.
    #[cfg(feature = "flash")]
    pub ports: Option<Running<Vec<Port>>>,
    /// Answers.
    pub answer: Option<Answering>,
    /// Brings and loads recognizer and synthesizer.
    #[cfg(feature = "voice")]
    pub voices: Option<Running<super::voices::Voices>>,
    /// Waits for a file dialog.
    pub dialog: Option<(Purpose, Running<Option<PathBuf>>)>,
}

impl Jobs {
    /// The job that compresses a candidate.
    pub const fn build_mut(&mut self, candidate: Candidate) -> &mut Option<Running<BuiltModel>> {
        match candidate {
            Candidate::A => &mut self.build_a,
            Candidate::B => &mut self.build_b,
        }
    }
}

/// An answer that is being generated.
#[derive(Debug)]
pub struct Answering {
    /// Who answers.
    pub candidate: Candidate,
    /// The text so far.
    pub heard: Arc<Mutex<String>>,
    /// Gives the conversation back with the whole answer.
    pub running: Running<(Conversation, Result<Answer, ChatError>)>,
}
