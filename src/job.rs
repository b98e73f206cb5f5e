//! Long work: how it reports progress and how it is cancelled.
//!
//! Every long function takes a [`Job`]. `job.report(stage, done, total)?` calls back and returns
//! [`Cancelled`] once the token is set, so `?` is the whole protocol.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The work was cancelled by the person who started it; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Asks running work to stop; clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    is_asked: AtomicBool,
    is_heeded: AtomicBool,
}

impl CancelToken {
    /// A token that nobody has set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop at its next report.
    pub fn cancel(&self) {
        self.0.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether the work was asked to stop; for the work, which heeds it by asking.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let is_asked = self.0.is_asked.load(Ordering::Relaxed);
        if is_asked {
            self.0.is_heeded.store(true, Ordering::Relaxed);
        }
        is_asked
    }

    /// Whether the work has noticed that it was asked to stop, and so is about to.
    #[must_use]
    pub fn is_heeded(&self) -> bool {
        self.0.is_heeded.load(Ordering::Relaxed)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done, in the words of the user: "Quantizing".
    pub stage: &'a str,
    /// Units finished in this stage.
    pub done: u64,
    /// Units in this stage; 0 when unknown.
    pub total: u64,
}

/// A progress callback and a cancel token, handed down to long work.
#[derive(Clone)]
pub struct Job<'a> {
    callback: &'a (dyn Fn(Progress<'_>) + Sync),
    cancel: CancelToken,
}

impl<'a> Job<'a> {
    /// A job that reports to `callback` and stops once `cancel` is set.
    pub fn new(callback: &'a (dyn Fn(Progress<'_>) + Sync), cancel: CancelToken) -> Self {
        Self { callback, cancel }
    }

    /// A job that reports nowhere and is never cancelled.
    #[must_use]
    pub fn silent() -> Job<'static> {
        Job {
            callback: &|_| {},
            cancel: CancelToken::new(),
        }
    }

    /// The same work reporting nowhere: for a step of it whose own progress would hide the whole's.
    #[must_use]
    pub fn quiet(&self) -> Job<'static> {
        Job {
            callback: &|_| {},
            cancel: self.cancel.clone(),
        }
    }

    /// Reports progress.
    ///
    /// # Errors
    /// [`Cancelled`] once the token is set.
    pub fn report(&self, stage: &str, done: u64, total: u64) -> Result<(), Cancelled> {
        (self.callback)(Progress { stage, done, total });
        self.check()
    }

    /// Asks only whether to stop; for loops too tight to report.
    ///
    /// # Errors
    /// [`Cancelled`] once the token is set.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.cancel.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn reports_until_cancelled() {
        let calls = AtomicU64::new(0);
        let cancel = CancelToken::new();
        let count = |p: Progress<'_>| {
            calls.fetch_add(p.done, Ordering::Relaxed);
        };
        let job = Job::new(&count, cancel.clone());
        assert_eq!(job.report("Packing", 2, 10), Ok(()));
        cancel.cancel();
        assert!(!cancel.is_heeded());
        assert_eq!(job.report("Packing", 3, 10), Err(Cancelled));
        assert_eq!(job.quiet().report("Packing", 7, 10), Err(Cancelled));
        assert!(cancel.is_heeded());
        assert_eq!(calls.load(Ordering::Relaxed), 5);
    }
}
