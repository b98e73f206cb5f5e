//! All colours and sizes of the window.

use super::answerer::Answerer;
use super::candidate::Candidate;
use super::table::Group;
use eframe::egui::{
    Color32, Context, CornerRadius, FontFamily, FontId, Margin, RichText, Stroke, TextStyle, Theme,
    Visuals, vec2,
};

pub(super) const BACKGROUND: Color32 = Color32::from_rgb(19, 22, 27);
pub(super) const PANEL: Color32 = Color32::from_rgb(25, 29, 35);
pub(super) const RAISED: Color32 = Color32::from_rgb(36, 41, 49);
pub(super) const LINE: Color32 = Color32::from_rgb(45, 51, 60);
pub(super) const TEXT: Color32 = Color32::from_rgb(214, 220, 228);
pub(super) const STRONG: Color32 = Color32::from_rgb(243, 246, 250);
pub(super) const WEAK: Color32 = Color32::from_rgb(139, 149, 162);
pub(super) const GOOD: Color32 = Color32::from_rgb(112, 193, 143);
pub(super) const BAD: Color32 = Color32::from_rgb(232, 122, 118);
pub(super) const ACCENT: Color32 = Color32::from_rgb(88, 166, 232);
const AMBER: Color32 = Color32::from_rgb(230, 172, 92);
#[cfg(feature = "flash")]
const VIOLET: Color32 = Color32::from_rgb(187, 154, 232);

/// Row height of tables.
pub(super) const ROW: f32 = 24.0;
/// Height of the top bar.
pub(super) const TOP: f32 = 118.0;
/// Height of the strip at the bottom.
pub(super) const STATUS: f32 = 28.0;
/// Widths of the board panel: where there is room, and at least.
pub(super) const BOARDS: (f32, f32) = (548.0, 486.0);
/// Width of the layer table with all its columns.
pub(super) const LAYERS: f32 = 890.0;
/// Height of the assistant.
pub(super) const ASSISTANT: f32 = 272.0;
/// Rounding of bars and cells.
pub(super) const ROUND: u8 = 3;

/// The colour of a candidate.
pub(super) const fn candidate(candidate: Candidate) -> Color32 {
    match candidate {
        Candidate::A => ACCENT,
        Candidate::B => AMBER,
    }
}

/// The colour of who answers.
pub(super) const fn answerer(answerer: Answerer) -> Color32 {
    match answerer {
        Answerer::Candidate(of) => candidate(of),
        #[cfg(feature = "flash")]
        Answerer::Board => VIOLET,
    }
}

/// The colour of a part of the byte meter.
pub(super) const fn group(group: Group) -> Color32 {
    match group {
        Group::Embedding => Color32::from_rgb(116, 132, 214),
        Group::Attention => Color32::from_rgb(74, 172, 183),
        Group::FeedForward => Color32::from_rgb(178, 126, 196),
        Group::Output => Color32::from_rgb(205, 170, 92),
    }
}

/// What belongs to no group: vocabulary, norms, padding.
pub(super) const REST: Color32 = Color32::from_rgb(96, 106, 118);

/// Smallest and largest error that the heat scale tells apart, as powers of ten.
const HEAT: (f64, f64) = (-6.0, 0.0);

/// The colour of a normalised squared error, on a logarithmic scale from blue to red.
pub(super) fn heat(nmse: f64) -> Color32 {
    const STOPS: [Color32; 4] = [
        Color32::from_rgb(33, 60, 84),
        Color32::from_rgb(42, 106, 106),
        Color32::from_rgb(168, 122, 46),
        Color32::from_rgb(186, 62, 56),
    ];
    let (low, high) = HEAT;
    #[expect(clippy::cast_possible_truncation, reason = "a share of a colour scale")]
    let place = ((nmse.max(1e-12).log10() - low) / (high - low)).clamp(0.0, 1.0) as f32 * 3.0;
    let (from, to, t) = match place {
        p if p < 1.0 => (STOPS[0], STOPS[1], p),
        p if p < 2.0 => (STOPS[1], STOPS[2], p - 1.0),
        p => (STOPS[2], STOPS[3], p - 2.0),
    };
    from.lerp_to_gamma(to, t)
}

