//! The two recipes that are compared.

use crate::project::Project;
use crate::recipe::Recipe;

/// One of the two recipes of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Candidate {
    /// The first, usually the one that is tuned.
    A,
    /// The second, usually the reference.
    B,
}

impl Candidate {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// "A" or "B".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }

    /// The one that it is compared with.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its recipe.
    #[must_use]
    pub const fn recipe(self, project: &Project) -> &Recipe {
        match self {
            Self::A => &project.a,
            Self::B => &project.b,
        }
    }

    /// Its recipe, to change it.
    pub const fn recipe_mut(self, project: &mut Project) -> &mut Recipe {
        match self {
            Self::A => &mut project.a,
            Self::B => &mut project.b,
        }
    }
}
