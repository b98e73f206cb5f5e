//! `whittle info F.whittle`: what a packed file is made of and from.

use crate::cli::Output;
use crate::cli::measure::{open_packed, stem};
use crate::packed::Provenance;
use crate::report::Report;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// What the file says of itself, and its tensors.
#[derive(Debug, Serialize)]
struct Info {
    #[serde(flatten)]
    report: Report,
    /// The recipe as the file has it.
    recipe_toml: String,
    /// In file order.
    stored: Vec<Stored>,
}

#[derive(Debug, Serialize)]
struct Stored {
    name: String,
    encoding: &'static str,
    shape: [usize; 2],
    kept: usize,
    bytes: usize,
}

pub(super) fn run(path: &Path, output: &Output) -> anyhow::Result<()> {
    let packed = open_packed(path, output)?;
    let report = Report::new(&stem(path), &packed)?;
    let entries = packed.view().entries();
    let info = Info {
        recipe_toml: report.recipe.to_toml(),
        stored: entries
            .map(|e| Stored {
                name: e.name.to_owned(),
                encoding: e.matrix.encoding().name(),
                shape: [e.matrix.rows(), e.matrix.cols()],
                kept: e.kept,
                bytes: e.matrix.bytes().len(),
            })
            .collect(),
        report,
    };
    output.emit(&info, text)
}

fn text(info: &Info) -> String {
    let report = &info.report;
    let Provenance {
        name,
        file,
        sha256,
        licence,
        precision,
        engine,
        recipe_sha256,
        seed,
        calibration,
    } = &report.provenance;
    let mut text = String::new();
    let mut line = |label: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{label:16} {value}").expect("a String takes any text");
    };
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "not stated".to_owned());
    line("Packed file", &report.file);
    line("Format version", &report.format);
    line("Bytes", &report.bytes);
    line("SHA-256", &report.sha256);
    line(
        "Bits per weight",
        &format_args!("{:.3}", report.bits_per_weight),
    );
    line("Made of", &format_args!("{name}, {file}"));
    line("Its SHA-256", sha256);
    line("Stored as", precision);
    line("Licence", &known(licence));
    line("Recipe", &report.recipe.name);
    line("Its SHA-256", &known(recipe_sha256));
    line("Engine", &known(engine));
    line(
        "Seed",
        &seed.map_or("none".to_owned(), |seed| seed.to_string()),
    );
    match calibration {
        None => line("Calibration", &"none"),
        Some(c) => line(
            "Calibration",
            &format_args!("{}, {} tokens, SHA-256 {}", c.text, c.tokens, c.sha256),
        ),
    }
    line("KV bits", &report.kv_bits);
    line("Prefix tokens", &report.prefix_tokens);
    text.push('\n');
    for part in &report.sizes {
        writeln!(text, "{:28} {:>12} bytes", part.part, part.bytes)
            .expect("a String takes any text");
    }
    text.push('\n');
    for section in &report.sections {
        let label = format!("section {}", section.name);
        let unknown = if section.known {
            ""
        } else {
            ", not known here"
        };
        writeln!(text, "{label:28} {:>12} bytes{unknown}", section.bytes)
            .expect("a String takes any text");
    }
    text.push('\n');
    for t in &info.stored {
        let [rows, cols] = t.shape;
        let shape = format!("{rows} x {cols}");
        writeln!(
            text,
            "{:28} {shape:>14} {:>8} {:>12} bytes",
            t.name, t.encoding, t.bytes
        )
        .expect("a String takes any text");
    }
    text
}
