//! What other windows have left behind is looked for at the start, and again while one of them may be dying: a
//! process that was ended by force keeps its lock until its last thread is gone.

use crate::project::ProjectError;
use crate::project::autosave::{self, Left};
use eframe::egui::Context;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two looks. On two busy cores a process that was killed half a second or a second before still had its lock
/// in 2 of 6 starts; a window that lives keeps it.
const WAITS: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The search through a folder of records.
#[derive(Debug)]
pub(super) struct Search {
    folder: PathBuf,
    waits: std::slice::Iter<'static, Duration>,
    /// When the next look is due; nothing when none will show more.
    due: Option<Instant>,
}

impl Search {
    /// Begins with a look at once.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            waits: WAITS.iter(),
            due: Some(Instant::now()),
        }
    }

    /// What is there to be taken; nothing between two looks.
    pub(super) fn look(&mut self, ctx: &Context) -> Vec<Result<Left, ProjectError>> {
        let Some(due) = self.due else {
            return Vec::new();
        };
        if let Some(rest) = due.checked_duration_since(Instant::now()) {
            ctx.request_repaint_after(rest);
            return Vec::new();
        }
        let found = autosave::left(&self.folder);
        let wait = self.waits.next().filter(|_| found.is_any_held);
        self.due = wait.map(|wait| Instant::now() + *wait);
        if let Some(wait) = wait {
            ctx.request_repaint_after(*wait);
        }
        found.left
    }
}
