//! Reports of boards that commands rest on: those that this account keeps, and those that are named.

use crate::board::Board;
use crate::measured::{BoardReport, ReportError, Reports};
use std::path::PathBuf;

/// The reports that this account keeps, and these; "none" for none at all.
pub(super) fn reports(also: &[PathBuf]) -> Result<Reports, ReportError> {
    if also.iter().any(|path| path.as_os_str() == "none") {
        return Ok(Reports::default());
    }
    let mut reports = Reports::of_this_account();
    for path in also {
        reports.put(BoardReport::load(path)?);
    }
    Ok(reports)
}

/// The built-in boards, with the reports that this account keeps.
pub(super) fn known() -> Vec<Board> {
    let reports = Reports::of_this_account();
    let boards = Board::presets().iter().cloned();
    boards.map(|board| board.reported(&reports)).collect()
}
