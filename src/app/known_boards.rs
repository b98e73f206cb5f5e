//! The boards, with what those of their kind have measured of themselves.

use crate::board::Board;
use crate::measured::Reports;
use std::ops::Deref;
use std::sync::Arc;

/// Each built-in board, in their order.
#[derive(Debug, Clone)]
pub struct KnownBoards {
    reports: Reports,
    boards: Arc<[Board]>,
}

impl KnownBoards {
    /// The boards with these reports.
    #[must_use]
    pub fn with(reports: Reports) -> Self {
        let boards = Board::presets().iter().cloned();
        Self {
            boards: boards.map(|board| board.reported(&reports)).collect(),
            reports,
        }
    }

    /// The reports.
    #[must_use]
    pub const fn reports(&self) -> &Reports {
        &self.reports
    }
}

impl Default for KnownBoards {
    fn default() -> Self {
        Self::with(Reports::default())
    }
}

impl Deref for KnownBoards {
    type Target = [Board];

    fn deref(&self) -> &[Board] {
        &self.boards
    }
}
