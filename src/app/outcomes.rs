//! What ended since the last frame: results go into the state, failures become notices.

use super::candidate::Candidate;
use super::command::Command;
use super::dialogs::Purpose;
use super::running::{Outcome, lock, take};
use super::state::{Facts, Speaker};
use super::studio::Studio;
use super::units;
use super::work::{BuiltModel, Opened};
use crate::packed::{Answer, ChatError, Conversation};
use eframe::egui::Context;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

impl Studio {
    /// Takes over all that ended; called every frame, also while the window is hidden.
    pub(super) fn collect(&mut self, ctx: &Context) {
        let jobs = &mut self.state.jobs;
        let opened = take(&mut jobs.open);
        let fetched = take(&mut jobs.fetch);
        let evaluated = take(&mut jobs.evaluate);
        let tasked = take(&mut jobs.tasks);
        let exported = take(&mut jobs.export);
        let saved = take(&mut jobs.save);
        let rewritten = take(&mut jobs.rewrite);
        let checked = take(&mut jobs.check);
        let swept = take(&mut jobs.sweep);
        let reproduced = take(&mut jobs.reproduce);
        let quick = take(&mut jobs.quick);
        let found = take(&mut jobs.find);
        let calibrated = take(&mut jobs.calibrate);
        let tuned = take(&mut jobs.tune);
        let built = Candidate::ALL.map(|candidate| take(jobs.build_mut(candidate)));
        if let Some(opened) = self.done(opened) {
            self.on_opened(opened, ctx);
        }
        if let Some(name) = self.done(fetched) {
            self.state.view.listed = super::state::listed();
            self.apply(Command::Open(name), ctx);
        }
        if let Some((candidate, evaluated)) = self.done(evaluated) {
            self.state.derived.bench_mut(candidate).evaluation = Some(evaluated);
        }
        if let Some((candidate, tasked)) = self.done(tasked) {
            self.state.derived.bench_mut(candidate).tasks = Some(tasked);
        }
        if let Some(quick) = self.done(quick) {
            self.on_quick(quick);
        }
        if let Some(found) = self.done(found) {
            self.on_calibrated(found);
        }
        if let Some(calibrated) = self.done(calibrated) {
            if let Some(calibration) = &calibrated.calibration {
                let tokens = calibration.origin.tokens;
                let size = units::bytes(calibration.bytes_on_disk());
                self.state.inform(format!(
                    "Calibrated on {tokens} tokens; {size} kept in the cache"
                ));
            }
            self.on_calibrated(calibrated);
        }
        if let Some(tuned) = self.done(tuned) {
            self.on_tuned(tuned);
        }
        if let Some((path, bytes)) = self.done(exported) {
            let size = units::bytes(bytes);
            self.state
                .inform(format!("Exported {}, {size}", path.display()));
        }
        if let Some(rewritten) = self.done(rewritten) {
            self.on_rewritten(rewritten, ctx);
        }
        if let Some(checked) = self.done(checked) {
            self.state.view.verify.checked = Some(checked);
        }
        if let Some(swept) = self.done(swept) {
            self.on_swept(swept);
        }
        if let Some(reproduced) = self.done(reproduced) {
            self.state.view.verify.reproduced = Some(reproduced);
        }
        if let Some(path) = self.done(saved) {
            self.state.inform(format!("Saved {}", path.display()));
        }
        for (candidate, built) in Candidate::ALL.into_iter().zip(built) {
            let was_stopped = matches!(built, Some(Outcome::Cancelled | Outcome::Failed(_)));
            if was_stopped {
                // Nobody will answer these.
                self.state
                    .view
                    .asks
                    .retain(|ask| ask.candidate != candidate);
            }
            if let Some(built) = self.done(built) {
                self.on_built(candidate, &built);
            }
        }
        #[cfg(feature = "flash")]
        self.collect_flash();
        self.collect_dialog(ctx);
        #[cfg(feature = "voice")]
        {
            let voices = take(&mut self.state.jobs.voices);
            if voices.is_some() {
                self.state.view.missing_voice = super::state::missing_voice();
            }
            if let Some(voices) = self.done(voices) {
                self.open_talk(voices, ctx);
            }
        }
        self.collect_answer();
        self.collect_matrices();
        let dropped = ctx.input(|input| input.raw.dropped_files.clone());
        if let Some(file) = dropped.first() {
            self.apply(Command::Open(file.path().display().to_string()), ctx);
        }
    }

    /// The result of a job that succeeded; a failure becomes a notice.
    fn done<T>(&mut self, outcome: Option<Outcome<T>>) -> Option<T> {
        match outcome {
            Some(Outcome::Done(result)) => Some(result),
            Some(Outcome::Failed(text)) => {
                self.state.fail(text);
                None
            }
            Some(Outcome::Cancelled) | None => None,
        }
    }

    fn on_opened(&mut self, opened: Opened, ctx: &Context) {
        match opened {
            Opened::Model(loaded) => self.install(loaded, ctx),
            Opened::Recipe(recipe) => {
                *self.state.view.active.recipe_mut(&mut self.state.project) = recipe;
            }
            Opened::Project(project) => {
                let model = project.model.clone();
                let current = self.state.project.model.take();
                self.state.project = *project;
                let is_other = model != current || self.state.loaded().is_none();
                if let Some(model) = model.filter(|_| is_other) {
                    self.apply(Command::Open(model), ctx);
                }
            }
        }
    }

