//! The host's threads and its choice of SIMD level.

use engine::pool::Pool;
use engine::workers::{Host, SimdLevel};

/// Why the host cannot compute as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkersError {
    /// `WHITTLE_SIMD` names a level that is not here.
    #[error("expected WHITTLE_SIMD to be one of {available}, found `{found}`")]
    Level {
        /// What the variable says.
        found: String,
        /// Levels that this processor has.
        available: String,
    },
    /// None, or more than are of any use.
    #[error(
        "expected 1 to {MOST_THREADS} threads, found {0}: one beyond the cores of the processor only waits for its turn"
    )]
    Count(usize),
    /// The system refused threads.
    #[error("cannot start {threads} threads: {message}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        message: String,
    },
}

/// Most threads: the largest machines have about as many, and a step of the engine waits for every one.
pub const MOST_THREADS: usize = 1024;

/// Threads and SIMD level, chosen once.
#[derive(Debug)]
pub struct Processor {
    level: SimdLevel,
    pool: Pool,
}

impl Processor {
    /// The best level that the processor has, or the one that `WHITTLE_SIMD` forces, on `threads`
    /// threads; `None` takes every core, or all but one where there are four or more.
    ///
    /// # Errors
    /// When the forced level is not here or the threads cannot be had.
    pub fn new(threads: Option<usize>) -> Result<Self, WorkersError> {
        let forced = std::env::var("WHITTLE_SIMD").ok();
        Self::with_level(forced.as_deref(), threads)
    }

    /// The level of this name, or the best.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_level(name: Option<&str>, threads: Option<usize>) -> Result<Self, WorkersError> {
        let level = match name {
            None => SimdLevel::available().last(),
            Some(name) => SimdLevel::available().find(|l| l.name() == name),
        };
        let level = level.ok_or_else(|| WorkersError::Level {
            found: name.unwrap_or_default().into(),
            available: SimdLevel::available()
                .map(SimdLevel::name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        let threads = threads.unwrap_or_else(|| default_threads().min(MOST_THREADS));
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(WorkersError::Count(threads));
        }
        let pool = Pool::new(threads).map_err(|e| WorkersError::Threads {
            threads,
            message: e.to_string(),
        })?;
        Ok(Self { level, pool })
    }

    /// What the engine borrows.
    #[must_use]
    pub fn host(&self) -> Host<'_> {
        Host {
            level: self.level,
            workers: &self.pool,
        }
    }

    /// The name of the SIMD level.
    #[must_use]
    pub fn level_name(&self) -> &'static str {
        self.level.name()
    }

    /// Threads that compute.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}

/// Threads of a person who names no number.
fn default_threads() -> usize {
    threads_for(std::thread::available_parallelism().map_or(1, usize::from))
}

/// The audio callback and the window come first: from four cores on one is theirs, which costs the
/// answer little, for memory is its limit. On fewer it would cost a third or half; there they get
/// their turn because a callback is short, and a worker that it delays delays no other.
const fn threads_for(cores: usize) -> usize {
    if cores < 4 { cores } else { cores - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once() {
        let processor = Processor::with_level(Some("scalar"), Some(3)).unwrap();
        let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        processor.host().workers.run(100, &|i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn four_cores_leave_one_for_sound_and_window() {
        let threads = [1, 2, 3, 4, 8, 16].map(threads_for);
        assert_eq!(threads, [1, 2, 3, 3, 7, 15]);
    }

    #[test]
    fn threads_that_nobody_needs_are_refused_before_they_start() {
        for (threads, found) in [(0, "found 0"), (1_000_000, "found 1000000")] {
            let refused = Processor::with_level(None, Some(threads)).unwrap_err();
            let message = refused.to_string();
            assert!(
                message.starts_with("expected 1 to 1024 threads") && message.contains(found),
                "{message}"
            );
        }
    }

    #[test]
    fn a_level_that_is_not_here_is_refused_by_name() {
        let message = Processor::with_level(Some("mmx"), None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("found `mmx`") && message.contains("scalar"),
            "{message}"
        );
    }
}
