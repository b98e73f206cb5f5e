//! Numbers as people read them, with their units.

use std::time::Duration;

/// "93.41 MB"; decimal, as memory makers count.
pub(super) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..100_000_000 => format!("{:.2} MB", value / 1e6),
        100_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        1_000_000_000.. => format!("{:.2} GB", value / 1e9),
    }
}

/// "28.3 M" weights.
pub(super) fn count(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = count as f64;
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{:.1} k", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", value / 1e6),
        1_000_000_000.. => format!("{:.2} G", value / 1e9),
    }
}

/// "40 s", "3 min", "2 h": a time that is left, coarsely.
pub(super) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..100 => format!("{secs} s"),
        secs @ 100..6000 => format!("{} min", secs.div_ceil(60)),
        secs @ 6000.. => format!("{} h", secs.div_ceil(3600)),
    }
}

/// Two significant digits without an exponent between 0.001 and 1000: "0.42", "12", "0.0031".
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 10.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.0e}"),
    }
}

/// "0.31 to 0.42", or one number where both look the same.
pub(super) fn range(low: f64, high: f64) -> String {
    let (low, high) = (short(low), short(high));
    if low == high {
        low
    } else {
        format!("{low} to {high}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_their_unit() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(93_412_345), "93.41 MB");
        assert_eq!(bytes(270_350_000), "270.4 MB");
        assert_eq!(count(28_311_552), "28.3 M");
        assert_eq!(
            [0.0, 0.0031, 0.42, 7.25, 128.4].map(short),
            ["0", "0.0031", "0.42", "7.2", "128"]
        );
        assert_eq!(range(0.31, 0.42), "0.31 to 0.42");
        assert_eq!(range(12.1, 12.2), "12");
        let left = [40, 130, 7000].map(|secs| duration(Duration::from_secs(secs)));
        assert_eq!(left, ["40 s", "3 min", "2 h"]);
    }
}
