//! What the window's commands do.

#[cfg(feature = "flash")]
use super::board_work::AfterPlan;
use super::candidate::Candidate;
use super::command::Command;
use super::dialogs::Purpose;
use super::jobs::{Ended, JobKind};
use super::loaded::Loaded;
use super::opened::Way;
use super::state::Popup;
use super::studio::Studio;
use super::transcript::Memory;
use super::work;
use crate::job::Job;
use crate::recipe::Recipe;
use crate::report::{Quality, TaskQuality};
use eframe::egui::Context;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A person takes longer than this to cancel a file dialog: one that was never there does not.
const NO_DIALOG: Duration = Duration::from_millis(250);

impl Studio {
    /// Runs a command, unless the person must be asked first.
    pub(super) fn apply(&mut self, command: Command, ctx: &Context) {
        if let Some(command) = self.unless_it_replaces(command) {
            self.run(command, ctx);
        }
    }

    /// Runs a command; long work starts here and ends in `collect`.
    pub(super) fn run(&mut self, command: Command, ctx: &Context) {
        match command {
            Command::Open(spec) => self.open(spec, ctx),
            Command::Fetch(name) => self.fetch(name, ctx),
            Command::Onto(rules) => self.install_onto(rules, ctx),
            Command::Locate(spec) => self.locate(spec, ctx),
            Command::Choose(purpose) => self.choose(purpose, ctx),
            Command::Show(popup) => self.show(popup, ctx),
            Command::Activate(candidate) => {
                self.state.view.active = candidate;
                #[cfg(feature = "flash")]
                {
                    self.state.view.is_board_asked = false;
                }
                self.ensure_built(candidate, ctx);
            }
            Command::Undo => self.step(Way::Undo, ctx),
            Command::Redo => self.step(Way::Redo, ctx),
            Command::Evaluate => self.evaluate(ctx),
            Command::Calibrate => self.calibrate(ctx),
            Command::Tune => self.tune(ctx),
            Command::Rewrite(rewrite) => self.rewrite(rewrite, ctx),
            Command::Verify(what) => self.verify(what, ctx),
            Command::Tasks(set) => self.ask_tasks(set, ctx),
            Command::Export(path) => {
                let kind = work::ExportAs::Packed(self.sbom());
                self.export(path, kind, ctx);
            }
            Command::ExportGguf(path) => {
                let kind = work::ExportAs::Gguf(self.sbom());
                self.export(path, kind, ctx);
            }
            Command::Report(path) => self.report(path, ctx),
            Command::Save => self.save(ctx),
            Command::SaveProject(path) => self.save_project(path, ctx),
            Command::Replace => self.replace(ctx),
            Command::Leave(unsaved) => self.leave(unsaved, ctx),
            Command::Recover(place, what) => self.recover(place, what, ctx),
            #[cfg(feature = "flash")]
            Command::ListPorts => self.list_ports(ctx),
            #[cfg(feature = "flash")]
            Command::ExportBundle(path) => {
                match crate::board::Board::find(&self.state.project.board) {
                    Some(board) => {
                        let program = self.state.project.firmware.clone();
                        self.export(path, work::ExportAs::Bundle(board, program), ctx);
                    }
                    None => self.state.fail("the folder needs a board"),
                }
            }
            #[cfg(feature = "flash")]
            Command::Flash => self.flash(AfterPlan::Write, ctx),
            #[cfg(feature = "flash")]
            Command::PlanFlash => self.flash(AfterPlan::Leave, ctx),
            #[cfg(feature = "flash")]
            Command::SendModel => self.send_model(ctx),
            #[cfg(feature = "flash")]
            Command::EraseModel => self.erase_model(ctx),
            #[cfg(feature = "flash")]
            Command::SeatBoard(port) => self.seat_board(port, ctx),
            #[cfg(feature = "flash")]
            Command::MeasureBoard => self.measure_board(ctx),
            Command::Ask => {
                let text = std::mem::take(&mut self.state.view.prompt);
                self.ask(&text, &[self.state.answerer()], Memory::Kept, None);
            }
            Command::Replay => self.replay(),
            Command::Stop => self.stop_answers(),
            #[cfg(feature = "voice")]
            Command::Talk => self.toggle_talk(ctx),
            Command::NewConversation => self.new_conversation(),
            Command::Refuse(sentence) => self.state.fail(sentence),
            Command::StopQuantizing => self.quantizer.clear(),
        }
    }

