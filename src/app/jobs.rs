//! What runs: one table of all jobs.
//!
//! Whoever must know them all asks the table, so that a job is not forgotten: a new [`JobKind`] or [`Ended`]
//! compiles only when every `match` here and the one that takes results has a place for it.

use super::candidate::Candidate;
use super::dialogs::Purpose;
use super::forms::{Checked, Rewritten};
use super::measured::{Evaluated, Tasked};
use super::opened::Opened;
use super::running::{Failure, Outcome, Running};
#[cfg(feature = "flash")]
use super::transcript::BoardFacts;
use super::tuning::{Calibrated, TuneOutcome};
#[cfg(feature = "voice")]
use super::voices::Voices;
use super::work::{BuiltModel, Quick};
#[cfg(feature = "flash")]
use crate::board::Board;
use crate::job::Job;
#[cfg(feature = "flash")]
use crate::link::{Deployed, Port};
#[cfg(feature = "flash")]
use crate::measured::BoardReport;
use crate::packed::{Answer, ChatError, Conversation};
use crate::project::Project;
use crate::report::Reproduced;
use crate::report::sweep::Swept;
use eframe::egui::Context;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a job is for; at most one of each runs. In the order in which the status strip shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Opens a model, project or recipe.
    Open,
    /// Brings a model of the catalog.
    Fetch,
    /// Compresses a candidate as a whole.
    Build(Candidate),
    /// Measures a candidate.
    Evaluate,
    /// Measures a candidate on a few tokens after its slider moved.
    Quick,
    /// Looks for a calibration in the cache.
    Find,
    /// Calibrates.
    Calibrate,
    /// Finds a recipe.
    Tune,
    /// Asks a candidate a set of tasks.
    Tasks,
    /// Writes the packed model, a GGUF file or a report.
    Export,
    /// Writes the project.
    Save,
    /// Writes the open model in another form.
    Rewrite,
    /// Holds a candidate against limits.
    Check,
    /// Runs the recipes of a grid.
    Sweep,
    /// Makes a packed file again.
    Reproduce,
    /// Writes a board.
    #[cfg(feature = "flash")]
    Flash,
    /// Lets a board measure itself.
    #[cfg(feature = "flash")]
    MeasureBoard,
    /// Lets a board answer.
    #[cfg(feature = "flash")]
    BoardAnswer,
    /// Lists serial ports.
    #[cfg(feature = "flash")]
    ListPorts,
    /// Brings and loads recognizer and synthesizer.
    #[cfg(feature = "voice")]
    Voices,
    /// Answers.
    Answer,
    /// Waits for a file dialog.
    Dialog,
}

