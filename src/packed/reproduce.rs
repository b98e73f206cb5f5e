//! Whether two packed files are the same bytes, and where they are not.

use super::PackedModel;
use engine::format::{Entry, Packed, Section};
use serde::Serialize;
use std::collections::HashSet;

/// A part of a packed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "part", content = "name", rename_all = "lowercase")]
pub enum Part {
    /// A section, by its name.
    Section(String),
    /// A tensor, by its name.
    Tensor(String),
    /// The header, the tables of sections and tensors, or the padding between them.
    Rest,
}

/// How one part of a file differs from the same part of another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which part.
    #[serde(flatten)]
    pub part: Part,
    /// Its bytes in the first file.
    pub bytes: usize,
    /// Its bytes in the second.
    pub other_bytes: usize,
    /// Bytes that differ, those that only one of them has included.
    pub differing_bytes: usize,
    /// For a tensor that both have in one shape: sum of squared differences of its weights over the
    /// sum of squared weights of the first.
    pub relative_squared_error: Option<f64>,
}

impl Difference {
    /// In one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self {
            bytes,
            other_bytes,
            differing_bytes,
            ..
        } = self;
        let name = match &self.part {
            Part::Section(name) => format!("section {name}"),
            Part::Tensor(name) => format!("tensor {name}"),
            Part::Rest => "header, tables or padding".to_owned(),
        };
        let length = if bytes == other_bytes {
            format!("of {bytes}")
        } else {
            format!("of {bytes} and {other_bytes}")
        };
        let weights = self.relative_squared_error.map_or(String::new(), |error| {
            format!(", its weights by a relative squared error of {error:.1e}")
        });
        format!("{name} differs in {differing_bytes} bytes {length}{weights}")
    }
}

/// Where two files differ, in file order; empty only if they are the same bytes, or the same contents in two
/// versions of the format.
#[must_use]
pub fn differences(file: &PackedModel, other: &PackedModel) -> Vec<Difference> {
    if file.bytes() == other.bytes() {
        return Vec::new();
    }
    let (a, b) = (file.view(), other.view());
    let mut found = sections_differ(&a, &b);
    let same = |e: &Entry<'_>, f: &Entry<'_>| (e.role, e.layer) == (f.role, f.layer);
    for entry in a.entries() {
        let part = || Part::Tensor(entry.name.to_owned());
        let twin = b.entries().find(|other| same(&entry, other));
        let other_bytes = twin.as_ref().map_or(&[][..], |other| other.matrix.bytes());
        if let Some(mut difference) = bytes_differ(part, entry.matrix.bytes(), other_bytes) {
            difference.relative_squared_error = twin.and_then(|twin| weights_differ(&entry, &twin));
            found.push(difference);
        }
    }
    let missing = b
        .entries()
        .filter(|other| !a.entries().any(|e| same(&e, other)));
    found.extend(missing.filter_map(|entry| {
        let part = || Part::Tensor(entry.name.to_owned());
        bytes_differ(part, &[], entry.matrix.bytes())
    }));
    // Versions lay the same contents out in other places.
    if found.is_empty() && a.version() == b.version() {
        found.extend(bytes_differ(|| Part::Rest, file.bytes(), other.bytes()));
    }
    found
}

/// The sections of either file that the other has not, or with other bytes. The directory is left out: it
/// has the places and checksums of tensors, which are compared themselves.
fn sections_differ(a: &Packed<'_>, b: &Packed<'_>) -> Vec<Difference> {
    let bytes = |packed: &Packed<'_>, name: &str| match Section::from_name(name) {
        // In version 1 the shape lies in the header and is not listed.
        Some(section) => packed.section(section).to_vec(),
        None => packed
            .sections()
            .find(|s| s.name == name)
            .map_or_else(Vec::new, |s| s.bytes.to_vec()),
    };
    let mut names: Vec<&str> = Section::ALL.map(Section::name).to_vec();
    names.extend(a.sections().chain(b.sections()).map(|s| s.name));
    let mut seen = HashSet::new();
    names
        .into_iter()
        .filter(|name| *name != Section::Tensors.name() && seen.insert(*name))
        .filter_map(|name| {
            let part = || Part::Section(name.to_owned());
            bytes_differ(part, &bytes(a, name), &bytes(b, name))
        })
        .collect()
}

fn bytes_differ(part: impl FnOnce() -> Part, a: &[u8], b: &[u8]) -> Option<Difference> {
    let unequal = a.iter().zip(b).filter(|(a, b)| a != b).count();
    let differing_bytes = unequal + a.len().abs_diff(b.len());
    (differing_bytes > 0).then(|| Difference {
        part: part(),
        bytes: a.len(),
        other_bytes: b.len(),
        differing_bytes,
        relative_squared_error: None,
    })
}

fn weights_differ(a: &Entry<'_>, b: &Entry<'_>) -> Option<f64> {
    let shape = |e: &Entry<'_>| (e.matrix.rows(), e.matrix.cols());
    if shape(a) != shape(b) {
        return None;
    }
    let (rows, cols) = shape(a);
    let (mut row, mut other) = (vec![0.0; cols], vec![0.0; cols]);
    let (mut error, mut size) = (0.0, 0.0);
    for index in 0..rows {
        a.matrix.dequantize_row(index, &mut row);
        b.matrix.dequantize_row(index, &mut other);
        for (x, y) in row.iter().zip(&other) {
            error += f64::from(x - y).powi(2);
            size += f64::from(*x).powi(2);
        }
    }
    (size > 0.0).then(|| error / size)
}
