//! Pictures of a report as SVG: no scripts, no fonts, no other files.

use super::SizePart;
use crate::evaluate::TensorError;
use engine::shape::Role;
use std::fmt::Write as _;

/// Columns of the heat strips: the matrices that each layer has, in the order of the forward pass.
fn columns() -> Vec<(Role, &'static str)> {
    let named = |role: Role| Some((role, role.projection()?));
    Role::ALL.into_iter().filter_map(named).collect()
}

/// Colours of parts of a file, told apart in grey too.
const PARTS: [&str; 12] = [
    "#1b4b72", "#2d7f9d", "#4fb0ae", "#8fd0a8", "#c9c5b8", "#7a5c99", "#a57fb8", "#d0a3c6",
    "#d98e5f", "#e6b98a", "#b9b9b9", "#e4e4e4",
];

const CELL: usize = 64;
const ROW: usize = 18;
const LEFT: usize = 58;
const TOP: usize = 40;

/// What a heat strip shows of each tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Relative squared error, logarithmic.
    Error,
    /// Stored bits a weight.
    Bits,
}

/// A strip of layers by matrices; `None` where there are no tensors to show.
pub(super) fn heat(tensors: &[TensorError], shown: Shown) -> Option<String> {
    let layers = tensors.iter().filter_map(|t| t.layer).max()? as usize + 1;
    let columns = columns();
    let (width, height) = (LEFT + columns.len() * CELL + 8, TOP + layers * ROW + 8);
    let title = match shown {
        Shown::Error => "Relative squared error of each matrix, by layer",
        Shown::Bits => "Stored bits a weight of each matrix, by layer",
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" font-family=\"sans-serif\" font-size=\"11\"><title>{title}</title>"
    );
    text(&mut svg, (LEFT - 8, TOP - 8), "end", "#444", "layer");
    for (column, (_, name)) in columns.iter().enumerate() {
        let x = LEFT + column * CELL + CELL / 2;
        text(&mut svg, (x, TOP - 8), "middle", "#444", name);
    }
    for layer in 0..layers {
        let y = TOP + layer * ROW + ROW - 5;
        text(&mut svg, (LEFT - 8, y), "end", "#444", &layer.to_string());
    }
    for tensor in tensors {
        let column = columns.iter().position(|(role, _)| *role == tensor.role);
        let (Some(column), Some(layer)) = (column, tensor.layer) else {
            continue;
        };
        let (share, label) = match shown {
            Shown::Error => (error_share(tensor.nmse), error_label(tensor.nmse)),
            Shown::Bits => (
                tensor.bits_per_weight / 16.0,
                format!("{:.2}", tensor.bits_per_weight),
            ),
        };
        let (fill, ink) = colour(share, shown);
        let (x, y) = (LEFT + column * CELL, TOP + layer as usize * ROW);
        draw(
            &mut svg,
            format_args!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"/>",
                CELL - 1,
                ROW - 1
            ),
        );
        text(&mut svg, (x + CELL / 2, y + ROW - 5), "middle", ink, &label);
    }
    svg += "</svg>";
    Some(svg)
}

/// The parts of a file as one bar, with their names and bytes below.
pub(super) fn bar(parts: &[SizePart]) -> String {
    let total: usize = parts.iter().map(|p| p.bytes).sum::<usize>().max(1);
    let width = 720;
    let height = 48 + parts.len().div_ceil(2) * 18;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\"><title>Bytes of the file by what they are for</title>"
    );
    let mut x = 0.0;
    for (index, part) in parts.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a bar has a few hundred pixels")]
        let share = part.bytes as f64 / total as f64;
        let (long, fill) = (share * f64::from(width), PARTS[index % PARTS.len()]);
        draw(
            &mut svg,
            format_args!(
                "<rect x=\"{x:.2}\" y=\"0\" width=\"{long:.2}\" height=\"30\" fill=\"{fill}\"/>"
            ),
        );
        x += long;
        let (left, y) = (index % 2 * 360, 52 + index / 2 * 18);
        draw(
            &mut svg,
            format_args!(
                "<rect x=\"{left}\" y=\"{}\" width=\"11\" height=\"11\" fill=\"{fill}\"/>",
                y - 10
            ),
        );
        let label = format!(
            "{}: {} bytes, {:.1} %",
            part.part,
            part.bytes,
            share * 100.0
        );
        text(&mut svg, (left + 18, y), "start", "#222", &label);
    }
    svg += "</svg>";
    svg
}

/// From 1e-6 and less to 1, in logarithms.
fn error_share(nmse: f64) -> f64 {
    ((nmse.max(1e-6).log10() + 6.0) / 6.0).clamp(0.0, 1.0)
}

fn error_label(nmse: f64) -> String {
    if nmse == 0.0 {
        "exact".to_owned()
    } else {
        format!("{nmse:.1e}")
    }
}

/// Fill and ink of a cell: errors run from white to red, bits from white to blue.
fn colour(share: f64, shown: Shown) -> (String, &'static str) {
    let share = share.clamp(0.0, 1.0);
    let dark = match shown {
        Shown::Error => [178.0, 34.0, 34.0],
        Shown::Bits => [27.0, 75.0, 114.0],
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 255"
    )]
    let [r, g, b] = dark.map(|to: f64| (247.0 + (to - 247.0) * share).round() as u8);
    let ink = if share > 0.55 { "#fff" } else { "#222" };
    (format!("#{r:02x}{g:02x}{b:02x}"), ink)
}

/// Text of this module or numbers only: nothing of a file is written without escaping.
fn text(svg: &mut String, (x, y): (usize, usize), anchor: &str, fill: &str, words: &str) {
    draw(
        svg,
        format_args!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{words}</text>"
        ),
    );
}

fn draw(svg: &mut String, shape: std::fmt::Arguments<'_>) {
    svg.write_fmt(shape)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_has_a_cell_for_every_matrix_and_says_its_number() {
        let tensor = |layer, role, nmse| TensorError {
            name: "<script>".into(),
            role,
            layer: Some(layer),
            encoding: "dense4",
            source: "F16",
            bits_per_weight: 4.5,
            bytes: 10,
            squared_error: 0.1,
            nmse,
        };
        let tensors = [
            tensor(0, Role::Query, 0.0),
            tensor(1, Role::Down, 0.012),
            tensor(1, Role::FeedForwardNorm, 0.0),
        ];
        let svg = heat(&tensors, Shown::Error).unwrap();
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert!(svg.contains(">exact<") && svg.contains(">1.2e-2<"), "{svg}");
        assert!(!svg.contains("script"));
        let svg = heat(&tensors, Shown::Bits).unwrap();
        assert!(svg.contains(">4.50<"), "{svg}");
        assert_eq!(heat(&[], Shown::Bits), None);
    }

    #[test]
    fn worse_is_darker() {
        assert!(error_share(1e-9) == 0.0 && error_share(1.0) == 1.0 && error_share(5.0) == 1.0);
        assert!(error_share(1e-3) > error_share(1e-4));
        assert_eq!(colour(0.0, Shown::Error).0, "#f7f7f7");
        assert_eq!(colour(1.0, Shown::Error), ("#b22222".into(), "#fff"));
    }
}