impl JobKind {
    /// The kinds beside which it does not start. Where its own is not among them, a new one takes the place
    /// of the old.
    const fn excludes(self) -> &'static [Self] {
        match self {
            Self::Build(Candidate::A) => &[Self::Build(Candidate::A)],
            Self::Build(Candidate::B) => &[Self::Build(Candidate::B)],
            Self::Fetch => &[Self::Fetch],
            Self::Evaluate => &[Self::Evaluate],
            // A hint must not slow down what was asked for.
            Self::Quick => &[Self::Quick, Self::Evaluate, Self::Tune, Self::Answer],
            // Both write the same calibration.
            Self::Calibrate | Self::Tune => &[Self::Calibrate, Self::Tune],
            Self::Tasks => &[Self::Tasks],
            Self::Rewrite => &[Self::Rewrite],
            Self::Check => &[Self::Check],
            Self::Sweep => &[Self::Sweep],
            Self::Reproduce => &[Self::Reproduce],
            #[cfg(not(feature = "flash"))]
            Self::Answer => &[Self::Answer],
            // One answers after the other.
            #[cfg(feature = "flash")]
            Self::Answer => &[Self::Answer, Self::BoardAnswer],
            // All three want its port.
            #[cfg(feature = "flash")]
            Self::Flash | Self::MeasureBoard => {
                &[Self::Flash, Self::MeasureBoard, Self::BoardAnswer]
            }
            #[cfg(feature = "flash")]
            Self::BoardAnswer => &[
                Self::Flash,
                Self::MeasureBoard,
                Self::BoardAnswer,
                Self::Answer,
            ],
            #[cfg(feature = "voice")]
            Self::Voices => &[Self::Voices],
            #[cfg(feature = "flash")]
            Self::ListPorts => &[],
            Self::Open | Self::Find | Self::Export | Self::Save | Self::Dialog => &[],
        }
    }

    /// Whether it ends when another model is opened: what came of it would be of the old one.
    const fn is_of_model(self) -> bool {
        match self {
            Self::Build(_)
            | Self::Evaluate
            | Self::Quick
            | Self::Find
            | Self::Calibrate
            | Self::Tune
            | Self::Tasks
            | Self::Rewrite
            | Self::Check
            | Self::Sweep
            | Self::Reproduce
            | Self::Answer => true,
            #[cfg(feature = "flash")]
            Self::Flash | Self::MeasureBoard | Self::BoardAnswer | Self::ListPorts => false,
            #[cfg(feature = "voice")]
            Self::Voices => false,
            Self::Open | Self::Fetch | Self::Export | Self::Save | Self::Dialog => false,
        }
    }

    /// Whether something is lost that the person has asked for when the window closes: a file, or a board half
    /// written. What can be taken up again, or is quickly asked again, is not.
    #[must_use]
    pub const fn is_lost_by_closing(self) -> bool {
        match self {
            Self::Export | Self::Save | Self::Rewrite => true,
            #[cfg(feature = "flash")]
            Self::Flash => true,
            #[cfg(feature = "flash")]
            Self::MeasureBoard | Self::BoardAnswer | Self::ListPorts => false,
            #[cfg(feature = "voice")]
            Self::Voices => false,
            Self::Open
            | Self::Fetch
            | Self::Build(_)
            | Self::Evaluate
            | Self::Quick
            | Self::Find
            | Self::Calibrate
            | Self::Tune
            | Self::Tasks
            | Self::Check
            | Self::Sweep
            | Self::Reproduce
            | Self::Answer
            | Self::Dialog => false,
        }
    }

    /// Whether the status strip shows it: what ends at once, or waits for the person, is not work.
    #[must_use]
    pub const fn is_work(self) -> bool {
        match self {
            Self::Open
            | Self::Fetch
            | Self::Build(_)
            | Self::Evaluate
            | Self::Quick
            | Self::Find
            | Self::Calibrate
            | Self::Tune
            | Self::Tasks
            | Self::Export
            | Self::Save
            | Self::Rewrite
            | Self::Check
            | Self::Sweep
            | Self::Reproduce
            | Self::Answer => true,
            #[cfg(feature = "flash")]
            Self::Flash | Self::MeasureBoard | Self::BoardAnswer => true,
            #[cfg(feature = "voice")]
            Self::Voices => true,
            #[cfg(feature = "flash")]
            Self::ListPorts => false,
            Self::Dialog => false,
        }
    }
}

