//! The error of each layer, drawn: where a recipe hurts, and where the other candidate does.

use crate::app::candidate::Candidate;
use crate::app::state::State;
use crate::app::table::Group;
use crate::app::theme;
use eframe::egui::Ui;
use egui_plot::{Line, LineStyle, Plot, PlotPoints};

/// Height of the plot.
const HEIGHT: f32 = 128.0;
/// Errors below this are drawn here: 16 bits have next to none.
const LOWEST: f64 = 1e-8;

/// Draws log10 of the mean error of attention and feed-forward by layer; the active candidate solid.
pub(super) fn errors_ui(ui: &mut Ui, state: &State) {
    ui.label(theme::weak(
        "Error by layer: active candidate solid, the other dashed",
    ));
    Plot::new("errors by layer")
        .height(HEIGHT)
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .y_axis_formatter(|mark, _| format!("{:.1e}", 10_f64.powf(mark.value)))
        .show(ui, |plot| {
            for candidate in Candidate::ALL {
                let is_active = candidate == state.view.active;
                let style = if is_active {
                    LineStyle::Solid
                } else {
                    LineStyle::dashed_dense()
                };
                for group in [Group::Attention, Group::FeedForward] {
                    let name = format!("{}, {}", candidate.name(), group.title());
                    let line = Line::new(name, PlotPoints::from(by_layer(state, candidate, group)))
                        .color(theme::group(group))
                        .style(style);
                    plot.line(line);
                }
            }
        });
}

/// Layer and log10 of the mean error of its matrices in `group`, where they were quantized.
fn by_layer(state: &State, candidate: Candidate, group: Group) -> Vec<[f64; 2]> {
    let Some(loaded) = state.loaded() else {
        return Vec::new();
    };
    let layers = loaded.model.hyperparameters.layers as usize;
    let mut sums = vec![(0.0, 0u32); layers];
    let built = &state.derived.bench(candidate).built;
    for (matrix, built) in loaded.matrices.iter().zip(built) {
        let (Some(layer), Some(built)) = (matrix.layer, built) else {
            continue;
        };
        if Group::of(matrix.role) == Some(group)
            && let Some((sum, count)) = sums.get_mut(layer as usize)
        {
            *sum += built.nmse;
            *count += 1;
        }
    }
    (0u32..)
        .zip(sums)
        .filter(|(_, (_, count))| *count > 0)
        .map(|(layer, (sum, count))| {
            let mean: f64 = sum / f64::from(count);
            [f64::from(layer), mean.max(LOWEST).log10()]
        })
        .collect()
}
