//! The matrices of a model, and the rows that the layer table groups them into.

use crate::recipe::Pattern;
use engine::shape::{Part, Role};

/// One matrix of a model.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Its index in [`crate::model::Model::tensors`].
    pub tensor: usize,
    /// GGUF name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
}

impl Matrix {
    pub(super) const fn weights(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }
}

/// The parts of a model that the byte meter tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The token embedding.
    Embedding,
    /// Query, key, value and output projections.
    Attention,
    /// Gate, up and down projections.
    FeedForward,
    /// An output head of its own.
    Output,
}

impl Group {
    /// All groups, in the order of the table.
    pub const ALL: [Self; 4] = [
        Self::Embedding,
        Self::Attention,
        Self::FeedForward,
        Self::Output,
    ];

    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Embedding => "Embedding",
            Self::Attention => "Attention",
            Self::FeedForward => "Feed-forward",
            Self::Output => "Output",
        }
    }

    /// Its name in recipes.
    const fn pattern(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention.*",
            Self::FeedForward => "feed-forward.*",
            Self::Output => "output",
        }
    }

    /// The group of a matrix; norms, biases and frequencies have none.
    #[must_use]
    pub const fn of(role: Role) -> Option<Self> {
        match role.part() {
            Some(Part::Embedding) => Some(Self::Embedding),
            Some(Part::Attention) => Some(Self::Attention),
            Some(Part::FeedForward) => Some(Self::FeedForward),
            Some(Part::Output) => Some(Self::Output),
            None => None,
        }
    }
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every matrix of a group.
    Group(Group),
    /// Every matrix of a layer.
    Layer(u32),
    /// One matrix of a layer.
    Tensor(u32),
}

/// A row of the layer table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it stands for.
    pub kind: Kind,
    /// Its name: "Attention, all layers", "Layer 3", "blk.3.attn_q".
    pub title: String,
    /// Indices of its matrices in [`super::Loaded::matrices`]; none for a head that is tied.
    pub members: Vec<usize>,
    /// Names its matrices in a recipe.
    pub(super) pattern: Option<Pattern>,
}

/// The rows of a model: groups first, then each layer and its matrices.
pub(super) fn rows(matrices: &[Matrix], layers: u32) -> Vec<Row> {
    let members = |wanted: &dyn Fn(&Matrix) -> bool| -> Vec<usize> {
        (0..matrices.len())
            .filter(|&index| wanted(&matrices[index]))
            .collect()
    };
    let mut rows: Vec<Row> = Group::ALL
        .into_iter()
        .map(|group| {
            let members = members(&|m| Group::of(m.role) == Some(group));
            let title = match group {
                Group::Embedding => group.title().to_owned(),
                Group::Output if members.is_empty() => "Output, tied".to_owned(),
                Group::Output => group.title().to_owned(),
                Group::Attention | Group::FeedForward => format!("{}, all layers", group.title()),
            };
            Row {
                kind: Kind::Group(group),
                title,
                members,
                pattern: group.pattern().parse().ok(),
            }
        })
        .collect();
    for layer in 0..layers {
        let members = members(&|m| m.layer == Some(layer));
        let tensors: Vec<Row> = members
            .iter()
            .map(|&index| Row {
                kind: Kind::Tensor(layer),
                title: matrices[index].name.trim_end_matches(".weight").to_owned(),
                members: vec![index],
                pattern: Some(Pattern::one(matrices[index].role, Some(layer))),
            })
            .collect();
        rows.push(Row {
            kind: Kind::Layer(layer),
            title: format!("Layer {layer}"),
            members,
            pattern: format!("blk.{layer}.*").parse().ok(),
        });
        rows.extend(tensors);
    }
    rows
}
