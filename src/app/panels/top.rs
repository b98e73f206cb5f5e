//! The top bar: the model, and for each candidate its recipe, its bytes and its measured quality.

use super::{frame, right_ui, tasks};
use crate::app::answerer::Answerer;
use crate::app::bench::Bench;
use crate::app::candidate::Candidate;
use crate::app::command::{Command, key};
use crate::app::jobs::JobKind;
use crate::app::measured::{Evaluated, Meter, QuickKl};
use crate::app::preview::Measure;
use crate::app::state::{Popup, State};
use crate::app::table::Group;
use crate::app::{theme, units};
use crate::calibrate::DEFAULT_TOKENS;
use crate::recipe::Recipe;
use eframe::egui::{
    Align, Button, Color32, ComboBox, CornerRadius, Label, Layout, Panel, Rect, RichText, Sense,
    Stroke, Ui, pos2, vec2,
};
use engine::arena::CachePrecision;

/// Height of the bar of bytes.
const BAR: f32 = 14.0;

/// Draws the top bar.
pub(in crate::app) fn top_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    Panel::top("top")
        .exact_size(theme::TOP)
        .frame(frame())
        .show(ui, |ui| {
            head_ui(ui, state, commands);
            let scale = Candidate::ALL
                .map(|candidate| state.derived.bench(candidate).meter.total)
                .into_iter()
                .fold(1, u64::max);
            for candidate in Candidate::ALL {
                candidate_ui(ui, state, candidate, scale, commands);
            }
            legend_ui(ui, state);
        });
}

/// Model, and what can be done with it; in a narrow window the model's words give way.
fn head_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            actions_ui(ui, state, commands);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                model_ui(ui, state);
            });
        });
    });
}

fn model_ui(ui: &mut Ui, state: &State) {
    let Some(loaded) = state.loaded() else {
        ui.label(theme::title("Whittle").heading());
        ui.label(theme::weak("no model open"));
        return;
    };
    let model = &loaded.model;
    let shape = format!(
        "{} · {} layers · {} weights · from {}",
        model.architecture,
        model.hyperparameters.layers,
        units::count(model.parameters()),
        model.provenance.source_precision
    );
    let licence = model.provenance.licence.as_deref().unwrap_or("not stated");
    let hint = format!(
        "{}: {shape}\n{}, licence {licence}",
        model.name,
        loaded.spec.display()
    );
    let name = theme::title(&model.name).heading();
    for text in [name, theme::weak(&shape)] {
        ui.add(Label::new(text).truncate()).on_hover_text(&hint);
    }
}

/// Buttons, from the right.
fn actions_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let has_model = state.loaded().is_some();
    let view = &state.view;
    #[cfg(feature = "flash")]
    button_ui(
        ui,
        "Flash…",
        has_model,
        Command::Show(Popup::Flash),
        commands,
    );
    let export = Command::Show(Popup::Export);
    button_ui(ui, "Export…", has_model, export, commands);
    let verify = Command::Show(Popup::Verify);
    button_ui(ui, "Verify…", has_model, verify, commands);
    let compare = Command::Show(Popup::Compare);
    button_ui(ui, "Compare…", has_model, compare, commands);
    let can_evaluate = has_model && state.jobs.may_start(JobKind::Evaluate);
    tasks::menu_ui(ui, state, commands);
    tuning_ui(ui, state, commands);
    button_ui(ui, "Evaluate", can_evaluate, Command::Evaluate, commands);
    ui.separator();
    button_ui(ui, "Redo", view.can_redo, Command::Redo, commands);
    button_ui(ui, "Undo", view.can_undo, Command::Undo, commands);
    ui.separator();
    button_ui(ui, "Save", true, Command::Save, commands);
    button_ui(ui, "Open…", true, Command::Show(Popup::Open), commands);
}

/// Calibrate and Tune….
fn tuning_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let can_start = state.loaded().is_some() && state.jobs.may_start(JobKind::Calibrate);
    let (text, hint) = match &state.derived.calibration {
        None => (
            "Calibrate",
            format!(
                "Measures what every matrix reads on {DEFAULT_TOKENS} tokens of text, so that gptq and \
                 wanda spare what matters; kept in the cache and paid for once"
            ),
        ),
        Some(calibration) => (
            "Calibrated",
            format!(
                "On {} tokens of text, kept in the cache: {}",
                calibration.origin.tokens,
                calibration.folder().display()
            ),
        ),
    };
    let tune = Command::Show(Popup::Tune);
    button_ui(ui, "Tune…", state.loaded().is_some(), tune, commands);
    let is_open = can_start && state.derived.calibration.is_none();
    let button = ui.add_enabled(is_open, Button::new(text));
    let button = button.on_hover_text(&hint).on_disabled_hover_text(&hint);
    if button.clicked() {
        commands.push(Command::Calibrate);
    }
}

