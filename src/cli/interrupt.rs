//! What Ctrl-C does: the work that runs is asked to stop, so that it leaves nothing half written behind.

use crate::job::CancelToken;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a shell reports of a process that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;

/// The work of this process that an interrupt asks to stop, and whether one did.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Option<CancelToken>>,
    was_heard: AtomicBool,
}

impl Interrupt {
    /// From now on Ctrl-C, or being asked to terminate, cancels the work that runs; where none does, or it
    /// has been asked already, it ends the process.
    pub(super) fn listen() -> Self {
        let interrupt = Self::default();
        let heard = interrupt.clone();
        // Where nobody can listen the system ends the process, as it always did.
        drop(ctrlc::set_handler(move || heard.stop()));
        interrupt
    }

    fn stop(&self) {
        self.0.was_heard.store(true, Ordering::Relaxed);
        match self.running().take() {
            Some(work) => work.cancel(),
            None => exit(INTERRUPTED.into()),
        }
    }

    /// Does `work`, which the token that it gets can stop.
    pub(super) fn during<T>(&self, work: impl FnOnce(CancelToken) -> T) -> T {
        let token = CancelToken::new();
        *self.running() = Some(token.clone());
        let result = work(token);
        *self.running() = None;
        result
    }

    /// Whether somebody asked the work to stop.
    pub(super) fn was_heard(&self) -> bool {
        self.0.was_heard.load(Ordering::Relaxed)
    }

    fn running(&self) -> MutexGuard<'_, Option<CancelToken>> {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
