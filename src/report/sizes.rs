//! Where every byte of a packed file goes.

use crate::packed::PackedModel;
use engine::format::{HEADER_BYTES, Section};
use engine::shape::Role;
use serde::Serialize;

/// What some bytes of a file are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizePart {
    /// In the words of the user.
    pub part: &'static str,
    /// How many.
    pub bytes: usize,
}

/// Groups of tensors, with their names.
fn group(role: Role) -> &'static str {
    match role {
        Role::Embedding => "embedding",
        Role::Output => "output",
        Role::Query | Role::Key | Role::Value | Role::AttentionOutput => "attention",
        Role::Gate | Role::Up | Role::Down => "feed forward",
        Role::AttentionNorm
        | Role::QueryBias
        | Role::KeyBias
        | Role::ValueBias
        | Role::QueryNorm
        | Role::KeyNorm
        | Role::FeedForwardNorm
        | Role::OutputNorm
        | Role::RopeFrequencies => "norms, biases, frequencies",
    }
}

const GROUPS: [&str; 5] = [
    "embedding",
    "attention",
    "feed forward",
    "output",
    "norms, biases, frequencies",
];

/// Every byte of the file by what it is for; parts of no bytes are left out, and the rest is padding,
/// so that the sum is the file.
#[must_use]
pub fn sizes(packed: &PackedModel) -> Vec<SizePart> {
    let view = packed.view();
    let tensors = |name: &str| {
        let of_group = view.entries().filter(|e| group(e.role) == name);
        of_group.map(|e| e.matrix.bytes().len()).sum()
    };
    let section = |section| view.section(section).len();
    let mut parts: Vec<SizePart> = GROUPS
        .into_iter()
        .map(|part| SizePart {
            part,
            bytes: tensors(part),
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
