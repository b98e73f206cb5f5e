//! The layer table: bits and sparsity of every matrix, what it takes and what it loses.

use super::{end_ui, frame, open, right_ui};
use crate::app::bench::Bench;
use crate::app::command::Command;
use crate::app::jobs::JobKind;
use crate::app::loaded::Loaded;
use crate::app::preview::better_text;
use crate::app::rows::{Change, Shared, Summary, change, summary};
use crate::app::state::State;
use crate::app::table::{Kind, Row};
use crate::app::{theme, units};
use crate::recipe::{MAX_SPARSITY, Precision, Pruner, Quantizer};
use eframe::egui::{
    Align, Align2, Button, CentralPanel, ComboBox, CornerRadius, FontId, Frame, Layout, Rect,
    RichText, ScrollArea, Sense, Shape, Slider, Ui, Vec2, pos2, vec2,
};
use egui_extras::{Column, TableBuilder, TableRow};
use std::collections::BTreeSet;

/// Widths of the columns after the name.
const SHAPE: f32 = 76.0;
const SLIDER: f32 = 120.0;
const METHOD: f32 = 92.0;
/// Width of the number before a slider.
const NUMBER: f32 = 42.0;
const ENCODING: f32 = 58.0;
const BYTES: f32 = 66.0;
const ERROR: f32 = 60.0;
const PREDICTED: f32 = 84.0;
/// Length of a slider, after its number.
const RAIL: f32 = 70.0;

/// Draws the layer table, or what to open when there is no model.
pub(in crate::app) fn layers_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let panel = frame().fill(theme::BACKGROUND);
    CentralPanel::default().frame(panel).show(ui, |ui| {
        let Some(loaded) = state.loaded().cloned() else {
            empty_ui(ui, state, commands);
            return;
        };
        let active = state.view.active;
        let bench = state.derived.bench(active);
        let recipe = active.recipe_mut(&mut state.project);
        // The rails of the sliders say whose recipe they change.
        ui.visuals_mut().selection.bg_fill = theme::candidate(active).gamma_multiply(0.6);
        let open = &mut state.view.open_layers;
        let edit = ScrollArea::horizontal()
            .auto_shrink(false)
            .show(ui, |ui| {
                ui.set_min_width(theme::LAYERS);
                table_ui(ui, &loaded, bench, open)
            })
            .inner;
        if let Some((row, wanted)) = edit {
            change(recipe, &loaded, &row, &bench.settings, wanted);
        }
    });
}

/// With nothing open: what could be.
fn empty_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    ui.add_space(48.0);
    ui.vertical_centered(|ui| {
        ui.set_max_width(560.0);
        let mut opening = [JobKind::Open, JobKind::Fetch].into_iter();
        if opening.any(|kind| state.jobs.is_running(kind)) {
            ui.label(theme::weak("Opening the model…"));
            return;
        }
        ui.label(theme::title("Open a language model to begin").heading());
        ui.add_space(12.0);
        Frame::new()
            .fill(theme::PANEL)
            .corner_radius(CornerRadius::same(8))
            .inner_margin(16)
            .show(ui, |ui| {
                ScrollArea::vertical().show(ui, |ui| open::contents_ui(ui, state, commands));
            });
    });
}

type Edit = Option<(Row, Change)>;

fn table_ui(ui: &mut Ui, loaded: &Loaded, bench: &Bench, open: &mut BTreeSet<u32>) -> Edit {
    let visible: Vec<(usize, &Row)> = loaded
        .rows
        .iter()
        .enumerate()
        .filter(|(_, row)| match row.kind {
            Kind::Group(_) | Kind::Layer(_) => true,
            Kind::Tensor(layer) => open.contains(&layer),
        })
        .collect();
    let mut edit = None;
    ui.spacing_mut().item_spacing.x = 8.0;
    TableBuilder::new(ui)
        .id_salt("layers")
        .striped(true)
        .auto_shrink(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::remainder().at_least(140.0).clip(true))
        .column(Column::exact(SHAPE))
        .column(Column::exact(SLIDER))
        .column(Column::exact(SLIDER))
        .column(Column::exact(METHOD))
        .column(Column::exact(ENCODING))
        .column(Column::exact(BYTES))
        .column(Column::exact(ERROR))
        .column(Column::exact(PREDICTED))
        .header(20.0, head_ui)
        .body(|body| {
            body.rows(theme::ROW, visible.len(), |mut row| {
                let (place, shown) = visible[row.index()];
                let made = row_ui(&mut row, (place, shown), loaded, bench, open);
                if let Some(made) = made {
                    edit = Some((shown.clone(), made));
                }
            });
        });
    edit
}

