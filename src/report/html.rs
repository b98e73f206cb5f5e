//! The report as a page that needs nothing else: no scripts, no fonts, no pictures beside it.

use super::Report;
use super::pictures::{Shown, bar, heat};
use minijinja::{Environment, Value, context};

/// Why the page could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HtmlError {
    /// The template has a defect.
    #[error("cannot write the report: {0:#}")]
    Template(#[from] minijinja::Error),
    /// A value has no form in JSON.
    #[error("cannot write the report: {0}")]
    Value(#[from] serde_json::Error),
}

/// The ending turns escaping on: every text of a file is untrusted.
const NAME: &str = "report.html";

/// The page.
///
/// # Errors
/// When a value cannot be written, which is a defect of the template.
pub fn html(report: &Report) -> Result<String, HtmlError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("percent", |x: Option<f64>, digits: usize| {
        number(x, |x| format!("{:.digits$} %", x * 100.0))
    });
    environment.add_filter("fixed", |x: Option<f64>, digits: usize| {
        number(x, |x| format!("{x:.digits$}"))
    });
    environment.add_filter("scientific", |x: Option<f64>| {
        number(x, |x| match x {
            0.0 => "exact".to_owned(),
            x => format!("{x:.2e}"),
        })
    });
    environment.add_filter("grouped", grouped);
    environment.add_filter("short", short);
    environment.add_template(NAME, include_str!("report.html"))?;
    let picture = |svg: Option<String>| svg.map_or(Value::from(()), Value::from_safe_string);
    let page = environment.get_template(NAME)?.render(context! {
        report => value(serde_json::to_value(report)?),
        recipe_toml => report.recipe.to_toml(),
        sizes_picture => Value::from_safe_string(bar(&report.sizes)),
        error_picture => picture(heat(&report.tensors, Shown::Error)),
        bits_picture => picture(heat(&report.tensors, Shown::Bits)),
    })?;
    Ok(page)
}

/// A number as `written`; JSON has none that is infinite or no number.
fn number(x: Option<f64>, written: impl FnOnce(f64) -> String) -> String {
    x.map_or_else(|| "not a number".to_owned(), written)
}

/// A value as templates take it.
fn value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => truth.into(),
        Json::Number(n) => match (n.as_u64(), n.as_i64(), n.as_f64()) {
            (Some(n), _, _) => n.into(),
            (None, Some(n), _) => n.into(),
            (None, None, x) => x.map_or(Value::from(()), Value::from),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => items.into_iter().map(value).collect(),
        Json::Object(fields) => Value::from_pairs(fields.into_iter().map(|(k, v)| (k, value(v)))),
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits.
fn short(value: f64) -> String {
    let digits = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        v if v >= 0.01 => 4,
        _ => 6,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_people() {
        let cases = [(7, "7"), (1234, "1,234"), (12_345_678, "12,345,678")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!((short(123.4), short(1.234)), ("123".into(), "1.23".into()));
    }
}
