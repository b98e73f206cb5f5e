//! The rows of a sweep as JSON lines, one appended as soon as it is known; and the same as CSV.

use super::{Row, SweepError};
use crate::saved_format::Format;
use crate::source_file;
use crate::whole_file;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Longest file of results that is read: a row has about 1 kB.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// Rows that are kept, and the file that keeps them.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Every row so far, in the order of the file.
    pub rows: Vec<Row>,
}

impl Journal {
    /// Opens the rows of an earlier run, or begins; what was half written when that broke off is
    /// dropped.
    ///
    /// # Errors
    /// When the file cannot be read or written, or a whole line of it is no row.
    pub fn open(path: &Path) -> Result<Self, SweepError> {
        let failed = |action| {
            move |source| SweepError::Io {
                action,
                path: path.into(),
                source,
            }
        };
        let mut file = whole_file::growing(path).map_err(failed("write"))?;
        let bytes = file.metadata().map_err(failed("read"))?.len();
        if bytes > MAX_FILE_BYTES {
            let message = format!("expected at most {MAX_FILE_BYTES} bytes, found {bytes}");
            return Err(failed("read")(io::Error::other(message)));
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed("read"))?;
        let whole = content
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let mut rows = Vec::new();
        for (index, line) in content[..whole].split(|b| *b == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            Format::<1>::check_json("rows", &path.to_string_lossy(), line)?;
            rows.push(serde_json::from_slice(line).map_err(|e| SweepError::Row {
                path: path.into(),
                line: index + 1,
                message: e.to_string(),
            })?);
        }
        file.set_len(whole as u64).map_err(failed("write"))?;
        Ok(Self {
            path: path.into(),
            file,
            rows,
        })
    }

    /// Whether the row of a point is there.
    #[must_use]
    pub fn has(&self, point: &str) -> bool {
        self.rows.iter().any(|row| row.point == point)
    }

    /// Appends a row; it is on the disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written, or a file that was read for the row changed meanwhile.
    pub fn push(&mut self, row: Row) -> Result<(), SweepError> {
        let mut line = serde_json::to_string(&row).expect("a row has no key that JSON lacks");
        line.push('\n');
        source_file::unchanged()
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(line.as_bytes()))
            .and_then(|()| self.file.sync_data())
            .map_err(|source| SweepError::Io {
                action: "write",
                path: self.path.clone(),
                source,
            })?;
        self.rows.push(row);
        Ok(())
    }
}

/// What a board has a column for.
const BOARD_COLUMNS: [&str; 7] = [
    "fits",
    "flash_bytes",
    "ram_bytes",
    "tokens_per_second",
    "tokens_per_second_low",
    "tokens_per_second_high",
    "validation",
];

/// The rows as CSV (RFC 4180): a line of names, then a row a line; seven columns for each board that
/// any row has.
#[must_use]
pub fn csv<'a>(rows: impl IntoIterator<Item = &'a Row> + Clone) -> String {
    let mut boards: Vec<&str> = Vec::new();
    for board in rows.clone().into_iter().flat_map(|row| &row.boards) {
        if !boards.contains(&board.id.as_str()) {
            boards.push(&board.id);
        }
    }
    let mut text = String::from(
        "point,model,recipe,set,bytes,bits_per_weight,tokens,kl_mean,kl_mean_standard_error,kl_p99,\
         same_top,perplexity,reference_perplexity,ln_perplexity_ratio,\
         ln_perplexity_ratio_standard_error,tasks_held,tasks_low,tasks_high,seconds,window_tokens",
    );
    for board in &boards {
        for name in BOARD_COLUMNS {
            text += &format!(",{}", field(&format!("{board} {name}")));
        }
    }
    text.push('\n');
    for row in rows {
        line(&mut text, row, &boards);
    }
    text
}