/// Opacity of what belongs to an earlier recipe.
pub(super) const STALE: f32 = 0.4;

/// Numbers and names that are compared: monospace.
pub(super) fn mono(text: impl Into<String>) -> RichText {
    RichText::new(text).monospace()
}

/// Secondary text.
pub(super) fn weak(text: impl Into<String>) -> RichText {
    RichText::new(text).color(WEAK)
}

/// The head of a column or a part.
pub(super) fn head(text: impl Into<String>) -> RichText {
    RichText::new(text).small().color(WEAK)
}

/// The title of a panel.
pub(super) fn title(text: impl Into<String>) -> RichText {
    RichText::new(text).strong().color(STRONG)
}

/// Sets the whole window's look.
pub(super) fn apply(ctx: &Context) {
    ctx.set_theme(Theme::Dark);
    ctx.all_styles_mut(|style| {
        let font = |size| FontId::new(size, FontFamily::Proportional);
        style.text_styles = [
            (TextStyle::Small, font(11.5)),
            (TextStyle::Body, font(13.5)),
            (TextStyle::Button, font(13.5)),
            (TextStyle::Heading, font(17.0)),
            (
                TextStyle::Monospace,
                FontId::new(12.5, FontFamily::Monospace),
            ),
        ]
        .into();
        style.visuals = visuals();
        let spacing = &mut style.spacing;
        spacing.item_spacing = vec2(8.0, 5.0);
        spacing.button_padding = vec2(9.0, 3.0);
        spacing.interact_size.y = 22.0;
        spacing.slider_rail_height = 4.0;
        // Tables keep clear of their scroll bar.
        spacing.scroll.floating_allocated_width = 10.0;
        spacing.window_margin = Margin::same(16);
        spacing.menu_margin = Margin::same(8);
        // Tables and answers have much to read and little to animate.
        style.animation_time = 0.0;
        // What can be read can be taken elsewhere: a figure, a hash, a sentence.
        style.interaction.selectable_labels = true;
    });
}

fn visuals() -> Visuals {
    let mut visuals = Visuals::dark();
    visuals.override_text_color = None;
    visuals.panel_fill = PANEL;
    visuals.window_fill = PANEL;
    visuals.extreme_bg_color = BACKGROUND;
    visuals.faint_bg_color = Color32::from_rgb(29, 33, 40);
    visuals.window_stroke = Stroke::new(1.0, LINE);
    visuals.window_corner_radius = CornerRadius::same(8);
    visuals.hyperlink_color = ACCENT;
    visuals.error_fg_color = BAD;
    visuals.weak_text_color = Some(WEAK);
    visuals.selection.bg_fill = Color32::from_rgb(34, 60, 86);
    visuals.selection.stroke = Stroke::new(1.0, STRONG);
    visuals.slider_trailing_fill = true;
    let widgets = &mut visuals.widgets;
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, LINE);
    widgets.noninteractive.fg_stroke = Stroke::new(1.0, TEXT);
    for (state, fill) in [
        (&mut widgets.inactive, RAISED),
        (&mut widgets.hovered, Color32::from_rgb(47, 54, 64)),
        (&mut widgets.active, Color32::from_rgb(57, 66, 78)),
        (&mut widgets.open, Color32::from_rgb(47, 54, 64)),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, LINE);
        state.fg_stroke = Stroke::new(1.0, TEXT);
        state.corner_radius = CornerRadius::same(4);
        state.expansion = 0.0;
    }
    widgets.hovered.bg_stroke = Stroke::new(1.0, Color32::from_rgb(78, 88, 102));
    widgets.active.bg_stroke = Stroke::new(1.0, ACCENT);
    visuals
}
