//! Writes unsaved changes on a thread of its own: the disk may be slow.

use super::running::spawn;
use super::saved::Saved;
use crate::project::Project;
use crate::project::autosave::{Autosave, Left};
use eframe::egui::Context;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Between two writes: what is lost at most.
const INTERVAL: Duration = Duration::from_secs(2);
/// A slow disk still writes: look again then.
const AGAIN: Duration = Duration::from_millis(200);
/// A window that closes waits no longer for its disk.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What the thread is asked.
#[derive(Debug)]
enum Order {
    /// Writes what is unsaved; what was restored from is removed when that is done.
    Keep(Box<Kept>, Vec<Arc<Left>>),
    /// Removes it: nothing is unsaved any more.
    Forget(Vec<Arc<Left>>),
}

/// A project that its file lacks.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    project: Project,
    path: Option<PathBuf>,
}

/// The thread, and what it was asked last.
#[derive(Debug)]
pub(super) struct Autosaver {
    orders: SyncSender<Order>,
    /// Whether each order could be done.
    done: Receiver<Result<(), String>>,
    kept: Option<Kept>,
    written: Option<Instant>,
    restored: Vec<Arc<Left>>,
    has_failed: bool,
}

impl Autosaver {
    /// Starts the thread; records lie in `folder`.
    pub(super) fn start(folder: PathBuf, ctx: &Context) -> Result<Self, String> {
        let (orders, waiting) = sync_channel(1);
        let (tell, done) = sync_channel(1);
        let ctx = ctx.clone();
        spawn("Autosave", move || {
            serve(&waiting, &tell, &ctx, Autosave::new(folder));
        })?;
        Ok(Self {
            orders,
            done,
            kept: None,
            written: None,
            restored: Vec::new(),
            has_failed: false,
        })
    }

    /// What this was restored to is removed once it is written anew.
    pub(super) fn restored(&mut self, left: Arc<Left>) {
        self.restored.push(left);
    }

    /// Called every frame; returns the sentence of a failure, once until it works again.
    pub(super) fn follow(
        &mut self,
        project: &Project,
        saved: &Saved,
        ctx: &Context,
    ) -> Option<String> {
        self.order(project, saved, ctx);
        let done = self.done.try_recv().ok()?;
        self.sentence(done)
    }

    fn sentence(&mut self, done: Result<(), String>) -> Option<String> {
        let had_failed = std::mem::replace(&mut self.has_failed, done.is_err());
        done.err().filter(|_| !had_failed)
    }

    fn order(&mut self, project: &Project, saved: &Saved, ctx: &Context) {
        let is_unsaved = saved.is_behind(project);
        let is_kept = match &self.kept {
            Some(kept) => is_unsaved && kept.project == *project && kept.path == saved.path,
            None => !is_unsaved,
        };
        if is_kept && self.restored.is_empty() {
            return;
        }
        let elapsed = self.written.map_or(INTERVAL, |written| written.elapsed());
        if let Some(rest) = INTERVAL.checked_sub(elapsed).filter(|rest| !rest.is_zero()) {
            ctx.request_repaint_after(rest);
            return;
        }
        let unsaved = is_unsaved.then(|| Kept {
            project: project.clone(),
            path: saved.path.clone(),
        });
        let restored = std::mem::take(&mut self.restored);
        let order = match &unsaved {
            Some(unsaved) => Order::Keep(Box::new(unsaved.clone()), restored),
            None => Order::Forget(restored),
        };
        match self.orders.try_send(order) {
            Ok(()) => (self.kept, self.written) = (unsaved, Some(Instant::now())),
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => {
                let (Order::Keep(_, restored) | Order::Forget(restored)) = order;
                self.restored = restored;
                ctx.request_repaint_after(AGAIN);
            }
        }
    }

    /// The window closes, and nothing is to be restored.
    pub(super) fn end(self) {
        let Self {
            orders,
            done,
            restored,
            ..
        } = self;
        let until = Instant::now() + LAST_WRITE;
        let rest = || until.saturating_duration_since(Instant::now());
        let mut order = Order::Forget(restored);
        while let Err(refused) = orders.try_send(order) {
            match refused {
                TrySendError::Full(back) if !rest().is_zero() => {
                    order = back;
                    // Either it has done something, or it is worth another try.
                    drop(done.recv_timeout(AGAIN));
                }
                // What is written stays, and is offered to the next window.
                TrySendError::Full(_) | TrySendError::Disconnected(_) => return,
            }
        }
        // The thread ends with its orders, and with it what it tells.
        drop(orders);
        while done.recv_timeout(rest()).is_ok() {}
    }
}

fn serve(
    orders: &Receiver<Order>,
    tell: &SyncSender<Result<(), String>>,
    ctx: &Context,
    mut autosave: Autosave,
) {
    let mut restored = Vec::new();
    for order in orders {
        let done = match order {
            Order::Keep(unsaved, more) => {
                restored.extend(more);
                let kept = autosave.keep(&unsaved.project, unsaved.path.as_deref());
                kept.map_err(|error| error.to_string())
            }
            Order::Forget(more) => {
                restored.extend(more);
                autosave
                    .forget()
                    .map_err(|error| format!("cannot remove an old autosave: {error}"))
            }
        };
        let done = done.and_then(|()| {
            let gone = restored.drain(..).try_for_each(|left| left.remove());
            gone.map_err(|error| format!("cannot remove an old autosave: {error}"))
        });
        // A window that does not look has no use for it.
        drop(tell.try_send(done));
        ctx.request_repaint();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_is_said_once_until_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        // A file where the folder should be stops root too.
        std::fs::write(&place, "").unwrap();
        let ctx = Context::default();
        let mut saver = Autosaver::start(place.clone(), &ctx).unwrap();
        let mut project = Project::default();
        let saved = Saved::new(project.clone());
        let mut change = |saver: &mut Autosaver| {
            project.context_tokens += 8;
            // As if the last write was long ago.
            saver.written = None;
            saver.order(&project, &saved, &ctx);
            let done = saver.done.recv_timeout(LAST_WRITE).unwrap();
            saver.sentence(done)
        };
        let said = change(&mut saver).unwrap();
        assert!(said.starts_with("unsaved changes are not kept"), "{said}");
        assert_eq!(change(&mut saver), None);
        std::fs::remove_file(&place).unwrap();
        assert_eq!(change(&mut saver), None);
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 2);
        saver.end();
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    }
}