fn head_ui(mut row: TableRow<'_, '_>) {
    let mut left = |text: &str, hint: &str| {
        row.col(|ui| {
            ui.label(theme::head(text)).on_hover_text(hint);
        });
    };
    left("Matrix", "Groups, then layers and their matrices");
    let mut right = |text: &str, hint: &str| {
        row.col(|ui| {
            end_ui(ui, theme::head(text)).on_hover_text(hint);
        });
    };
    right("Shape", "Output by input width");
    let mut number = |text: &str, hint: &str| {
        row.col(|ui| {
            right_ui(ui, NUMBER, theme::head(text)).on_hover_text(hint);
        });
    };
    number("Bits", "Bits of each kept weight; 1.58 is ternary");
    number(
        "Sparsity",
        "Share of the weights of each row that become zero",
    );
    for (text, hint) in [
        ("Method", "How weights are rounded, and which are pruned"),
        ("Encoding", "How the packed file stores it"),
    ] {
        row.col(|ui| {
            ui.label(theme::head(text)).on_hover_text(hint);
        });
    }
    let mut right = |text: &str, hint: &str| {
        row.col(|ui| {
            end_ui(ui, theme::head(text)).on_hover_text(hint);
        });
    };
    right("Bytes", "Scales, masks and padding included");
    right(
        "Error",
        "Squared error over squared weights; faded while it belongs to an earlier setting",
    );
    right(
        "Predicted",
        "What the setting will cost: KL in nats where Tune… has measured the matrix, else the expected error",
    );
}

fn row_ui(
    row: &mut TableRow<'_, '_>,
    (place, shown): (usize, &Row),
    loaded: &Loaded,
    bench: &Bench,
    open: &mut BTreeSet<u32>,
) -> Option<Change> {
    row.col(|ui| name_ui(ui, shown, open));
    let Some(summary) = summary(shown, loaded, bench) else {
        for _ in 0..8 {
            row.col(|_| {});
        }
        return None;
    };
    row.col(|ui| {
        let text = match (shown.kind, shown.members.as_slice()) {
            (Kind::Layer(_), _) | (_, [_, _, ..] | []) => units::count(summary.weights),
            (Kind::Group(_) | Kind::Tensor(_), [index]) => {
                let matrix = &loaded.matrices[*index];
                format!("{} × {}", matrix.rows, matrix.cols)
            }
        };
        end_ui(ui, theme::mono(text).color(theme::WEAK));
    });
    let mut edit = None;
    row.col(|ui| edit = bits_ui(ui, shown, &summary));
    row.col(|ui| edit = sparsity_ui(ui, shown, &summary).or(edit));
    row.col(|ui| edit = method_ui(ui, shown, &summary).or(edit));
    row.col(|ui| {
        let text = match summary.encoding {
            Shared::Same(encoding) => theme::mono(encoding.name()),
            Shared::Mixed(_) => theme::mono("mixed").color(theme::WEAK),
        };
        ui.label(text);
    });
    row.col(|ui| {
        end_ui(ui, theme::mono(units::bytes(summary.bytes)));
    });
    row.col(|ui| error_ui(ui, &summary));
    row.col(|ui| edit = predicted_ui(ui, place, shown, bench).or(edit));
    edit
}

fn name_ui(ui: &mut Ui, shown: &Row, open: &mut BTreeSet<u32>) {
    match shown.kind {
        Kind::Group(_) => {
            let is_empty = shown.members.is_empty();
            let color = if is_empty { theme::WEAK } else { theme::STRONG };
            let label = ui.label(RichText::new(&shown.title).strong().color(color));
            if is_empty {
                label.on_hover_text("The embedding serves as output head");
            }
        }
        Kind::Layer(layer) => {
            let is_open = open.contains(&layer);
            if fold_ui(ui, is_open, &shown.title) {
                if is_open {
                    open.remove(&layer);
                } else {
                    open.insert(layer);
                }
            }
        }
        Kind::Tensor(_) => {
            ui.add_space(20.0);
            ui.label(theme::mono(&shown.title));
        }
    }
}