fn line(text: &mut String, row: &Row, boards: &[&str]) {
    let names = [&row.point, &row.model, &row.recipe, &row.set].map(|name| field(name));
    text.push_str(&names.join(","));
    let tokens = row
        .tokens
        .map_or(String::new(), |tokens| tokens.to_string());
    write!(text, ",{},{},{tokens}", row.bytes, row.bits_per_weight)
        .expect("writing to a string cannot fail");
    let figures = [
        row.kl_mean,
        row.kl_mean_standard_error,
        row.kl_p99,
        row.same_top,
        row.perplexity,
        row.reference_perplexity,
        row.ln_perplexity_ratio,
        row.ln_perplexity_ratio_standard_error,
        row.tasks_held,
        row.tasks_low,
        row.tasks_high,
        Some(row.seconds),
    ];
    for figure in figures {
        text.push(',');
        text.push_str(&figure.map_or(String::new(), |x| x.to_string()));
    }
    let window = row.window_tokens.map_or(String::new(), |w| w.to_string());
    text.push_str(&format!(",{window}"));
    for id in boards {
        let Some(board) = row.boards.iter().find(|b| b.id == *id) else {
            text.push_str(&",".repeat(BOARD_COLUMNS.len()));
            continue;
        };
        let figure = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
        let columns = [
            board.fits.to_string(),
            board.flash_bytes.to_string(),
            board.ram_bytes.to_string(),
            figure(board.tokens_per_second),
            figure(board.tokens_per_second_low),
            figure(board.tokens_per_second_high),
            field(board.validation.as_deref().unwrap_or_default()),
        ];
        for column in columns {
            text.push(',');
            text.push_str(&column);
        }
    }
    text.push('\n');
}

/// A field, in quotes where it must be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::BoardRow;
    use super::*;

    fn row(point: &str, board: &str) -> Row {
        Row {
            format: Format,
            point: point.into(),
            model: "m, \"n\"".into(),
            recipe: "r".into(),
            set: "*=bits:4,sparsity:0".into(),
            bytes: 10,
            bits_per_weight: 4.5,
            tokens: None,
            window_tokens: Some(256),
            kl_mean: Some(0.25),
            kl_mean_standard_error: None,
            kl_p99: None,
            same_top: None,
            perplexity: None,
            reference_perplexity: None,
            ln_perplexity_ratio: None,
            ln_perplexity_ratio_standard_error: None,
            tasks_held: None,
            tasks_low: None,
            tasks_high: None,
            boards: vec![BoardRow {
                id: board.into(),
                fits: true,
                flash_bytes: 1,
                ram_bytes: 2,
                tokens_per_second: None,
                tokens_per_second_low: None,
                tokens_per_second_high: None,
                validation: Some("unvalidated".into()),
            }],
            seconds: 0.5,
        }
    }

    #[test]
    fn a_half_written_row_is_dropped_and_the_next_one_follows_the_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let mut journal = Journal::open(&path).unwrap();
        journal.push(row("a", "x")).unwrap();
        journal.push(row("b", "y")).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in [1, 20, 200] {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            assert!(journal.has("a") && !journal.has("b"), "{cut}");
            journal.push(row("b", "y")).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        std::fs::write(&path, "{}\n").unwrap();
        let message = Journal::open(&path).unwrap_err().to_string();
        assert!(message.contains("line 1: expected a row"), "{message}");
    }

    #[test]
    fn csv_has_a_column_for_every_board_and_quotes_what_needs_it() {
        let rows = [row("a", "x"), row("b", "y")];
        let text = csv(&rows);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(
            "x validation,y fits,y flash_bytes,y ram_bytes,y tokens_per_second,\
                 y tokens_per_second_low,y tokens_per_second_high,y validation"
        ));
        assert_eq!(
            lines[1],
            "a,\"m, \"\"n\"\"\",r,\"*=bits:4,sparsity:0\",10,4.5,,0.25,,,,,,,,,,,0.5,256,true,1,2,,,,unvalidated,,,,,,,"
        );
        assert!(
            lines[2].ends_with("0.5,256,,,,,,,,true,1,2,,,,unvalidated"),
            "{}",
            lines[2]
        );
        let commas = |line: &str| line.matches(',').count();
        // Three commas stand inside of quotes.
        assert!(
            lines[1..]
                .iter()
                .all(|line| commas(line) == commas(lines[0]) + 2)
        );
    }
}
