//! What ended since the last frame: results go into the state, failures become notices.

use super::answerer::Answerer;
use super::bench::Noted;
use super::candidate::Candidate;
use super::command::Command;
use super::dialogs::Purpose;
use super::jobs::{Ended, JobKind};
use super::running::Outcome;
use super::studio::Studio;
use super::units;
use super::work::BuiltModel;
use eframe::egui::Context;
use std::collections::BTreeSet;
use std::path::PathBuf;

impl Studio {
    /// Takes over all that ended; called every frame, also while the window is hidden.
    pub(super) fn collect(&mut self, ctx: &Context) {
        self.follow_answer();
        let running: Vec<JobKind> = self.state.jobs.iter().map(|(kind, _)| kind).collect();
        for kind in running {
            // Not taken before its turn: what ended before may be the end of this one too.
            match self.state.jobs.take_ended(kind) {
                None => {}
                Some(Outcome::Done(ended)) => self.on_ended(ended, ctx),
                Some(Outcome::Failed(text)) => {
                    self.state.fail(text);
                    self.on_stopped(kind);
                }
                Some(Outcome::Cancelled) => self.on_stopped(kind),
            }
        }
        self.collect_matrices();
        let dropped = ctx.input(|input| input.raw.dropped_files.clone());
        if let Some(file) = dropped.first() {
            self.apply(Command::Open(file.path().to_owned()), ctx);
        }
    }

    /// Takes over what a job ended with.
    fn on_ended(&mut self, ended: Ended, ctx: &Context) {
        let (derived, view) = (&mut self.state.derived, &mut self.state.view);
        match ended {
            Ended::Opened(opened) => self.on_opened(opened, ctx),
            Ended::Fetched(name) => self.on_fetched(name, ctx),
            Ended::Built(candidate, built) => self.on_built(candidate, &built),
            Ended::Evaluated(candidate, evaluated) => {
                derived.bench_mut(candidate).evaluation = Some(*evaluated);
            }
            Ended::Quick(quick) => self.on_quick(quick),
            Ended::Found(found) => self.on_calibrated(found),
            Ended::Calibrated(calibrated) => {
                if let Some(calibration) = &calibrated.calibration {
                    let tokens = calibration.origin.tokens;
                    let size = units::bytes(calibration.bytes_on_disk());
                    let text = format!("Calibrated on {tokens} tokens; {size} kept in the cache");
                    self.state.inform(text);
                }
                self.on_calibrated(calibrated);
            }
            Ended::Tuned(tuned) => self.on_tuned(*tuned),
            Ended::Tasked(candidate, tasked) => {
                derived.bench_mut(candidate).tasks = Some(*tasked);
            }
            Ended::Exported(path, bytes) => {
                let size = units::bytes(bytes);
                let text = format!("Exported {}, {size}", path.display());
                if path
                    .extension()
                    .is_some_and(|extension| extension == "html")
                {
                    self.state.inform_of_page(text, path);
                } else {
                    self.state.inform(text);
                }
            }
            Ended::Saved(path, project) => self.on_saved(path, *project, ctx),
            Ended::Rewritten(rewritten) => self.on_rewritten(rewritten, ctx),
            Ended::Checked(checked) => view.verify.checked = Some(checked),
            Ended::Swept(swept) => self.on_swept(swept),
            Ended::Reproduced(name, made) => view.verify.reproduced = Some((name, made)),
            #[cfg(feature = "flash")]
            Ended::Flashed(board, flashed, backup) => {
                self.on_flashed(board, flashed.map(|flashed| *flashed), backup);
            }
            #[cfg(feature = "flash")]
            Ended::ModelChanged(told) => self.state.inform(told),
            #[cfg(feature = "flash")]
            Ended::BoardAnswered(facts) => self.on_board_answer(facts),
            #[cfg(feature = "flash")]
            Ended::BoardMeasured(report) => {
                derived.take_report((*report).clone());
                view.board_report = Some(*report);
            }
            #[cfg(feature = "flash")]
            Ended::Ports(ports) => view.list_ports(ports),
            #[cfg(feature = "voice")]
            Ended::Voices(voices) => {
                view.missing_voice = super::state::missing_voice();
                self.open_talk(voices, ctx);
            }
            Ended::Answered(candidate, conversation, answer) => {
                self.on_answer(candidate, *conversation, answer);
            }
            Ended::Chosen(purpose, Some(path)) => self.on_path(purpose, path, ctx),
            Ended::Chosen(_, None) => {}
        }
    }

    /// Nothing came of a job: it failed, or the person stopped it.
    fn on_stopped(&mut self, kind: JobKind) {
        if kind == JobKind::Save {
            self.forget_leaving();
        }
        if let JobKind::Build(candidate) = kind {
            // Nobody will answer these.
            let asks = &mut self.state.view.asks;
            asks.retain(|ask| ask.answerer != Answerer::Candidate(candidate));
        }
        #[cfg(feature = "flash")]
        if kind == JobKind::BoardAnswer {
            self.on_no_board_answer();
        }
        #[cfg(feature = "voice")]
        if kind == JobKind::Voices {
            // One of the two may have come.
            self.state.view.missing_voice = super::state::missing_voice();
        }
    }

    pub(super) fn on_built(&mut self, candidate: Candidate, built: &BuiltModel) {
        self.state.derived.install(candidate, built);
        // The recipe may have moved on meanwhile.
        self.requantize(candidate);
    }

    fn on_path(&mut self, purpose: Purpose, path: PathBuf, ctx: &Context) {
        match purpose {
            Purpose::Open => self.apply(Command::Open(path), ctx),
            Purpose::Model => self.state.view.model_path.set(path),
            Purpose::Export => self.state.view.export_path.set(path),
            Purpose::ExportGguf => self.state.view.gguf_path.set(path),
            #[cfg(feature = "flash")]
            Purpose::Bundle => self.state.view.bundle_path.set(path),
            Purpose::Report => self.state.view.report_path.set(path),
            Purpose::SaveProject => self.state.view.project_path.set(path),
            Purpose::Firmware => self.state.project.firmware = Some(path),
            Purpose::TrimText => self.state.view.rewrite.text_path.set(path),
            Purpose::Limits => self.state.view.verify.limits_path.set(path),
            Purpose::Grid => self.state.view.verify.grid_path.set(path),
            Purpose::Packed => self.state.view.verify.packed_path.set(path),
            Purpose::Trimmed => self.state.view.rewrite.trimmed_path.set(path),
            Purpose::Rotated => self.state.view.rewrite.rotated_path.set(path),
            Purpose::Tasks => self.apply(Command::Tasks(path), ctx),
        }
    }

    fn collect_matrices(&mut self) {
        let mut unfinished = BTreeSet::new();
        for result in self.quantizer.results() {
            match result {
                Err(text) => self.state.fail(text),
                Ok(done) => match self.state.derived.note(&done) {
                    Noted::Finished | Noted::Stale => {}
                    Noted::Unfinished => {
                        unfinished.insert(done.candidate);
                    }
                },
            }
        }
        for candidate in unfinished {
            self.requantize(candidate);
        }
    }
}
