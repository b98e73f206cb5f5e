//! The host's threads and its choice of SIMD level.

use engine::workers::{Host, Serial, SimdLevel, Workers};
use rayon::prelude::*;

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
    /// The system refused threads.
    #[error("cannot start {threads} threads: {message}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        message: String,
    },
}

/// Threads and SIMD level, chosen once.
#[derive(Debug)]
pub struct Processor {
    level: SimdLevel,
    pool: Option<Pool>,
}

#[derive(Debug)]
struct Pool(rayon::ThreadPool);

impl Workers for Pool {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks < 2 {
            (0..tasks).for_each(task);
        } else {
            self.0.install(|| (0..tasks).into_par_iter().for_each(task));
        }
    }
}

impl Processor {
    /// The best level that the processor has, or the one that `WHITTLE_SIMD` forces, on `threads`
    /// threads; `None` takes every core.
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
        let threads = threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .max(1);
        let build = || {
            let builder = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|i| format!("engine {i}"));
            builder
                .build()
                .map(Pool)
                .map_err(|e| WorkersError::Threads {
                    threads,
                    message: e.to_string(),
                })
        };
        let pool = if threads == 1 { None } else { Some(build()?) };
        Ok(Self { level, pool })
    }

    /// What the engine borrows.
    #[must_use]
    pub fn host(&self) -> Host<'_> {
        let workers: &dyn Workers = match &self.pool {
            Some(pool) => pool,
            None => &Serial,
        };
        Host {
            level: self.level,
            workers,
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
        self.pool.as_ref().map_or(1, |p| p.0.current_num_threads())
    }
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