/// A triangle and a name; returns whether it was clicked.
fn fold_ui(ui: &mut Ui, is_open: bool, title: &str) -> bool {
    let size = vec2(ui.available_width(), theme::ROW - 4.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let (center, r) = (pos2(rect.left() + 6.0, rect.center().y), 3.5);
    let corners: [Vec2; 3] = if is_open {
        [vec2(-r, -r * 0.6), vec2(r, -r * 0.6), vec2(0.0, r)]
    } else {
        [vec2(-r * 0.6, -r), vec2(r, 0.0), vec2(-r * 0.6, r)]
    };
    let color = if response.hovered() || response.has_focus() {
        theme::STRONG
    } else {
        theme::TEXT
    };
    let corners = corners.map(|corner| center + corner).to_vec();
    let painter = ui.painter();
    painter.add(Shape::convex_polygon(
        corners,
        color,
        eframe::egui::Stroke::NONE,
    ));
    let at = pos2(rect.left() + 18.0, rect.center().y);
    let font = eframe::egui::TextStyle::Body.resolve(ui.style());
    painter.text(at, Align2::LEFT_CENTER, title, font, color);
    response.widget_info(|| {
        eframe::egui::WidgetInfo::selected(
            eframe::egui::Role::DisclosureTriangle,
            true,
            is_open,
            title,
        )
    });
    response.clicked()
}

/// The slider over [`Precision::ALL`].
fn bits_ui(ui: &mut Ui, shown: &Row, summary: &Summary) -> Option<Change> {
    let current = summary.precision.first();
    let place = Precision::ALL.iter().position(|p| *p == current);
    let mut index = place.unwrap_or(0);
    let text = match summary.precision {
        Shared::Same(precision) => theme::mono(precision.name()),
        Shared::Mixed(_) => theme::mono("mixed").color(theme::WEAK),
    };
    right_ui(ui, NUMBER, text);
    ui.spacing_mut().slider_width = RAIL;
    let slider = Slider::new(&mut index, 0..=Precision::ALL.len() - 1).show_value(false);
    let response = ui
        .add(slider)
        .accessible_name(format!("Bits of {}", shown.title));
    let wanted = Precision::ALL[index];
    (response.changed() && wanted != current).then_some(Change::Precision(wanted))
}

fn sparsity_ui(ui: &mut Ui, shown: &Row, summary: &Summary) -> Option<Change> {
    let current = (summary.sparsity.first() * 100.0).round();
    let mut percent = current;
    let text = match summary.sparsity {
        Shared::Same(sparsity) => theme::mono(format!("{:.0} %", sparsity * 100.0)),
        Shared::Mixed(_) => theme::mono("mixed").color(theme::WEAK),
    };
    right_ui(ui, NUMBER, text);
    ui.spacing_mut().slider_width = RAIL;
    let slider = Slider::new(&mut percent, 0.0..=MAX_SPARSITY * 100.0)
        .step_by(1.0)
        .show_value(false);
    let response = ui
        .add(slider)
        .accessible_name(format!("Sparsity of {}", shown.title));
    let changed = response.changed() && (percent - current).abs() > 0.5;
    changed.then(|| Change::Sparsity((percent.round() / 100.0).min(MAX_SPARSITY)))
}

/// How weights are rounded and pruned, as a menu.
fn method_ui(ui: &mut Ui, shown: &Row, summary: &Summary) -> Option<Change> {
    let is_pruned = summary.sparsity != Shared::Same(0.0);
    let text = match (summary.method, summary.pruner) {
        (Shared::Same(method), Shared::Same(Pruner::Wanda | Pruner::SparseGpt)) if is_pruned => {
            let pruner = summary.pruner.first().name();
            theme::mono(format!("{}+{pruner}", method.name())).small()
        }
        (Shared::Same(method), _) => theme::mono(method.name()).small(),
        (Shared::Mixed(_), _) => theme::mono("mixed").small().color(theme::WEAK),
    };
    let mut wanted = None;
    ui.spacing_mut().button_padding.x = 5.0;
    let menu = ComboBox::from_id_salt(("method", &shown.title))
        .width(METHOD)
        .truncate()
        .selected_text(text)
        .show_ui(ui, |ui| {
            for method in Quantizer::ALL {
                let is_chosen = summary.method == Shared::Same(method);
                let label = ui.selectable_label(is_chosen, method.name());
                if label.on_hover_text(method_hint(method)).clicked() {
                    wanted = Some(Change::Method(method));
                }
            }
            ui.separator();
            for pruner in Pruner::ALL {
                let is_chosen = summary.pruner == Shared::Same(pruner);
                let text = format!("prune by {}", pruner.name());
                if ui.selectable_label(is_chosen, text).clicked() {
                    wanted = Some(Change::Pruner(pruner));
                }
            }
        });
    menu.response
        .accessible_name(format!("Method of {}", shown.title));
    wanted
}

const fn method_hint(method: Quantizer) -> &'static str {
    match method {
        Quantizer::Nearest => "Each weight to the nearest value of a grid that holds the extremes",
        Quantizer::Search => "The grid with the least error; a few times slower",
        Quantizer::Gptq => {
            "Each column makes up for the errors of those before it; needs a calibration, else it searches"
        }
    }
}

