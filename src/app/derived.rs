//! What follows from the project: the model that is open, what is known of it, and each candidate at work.

use super::bench::{Bench, Noted, Refreshed};
use super::candidate::Candidate;
use super::known_boards::KnownBoards;
use super::loaded::Loaded;
use super::measured::{BuiltMatrix, TuneFigures, TurnTokens};
use super::preview::Knowledge;
use super::request::{Requantized, Request};
use super::table::Matrix;
use super::work::BuiltModel;
use crate::calibrate::Calibration;
use crate::estimate::Options;
#[cfg(feature = "flash")]
use crate::measured::BoardReport;
use crate::measured::Reports;
use crate::packed::LiveModel;
use crate::project::Project;
use crate::recipe::Recipe;
use crate::tune::Candidates;
use std::sync::Arc;

/// What follows from the project.
#[derive(Debug, Default)]
pub struct Derived {
    /// The model that is open.
    pub loaded: Option<Arc<Loaded>>,
    /// What its matrices read on text, once that is known.
    pub calibration: Option<Arc<Calibration>>,
    /// What is known of its matrices.
    pub knowledge: Knowledge,
    /// What the last tune found.
    pub tuned: Option<TuneFigures>,
    /// The original in 16 bits, kept for quick measurements.
    pub reference: Option<Arc<LiveModel>>,
    /// The boards that estimates are for.
    pub boards: KnownBoards,
    a: Bench,
    b: Bench,
}

impl Derived {
    /// What follows from a candidate's recipe.
    #[must_use]
    pub const fn bench(&self, candidate: Candidate) -> &Bench {
        match candidate {
            Candidate::A => &self.a,
            Candidate::B => &self.b,
        }
    }

    /// The same, to change it.
    pub const fn bench_mut(&mut self, candidate: Candidate) -> &mut Bench {
        match candidate {
            Candidate::A => &mut self.a,
            Candidate::B => &mut self.b,
        }
    }

    /// Takes another model; nothing of the old one stays.
    pub(super) fn open(&mut self, loaded: Arc<Loaded>) {
        *self = Self {
            knowledge: Knowledge::of(loaded.matrices.len()),
            loaded: Some(loaded),
            boards: self.boards.clone(),
            ..Self::default()
        };
    }

    /// Takes over a calibration; what was compressed without it is not current any more.
    pub(super) fn calibrate(&mut self, calibration: Arc<Calibration>) {
        let Some(loaded) = &self.loaded else { return };
        let can_fit = |m: &Matrix| calibration.input_of(m.role).is_some();
        let can_fit: Vec<bool> = loaded.matrices.iter().map(can_fit).collect();
        self.a.calibrate(can_fit.clone());
        self.b.calibrate(can_fit);
        self.calibration = Some(calibration);
    }

    /// Takes over a candidate that was compressed as a whole, unless another model was opened meanwhile.
    pub(super) fn install(&mut self, candidate: Candidate, built: &BuiltModel) {
        let Some(loaded) = self.loaded.clone() else {
            return;
        };
        if !Arc::ptr_eq(&loaded, &built.loaded) {
            return;
        }
        let bench = self.bench_mut(candidate);
        bench.install(&loaded, Arc::clone(&built.live), &built.tensors);
        for (matrix, built) in bench.built.clone().into_iter().enumerate() {
            if let Some(built) = built {
                self.knowledge.note(matrix, built.setting, built.nmse);
            }
        }
    }

    /// Takes over a matrix that was exchanged.
    pub(super) fn note(&mut self, done: &Requantized) -> Noted {
        let noted = self.bench_mut(done.candidate).note(done);
        match noted {
            Noted::Finished | Noted::Unfinished => {
                let BuiltMatrix { setting, nmse, .. } = done.built;
                self.knowledge.note(done.matrix, setting, nmse);
            }
            // Another model may be open by now: the error of a matrix of the old one says nothing of it.
            Noted::Stale => {}
        }
        noted
    }

    /// What must be quantized anew for a candidate to run what its recipe asks.
    pub(super) fn requests(&self, candidate: Candidate) -> Vec<Request> {
        let Some(loaded) = &self.loaded else {
            return Vec::new();
        };
        let bench = self.bench(candidate);
        bench.requests(candidate, loaded, self.calibration.as_ref())
    }

    /// Takes over what a tune measured of the matrices.
    pub(super) fn measure(&mut self, candidates: &[Candidates]) {
        let Some(loaded) = &self.loaded else { return };
        self.knowledge.measure(loaded, candidates);
        (self.a.preview, self.b.preview) = (None, None);
    }