    fn choose(&mut self, purpose: Purpose, ctx: &Context) {
        let answer = self.dialogs.ask(purpose);
        let wait = move |_: &Job<'_>| {
            let asked = Instant::now();
            match answer() {
                None if asked.elapsed() < NO_DIALOG => Err(
                    "no file dialog answered: type the path, or drop the file on the window".into(),
                ),
                path => Ok(Ended::Chosen(purpose, path)),
            }
        };
        let jobs = &mut self.state.jobs;
        jobs.start(JobKind::Dialog, "File dialog", ctx, wait);
    }

    pub(super) fn show(&mut self, popup: Popup, ctx: &Context) {
        match popup {
            Popup::Closed => self.stay(),
            Popup::Compare | Popup::Verify => {}
            Popup::NumberedRules | Popup::MissingModel => {}
            Popup::Leave | Popup::Replace | Popup::Restore => {}
            Popup::Open => self.state.view.listed = super::state::listed(),
            Popup::Export => self.name_exports(),
            Popup::Save => self.name_project(),
            Popup::Rewrite => self.name_rewrites(),
            Popup::Tune => {
                let total = self.state.derived.bench(self.state.view.active).meter.total;
                let megabytes = &mut self.state.view.tune.megabytes;
                if *megabytes <= 0.0 {
                    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
                    let size = total as f64 / 1e6;
                    *megabytes = size;
                }
            }
            #[cfg(feature = "flash")]
            Popup::Flash => {
                self.name_exports();
                self.list_ports(ctx);
            }
        }
        self.state.view.popup = popup;
        ctx.request_repaint();
    }

    /// Compresses a candidate as a whole unless it is, or is being, compressed.
    pub(super) fn ensure_built(&mut self, candidate: Candidate, ctx: &Context) {
        let Some(loaded) = self.state.loaded().cloned() else {
            return;
        };
        let recipe = candidate.recipe(&self.state.project).clone();
        let is_built = self.state.derived.bench(candidate).live.is_some();
        let ready = work::Ready {
            tensors: Vec::new(),
            calibration: self.state.derived.calibration.clone(),
        };
        let (jobs, kind) = (&mut self.state.jobs, JobKind::Build(candidate));
        if is_built || !jobs.may_start(kind) {
            return;
        }
        let title = format!("Compress {}", candidate.name());
        jobs.start(kind, title, ctx, move |job| {
            let built = work::build(loaded, &recipe, &ready, job)?;
            Ok(Ended::Built(candidate, built))
        });
    }

    /// What a job takes of a candidate: the model, the recipe, and the tensors that are ready.
    pub(super) fn candidate(
        &self,
        candidate: Candidate,
    ) -> Option<(Arc<Loaded>, Recipe, work::Ready)> {
        let loaded = self.state.loaded()?;
        let recipe = candidate.recipe(&self.state.project).clone();
        let live = self.state.derived.bench(candidate).live.as_ref();
        let ready = work::Ready {
            tensors: live.map_or_else(Vec::new, |live| live.tensors().to_vec()),
            calibration: self.state.derived.calibration.clone(),
        };
        Some((Arc::clone(loaded), recipe, ready))
    }

    /// Measures what the window was started to measure, once nothing else runs.
    pub(super) fn evaluate_first(&mut self, ctx: &Context) {
        let is_ready = self.first_evaluation && self.state.is_idle();
        if is_ready && self.state.derived.bench(Candidate::A).is_current() {
            self.first_evaluation = false;
            self.apply(Command::Evaluate, ctx);
        }
    }

    fn evaluate(&mut self, ctx: &Context) {
        let active = self.state.view.active;
        let Some((loaded, recipe, mut ready)) = self.candidate(active) else {
            return;
        };
        // The other candidate is often the reference: what it has need not be computed again.
        if let Some((_, _, more)) = self.candidate(active.other()) {
            ready.tensors.extend(more.tensors);
        }
        let processor = Arc::clone(&self.processor);
        let cache = self.state.project.cache;
        let title = format!("Evaluate {}", active.name());
        let jobs = &mut self.state.jobs;
        jobs.start(JobKind::Evaluate, title, ctx, move |job| {
            let evaluated = work::measure(&loaded, recipe, cache, &ready, &processor, job)?;
            Ok(Ended::Evaluated(active, Box::new(evaluated)))
        });
    }

    fn ask_tasks(&mut self, set: PathBuf, ctx: &Context) {
        let active = self.state.view.active;
        let Some((loaded, recipe, ready)) = self.candidate(active) else {
            return;
        };
        let processor = Arc::clone(&self.processor);
        let cache = self.state.project.cache;
        let title = format!("Tasks of {}", active.name());
        self.state
            .jobs
            .start(JobKind::Tasks, title, ctx, move |job| {
                let tasked = work::ask_tasks(&loaded, recipe, cache, &ready, set, &processor, job)?;
                Ok(Ended::Tasked(active, Box::new(tasked)))
            });
    }

    fn sbom(&self) -> work::Sbom {
        match self.state.view.is_billed {
            true => work::Sbom::Beside,
            false => work::Sbom::None,
        }
    }

    fn export(&mut self, path: PathBuf, kind: work::ExportAs, ctx: &Context) {
        let Some((loaded, recipe, ready)) = self.candidate(self.state.view.active) else {
            return;
        };
        let (cache, processor) = (self.state.project.cache, Arc::clone(&self.processor));
        let title = format!("Export {}", path.display());
        self.state
            .jobs
            .start(JobKind::Export, title, ctx, move |job| {
                let run = (cache, &*processor);
                let (path, bytes) = work::export(&loaded, &recipe, &ready, run, (path, kind), job)?;
                Ok(Ended::Exported(path, bytes))
            });
        self.state.view.popup = Popup::Closed;
    }

    fn report(&mut self, path: PathBuf, ctx: &Context) {
        let active = self.state.view.active;
        let Some((loaded, recipe, ready)) = self.candidate(active) else {
            return;
        };
        let (cache, processor) = (self.state.project.cache, Arc::clone(&self.processor));
        let bench = self.state.derived.bench(active);
        // What was measured of an earlier recipe is not of this one.
        let evaluation = bench.evaluation.as_ref();
        let evaluation = evaluation.filter(|e| e.is_of(&recipe, cache));
        let tasks = bench.tasks.as_ref().filter(|t| t.is_of(&recipe, cache));
        let measured = work::Measured {
            quality: evaluation.map(|e| Quality {
                evaluation: e.result.clone(),
                basis: e.basis.clone(),
                chosen: None,
            }),
            tasks: tasks.map(|t| TaskQuality {
                tasks: t.set.display().to_string(),
                report: t.report.clone(),
            }),
            estimates: bench.estimates.clone(),
        };
        let title = format!("Report {}", path.display());
        self.state
            .jobs
            .start(JobKind::Export, title, ctx, move |job| {
                let (run, what) = ((cache, &*processor), (measured, path));
                let (path, bytes) = work::report(&loaded, &recipe, &ready, run, what, job)?;
                Ok(Ended::Exported(path, bytes))
            });
        self.state.view.popup = Popup::Closed;
    }
}
