//! How tokens of an answer are chosen: a button that says so, and the numbers behind it.

use super::number::number_ui;
use crate::app::command::Command;
use crate::app::theme;
use crate::project::SamplingSettings;
use eframe::egui::containers::menu::{MenuButton, MenuConfig};
use eframe::egui::emath::Numeric;
use eframe::egui::{DragValue, Grid, PopupCloseBehavior, Ui};
use engine::sampler::Sampling;
use std::ops::RangeInclusive;

/// Hottest that a drag goes: far above it every token is as likely as another.
const HOTTEST: f32 = 5.0;
/// A drag's bounds of the repetition penalty.
const PENALTIES: RangeInclusive<f32> = 0.5..=2.0;

/// Draws the button, and while it is open the numbers.
pub(super) fn sampling_ui(
    ui: &mut Ui,
    settings: &mut SamplingSettings,
    commands: &mut Vec<Command>,
) {
    let text = if settings.temperature > 0.0 {
        format!("Temperature {:.2}…", settings.temperature)
    } else {
        "Greedy…".to_owned()
    };
    // A drag within must not close it.
    let config = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
    let (button, _) = MenuButton::new(text).config(config).ui(ui, |ui| {
        ui.label(theme::head("How A and B choose the tokens of an answer"));
        Grid::new("sampling").num_columns(2).show(ui, |ui| {
            numbers_ui(ui, settings, commands);
        });
        let is_greedy = *settings == SamplingSettings::default();
        let reset = eframe::egui::Button::new("Most likely token, always");
        if ui.add_enabled(!is_greedy, reset).clicked() {
            *settings = SamplingSettings::default();
        }
    });
    button
        .on_hover_text("How tokens of an answer are chosen, for both candidates alike")
        .accessible_name("Sampling");
}

fn numbers_ui(ui: &mut Ui, settings: &mut SamplingSettings, commands: &mut Vec<Command>) {
    let SamplingSettings {
        temperature,
        top_k,
        top_p,
        min_p,
        repetition_penalty,
        repetition_window,
        seed,
    } = settings;
    let mut fields = Fields { ui, commands };
    let hint = "0 takes the most likely token; higher is more varied";
    fields.number_ui("Temperature", temperature, 0.0..=HOTTEST, 0.01, hint);
    let hint = "Only so many of the most likely tokens; 0 keeps all";
    fields.number_ui("Top-k", top_k, 0..=1000, 0.5, hint);
    let hint = "Only the most likely tokens that together have this share; 1 keeps all";
    fields.number_ui("Top-p", top_p, 0.0..=1.0, 0.005, hint);
    let hint = "Only tokens with this share of the most likely one's; 0 keeps all";
    fields.number_ui("Min-p", min_p, 0.0..=1.0, 0.005, hint);
    let hint = "Above 1, tokens that were said lately become less likely";
    let name = "Repetition penalty";
    fields.number_ui(name, repetition_penalty, PENALTIES, 0.005, hint);
    let hint = "Tokens that count as said lately";
    let windows = 0..=Sampling::LONGEST_WINDOW;
    fields.number_ui("Repetition window", repetition_window, windows, 1.0, hint);
    let hint = "The same seed draws the same tokens from the same logits";
    fields.number_ui("Seed", seed, 0..=u32::MAX, 1.0, hint);
}

/// What every field is drawn with.
struct Fields<'a> {
    ui: &'a mut Ui,
    commands: &'a mut Vec<Command>,
}

impl Fields<'_> {
    fn number_ui<N: Numeric>(
        &mut self,
        name: &str,
        number: &mut N,
        range: RangeInclusive<N>,
        speed: f64,
        hint: &str,
    ) {
        self.ui.label(name).on_hover_text(hint);
        // A project may hold a number beyond what a drag reaches.
        let value = DragValue::new(number)
            .speed(speed)
            .clamp_existing_to_range(false);
        number_ui(self.ui, value, (name, ""), range, self.commands).on_hover_text(hint);
        self.ui.end_row();
    }
}