    /// Says anew what the recipes will cost, where that is not known. `presets` are others to rank with.
    pub(super) fn predict(&mut self, presets: &[Recipe]) {
        let Some(loaded) = &self.loaded else { return };
        for bench in [&mut self.a, &mut self.b] {
            if bench.preview.is_none() && !bench.settings.is_empty() {
                let preview =
                    self.knowledge
                        .preview(loaded, &bench.settings, &bench.planned, presets);
                bench.preview = Some(preview);
            }
        }
    }

    /// Takes over what boards have measured of themselves: the estimates rest on it from the next frame on.
    pub(super) fn take_reports(&mut self, reports: Reports) {
        self.boards = KnownBoards::with(reports);
        self.a.forget_estimates();
        self.b.forget_estimates();
    }

    /// As [`Self::take_reports`], with one more.
    #[cfg(feature = "flash")]
    pub(super) fn take_report(&mut self, report: BoardReport) {
        let mut reports = self.boards.reports().clone();
        reports.add(report);
        self.take_reports(reports);
    }

    /// Brings both candidates up to date; returns those whose recipe changed.
    ///
    /// Times are those of a turn like `turn`, or of the usual one.
    pub(super) fn refresh(
        &mut self,
        project: &Project,
        turn: Option<TurnTokens>,
    ) -> Vec<Candidate> {
        let Some(loaded) = self.loaded.clone() else {
            return Vec::new();
        };
        let usual = Options::default();
        let options = Options {
            context_tokens: project.context_tokens,
            cache: project.cache,
            prompt_tokens: turn.map_or(usual.prompt_tokens, |turn| turn.prompt),
            unspoken_tokens: turn.map_or(usual.unspoken_tokens, |turn| turn.unspoken),
            ..usual
        };
        let boards = self.boards.clone();
        let mut changed = Vec::new();
        for candidate in Candidate::ALL {
            let recipe = candidate.recipe(project);
            let bench = self.bench_mut(candidate);
            match bench.refresh(&loaded, recipe, options, &boards) {
                Refreshed::Same => {}
                Refreshed::Changed => changed.push(candidate),
            }
        }
        changed
    }
}

#[cfg(test)]
#[path = "../../tests/support/tiny_model.rs"]
mod tiny_model;

#[cfg(test)]
mod tests {
    use super::tiny_model::TinyModel;
    use super::*;
    use crate::app::work::{Ready, build};
    use crate::job::Job;
    use crate::model::Model;
    use crate::recipe::{Precision, Setting};
    use crate::tune::Evidence;

    /// A tiny model, and what compressing it by `recipe` makes.
    fn built(seed: u64, recipe: &Recipe) -> BuiltModel {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        let model = TinyModel {
            seed,
            ..TinyModel::default()
        };
        std::fs::write(&path, model.gguf()).unwrap();
        let job = Job::silent();
        let model = Model::load(&path, &job).unwrap();
        let loaded = Loaded::new("tiny.gguf".into(), model).unwrap();
        build(Arc::new(loaded), recipe, &Ready::default(), &job).unwrap()
    }

    #[test]
    fn a_matrix_of_a_model_that_was_closed_says_nothing_of_the_open_one() {
        let mut project = Project::default();
        let (old, new) = (built(1, &project.a), built(2, &project.a));
        let mut derived = Derived::default();
        derived.open(Arc::clone(&new.loaded));
        derived.refresh(&project, None);
        derived.install(Candidate::A, &new);
        let setting = Setting::bits(Precision::Two);
        let matrix = &new.loaded.matrices[0];
        project.a.except(matrix.role, matrix.layer, setting);
        let mut evidence = |derived: &mut Derived, context_tokens: u32| {
            project.context_tokens = context_tokens;
            derived.refresh(&project, None);
            derived.predict(&[]);
            let preview = derived.a.preview.as_ref().unwrap();
            preview.rows[0].unwrap().evidence
        };
        assert_eq!(
            new.loaded.rows[0].members,
            [0],
            "the first row is the first matrix"
        );
        assert_eq!(evidence(&mut derived, 128), Evidence::Expected);
        let done = |of: &BuiltModel| Requantized {
            candidate: Candidate::A,
            matrix: 0,
            built: BuiltMatrix {
                setting,
                nmse: 0.3,
                output_error: None,
            },
            live: Arc::clone(&of.live),
        };
        assert_eq!(derived.note(&done(&old)), Noted::Stale);
        assert_eq!(evidence(&mut derived, 256), Evidence::Expected);
        assert_eq!(derived.note(&done(&new)), Noted::Finished);
        assert_eq!(evidence(&mut derived, 512), Evidence::Measured);
    }
}
