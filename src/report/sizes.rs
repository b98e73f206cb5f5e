//! Where every byte of a packed file goes.

use crate::packed::PackedModel;
use engine::format::{Listed, Need, Section};
use engine::shape::Part;
use serde::Serialize;

/// What some bytes of a file are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizePart {
    /// In the words of the user.
    pub part: &'static str,
    /// How many.
    pub bytes: usize,
}

/// A section of a packed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SectionSize {
    /// Its name in the file.
    pub name: String,
    /// How many bytes it has.
    pub bytes: usize,
    /// Whether a reader that does not know it refuses the file.
    pub required: bool,
    /// Whether this version knows it.
    pub known: bool,
}

/// Every section that the file lists, in file order.
#[must_use]
pub fn section_sizes(packed: &PackedModel) -> Vec<SectionSize> {
    let size = |listed: Listed<'_>| SectionSize {
        name: listed.name.to_owned(),
        bytes: listed.bytes.len(),
        required: listed.need == Need::Required,
        known: Section::from_name(listed.name).is_some(),
    };
    packed.view().sections().map(size).collect()
}

/// Groups of tensors, with their names: the parts of the model, and what stands beside its matrices.
const GROUPS: [(Option<Part>, &str); 5] = [
    (Some(Part::Embedding), "embedding"),
    (Some(Part::Attention), "attention"),
    (Some(Part::FeedForward), "feed forward"),
    (Some(Part::Output), "output"),
    (None, "norms, biases, frequencies"),
];

/// What stands beside the tensors, in the words of the user.
const METADATA: [&str; 7] = [
    "vocabulary",
    "merges",
    "prefix",
    "chat, stop tokens, tokenizer",
    "recipe and provenance",
    HEADER,
    OTHER,
];
const HEADER: &str = "header and directory";
const OTHER: &str = "other sections";

/// Which of these a section of the file belongs to.
fn named(section: &str) -> &'static str {
    match Section::from_name(section) {
        Some(Section::Vocabulary) => "vocabulary",
        Some(Section::Merges) => "merges",
        Some(Section::Prefix) => "prefix",
        Some(Section::Chat | Section::StopTokens | Section::Tokenizer) => {
            "chat, stop tokens, tokenizer"
        }
        Some(Section::Recipe | Section::Provenance) => "recipe and provenance",
        Some(Section::Shape | Section::Tensors) => HEADER,
        None => OTHER,
    }
}

/// Every byte of the file by what it is for; parts of no bytes are left out, and the rest is padding,
/// so that the sum is the file.
#[must_use]
pub fn sizes(packed: &PackedModel) -> Vec<SizePart> {
    let view = packed.view();
    let tensors = |part| {
        let of_group = view.entries().filter(|e| e.role.part() == part);
        of_group.map(|e| e.matrix.bytes().len()).sum()
    };
    let mut parts: Vec<SizePart> = GROUPS
        .into_iter()
        .map(|(group, part)| SizePart {
            part,
            bytes: tensors(group),
        })
        .collect();
    let section = |wanted: &str| {
        let of_part = view.sections().filter(|s| named(s.name) == wanted);
        of_part.map(|s| s.bytes.len()).sum::<usize>()
    };
    parts.extend(METADATA.map(|part| SizePart {
        part,
        bytes: section(part),
    }));
    for part in &mut parts {
        if part.part == HEADER {
            part.bytes += view.header_bytes();
        }
    }
    let known: usize = parts.iter().map(|p| p.bytes).sum();
    parts.push(SizePart {
        part: "padding",
        // A damaged table could claim one range twice.
        bytes: packed.bytes().len().saturating_sub(known),
    });
    parts.retain(|p| p.bytes > 0);
    parts
}
