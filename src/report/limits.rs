//! Numbers that a packed file must keep: a file in TOML, checked where changes are merged.

use super::Report;
use crate::estimate::Estimate;
use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Why a limits file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// It is of a later kind.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// It cannot be read.
    #[error("cannot read limits {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no such file.
    #[error("limits {path} are not valid: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
}

/// What a packed file must keep; what is left out is not asked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The form of the file.
    #[serde(default)]
    pub format: Format<1>,
    /// Length of the file.
    pub max_bytes: Option<u64>,
    /// Bits for each weight of the matrices.
    pub max_bits_per_weight: Option<f64>,
    /// Mean KL from the reference in nats; the mean counts, its error is told beside it.
    pub max_kl: Option<f64>,
    /// Share of positions with the same top token, 0 to 1.
    pub min_same_top: Option<f64>,
    /// Perplexity over the reference's.
    pub max_perplexity_ratio: Option<f64>,
    /// The model that the three before compare with.
    pub reference: Option<String>,
    /// The text that they are measured on.
    pub text: Option<PathBuf>,
    /// Tokens of it.
    pub tokens: Option<usize>,
    /// Share of tasks that hold, 0 to 1.
    pub min_task_pass: Option<f64>,
    /// Set or file of tasks.
    pub tasks: Option<String>,
    /// What it must keep on boards.
    #[serde(default, rename = "board")]
    pub boards: Vec<BoardLimits>,
}

/// What a packed file must keep on one board.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardLimits {
    /// Id of a built-in board, or a board file.
    pub id: String,
    /// `true`: flash and RAM suffice.
    pub fits: Option<bool>,
    /// Expected tokens a second.
    pub min_tokens_per_second: Option<f64>,
    /// RAM in use.
    pub max_ram_bytes: Option<u64>,
}

/// One limit and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Its key in the file.
    pub limit: &'static str,
    /// The board, for limits of boards.
    pub board: Option<String>,
    /// What is allowed.
    pub allowed: f64,
    /// What was found; nothing where it is unknown.
    pub found: Option<f64>,
    /// Standard error of it, where it is a mean.
    pub standard_error: Option<f64>,
    /// Whether the limit held; what is unknown did not.
    pub held: bool,
    /// Why it is unknown or how it is meant.
    pub note: Option<String>,
}

/// Which side of the limit is allowed.
#[derive(Debug, Clone, Copy)]
enum Side {
    AtMost,
    AtLeast,
}

