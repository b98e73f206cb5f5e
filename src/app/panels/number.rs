//! Fields for numbers, as they are typed: a decimal comma is a point, what is not a number changes nothing and is
//! said.

use crate::app::command::Command;
use crate::number::{self, NumberError};
use eframe::egui::emath::Numeric;
use eframe::egui::{DragValue, Response, Ui};
use std::cell::RefCell;
use std::ops::RangeInclusive;

/// Draws a field for numbers of `range`; `unit` stands behind its number, and may be typed.
pub(super) fn number_ui<N: Numeric>(
    ui: &mut Ui,
    field: DragValue<'_>,
    (name, unit): (&str, &str),
    range: RangeInclusive<N>,
    commands: &mut Vec<Command>,
) -> Response {
    let shown = RefCell::new(String::new());
    let refused = RefCell::new(None);
    let number_formatter = ui.style().number_formatter.clone();
    let format = |value: f64, decimals| {
        let text = number_formatter.format(value, decimals);
        shown.replace(text.clone());
        text
    };
    let parse = |text: &str| {
        // What was shown is rounded: a click into the field and out of it must not round the number.
        if text == *shown.borrow() {
            return None;
        }
        match typed(text, unit, &range) {
            Ok(number) => Some(number),
            Err(error) => {
                refused.replace(Some(format!("{name}: {error}")));
                None
            }
        }
    };
    let mut field = field
        .range(range.clone())
        .custom_formatter(format)
        .custom_parser(parse)
        // Half of a number is another number.
        .update_while_editing(false);
    if !unit.is_empty() {
        field = field.suffix(format!(" {unit}"));
    }
    let response = ui.add(field).accessible_name(name);
    commands.extend(refused.take().map(Command::Refuse));
    response
}

fn typed<N: Numeric>(
    text: &str,
    unit: &str,
    range: &RangeInclusive<N>,
) -> Result<f64, NumberError> {
    let text = text.trim();
    let text = text.strip_suffix(unit).unwrap_or(text);
    let number = match N::INTEGRAL {
        #[expect(clippy::cast_precision_loss, reason = "fields hold less than 2^52")]
        true => number::whole(text)? as f64,
        false => number::decimal(text)?,
    };
    number::within(number, range.start().to_f64()..=range.end().to_f64())
}
