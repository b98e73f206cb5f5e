//! The window's rewrites: what the jobs do, what is said of it.

use super::forms::{Rewrite, Rewritten};
use super::jobs::{Ended, JobKind};
use super::loaded::Loaded;
use super::running::Failure;
use super::state::Popup;
use super::studio::Studio;
use super::units;
use super::work::EVALUATION_TEXT;
use crate::job::Job;
use crate::model::Model;
use crate::rewrite::{Cost, FloatType, Rotated, Rotation, Sample, Trimmed, rotate, trim};
use crate::text_file;
use eframe::egui::Context;

/// Tokens of the evaluation text on which a trimmed model is compared with the one before.
const MEASURED_TOKENS: usize = 1024;

impl Studio {
    pub(super) fn rewrite(&mut self, rewrite: Rewrite, ctx: &Context) {
        let Some(loaded) = self.state.loaded().cloned() else {
            return;
        };
        let title = format!("Rewrite {}", rewrite.path().display());
        let jobs = &mut self.state.jobs;
        jobs.start(JobKind::Rewrite, title, ctx, move |job| {
            Ok(Ended::Rewritten(written(&loaded, &rewrite, job)?))
        });
        self.state.view.popup = Popup::Closed;
    }

    /// Says what was written, and opens it.
    pub(super) fn on_rewritten(&mut self, rewritten: Rewritten, ctx: &Context) {
        let Rewritten { path, figures } = rewritten;
        self.state.inform(format!("{}: {figures}", path.display()));
        self.open_other_form(path, ctx);
    }
}

fn written(loaded: &Loaded, rewrite: &Rewrite, job: &Job<'_>) -> Result<Rewritten, Failure> {
    let model = &loaded.model;
    let figures = match rewrite {
        Rewrite::Trim { text, tokens, path } => {
            let name = text.display().to_string();
            let text = text_file::read(text, text_file::PROSE_BYTES)
                .map_err(|error| format!("cannot read {name}: {error}"))?;
            let sample = Sample::Text {
                name: &name,
                text: &text,
            };
            let most = Some(*tokens).filter(|tokens| *tokens > 0);
            let trimmed = trim(model, &[sample], most, path, job)?;
            let after = Model::load(path, job)?;
            let held_out = ("the evaluation text", EVALUATION_TEXT);
            let cost = Cost::measure(model, &after, held_out, MEASURED_TOKENS, job)?;
            trimmed_text(&trimmed, &cost)
        }
        Rewrite::Rotate { basis, path } => {
            let rotation = Rotation {
                basis: *basis,
                seed: 0,
                floats: FloatType::F16,
            };
            rotated_text(&rotate(model, &rotation, path, job)?)
        }
    };
    Ok(Rewritten {
        path: rewrite.path().to_owned(),
        figures,
    })
}

fn trimmed_text(trimmed: &Trimmed, cost: &Cost) -> String {
    format!(
        "{} of {} tokens, {} instead of {}; the evaluation text takes {} tokens instead of {} and {:.3} bits a byte \
         instead of {:.3}",
        trimmed.tokens_after,
        trimmed.tokens_before,
        units::bytes(trimmed.bytes_after),
        units::bytes(trimmed.bytes_before),
        cost.text_tokens_after,
        cost.text_tokens_before,
        cost.bits_per_byte_after,
        cost.bits_per_byte_before
    )
}

fn rotated_text(rotated: &Rotated) -> String {
    format!(
        "{} matrices in another basis, {} in 16 bits instead of {}",
        rotated.matrices,
        units::bytes(rotated.bytes),
        units::bytes(rotated.source_bytes)
    )
}