impl Limits {
    /// Reads a limits file.
    ///
    /// # Errors
    /// When it cannot be read, has a key that there is not, a number out of range, or a limit without
    /// what it is measured on.
    pub fn load(path: &Path) -> Result<Self, LimitsError> {
        let read = |source| LimitsError::Read {
            path: path.into(),
            source,
        };
        let text = text_file::read(path, text_file::WRITTEN_BYTES).map_err(read)?;
        Format::<1>::check_toml("limits", &path.to_string_lossy(), &text)?;
        Self::parse(&text).map_err(|message| LimitsError::Syntax {
            path: path.into(),
            message,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let limits: Self =
            toml::from_str(text).map_err(|e| e.to_string().trim_end().replace('\n', " "))?;
        limits.check().map_err(str::to_owned)?;
        Ok(limits)
    }

    fn check(&self) -> Result<(), &'static str> {
        let positive = [
            self.max_bits_per_weight,
            self.max_kl,
            self.max_perplexity_ratio,
        ];
        let speeds = self.boards.iter().map(|b| b.min_tokens_per_second);
        if positive
            .into_iter()
            .chain(speeds)
            .flatten()
            .any(|x| !(x >= 0.0 && x.is_finite()))
        {
            return Err("expected numbers from 0");
        }
        let shares = [self.min_same_top, self.min_task_pass];
        if shares
            .into_iter()
            .flatten()
            .any(|x| !(0.0..=1.0).contains(&x))
        {
            return Err("expected min_same_top and min_task_pass from 0 to 1");
        }
        if self.needs_text() && (self.reference.is_none() || self.text.is_none()) {
            return Err("max_kl, min_same_top and max_perplexity_ratio need reference and text");
        }
        if self.min_task_pass.is_some() && self.tasks.is_none() {
            return Err("min_task_pass needs tasks");
        }
        if self.boards.iter().any(|b| b.fits == Some(false)) {
            return Err("expected fits = true, or no fits");
        }
        let asks_board = |b: &BoardLimits| {
            b.fits.is_some() || b.min_tokens_per_second.is_some() || b.max_ram_bytes.is_some()
        };
        if !self.boards.iter().all(asks_board) {
            return Err("expected fits, min_tokens_per_second or max_ram_bytes of each board");
        }
        let asks = self.max_bytes.is_some()
            || self.max_bits_per_weight.is_some()
            || self.needs_text()
            || self.min_task_pass.is_some()
            || !self.boards.is_empty();
        if asks {
            Ok(())
        } else {
            Err("expected a limit, found none")
        }
    }

    /// Whether a limit is on the quality of a text.
    #[must_use]
    pub fn needs_text(&self) -> bool {
        self.max_kl.is_some() || self.min_same_top.is_some() || self.max_perplexity_ratio.is_some()
    }

    /// Holds a report against the limits; it has an estimate for each board that is named, in order.
    #[must_use]
    pub fn findings(&self, report: &Report) -> Vec<Finding> {
        let mut findings = Vec::new();
        let quality = report.quality.as_ref().map(|q| &q.evaluation);
        let windows = quality.map(|e| {
            let (positions, windows, tokens) = (e.tokens, e.windows, e.window_tokens);
            format!("{positions} positions in {windows} windows of {tokens} tokens")
        });
        let mut add = |limit, allowed: Option<f64>, found: Option<(f64, Option<f64>)>, side| {
            // What has an error is a mean over the text.
            let note = found.and_then(|(_, error)| error).and(windows.clone());
            findings.extend(allowed.map(|allowed| Finding {
                note,
                ..finding(limit, allowed, found, side)
            }));
        };
        let exact = |x: f64| Some((x, None));
        add(
            "max_bytes",
            self.max_bytes.map(number),
            exact(number(report.bytes as u64)),
            Side::AtMost,
        );
        let bits = exact(report.bits_per_weight);
        add(
            "max_bits_per_weight",
            self.max_bits_per_weight,
            bits,
            Side::AtMost,
        );
        let kl = quality.map(|e| (e.kl_mean, Some(e.kl_mean_standard_error)));
        add("max_kl", self.max_kl, kl, Side::AtMost);
        let same = quality.map(|e| (e.same_top, Some(e.same_top_standard_error)));
        add("min_same_top", self.min_same_top, same, Side::AtLeast);
        let ratio = quality.map(|e| {
            let ratio = e.perplexity_ratio();
            (ratio, Some(ratio * e.ln_perplexity_ratio_standard_error))
        });
        add(
            "max_perplexity_ratio",
            self.max_perplexity_ratio,
            ratio,
            Side::AtMost,
        );
        let tasks = report.tasks.as_ref().map(|t| (t.report.held.share, None));
        add("min_task_pass", self.min_task_pass, tasks, Side::AtLeast);
        for (limits, estimate) in self.boards.iter().zip(&report.estimates) {
            findings.extend(limits.findings(estimate));
        }
        findings
    }
}

impl BoardLimits {
    fn findings(&self, estimate: &Estimate) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |limit, allowed: Option<f64>, found, side, note: Option<String>| {
            findings.extend(allowed.map(|allowed| Finding {
                board: Some(estimate.id.clone()),
                note,
                ..finding(limit, allowed, found, side)
            }));
        };
        let fits = Some((f64::from(u8::from(estimate.fits)), None));
        let wanted = self.fits.map(|_| 1.0);
        add("fits", wanted, fits, Side::AtLeast, estimate.limit.clone());
        let speed = estimate.tokens_per_second.as_ref();
        let note = match speed {
            Some(range) => {
                let (low, high) = (range.low, range.high);
                let validation = estimate.validation.name();
                format!("{validation}, expected value of {low:.2} to {high:.2}")
            }
            None => format!("unknown: {}", estimate.missing.join(", ")),
        };
        let found = speed.map(|range| (range.mid, None));
        add(
            "min_tokens_per_second",
            self.min_tokens_per_second,
            found,
            Side::AtLeast,
            Some(note),
        );
        let ram = Some((number(estimate.ram_bytes), None));
        add(
            "max_ram_bytes",
            self.max_ram_bytes.map(number),
            ram,
            Side::AtMost,
            None,
        );
        findings
    }
}

fn finding(
    limit: &'static str,
    allowed: f64,
    found: Option<(f64, Option<f64>)>,
    side: Side,
) -> Finding {
    // A comparison with what is no number does not hold.
    let held = found.is_some_and(|(found, _)| match side {
        Side::AtMost => found <= allowed,
        Side::AtLeast => found >= allowed,
    });
    Finding {
        limit,
        board: None,
        allowed,
        found: found.map(|(found, _)| found),
        standard_error: found.and_then(|(_, error)| error),
        held,
        note: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn number(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limits_file_says_what_it_lacks() {
        let check = |text: &str, expected: &str| {
            let message = Limits::parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        };
        check("", "found none");
        check("max_byte = 3", "unknown field `max_byte`");
        check("max_kl = 0.1", "need reference and text");
        check("min_task_pass = 0.9", "needs tasks");
        check("max_bits_per_weight = -1.0", "from 0");
        check("max_bits_per_weight = nan", "from 0");
        check(
            "min_same_top = 90.0\nreference = 'm'\ntext = 't'",
            "from 0 to 1",
        );
        check("[[board]]\nid = 'x'", "of each board");
        check("[[board]]\nid = 'x'\nfits = false", "fits = true");
        check("[[board]]\nid = 'x'\nspeed = 1", "unknown field `speed`");
        assert_eq!(Limits::parse("max_bytes = 3").unwrap().max_bytes, Some(3));
    }

    #[test]
    fn the_limits_in_the_docs_are_limits() {
        let page = include_str!("../../docs/command-line.md");
        let start = page.find("max_bytes = ").unwrap();
        let example = page[start..].split("```").next().unwrap();
        let limits = Limits::parse(example).unwrap();
        assert_eq!((limits.boards.len(), limits.max_kl), (1, Some(0.05)));
    }

    #[test]
    fn a_limit_holds_at_its_very_value_and_the_unknown_holds_nothing() {
        let held = |found, side| finding("max_kl", 1.0, found, side).held;
        assert!(held(Some((1.0, None)), Side::AtMost) && held(Some((1.0, None)), Side::AtLeast));
        assert!(!held(Some((1.1, Some(9.0))), Side::AtMost));
        assert!(!held(Some((0.9, None)), Side::AtLeast));
        assert!(!held(None, Side::AtMost) && !held(Some((f64::NAN, None)), Side::AtMost));
    }
}