fn button_ui(
    ui: &mut Ui,
    text: &str,
    enabled: bool,
    command: Command,
    commands: &mut Vec<Command>,
) {
    let hint = match (&command, key(ui.ctx(), &command)) {
        (Command::Evaluate, key) => format!(
            "Compares the active candidate with the source in 16 bits on 1024 tokens of prose ({key})"
        ),
        (Command::Show(Popup::Compare), _) => {
            "Both candidates side by side: bytes, quality, boards, and which matrices differ"
                .to_owned()
        }
        (Command::Show(Popup::Verify), _) => {
            "Limits that must hold, recipes of a grid, and packed files made again".to_owned()
        }
        (_, key) => key,
    };
    let mut response = ui.add_enabled(enabled, Button::new(text));
    if !hint.is_empty() {
        response = response.on_hover_text(hint);
    }
    if response.clicked() {
        commands.push(command);
    }
}

/// One candidate: who it is, its recipe, its bytes.
fn candidate_ui(
    ui: &mut Ui,
    state: &mut State,
    candidate: Candidate,
    scale: u64,
    commands: &mut Vec<Command>,
) {
    let is_active = state.view.active == candidate;
    ui.horizontal(|ui| {
        let color = theme::candidate(candidate);
        let text = RichText::new(candidate.name()).strong();
        let (text, fill) = if is_active {
            (text.color(theme::BACKGROUND), color)
        } else {
            (text.color(color), theme::RAISED)
        };
        let button = Button::new(text)
            .fill(fill)
            .stroke(Stroke::new(1.0, color))
            .min_size(vec2(26.0, 22.0));
        let switch = ui
            .add(button)
            .on_hover_text("The candidate that is tuned and answers (X switches)")
            .accessible_name(format!("Candidate {}", candidate.name()));
        if switch.clicked() {
            commands.push(Command::Activate(candidate));
        }
        let role = match (is_active, state.answerer()) {
            (false, _) => "",
            (true, Answerer::Candidate(_)) => "tuned, answers",
            #[cfg(feature = "flash")]
            (true, Answerer::Board) => "tuned",
        };
        ui.allocate_ui_with_layout(
            vec2(88.0, 22.0),
            Layout::left_to_right(Align::Center),
            |ui| {
                ui.set_min_width(88.0);
                ui.label(RichText::new(role).small().color(color));
            },
        );
        preset_ui(ui, state, candidate);
        if state.loaded().is_some() {
            let bench = state.derived.bench(candidate);
            warnings_ui(ui, bench);
            sizes_ui(ui, &bench.meter);
            let project = &state.project;
            predicted_ui(ui, bench);
            quality_ui(ui, bench, candidate.recipe(project), project.cache);
            tasks::held_ui(ui, state, candidate);
            bar_ui(ui, &bench.meter, scale);
        }
    });
}

/// The recipe's name, and presets to choose another.
fn preset_ui(ui: &mut Ui, state: &mut State, candidate: Candidate) {
    let recipe = candidate.recipe_mut(&mut state.project);
    let presets = &state.view.presets;
    let is_preset = presets.contains(recipe);
    let shown = if is_preset {
        recipe.name.clone()
    } else {
        format!("{}, edited", recipe.name)
    };
    let chosen = ComboBox::from_id_salt(("recipe", candidate.name()))
        .selected_text(shown)
        .width(184.0)
        .show_ui(ui, |ui| {
            for preset in presets {
                let label = ui.selectable_label(preset == recipe, &preset.name);
                if label.on_hover_text(&preset.description).clicked() {
                    *recipe = preset.clone();
                }
            }
        });
    chosen
        .response
        .accessible_name(format!("Recipe of {}", candidate.name()));
}

/// What is wrong with the recipe for this model, if anything is.
fn warnings_ui(ui: &mut Ui, bench: &Bench) {
    let count = match bench.warnings.len() {
        0 => return,
        1 => "1 rule matches nothing".to_owned(),
        more => format!("{more} rules match nothing"),
    };
    let sentences: Vec<String> = bench.warnings.iter().map(ToString::to_string).collect();
    ui.label(RichText::new(count).small().color(theme::BAD))
        .on_hover_text(sentences.join("\n"));
}

fn sizes_ui(ui: &mut Ui, meter: &Meter) {
    right_ui(
        ui,
        84.0,
        theme::mono(units::bytes(meter.total)).color(theme::STRONG),
    )
    .on_hover_text("The packed file: weights, scales, masks, norms, vocabulary, padding");
    let bits = format!("{:.2} bits/w", meter.bits_per_weight);
    right_ui(ui, 104.0, theme::mono(bits))
        .on_hover_text("Bits per weight of the matrices, scales and masks counted");
}

/// What the recipe will cost, before anything is measured.
fn predicted_ui(ui: &mut Ui, bench: &Bench) {
    let Some(preview) = &bench.preview else {
        return;
    };
    let text = preview.total.text(preview.measure);
    let text = match preview.measure {
        Measure::Divergence => format!("pred. KL {text}"),
        Measure::WeightError => format!("pred. {text}"),
    };
    right_ui(ui, 136.0, theme::mono(text).color(theme::WEAK))
        .on_hover_text(preview.total.hint(preview.measure));
}