/// What the row will cost; where another setting is smaller and better, which one, to be taken by a click.
fn predicted_ui(ui: &mut Ui, place: usize, shown: &Row, bench: &Bench) -> Option<Change> {
    let preview = bench.preview.as_ref()?;
    let predicted = preview.rows.get(place).copied().flatten()?;
    let better = match shown.kind {
        Kind::Layer(_) => None,
        Kind::Group(_) | Kind::Tensor(_) => match shown.members.as_slice() {
            [index] => preview.better.get(*index).copied().flatten(),
            [] | [_, ..] => None,
        },
    };
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        ui.label(theme::mono(predicted.text(preview.measure)))
            .on_hover_text(predicted.hint(preview.measure));
        let better = better?;
        let setting = better.candidate.setting;
        let text = better_text(&better);
        let name = RichText::new(format!("{}b", setting.precision.name()));
        let mark = Button::new(name.small().color(theme::BAD)).small();
        let mark = ui
            .add(mark)
            .on_hover_text(format!("{text}; click to take it"))
            .accessible_name(text);
        mark.clicked().then_some(Change::Setting(setting))
    })
    .inner
}

/// The error as a number on its heat colour.
fn error_ui(ui: &mut Ui, summary: &Summary) {
    let rect = ui.available_rect_before_wrap();
    let rect = Rect::from_min_max(
        pos2(rect.left(), rect.top() + 2.0),
        pos2(rect.right(), rect.bottom() - 2.0),
    );
    let response = ui.allocate_rect(rect, Sense::hover());
    let Some(nmse) = summary.nmse else {
        let font = FontId::monospace(12.5);
        let at = pos2(rect.right() - 6.0, rect.center().y);
        ui.painter()
            .text(at, Align2::RIGHT_CENTER, "…", font, theme::WEAK);
        return;
    };
    let fade = if summary.stale { theme::STALE } else { 1.0 };
    let painter = ui.painter();
    let fill = theme::heat(nmse).gamma_multiply(fade);
    painter.rect_filled(rect, CornerRadius::same(theme::ROUND), fill);
    let text = if nmse == 0.0 {
        "0".to_owned()
    } else {
        format!("{nmse:.1e}")
    };
    let at = pos2(rect.right() - 6.0, rect.center().y);
    let color = theme::STRONG.gamma_multiply(fade);
    painter.text(
        at,
        Align2::RIGHT_CENTER,
        text,
        FontId::monospace(12.5),
        color,
    );
    response.on_hover_text(if summary.stale {
        "Being quantized anew; this error is of an earlier setting"
    } else {
        "Squared error over squared weights; of several matrices, their mean by weights"
    });
}
