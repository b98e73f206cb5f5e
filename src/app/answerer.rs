//! Who answers: a candidate, on this computer, or the board.

use super::candidate::Candidate;

/// Whoever is asked something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// A candidate.
    Candidate(Candidate),
    /// The board on the chosen port, with whatever model is on it.
    #[cfg(feature = "flash")]
    Board,
}

impl Answerer {
    /// "A", "B" or "Board".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Candidate(candidate) => candidate.name(),
            #[cfg(feature = "flash")]
            Self::Board => "Board",
        }
    }
}
