//! Calibration, tune and quick measurement in the window: when they start, and what becomes of their
//! results.

use super::candidate::Candidate;
use super::jobs::{Ended, JobKind};
use super::studio::Studio;
use super::tuning::{self, Calibrated, TuneGoal, TuneOutcome};
use super::work::{self, Quick};
use crate::board::Board;
use crate::job::Job;
use eframe::egui::Context;
use std::sync::Arc;

impl Studio {
    /// Looks whether the cache has a calibration of the model that was opened; computes none.
    pub(super) fn find_calibration(&mut self, ctx: &Context) {
        let Some(loaded) = self.state.loaded().cloned() else {
            return;
        };
        let folder = self.calibrations.clone();
        let find = move |job: &Job<'_>| Ok(Ended::Found(tuning::find(loaded, folder, job)?));
        let jobs = &mut self.state.jobs;
        jobs.start(JobKind::Find, "Look for a calibration", ctx, find);
    }

    pub(super) fn calibrate(&mut self, ctx: &Context) {
        let Some(loaded) = self.state.loaded().cloned() else {
            return;
        };
        let folder = self.calibrations.clone();
        let jobs = &mut self.state.jobs;
        jobs.forget(JobKind::Find);
        jobs.start(JobKind::Calibrate, "Calibrate", ctx, move |job| {
            let calibrated = tuning::calibrate(loaded, folder, job)?;
            Ok(Ended::Calibrated(calibrated))
        });
    }

    pub(super) fn tune(&mut self, ctx: &Context) {
        let Some(loaded) = self.state.loaded().cloned() else {
            return;
        };
        let project = &self.state.project;
        let goal = TuneGoal {
            form: self.state.view.tune,
            board: Board::find(&project.board),
            context_tokens: project.context_tokens,
            cache: project.cache,
        };
        let folder = self.calibrations.clone();
        let active = self.state.view.active;
        self.state.view.tuned = active;
        let title = format!("Tune {}", active.name());
        self.state
            .jobs
            .start(JobKind::Tune, title, ctx, move |job| {
                let tuned = tuning::tune(loaded, folder, &goal, job)?;
                Ok(Ended::Tuned(Box::new(tuned)))
            });
    }

    /// A calibration is there: what was made without it is made anew.
    pub(super) fn on_calibrated(&mut self, found: Calibrated) {
        let is_of = |loaded| Arc::ptr_eq(loaded, &found.loaded);
        if !self.state.loaded().is_some_and(is_of) {
            return;
        }
        if let Some(candidates) = &found.candidates {
            self.state.derived.measure(candidates);
        }
        let Some(calibration) = found.calibration else {
            return;
        };
        self.state.derived.calibrate(calibration);
        for candidate in Candidate::ALL {
            self.requantize(candidate);
        }
    }

    /// The recipe that was found replaces the one that there is, as one step of the history.
    pub(super) fn on_tuned(&mut self, outcome: TuneOutcome) {
        let is_of = |loaded| Arc::ptr_eq(loaded, &outcome.calibrated.loaded);
        if !self.state.loaded().is_some_and(is_of) {
            return;
        }
        self.on_calibrated(outcome.calibrated);
        let candidate = self.state.view.tuned;
        self.undoer.add_undo(&self.state.project);
        let recipe = candidate.recipe_mut(&mut self.state.project);
        recipe.clone_from(&outcome.figures.recipe);
        self.undoer.add_undo(&self.state.project);
        self.on_built(candidate, &outcome.built);
        let text = outcome.figures.text();
        self.state
            .inform(format!("Tuned {}: {text}", candidate.name()));
        self.state.derived.tuned = Some(outcome.figures);
    }

    pub(super) fn on_quick(&mut self, quick: Quick) {
        let derived = &mut self.state.derived;
        derived.reference = quick.reference.or(derived.reference.take());
        derived.bench_mut(quick.candidate).quick = Some(quick.kl);
    }

    /// The recipe of `candidate` changed: a measurement of the old one is stopped, and one of the new
    /// one is wanted if somebody hears it.
    pub(super) fn forget_quick(&mut self, candidate: Candidate) {
        self.state.jobs.forget(JobKind::Quick);
        let is_heard = self.state.derived.bench(candidate).live.is_some();
        if is_heard && candidate == self.state.view.active {
            self.moved = Some(candidate);
        }
    }

    /// Measures a candidate on a few tokens once its slider rests and its tensors are what it asks.
    pub(super) fn measure_quickly(&mut self, ctx: &Context) {
        let Some(candidate) = self.moved.filter(|_| ctx.dragged_id().is_none()) else {
            return;
        };
        let is_free = self.state.jobs.may_start(JobKind::Quick);
        if !is_free || !self.state.derived.bench(candidate).is_current() {
            return;
        }
        self.moved = None;
        let Some((loaded, recipe, mut ready)) = self.candidate(candidate) else {
            return;
        };
        let cache = self.state.project.cache;
        let bench = self.state.derived.bench(candidate);
        let is_known = bench
            .evaluation
            .as_ref()
            .is_some_and(|e| e.is_of(&recipe, cache));
        if is_known {
            return;
        }
        if let Some((_, _, more)) = self.candidate(candidate.other()) {
            ready.tensors.extend(more.tensors);
        }
        let reference = self.state.derived.reference.clone();
        let processor = Arc::clone(&self.processor);
        let title = format!("Quick KL of {}", candidate.name());
        self.state
            .jobs
            .start(JobKind::Quick, title, ctx, move |job| {
                let what = (candidate, recipe, cache);
                let quick =
                    work::measure_quickly(&loaded, what, &ready, reference, &processor, job)?;
                Ok(Ended::Quick(quick))
            });
    }
}