    pub(super) fn on_built(&mut self, candidate: Candidate, built: &BuiltModel) {
        let Some(loaded) = self.state.loaded().cloned() else {
            return;
        };
        if !Arc::ptr_eq(&loaded, &built.loaded) {
            return;
        }
        let bench = self.state.derived.bench_mut(candidate);
        bench.install(&loaded, Arc::clone(&built.live), &built.tensors);
        for (matrix, built) in bench.built.clone().into_iter().enumerate() {
            if let Some(built) = built {
                let knowledge = &mut self.state.derived.knowledge;
                knowledge.note(matrix, built.setting, built.nmse);
            }
        }
        // The recipe may have moved on meanwhile.
        self.requantize(candidate);
    }

    #[cfg(feature = "flash")]
    fn collect_flash(&mut self) {
        let flashed = take(&mut self.state.jobs.flash);
        let ports = take(&mut self.state.jobs.ports);
        if let Some(flashed) = self.done(flashed) {
            let (chip, verified) = (&flashed.chip, units::bytes(flashed.verified_bytes));
            self.state
                .inform(format!("Flashed {chip}: {verified} verified on the board"));
            self.state.view.flashed = Some(flashed);
        }
        if let Some(ports) = self.done(ports) {
            if self.state.view.port.is_empty() {
                let first = ports.first().map(|port| port.name.clone());
                self.state.view.port = first.unwrap_or_else(|| "fake".into());
            }
            self.state.view.ports = ports;
        }
    }

    fn collect_dialog(&mut self, ctx: &Context) {
        let Some((purpose, wait)) = self.state.jobs.dialog.take() else {
            return;
        };
        let mut slot = Some(wait);
        let outcome = take(&mut slot);
        self.state.jobs.dialog = slot.map(|wait| (purpose, wait));
        if let Some(path) = self.done(outcome).flatten() {
            self.on_path(purpose, path, ctx);
        }
    }

    fn on_path(&mut self, purpose: Purpose, path: PathBuf, ctx: &Context) {
        let text = path.display().to_string();
        match purpose {
            Purpose::Open => self.apply(Command::Open(text), ctx),
            Purpose::Export => self.state.view.export_path = text,
            Purpose::ExportGguf => self.state.view.gguf_path = text,
            Purpose::Report => self.state.view.report_path = text,
            Purpose::SaveProject => self.state.view.project_path = text,
            Purpose::Firmware => self.state.project.firmware = Some(path),
            Purpose::TrimText => self.state.view.rewrite.text_path = text,
            Purpose::Limits => self.state.view.verify.limits_path = text,
            Purpose::Grid => self.state.view.verify.grid_path = text,
            Purpose::Packed => self.state.view.verify.packed_path = text,
            Purpose::Trimmed => self.state.view.rewrite.trimmed_path = text,
            Purpose::Rotated => self.state.view.rewrite.rotated_path = text,
            Purpose::Tasks => self.apply(Command::Tasks(text), ctx),
        }
    }

    fn collect_answer(&mut self) {
        let Some(mut answering) = self.state.jobs.answer.take() else {
            return;
        };
        let candidate = answering.candidate;
        if let Some(utterance) = self.state.view.transcript.last_mut() {
            let heard = lock(&answering.heard);
            if utterance.speaker == Speaker::Model(candidate) && utterance.text != *heard {
                utterance.text.clone_from(&heard);
            }
        }
        match answering.running.take_outcome() {
            None => self.state.jobs.answer = Some(answering),
            Some(outcome) => {
                if let Some((conversation, answer)) = self.done(Some(outcome)) {
                    self.on_answer(candidate, conversation, answer);
                }
            }
        }
    }

    fn on_answer(
        &mut self,
        candidate: Candidate,
        conversation: Conversation,
        answer: Result<Answer, ChatError>,
    ) {
        // A board has the template's own opening in flash, where this computer computes it.
        let in_flash = match (&answer, self.state.loaded()) {
            (Ok(answer), Some(loaded))
                if answer.has_computed_opening && self.state.project.system.trim().is_empty() =>
            {
                loaded.shape.prefix_tokens
            }
            _ => 0,
        };
        self.state.derived.bench_mut(candidate).conversation = Some(conversation);
        let said = self.state.view.transcript.last_mut();
        let utterance = said.filter(|u| u.speaker == Speaker::Model(candidate));
        match (answer, utterance) {
            (Ok(answer), Some(utterance)) => {
                utterance.facts = Some(Facts {
                    prompt_tokens: answer.prompt_tokens.saturating_sub(in_flash),
                    unspoken_tokens: answer.unspoken_tokens,
                    tokens: answer.tokens.len(),
                    tokens_per_second: answer.decode_tokens_per_second(),
                    first_token_seconds: answer.prefill.as_secs_f64(),
                    logits_hash: answer.logits_hash.0,
                });
                utterance.text = answer.text;
            }
            // A new conversation has begun: the answer belongs to none.
            (Ok(_), None) => {}
            (Err(error), _) => self.state.fail(format!(
                "{} cannot answer: {error}; a new conversation starts with an empty memory",
                candidate.name()
            )),
        }
    }

    fn collect_matrices(&mut self) {
        let mut unfinished = BTreeSet::new();
        for result in self.quantizer.results() {
            match result {
                Err(text) => self.state.fail(text),
                Ok(done) => {
                    let derived = &mut self.state.derived;
                    let (setting, nmse) = (done.built.setting, done.built.nmse);
                    derived.knowledge.note(done.matrix, setting, nmse);
                    let bench = derived.bench_mut(done.candidate);
                    bench.note(&done);
                    let wanted = bench.settings.get(done.matrix);
                    if wanted.is_some_and(|wanted| *wanted != setting) {
                        // It stands in for what takes long, or was on its way when the slider moved back.
                        unfinished.insert(done.candidate);
                    }
                }
            }
        }
        for candidate in unfinished {
            self.requantize(candidate);
        }
    }
}
