//! The Compare dialog: both candidates side by side, and which matrices differ.

use crate::app::bench::Bench;
use crate::app::candidate::Candidate;
use crate::app::command::Command;
use crate::app::measured::BuiltMatrix;
use crate::app::preview::setting_text;
use crate::app::state::{Popup, State};
use crate::app::{theme, units};
use crate::estimate::Estimate;
use crate::evaluate::Evaluation;
use eframe::egui::{Context, Grid, ScrollArea, Ui};

/// Width of figures and matrices.
const MATRICES: f32 = 620.0;
/// Height of the list of matrices before it scrolls.
const LIST: f32 = 300.0;

/// Draws the dialog over the window.
pub(in crate::app) fn compare_ui(ctx: &Context, state: &State, commands: &mut Vec<Command>) {
    let modal = super::modal(ctx, "compare").show(ctx, |ui| {
        ui.label(theme::title("A and B").heading());
        ui.add_space(6.0);
        ui.horizontal_top(|ui| {
            ui.vertical(|ui| {
                ui.set_width(MATRICES);
                figures_ui(ui, state);
                ui.add_space(10.0);
                matrices_ui(ui, state);
            });
            ui.add_space(12.0);
            ui.vertical(|ui| boards_ui(ui, state));
        });
    });
    if modal.should_close() {
        commands.push(Command::Show(Popup::Closed));
    }
}

/// What a row says of one candidate.
type Cell<'a> = &'a dyn Fn(&Bench, Candidate) -> String;

fn figures_ui(ui: &mut Ui, state: &State) {
    let project = &state.project;
    Grid::new("figures")
        .num_columns(3)
        .striped(true)
        .show(ui, |ui| {
            let mut row = |label: &str, cell: Cell<'_>| {
                ui.label(theme::head(label));
                for candidate in Candidate::ALL {
                    let text = cell(state.derived.bench(candidate), candidate);
                    ui.label(theme::mono(text));
                }
                ui.end_row();
            };
            row("", &|_, candidate| candidate.name().to_owned());
            row("Recipe", &|_, candidate| {
                candidate.recipe(project).name.clone()
            });
            row("Packed file", &|bench, _| units::bytes(bench.meter.total));
            row("Bits per weight", &|bench, _| {
                format!("{:.3}", bench.meter.bits_per_weight)
            });
            row("KL, nats a token", &|bench, candidate| {
                kl(state, bench, candidate)
            });
            row("Same top token", &|bench, candidate| {
                evaluated(state, bench, candidate, |e| {
                    let (share, error) = (e.same_top * 100.0, e.same_top_standard_error * 100.0);
                    format!("{share:.1} ± {error:.1} %")
                })
            });
            row("Perplexity", &|bench, candidate| {
                evaluated(state, bench, candidate, |e| {
                    let (found, error) = (e.perplexity, e.perplexity_standard_error);
                    format!(
                        "{found:.2} ± {error:.2}, source {:.2}",
                        e.reference_perplexity
                    )
                })
            });
            row("Tasks that held", &|bench, candidate| {
                let recipe = candidate.recipe(project);
                let tasks = bench
                    .tasks
                    .as_ref()
                    .filter(|t| t.is_of(recipe, project.cache));
                tasks.map_or("not asked".to_owned(), |t| {
                    let held = t.report.held;
                    let [share, low, high] = [held.share, held.low, held.high].map(|s| s * 100.0);
                    format!(
                        "{share:.1} % ({low:.1} to {high:.1}) of {}",
                        t.set.display()
                    )
                })
            });
        });
}

/// Speed on each board.
fn boards_ui(ui: &mut Ui, state: &State) {
    ui.label(theme::head(
        "Boards: estimated tokens a second, and their range; unvalidated",
    ));
    Grid::new("boards")
        .num_columns(3)
        .striped(true)
        .show(ui, |ui| {
            for heading in ["", "A", "B"] {
                ui.label(theme::mono(heading));
            }
            ui.end_row();
            let [a, b] = Candidate::ALL.map(|candidate| &state.derived.bench(candidate).estimates);
            let shown = a
                .iter()
                .zip(b)
                .filter(|(a, b)| a.fits || b.fits || a.id == state.project.board);
            for (a, b) in shown {
                ui.label(theme::head(&a.id));
                ui.label(theme::mono(estimate(a)));
                ui.label(theme::mono(estimate(b)));
                ui.end_row();
            }
        });
}

