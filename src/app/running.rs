//! Long work of the window: each job on a thread of its own, its newest progress, its outcome.
//!
//! The only place of the window that starts threads.

use crate::job::{CancelToken, Job, Progress};
use eframe::egui::Context;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often progress may ask for a new frame.
const REPAINT_INTERVAL: Duration = Duration::from_millis(50);

/// What a job fails with; shown to the person as one sentence.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How a job ended.
#[derive(Debug)]
pub enum Outcome<T> {
    /// With a result.
    Done(T),
    /// The person stopped it.
    Cancelled,
    /// With this sentence.
    Failed(String),
}

/// The newest progress of a job.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What is being done; empty before the first report.
    pub stage: String,
    /// 0 to 1, if the job knows.
    pub fraction: Option<f32>,
    /// When this stage was first reported, and how far it was.
    since: Option<(Instant, f32)>,
}

impl Report {
    /// How far a stage is; a share of 0 to 1, if it is known.
    pub(super) fn new(stage: String, fraction: Option<f32>) -> Self {
        Self {
            stage,
            fraction,
            since: None,
        }
    }

    /// The time that the rest of the stage takes, if it goes on as it did; nothing before much can be said.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let ((begun, from), fraction) = (self.since?, self.fraction?);
        let done = fraction - from;
        (done > 0.01).then(|| begun.elapsed().mul_f32((1.0 - fraction).max(0.0) / done))
    }

    /// The same stage goes on from `before`.
    fn after(mut self, before: &Self) -> Self {
        self.since = match before.since {
            Some(since) if before.stage == self.stage => Some(since),
            Some(_) | None => Some((Instant::now(), self.fraction.unwrap_or(0.0))),
        };
        self
    }
}

/// A job on a thread; dropping it cancels it.
#[derive(Debug)]
pub struct Running<T> {
    /// What it is, in the words of the person: "Export".
    pub title: String,
    report: Arc<Mutex<Report>>,
    cancel: CancelToken,
    outcome: Receiver<Outcome<T>>,
}

impl<T: Send + 'static> Running<T> {
    /// Starts `work`; `ctx` gets a new frame when there is progress or an outcome to show.
    pub fn start(
        title: impl Into<String>,
        ctx: &Context,
        work: impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Self {
        let title = title.into();
        let report = Arc::new(Mutex::new(Report::default()));
        let cancel = CancelToken::new();
        let (sender, outcome) = sync_channel(1);
        let (theirs, token, ctx, failed) = (
            Arc::clone(&report),
            cancel.clone(),
            ctx.clone(),
            sender.clone(),
        );
        let started = spawn(&title, move || {
            let result = run(&theirs, &token, &ctx, work);
            // A window that closed waits for no outcome.
            drop(sender.send(result));
            ctx.request_repaint();
        });
        if let Err(error) = started {
            drop(failed.send(Outcome::Failed(error)));
        }
        Self {
            title,
            report,
            cancel,
            outcome,
        }
    }

    /// The newest progress.
    #[must_use]
    pub fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// Asks it to stop at its next report.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether it was asked to stop and has not yet.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// How it ended, once; nothing while it runs.
    pub fn take_outcome(&mut self) -> Option<Outcome<T>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Outcome::Failed(format!(
                "{} ended without a result",
                self.title
            ))),
        }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Starts a thread of this name.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new()
        .name(name.to_lowercase())
        .spawn(work)
        .map(drop)
        .map_err(|error| format!("cannot start a thread for {name}: {error}"))
}

fn run<T>(
    report: &Mutex<Report>,
    cancel: &CancelToken,
    ctx: &Context,
    work: impl FnOnce(&Job<'_>) -> Result<T, Failure>,
) -> Outcome<T> {
    let painted: Mutex<Option<Instant>> = Mutex::new(None);
    let show = |progress: Progress<'_>| {
        let mut report = lock(report);
        *report = shown(progress).after(&report);
        drop(report);
        let mut painted = lock(&painted);
        if painted.is_none_or(|at| at.elapsed() >= REPAINT_INTERVAL) {
            *painted = Some(Instant::now());
            ctx.request_repaint();
        }
    };
    let job = Job::new(&show, cancel.clone());
    match catch_unwind(AssertUnwindSafe(|| work(&job))) {
        Ok(Ok(result)) => Outcome::Done(result),
        Ok(Err(_)) if cancel.is_cancelled() => Outcome::Cancelled,
        Ok(Err(error)) => Outcome::Failed(sentence(&*error)),
        Err(panic) => Outcome::Failed(panic_sentence(&*panic)),
    }
}

fn shown(progress: Progress<'_>) -> Report {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a bar has a few hundred pixels"
    )]
    let fraction = (progress.done as f64 / progress.total.max(1) as f64) as f32;
    let fraction = (progress.total > 0).then_some(fraction.min(1.0));
    Report::new(progress.stage.to_owned(), fraction)
}

/// An error and its causes, each said once.
pub(super) fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |&error| error.source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A panic is a bug, which the window survives and reports.
pub(super) fn panic_sentence(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    format!("a bug in Whittle stopped this work: {message}")
}

/// A panic elsewhere leaves none of the values here half-written: they are exchanged as a whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T: Send + 'static>(mut job: Running<T>) -> Outcome<T> {
        loop {
            if let Some(outcome) = job.take_outcome() {
                return outcome;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_job_ends_with_its_result_its_error_or_its_panic() {
        let ctx = Context::default();
        let done = Running::start("Count", &ctx, |job| {
            job.report("Counting", 1, 2)?;
            Ok(7)
        });
        assert!(matches!(wait(done), Outcome::Done(7)));
        let failed = Running::<()>::start("Read", &ctx, |_| Err("no such file".into()));
        assert!(matches!(wait(failed), Outcome::Failed(m) if m == "no such file"));
        let bug = Running::<()>::start("Divide", &ctx, |_| panic!("by zero"));
        assert!(matches!(wait(bug), Outcome::Failed(m) if m.ends_with("this work: by zero")));
    }

    #[test]
    fn a_cancelled_job_stops_at_its_next_report() {
        let endless = Running::<()>::start("Wait", &Context::default(), |job| {
            loop {
                job.report("Waiting", 0, 0)?;
            }
        });
        endless.cancel();
        assert!(matches!(wait(endless), Outcome::Cancelled));
    }
}