/// Divergence from the source, faded once the recipe has moved on.
fn quality_ui(ui: &mut Ui, bench: &Bench, recipe: &Recipe, cache: CachePrecision) {
    let is_current = |e: &&Evaluated| e.is_of(recipe, cache);
    let is_quick = |quick: &&QuickKl| quick.recipe == *recipe && quick.cache == cache;
    if bench.evaluation.as_ref().filter(is_current).is_none()
        && let Some(quick) = bench.quick.as_ref().filter(is_quick)
    {
        let text = theme::mono(format!("KL {:.4} quick", quick.mean));
        right_ui(ui, 150.0, text).on_hover_text(format!(
            "Measured on one window of {} tokens after the recipe changed, its second half scored, nats per token; Evaluate measures on more and says its error",
            quick.tokens
        ));
        return;
    }
    let Some(evaluated) = &bench.evaluation else {
        right_ui(ui, 150.0, theme::mono("KL not measured").color(theme::WEAK))
            .on_hover_text("Evaluate measures it for the active candidate");
        return;
    };
    let result = &evaluated.result;
    let is_current = evaluated.is_of(recipe, cache);
    let color = if is_current {
        theme::TEXT
    } else {
        theme::TEXT.gamma_multiply(theme::STALE)
    };
    let (mean, error) = (result.kl_mean, result.kl_mean_standard_error);
    let text = format!("KL {mean:.4} ± {error:.4}");
    let mut hint = format!(
        "KL divergence from the source in 16 bits, nats per token, ± its standard error\n\
         median {:.4}, 95th percentile {:.3}, 99th {:.3}\n\
         same top token {:.1} ± {:.1} %, RMS Δp {:.1} %\n\
         perplexity {:.2} ± {:.2}, source {:.2}, ln ratio {:.4} ± {:.4}\n\
         {} tokens scored in {} windows of {} tokens of {}\n\
         reference: {}, {}",
        result.kl_median,
        result.kl_p95,
        result.kl_p99,
        result.same_top * 100.0,
        result.same_top_standard_error * 100.0,
        result.delta_p_rms * 100.0,
        result.perplexity,
        result.perplexity_standard_error,
        result.reference_perplexity,
        result.ln_perplexity_ratio,
        result.ln_perplexity_ratio_standard_error,
        result.tokens,
        result.windows,
        result.window_tokens,
        evaluated.basis.text,
        evaluated.basis.reference,
        evaluated.basis.reference_precision
    );
    if !is_current {
        hint += "\nof an earlier recipe or KV precision: evaluate again";
    }
    right_ui(ui, 150.0, theme::mono(text).color(color)).on_hover_text(hint);
}

/// What each part takes, to the scale of the larger candidate.
fn parts(meter: &Meter) -> impl Iterator<Item = (&'static str, u64, Color32)> {
    let groups = Group::ALL.into_iter().zip(meter.groups);
    groups
        .map(|(group, bytes)| (group.title(), bytes, theme::group(group)))
        .chain([("Vocabulary, norms, padding", meter.rest(), theme::REST)])
        .filter(|(_, bytes, _)| *bytes > 0)
}

fn bar_ui(ui: &mut Ui, meter: &Meter, scale: u64) {
    let size = vec2(ui.available_width(), BAR);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(theme::ROUND), theme::BACKGROUND);
    let mut left = rect.left();
    for (_, bytes, color) in parts(meter) {
        #[expect(clippy::cast_precision_loss, reason = "a bar has a few hundred pixels")]
        let width = rect.width() * (bytes as f32 / scale as f32);
        let part = Rect::from_min_max(pos2(left, rect.top()), pos2(left + width, rect.bottom()));
        painter.rect_filled(part.shrink2(vec2(0.5, 0.0)), CornerRadius::ZERO, color);
        left += width;
    }
    response.on_hover_ui(|ui| {
        for (name, bytes, color) in parts(meter) {
            ui.horizontal(|ui| {
                swatch_ui(ui, color);
                ui.label(format!("{name}: {}", units::bytes(bytes)));
            });
        }
    });
}

fn swatch_ui(ui: &mut Ui, color: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(9.0, 9.0), Sense::hover());
    ui.painter().rect_filled(rect, CornerRadius::same(2), color);
}

/// The colours of the bars, with the bytes of the active candidate.
fn legend_ui(ui: &mut Ui, state: &State) {
    if state.loaded().is_none() {
        return;
    }
    let active = state.view.active;
    let meter = state.derived.bench(active).meter;
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let parts: Vec<_> = parts(&meter).collect();
        for (name, bytes, color) in parts.into_iter().rev() {
            let text = format!("{name} {}", units::bytes(bytes));
            ui.label(RichText::new(text).small().color(theme::WEAK));
            swatch_ui(ui, color);
            ui.add_space(8.0);
        }
        let of = format!("Bytes of {}:", active.name());
        ui.label(RichText::new(of).small().color(theme::candidate(active)));
    });
}
