//! What Ctrl-C does: the work that runs is asked to stop, so that it leaves nothing half written behind; where
//! none runs, or it does not hear in time, the process ends and takes what is half written with it.

use crate::job::CancelToken;
use crate::whole_file;
use std::io::Write as _;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a shell reports of a process that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;
/// How long work may take to notice that it was asked to stop. Most of it asks many times a second; what waits
/// for another process, or for a step of a very large model, never does or too late for who pressed Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at whether it noticed.
const LOOK: Duration = Duration::from_millis(20);

/// The work of this process that an interrupt asks to stop, and whether one did.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Option<CancelToken>>,
    /// What is left behind where the work does not hear in time.
    last_words: Mutex<Option<String>>,
    was_heard: AtomicBool,
}

impl Interrupt {
    /// From now on Ctrl-C, or being asked to terminate, cancels the work that runs; where none does, it does not
    /// notice, or it was asked already, it ends the process.
    pub(super) fn listen() -> Self {
        let interrupt = Self::default();
        let heard = interrupt.clone();
        // Where nobody can listen the system ends the process, as it always did.
        drop(ctrlc::set_handler(move || heard.stop()));
        interrupt
    }

    fn stop(&self) {
        let was_heard = self.0.was_heard.swap(true, Ordering::Relaxed);
        let Some(work) = self.running().clone().filter(|_| !was_heard) else {
            end(self.last_words().as_deref());
        };
        work.cancel();
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            // It ends by itself, and says so.
            if work.is_heeded() || self.running().is_none() {
                return;
            }
            sleep(LOOK);
        }
        end(self.last_words().as_deref());
    }

    /// Says what is left behind should the work that runs now not hear in time.
    #[cfg(feature = "flash")]
    pub(super) fn leave_behind(&self, words: &str) {
        *self.last_words() = Some(words.to_owned());
    }

    fn last_words(&self) -> MutexGuard<'_, Option<String>> {
        let words = self.0.last_words.lock();
        words.unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`, which the token that it gets can stop.
    pub(super) fn during<T>(&self, work: impl FnOnce(CancelToken) -> T) -> T {
        let token = CancelToken::new();
        if self.was_heard() {
            // What follows work that was asked to stop need not begin.
            token.cancel();
        }
        *self.running() = Some(token.clone());
        let result = work(token);
        *self.running() = None;
        *self.last_words() = None;
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

/// Ends the process without unwinding; what is half written goes with it.
fn end(last_words: Option<&str>) -> ! {
    whole_file::remove_parts();
    let words = last_words.map_or_else(String::new, |words| format!(": {words}"));
    drop(writeln!(
        std::io::stderr().lock(),
        "whittle: cancelled{words}"
    ));
    exit(INTERRUPTED.into())
}
