//! Fields for numbers, as they are typed: a decimal comma is a point, what is not a number changes nothing and is
//! said.

use crate::app::command::Command;
use crate::number::{self, NumberError};
use eframe::egui::{DragValue, Response, Ui};
use std::cell::RefCell;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    /// Digits alone.
    Whole,
    /// Digits with a decimal point or comma.
    Decimal,
}

/// Draws a field; `unit` stands behind its number, and may be typed.
pub(super) fn number_ui(
    ui: &mut Ui,
    field: DragValue<'_>,
    (name, unit): (&str, &str),
    digits: Digits,
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
        match typed(text, unit, digits) {
            Ok(number) => Some(number),
            Err(error) => {
                refused.replace(Some(format!("{name}: {error}")));
                None
            }
        }
    };
    let mut field = field
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

fn typed(text: &str, unit: &str, digits: Digits) -> Result<f64, NumberError> {
    let text = text.trim();
    let text = text.strip_suffix(unit).unwrap_or(text);
    match digits {
        #[expect(clippy::cast_precision_loss, reason = "fields hold less than 2^52")]
        Digits::Whole => number::whole(text).map(|number| number as f64),
        Digits::Decimal => number::decimal(text),
    }
}
