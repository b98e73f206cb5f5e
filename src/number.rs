//! Numbers as people type them, in the window and on the command line.
//!
//! A decimal comma is a decimal point. What may be meant in two ways (`1,200`) is refused: a wrong number would
//! go unnoticed.

use std::ops::RangeInclusive;

/// Why a text is no number.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberError {
    /// It is none in any country.
    #[error("expected a number such as 1.5, found `{0}`")]
    Decimal(String),
    /// The comma may be a decimal one or part thousands.
    #[error("`{text}` may be {decimal} or {whole}: write one of these")]
    Ambiguous {
        /// As it was typed.
        text: String,
        /// With the comma as decimal point.
        decimal: String,
        /// Without the comma.
        whole: String,
    },
    /// Points and commas, or several of them.
    #[error("expected a number without separators of thousands, found `{0}`")]
    Separators(String),
    /// Not one of digits alone.
    #[error("expected a whole number such as 1200, of digits alone, found `{0}`")]
    Whole(String),
    /// A number that cannot be taken here.
    #[error("expected a number from {least} to {most}, found {found}")]
    Range {
        /// The least that can be.
        least: f64,
        /// The most that can be.
        most: f64,
        /// What was typed.
        found: f64,
    },
    /// Not a part of a whole.
    #[error("expected a share such as 95% or 0.95, found `{0}`")]
    Share(String),
}

/// Reads a number with a decimal point or a decimal comma.
///
/// # Errors
/// When it is not a finite number, or its comma may part thousands.
pub fn decimal(text: &str) -> Result<f64, NumberError> {
    let typed = text.trim();
    let (points, commas) = (typed.matches('.').count(), typed.matches(',').count());
    if points + commas > 1 {
        return Err(NumberError::Separators(typed.to_owned()));
    }
    if let Some((before, after)) = typed.split_once(',')
        && may_part_thousands(before, after)
    {
        return Err(NumberError::Ambiguous {
            text: typed.to_owned(),
            decimal: format!("{before}.{after}"),
            whole: format!("{before}{after}"),
        });
    }
    // U+2212 is the minus sign that text from elsewhere has.
    let plain = typed.replace(',', ".").replace('\u{2212}', "-");
    // Rust reads `inf` and `nan` too.
    let has_a_digit_first = plain
        .trim_start_matches(['+', '-', '.'])
        .starts_with(|c: char| c.is_ascii_digit());
    let number = plain.parse::<f64>().ok().filter(|n| n.is_finite());
    number
        .filter(|_| has_a_digit_first)
        .ok_or_else(|| NumberError::Decimal(typed.to_owned()))
}

/// Reads a whole number of digits alone: a point in it would be one of thousands in some countries.
///
/// # Errors
/// When there is anything but digits, or too many of them.
pub fn whole(text: &str) -> Result<u64, NumberError> {
    let typed = text.trim();
    let is_plain = typed.chars().all(|c| c.is_ascii_digit());
    let number = typed.parse().ok().filter(|_| is_plain);
    number.ok_or_else(|| NumberError::Whole(typed.to_owned()))
}

/// The number, if it lies in this range.
///
/// # Errors
/// When it does not: the nearest that does is not what was asked for.
pub fn within(number: f64, range: RangeInclusive<f64>) -> Result<f64, NumberError> {
    match range.contains(&number) {
        true => Ok(number),
        false => Err(NumberError::Range {
            least: *range.start(),
            most: *range.end(),
            found: number,
        }),
    }
}

/// Reads a part of a whole: `95%`, `95 %`, `0.95`; from 0 to 1 where nothing else is said later.
///
/// # Errors
/// When it is not a number.
pub fn share(text: &str) -> Result<f64, NumberError> {
    let wrong = || NumberError::Share(text.trim().to_owned());
    let read = |number: &str| match decimal(number) {
        Err(NumberError::Decimal(_)) => Err(wrong()),
        other => other,
    };
    match text.trim().strip_suffix('%') {
        Some(percent) => read(percent).map(|percent| percent / 100.0),
        None => read(text),
    }
}

/// Whether a comma here stands where one of thousands would: `1,200`, but neither `1,2` nor `0,200` nor `1234,500`.
fn may_part_thousands(before: &str, after: &str) -> bool {
    let before = before.trim_start_matches(['+', '-', '\u{2212}']);
    let is_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let is_group = after.len() == 3 && is_digits(after);
    is_group && (1..=3).contains(&before.len()) && is_digits(before) && !before.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_comma_is_a_decimal_point() {
        let check = |text: &str, expected: f64| assert_eq!(decimal(text), Ok(expected), "{text}");
        check("1,2", 1.2);
        check("1.2", 1.2);
        check(" 12 ", 12.0);
        check(",5", 0.5);
        check("5,", 5.0);
        check("-0,25", -0.25);
        check("\u{2212}3", -3.0);
        check("0,200", 0.2);
        check("1234,500", 1234.5);
        check("1,2345", 1.2345);
        check("1.200", 1.2);
        check("1,5e3", 1500.0);
    }

    #[test]
    fn what_may_be_meant_in_two_ways_or_none_is_refused() {
        let check = |text: &str, expected: &str| {
            assert_eq!(decimal(text).unwrap_err().to_string(), expected, "{text}");
        };
        check("1,200", "`1,200` may be 1.200 or 1200: write one of these");
        check(
            "-999,999",
            "`-999,999` may be -999.999 or -999999: write one of these",
        );
        let separators = |text: &str| {
            format!("expected a number without separators of thousands, found `{text}`")
        };
        for text in ["1,234,567", "1.234,5", "1,234.5", "1.2.3", "1,,2"] {
            check(text, &separators(text));
        }
        let none = |text: &str| format!("expected a number such as 1.5, found `{text}`");
        for text in [
            "", "x", "1 2", "inf", "-nan", "NaN", "infinity", "1e999", "1'200", ",", "e5", "0x10",
        ] {
            check(text, &none(text));
        }
    }

    #[test]
    fn a_whole_number_has_digits_alone() {
        assert_eq!(whole(" 1200 "), Ok(1200));
        assert_eq!(whole("0"), Ok(0));
        for text in [
            "1,200",
            "1.200",
            "1,2",
            "1.0",
            "1 200",
            "-1",
            "+1",
            "",
            "1e3",
            "99999999999999999999",
        ] {
            let expected =
                format!("expected a whole number such as 1200, of digits alone, found `{text}`");
            assert_eq!(whole(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_number_out_of_its_range_is_not_the_nearest_in_it() {
        assert_eq!(within(16.0, 16.0..=1024.0), Ok(16.0));
        assert_eq!(within(1024.0, 16.0..=1024.0), Ok(1024.0));
        let error = within(1025.0, 16.0..=1024.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected a number from 16 to 1024, found 1025"
        );
        assert!(within(0.015, 0.5..=16.0).is_err());
    }

    #[test]
    fn a_share_is_a_number_or_percent() {
        assert_eq!(share("95%"), Ok(0.95));
        assert_eq!(share("12,5 %"), Ok(0.125));
        assert_eq!(share("0,5"), Ok(0.5));
        let check = |text: &str, expected: &str| {
            let message = share(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check("half", "a share such as 95% or 0.95, found `half`");
        check("%", "a share such as 95%");
        check("1,200%", "may be 1.200 or 1200");
    }
}
