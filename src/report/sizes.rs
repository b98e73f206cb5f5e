//! Where every byte of a packed file goes.

use crate::packed::PackedModel;
use engine::format::{HEADER_BYTES, Section};
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

/// Groups of tensors, with their names: the parts of the model, and what stands beside its matrices.
const GROUPS: [(Option<Part>, &str); 5] = [
    (Some(Part::Embedding), "embedding"),
    (Some(Part::Attention), "attention"),
    (Some(Part::FeedForward), "feed forward"),
    (Some(Part::Output), "output"),
    (None, "norms, biases, frequencies"),
];

/// Every byte of the file by what it is for; parts of no bytes are left out, and the rest is padding,
/// so that the sum is the file.
#[must_use]
pub fn sizes(packed: &PackedModel) -> Vec<SizePart> {
    let view = packed.view();
    let tensors = |part| {
        let of_group = view.entries().filter(|e| e.role.part() == part);
        of_group.map(|e| e.matrix.bytes().len()).sum()
    };
    let section = |section| view.section(section).len();
    let mut parts: Vec<SizePart> = GROUPS
        .into_iter()
        .map(|(group, part)| SizePart {
            part,
            bytes: tensors(group),
        })
        .collect();
    let metadata = [
        ("vocabulary", section(Section::Vocabulary)),
        ("merges", section(Section::Merges)),
        ("prefix", section(Section::Prefix)),
        (
            "chat, stop tokens, tokenizer",
            section(Section::Chat) + section(Section::StopTokens) + section(Section::Tokenizer),
        ),
        (
            "recipe and provenance",
            section(Section::Recipe) + section(Section::Provenance),
        ),
        (
            "header and directory",
            HEADER_BYTES + section(Section::Directory),
        ),
    ];
    parts.extend(metadata.map(|(part, bytes)| SizePart { part, bytes }));
    let known: usize = parts.iter().map(|p| p.bytes).sum();
    parts.push(SizePart {
        part: "padding",
        // A damaged table could claim one range twice.
        bytes: packed.bytes().len().saturating_sub(known),
    });
    parts.retain(|p| p.bytes > 0);
    parts
}