/// Of a board that holds one of the two, or is selected.
fn estimate(estimate: &Estimate) -> String {
    let speed = estimate.tokens_per_second.as_ref();
    let speed = speed.map_or("unknown".to_owned(), |range| {
        let (mid, around) = (units::short(range.mid), units::range(range.low, range.high));
        format!("{mid} ({around}), {}", estimate.validation.name())
    });
    match estimate.fits {
        true => speed,
        false => "does not fit".to_owned(),
    }
}

/// The divergence and how it was found; of the recipe that there is now.
fn kl(state: &State, bench: &Bench, candidate: Candidate) -> String {
    let (recipe, cache) = (candidate.recipe(&state.project), state.project.cache);
    let quick = bench.quick.as_ref();
    match quick.filter(|quick| quick.recipe == *recipe && quick.cache == cache) {
        Some(quick) if !is_evaluated(state, bench, candidate) => {
            format!("{:.4} on a window of {} tokens", quick.mean, quick.tokens)
        }
        Some(_) | None => evaluated(state, bench, candidate, |e| {
            let (mean, error) = (e.kl_mean, e.kl_mean_standard_error);
            format!("{mean:.4} ± {error:.4}, windows of {}", e.window_tokens)
        }),
    }
}

fn is_evaluated(state: &State, bench: &Bench, candidate: Candidate) -> bool {
    let recipe = candidate.recipe(&state.project);
    let evaluation = bench.evaluation.as_ref();
    evaluation.is_some_and(|e| e.is_of(recipe, state.project.cache))
}

fn evaluated(
    state: &State,
    bench: &Bench,
    candidate: Candidate,
    text: impl Fn(&Evaluation) -> String,
) -> String {
    match &bench.evaluation {
        Some(evaluated) if is_evaluated(state, bench, candidate) => text(&evaluated.result),
        Some(_) => "of an earlier recipe: evaluate again".to_owned(),
        None => "not measured".to_owned(),
    }
}

/// The matrices that are stored differently, those first whose bytes differ most.
fn matrices_ui(ui: &mut Ui, state: &State) {
    let Some(loaded) = state.loaded() else {
        return;
    };
    let [a, b] = Candidate::ALL.map(|candidate| state.derived.bench(candidate));
    let bytes = |bench: &Bench, matrix: usize| bench.planned.get(matrix).map_or(0, |t| t.bytes);
    let mut differing: Vec<usize> = (0..loaded.matrices.len())
        .filter(|m| a.settings.get(*m) != b.settings.get(*m))
        .collect();
    differing.sort_by_key(|m| std::cmp::Reverse(bytes(a, *m).abs_diff(bytes(b, *m))));
    let alike = loaded.matrices.len() - differing.len();
    ui.label(theme::head(format!(
        "{} matrices differ, {alike} are stored alike; errors are squared error over squared weights",
        differing.len()
    )));
    let rows = differing.len();
    let height = ui.text_style_height(&eframe::egui::TextStyle::Body);
    ScrollArea::vertical()
        .max_height(LIST)
        .show_rows(ui, height, rows, |ui, shown| {
            Grid::new("matrices")
                .num_columns(7)
                .striped(true)
                .show(ui, |ui| {
                    for matrix in differing[shown].iter().copied() {
                        ui.label(&loaded.matrices[matrix].name);
                        for bench in [a, b] {
                            ui.label(
                                bench
                                    .settings
                                    .get(matrix)
                                    .map_or_else(String::new, setting_text),
                            );
                            super::end_ui(ui, theme::mono(units::bytes(bytes(bench, matrix))));
                            let built = bench.built.get(matrix).copied().flatten();
                            ui.label(theme::mono(error(built, bench, matrix)).color(theme::WEAK));
                        }
                        ui.end_row();
                    }
                });
        });
}

/// The error of a matrix as it stands, if it is what the recipe asks.
fn error(built: Option<BuiltMatrix>, bench: &Bench, matrix: usize) -> String {
    let is_current = |built: &BuiltMatrix| bench.settings.get(matrix) == Some(&built.setting);
    match built.filter(is_current) {
        Some(built) if built.nmse == 0.0 => "exact".to_owned(),
        Some(built) => format!("{:.1e}", built.nmse),
        None => "not made yet".to_owned(),
    }
}
