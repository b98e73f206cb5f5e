//! The window's checks: a candidate against limits, the recipes of a grid, a packed file made again.

use super::forms::{Checked, SweepRows, Verification};
use super::jobs::{Ended, JobKind};
use super::loaded::Loaded;
use super::opened::open_model;
use super::running::{Failure, lock};
use super::studio::Studio;
use super::tuning;
use super::work::{self, Ready};
use crate::calibrate::CalibrationText;
use crate::job::Job;
use crate::packed::PackedModel;
use crate::recipe::Recipe;
use crate::report::sweep::{Grid, Step, Swept};
use crate::report::{Check, Findings, MeasureError, Reproduced, Run, reproduce};
use crate::workers::Processor;
use eframe::egui::Context;
use engine::arena::CachePrecision;
use std::path::Path;
use std::sync::{Arc, Mutex};

impl Studio {
    pub(super) fn verify(&mut self, what: Verification, ctx: &Context) {
        let candidate = self.state.view.active;
        let Some((loaded, recipe, ready)) = self.candidate(candidate) else {
            return;
        };
        let (cache, processor) = (self.state.project.cache, Arc::clone(&self.processor));
        let jobs = &mut self.state.jobs;
        match what {
            Verification::Check(path) => {
                let title = format!("Check {}", candidate.name());
                jobs.start(JobKind::Check, title, ctx, move |job| {
                    let run = (cache, &*processor);
                    let findings = findings(&loaded, &recipe, &ready, run, &path, job)?;
                    Ok(Ended::Checked(Checked {
                        candidate,
                        recipe: recipe.name,
                        findings: findings.limits,
                        warnings: findings.warnings,
                    }))
                });
            }
            Verification::Sweep(path) => {
                let folder = tuning::folder(self.calibrations.clone()).ok();
                let rows = Arc::new(Mutex::new(SweepRows::default()));
                self.state.view.verify.sweep = Arc::clone(&rows);
                let title = format!("Sweep {}", path.display());
                jobs.start(JobKind::Sweep, title, ctx, move |job| {
                    let paths = (path.as_path(), folder.as_deref());
                    Ok(Ended::Swept(sweep(&loaded, paths, &processor, &rows, job)?))
                });
            }
            Verification::Reproduce(path) => {
                let told = self.calibrations.clone();
                let title = format!("Reproduce {}", path.display());
                jobs.start(JobKind::Reproduce, title, ctx, move |job| {
                    let folder = tuning::folder(told)?;
                    let (name, made) = made_again(&loaded, &path, &folder, &processor, job)?;
                    Ok(Ended::Reproduced(name, made))
                });
            }
        }
    }

    pub(super) fn on_swept(&self, swept: Swept) {
        let mut sweep = lock(&self.state.view.verify.sweep);
        sweep.ended = format!(
            "{} points, {} of them from before: {} and {}",
            swept.points,
            swept.skipped,
            swept.rows.display(),
            swept.csv.display()
        );
        for warning in &swept.warnings {
            sweep.ended += &format!("\nWarning: {warning}");
        }
        sweep.rows = swept.table;
    }
}

/// Packs a recipe's model and holds it against the limits of a file.
fn findings(
    loaded: &Loaded,
    recipe: &Recipe,
    ready: &Ready,
    (cache, processor): (CachePrecision, &Processor),
    limits: &Path,
    job: &Job<'_>,
) -> Result<Findings, Failure> {
    let check = Check::open(limits)?;
    let packed = work::pack(loaded, recipe, ready, (cache, processor), job)?;
    let name = format!("{}, {}", loaded.model.name, recipe.name);
    let other = match check.reference() {
        Some(spec) if spec != loaded.spec => Some(open_model(&spec, job)?),
        Some(_) | None => None,
    };
    let reference = other.as_ref().unwrap_or(&loaded.model);
    let run = Run {
        cache: Some(cache),
        processor,
    };
    Ok(check.findings((&name, &packed), Some(reference), run, job)?)
}

/// Runs the grid of a file; rows go beside it, a calibration into the folder.
fn sweep(
    loaded: &Loaded,
    (path, calibrations): (&Path, Option<&Path>),
    processor: &Processor,
    rows: &Mutex<SweepRows>,
    job: &Job<'_>,
) -> Result<Swept, Failure> {
    let grid = Grid::load(path)?;
    let other = match grid.model == loaded.spec {
        true => None,
        false => Some(open_model(&grid.model, job)?),
    };
    let model = other.as_ref().unwrap_or(&loaded.model);
    let mut on_row = |step: Step<'_>| {
        let mut sweep = lock(rows);
        sweep.rows.push(step.row.clone());
        sweep.progress = format!(
            "{} of {}, about {:.0} s left",
            step.done, step.todo, step.left_seconds
        );
    };
    let stem = path.with_extension("");
    Ok(grid.run(model, &stem, calibrations, processor, &mut on_row, job)?)
}

/// Makes a packed file again of the model that is open.
fn made_again(
    loaded: &Loaded,
    path: &Path,
    calibrations: &Path,
    processor: &Processor,
    job: &Job<'_>,
) -> Result<(String, Reproduced), Failure> {
    let name = path.display().to_string();
    let packed = PackedModel::open(path, job)?;
    let text = |tokens| {
        let text = CalibrationText::default_of(&loaded.model, tokens);
        text.map_err(MeasureError::from)
    };
    let of = (name.as_str(), &packed);
    let reproduced = reproduce(of, &loaded.model, text, calibrations, processor, job)?;
    Ok((name, reproduced))
}