/// What a job ends with.
#[derive(Debug)]
pub enum Ended {
    /// What was behind a path.
    Opened(Opened),
    /// The name of a model that is here now.
    Fetched(String),
    /// A candidate, ready to run.
    Built(Candidate, BuiltModel),
    /// A candidate's figures.
    Evaluated(Candidate, Box<Evaluated>),
    /// A candidate's figure on a few tokens.
    Quick(Quick),
    /// A calibration that was there, or none.
    Found(Calibrated),
    /// A calibration that was computed.
    Calibrated(Calibrated),
    /// A recipe.
    Tuned(Box<TuneOutcome>),
    /// The tasks that a candidate held.
    Tasked(Candidate, Box<Tasked>),
    /// The path of what was written, and its length in bytes.
    Exported(PathBuf, u64),
    /// Where the project is now, and what is there.
    Saved(PathBuf, Box<Project>),
    /// The open model in another form.
    Rewritten(Rewritten),
    /// A candidate held against limits.
    Checked(Checked),
    /// A table of recipes.
    Swept(Swept),
    /// The path of a packed file that was made again, and what came of it.
    Reproduced(String, Reproduced),
    /// A board that was looked at, or written; and where its old flash is kept.
    #[cfg(feature = "flash")]
    Flashed(&'static Board, Option<Box<Deployed>>, Option<PathBuf>),
    /// The model on a board is another, or none: in a sentence.
    #[cfg(feature = "flash")]
    ModelChanged(String),
    /// What a board answered.
    #[cfg(feature = "flash")]
    BoardAnswered(Box<BoardFacts>),
    /// A board has measured itself.
    #[cfg(feature = "flash")]
    BoardMeasured(Box<BoardReport>),
    /// Serial ports.
    #[cfg(feature = "flash")]
    Ports(Vec<Port>),
    /// What voice needs.
    #[cfg(feature = "voice")]
    Voices(Voices),
    /// A candidate's answer, and its conversation.
    Answered(Candidate, Box<Conversation>, Result<Answer, ChatError>),
    /// The path that the person chose, and what for; nothing where the dialog was cancelled.
    Chosen(Purpose, Option<PathBuf>),
}

/// The jobs that run.
#[derive(Debug, Default)]
pub struct Jobs {
    running: BTreeMap<JobKind, Running<Ended>>,
}

impl Jobs {
    /// Starts a job; one of its kind that still runs is cancelled.
    pub(super) fn start(
        &mut self,
        kind: JobKind,
        title: impl Into<String>,
        ctx: &Context,
        work: impl FnOnce(&Job<'_>) -> Result<Ended, Failure> + Send + 'static,
    ) {
        self.running.insert(kind, Running::start(title, ctx, work));
    }

    /// Whether a job of this kind may start beside those that run.
    #[must_use]
    pub fn may_start(&self, kind: JobKind) -> bool {
        let excluded = kind.excludes().iter();
        !excluded.copied().any(|other| self.is_running(other))
    }

    /// Whether one of this kind runs.
    #[must_use]
    pub fn is_running(&self, kind: JobKind) -> bool {
        self.running.contains_key(&kind)
    }

    /// The one of this kind that runs.
    #[must_use]
    pub fn get(&self, kind: JobKind) -> Option<&Running<Ended>> {
        self.running.get(&kind)
    }

    /// All that run.
    pub fn iter(&self) -> impl Iterator<Item = (JobKind, &Running<Ended>)> {
        self.running.iter().map(|(kind, job)| (*kind, job))
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Cancels the one of this kind; nobody waits for what comes of it.
    pub(super) fn forget(&mut self, kind: JobKind) {
        self.running.remove(&kind);
    }

    /// The same for all that work on the model that was open.
    pub(super) fn forget_model(&mut self) {
        self.running.retain(|kind, _| !kind.is_of_model());
    }

    /// How the one of this kind ended, once it did.
    pub(super) fn take_ended(&mut self, kind: JobKind) -> Option<Outcome<Ended>> {
        let outcome = self.running.get_mut(&kind)?.take_outcome()?;
        self.running.remove(&kind);
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::state::State;
    use std::collections::BTreeSet;

    /// The kind after this one: a new kind does not compile before it has a place.
    fn after(kind: JobKind) -> Option<JobKind> {
        Some(match kind {
            JobKind::Open => JobKind::Fetch,
            JobKind::Fetch => JobKind::Build(Candidate::A),
            JobKind::Build(Candidate::A) => JobKind::Build(Candidate::B),
            JobKind::Build(Candidate::B) => JobKind::Evaluate,
            JobKind::Evaluate => JobKind::Quick,
            JobKind::Quick => JobKind::Find,
            JobKind::Find => JobKind::Calibrate,
            JobKind::Calibrate => JobKind::Tune,
            JobKind::Tune => JobKind::Tasks,
            JobKind::Tasks => JobKind::Export,
            JobKind::Export => JobKind::Save,
            JobKind::Save => JobKind::Rewrite,
            JobKind::Rewrite => JobKind::Check,
            JobKind::Check => JobKind::Sweep,
            JobKind::Sweep => JobKind::Reproduce,
            JobKind::Reproduce => JobKind::Answer,
            JobKind::Answer => JobKind::Dialog,
            #[cfg(feature = "flash")]
            JobKind::Dialog => JobKind::Flash,
            #[cfg(feature = "flash")]
            JobKind::Flash => JobKind::MeasureBoard,
            #[cfg(feature = "flash")]
            JobKind::MeasureBoard => JobKind::BoardAnswer,
            #[cfg(feature = "flash")]
            JobKind::BoardAnswer => JobKind::ListPorts,
            #[cfg(all(feature = "flash", feature = "voice"))]
            JobKind::ListPorts => JobKind::Voices,
            #[cfg(all(feature = "flash", not(feature = "voice")))]
            JobKind::ListPorts => return None,
            #[cfg(all(not(feature = "flash"), feature = "voice"))]
            JobKind::Dialog => JobKind::Voices,
            #[cfg(all(not(feature = "flash"), not(feature = "voice")))]
            JobKind::Dialog => return None,
            #[cfg(feature = "voice")]
            JobKind::Voices => return None,
        })
    }

    fn all() -> Vec<JobKind> {
        std::iter::successors(Some(JobKind::Open), |kind| after(*kind)).collect()
    }

    fn start(jobs: &mut Jobs, kind: JobKind) {
        jobs.start(kind, "Wait", &Context::default(), |job| {
            loop {
                job.report("Waiting", 0, 0)?;
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn a_job_of_any_kind_keeps_the_window_busy_until_it_ended() {
        let mut state = State::new(Project::default(), String::new());
        assert!(state.is_idle());
        for kind in all() {
            start(&mut state.jobs, kind);
            assert!(!state.is_idle(), "{kind:?}");
            assert!(state.jobs.take_ended(kind).is_none(), "{kind:?} still runs");
            state.jobs.get(kind).expect("it runs").cancel();
            let outcome = loop {
                if let Some(outcome) = state.jobs.take_ended(kind) {
                    break outcome;
                }
                assert!(!state.is_idle(), "{kind:?}");
                std::thread::yield_now();
            };
            assert!(matches!(outcome, Outcome::Cancelled), "{outcome:?}");
            assert!(state.is_idle(), "{kind:?}");
        }
    }

    #[test]
    fn a_new_job_takes_the_place_of_the_old_one_of_its_kind_only() {
        let mut jobs = Jobs::default();
        start(&mut jobs, JobKind::Build(Candidate::A));
        start(&mut jobs, JobKind::Build(Candidate::B));
        jobs.start(
            JobKind::Build(Candidate::A),
            "Fetch",
            &Context::default(),
            |_| Ok(Ended::Fetched("tiny".into())),
        );
        let ended = loop {
            if let Some(outcome) = jobs.take_ended(JobKind::Build(Candidate::A)) {
                break outcome;
            }
            std::thread::yield_now();
        };
        assert!(matches!(ended, Outcome::Done(Ended::Fetched(name)) if name == "tiny"));
        assert!(jobs.is_running(JobKind::Build(Candidate::B)));
    }

    #[test]
    fn what_runs_decides_what_may_start() {
        let check = |running: JobKind, stopped: &[JobKind]| {
            let mut jobs = Jobs::default();
            start(&mut jobs, running);
            let kinds = all().into_iter();
            let found: BTreeSet<_> = kinds.filter(|kind| !jobs.may_start(*kind)).collect();
            let stopped: BTreeSet<_> = stopped.iter().copied().collect();
            assert_eq!(found, stopped, "beside {running:?}");
        };
        check(JobKind::Open, &[]);
        check(JobKind::Find, &[]);
        check(JobKind::Export, &[]);
        check(JobKind::Evaluate, &[JobKind::Evaluate, JobKind::Quick]);
        let of_a = JobKind::Build(Candidate::A);
        check(of_a, &[of_a]);
        check(JobKind::Calibrate, &[JobKind::Calibrate, JobKind::Tune]);
        let by_tune = [JobKind::Calibrate, JobKind::Tune, JobKind::Quick];
        check(JobKind::Tune, &by_tune);
        #[cfg(not(feature = "flash"))]
        check(JobKind::Answer, &[JobKind::Answer, JobKind::Quick]);
        #[cfg(feature = "flash")]
        {
            let by_answer = [JobKind::Answer, JobKind::BoardAnswer, JobKind::Quick];
            check(JobKind::Answer, &by_answer);
            // One port, one job.
            let port = [JobKind::Flash, JobKind::MeasureBoard, JobKind::BoardAnswer];
            check(JobKind::Flash, &port);
            check(JobKind::MeasureBoard, &port);
            check(
                JobKind::BoardAnswer,
                &[&port[..], &[JobKind::Answer]].concat(),
            );
        }
    }

    #[test]
    fn another_model_ends_the_work_on_the_old_one_and_no_other() {
        let mut jobs = Jobs::default();
        for kind in all() {
            start(&mut jobs, kind);
        }
        jobs.forget_model();
        let left: Vec<JobKind> = jobs.iter().map(|(kind, _)| kind).collect();
        let mut kept = vec![
            JobKind::Open,
            JobKind::Fetch,
            JobKind::Export,
            JobKind::Save,
        ];
        #[cfg(feature = "flash")]
        kept.extend([
            JobKind::Flash,
            JobKind::MeasureBoard,
            JobKind::BoardAnswer,
            JobKind::ListPorts,
        ]);
        #[cfg(feature = "voice")]
        kept.push(JobKind::Voices);
        kept.push(JobKind::Dialog);
        assert_eq!(left, kept);
    }
}
