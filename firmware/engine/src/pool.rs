//! Threads for hosts with an operating system: a fork that costs about a microsecond.
//!
//! A token is some two hundred regions of 10 to 100 µs each, so workers spin for the next one before
//! they sleep. The caller takes tasks like any worker: a region ends when its tasks are done, and a
//! worker that the system has not scheduled delays nobody, unless it was stopped inside a task.
//!
//! Every thread has a lane of neighbouring tasks and walks it upwards, so that it reads memory
//! forwards; who is through with its own takes tasks off the far ends of the others. Two threads that
//! took turns at ten kilobytes each read less together than one does alone.
//!
//! The protocol:
//! - a lane holds the tasks of its thread that nobody has claimed. A claim is a compare-exchange that
//!   takes one off, and is all that lets a thread read what the region is.
//! - `pending` counts tasks that are not done. Who claimed some takes them off once, at its end; while it
//!   has not, the region cannot end, so what it borrows is alive.
//! - `entered` lets one caller in. A second one, or a task that forks again, runs its tasks by itself.
#![expect(
    unsafe_code,
    reason = "threads that outlive a call borrow what the call borrows; see SAFETY"
)]

mod sync;

use crate::workers::Workers;
use core::any::Any;
use core::mem::{forget, transmute};
use core::ptr::NonNull;
use core::time::Duration;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;
use std::vec::Vec;
use sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Builder, JoinHandle, Mutex, MutexGuard, Ordering,
    Place, Thread, current, park,
};

/// How long an idle worker looks for the next region before it sleeps: longer than the serial parts
/// between two products of a token, shorter than anything a person or a power meter notices.
const SPIN: Duration = Duration::from_micros(60);
/// How long a caller without tasks waits for those of others before it sleeps: the rest of one task.
/// A core that idles takes over a worker that waits for another core; one that spins does not.
const JOIN_SPIN: Duration = Duration::from_micros(30);
/// Looks at the word between two looks at the clock, which costs as much as several.
#[cfg(not(all(test, loom)))]
const LOOKS: usize = 16;

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// Threads that wait for work; they end when this is dropped.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// Keeps a word from sharing a cache line, or the pair that a core fetches, with another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

/// Tasks from `first` up to `end`, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane {
    first: u32,
    end: u32,
}

/// Which task of a lane is claimed.
#[derive(Debug, Clone, Copy)]
enum End {
    /// By the thread whose lane it is.
    Near,
    /// By any other.
    Far,
}

#[derive(Debug)]
struct Shared {
    /// For each thread its lane, the caller's first.
    lanes: Vec<Line<AtomicU64>>,
    pending: Line<AtomicUsize>,
    entered: Line<AtomicBool>,
    region: Place<Region>,
    /// Workers that sleep or are about to.
    sleepers: Line<AtomicUsize>,
    /// For each worker, whether it sleeps or is about to.
    asleep: Vec<AtomicBool>,
    /// Whether the caller sleeps or is about to, and who it is.
    joining: AtomicBool,
    joiner: Mutex<Option<Thread>>,
    /// The first panic of a task.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    closed: AtomicBool,
}

/// What a region computes.
#[derive(Debug, Clone, Copy)]
struct Region {
    task: NonNull<Task<'static>>,
}

impl Lane {
    /// The part of `tasks` that belongs to one of `lanes` threads.
    fn of(index: usize, lanes: usize, tasks: u32) -> Self {
        let bound = |index: usize| {
            let bound = u64::from(tasks) * index as u64 / lanes as u64;
            // At most `tasks`.
            bound as u32
        };
        Self {
            first: bound(index),
            end: bound(index + 1),
        }
    }

    const fn word(self) -> u64 {
        (self.first as u64) << 32 | self.end as u64
    }

    const fn from_word(word: u64) -> Self {
        Self {
            first: (word >> 32) as u32,
            end: word as u32,
        }
    }

    const fn is_empty(self) -> bool {
        self.first >= self.end
    }

    /// The task at one end, and the lane without it.
    const fn claim(self, end: End) -> (u32, Self) {
        match end {
            End::Near => (
                self.first,
                Self {
                    first: self.first + 1,
                    ..self
                },
            ),
            End::Far => (
                self.end - 1,
                Self {
                    end: self.end - 1,
                    ..self
                },
            ),
        }
    }
}

// SAFETY: `region` is the only part that is not Sync by itself. It is written only by the caller that
// holds `entered`, while `pending` is 0; it is read only after a claim, which happens after that write
// (see `claim`) and before `pending` is 0 again. What it points to is Sync.
unsafe impl Sync for Shared {}
// SAFETY: as above; a pointer to what is Sync may be read on any thread.
unsafe impl Send for Shared {}

impl Pool {
    /// Threads that, with the caller, compute on `threads` (at least 1).
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let count = threads.saturating_sub(1);
        let nothing: &'static Task<'static> = &|_| {};
        let shared = Arc::new(Shared {
            lanes: (0..=count).map(|_| Line::default()).collect(),
            pending: Line::default(),
            entered: Line::default(),
            region: Place::new(Region {
                task: NonNull::from(nothing),
            }),
            sleepers: Line::default(),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
            joining: AtomicBool::new(false),
            joiner: Mutex::new(None),
            panic: Mutex::new(None),
            closed: AtomicBool::new(false),
        });
        let mut pool = Self {
            shared,
            workers: Vec::with_capacity(count),
        };
        for number in 0..count {
            let shared = Arc::clone(&pool.shared);
            let name = std::format!("engine {}", number + 1);
            let thread = Builder::new().name(name);
            // On an error the workers so far end with the pool.
            pool.workers
                .push(thread.spawn(move || shared.serve(number))?);
        }
        Ok(pool)
    }

    /// Threads that compute, the caller among them.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }
}

impl Workers for Pool {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // A try, not a wait: a task that forks again would wait for itself, and a second caller is
        // sooner done alone than behind the regions of the first.
        let alone = tasks < 2 || self.workers.is_empty();
        let count = u32::try_from(tasks).ok().filter(|_| !alone);
        let Some(count) = count.filter(|_| !self.shared.entered.0.swap(true, Ordering::Acquire))
        else {
            (0..tasks).for_each(task);
            return;
        };
        self.shared.fork(count, task, &self.workers);
        let panic = lock(&self.shared.panic).take();
        self.shared.entered.0.store(false, Ordering::Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks and has none of its own.
            drop(worker.join());
        }
    }
}

impl Shared {
    /// Runs a region to its end. Never unwinds. Only for the caller that holds `entered`.
    fn fork(&self, tasks: u32, task: &Task<'_>, workers: &[JoinHandle<()>]) {
        // Here, because it may panic: from the first store on, nothing does.
        let caller = current();
        // SAFETY: only the lifetime changes. The pointer is followed only between a claim and the end
        // of the region, and this function returns, and the borrow ends, only after that.
        let task = unsafe { transmute::<&Task<'_>, &'static Task<'static>>(task) };
        let region = Region {
            task: NonNull::from(task),
        };
        // SAFETY: `pending` is 0 since the last region ended, which the caller before saw before it
        // gave up `entered`; so no claim is open and nobody reads. Every lane is empty, so nobody claims.
        self.region.write(|place| unsafe { *place = region });
        self.pending.0.store(tasks as usize, Ordering::Relaxed);
        // Each publishes both stores, to whoever claims from it. SeqCst against `sleep`: either a worker
        // sees the tasks before it sleeps or this thread sees that it sleeps.
        for (index, lane) in self.lanes.iter().enumerate() {
            let part = Lane::of(index, self.lanes.len(), tasks);
            lane.0.store(part.word(), Ordering::SeqCst);
        }
        if self.sleepers.0.load(Ordering::SeqCst) > 0 {
            let sleeping = self.asleep.iter().zip(workers);
            sleeping
                .filter(|(asleep, _)| asleep.swap(false, Ordering::SeqCst))
                .take(tasks as usize - 1)
                .for_each(|(_, worker)| worker.thread().unpark());
        }
        self.take_part(0);
        self.join(caller);
    }

    /// Claims a task: of a thread's own lane, or of another's.
    fn claim(&self, own: usize) -> Option<usize> {
        let others = self.lanes[own + 1..].iter().chain(&self.lanes[..own]);
        Self::claim_from(&self.lanes[own], End::Near).or_else(|| {
            others
                .into_iter()
                .find_map(|lane| Self::claim_from(lane, End::Far))
        })
    }

    /// Takes one task off a lane.
    ///
    /// A success reads the lane as a caller's store left it or as later claims, all read-modify-writes,
    /// did: it continues that store's release sequence and so happens after the store of the region.
    /// Which region a thread meant when it began to look does not matter: it has claimed from the one
    /// that is there now, and reads what that is only afterwards.
    fn claim_from(lane: &Line<AtomicU64>, end: End) -> Option<usize> {
        let mut seen = lane.0.load(Ordering::Relaxed);
        while !Lane::from_word(seen).is_empty() {
            let (task, rest) = Lane::from_word(seen).claim(end);
            match lane.0.compare_exchange_weak(
                seen,
                rest.word(),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(task as usize),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Claims and runs tasks until there are none. Never unwinds.
    fn take_part(&self, own: usize) {
        let mut done = 0;
        while let Some(number) = self.claim(own) {
            // SAFETY: this thread has claimed a task and has not yet taken it off `pending`, so the
            // region cannot end: it was written before the claim and is not written until its end.
            let Region { task } = self.region.read(|place| unsafe { *place });
            // SAFETY: as above; the borrow that the pointer was made from ends after the region.
            let task = unsafe { task.as_ref() };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task(number))) {
                let mut first = lock(&self.panic);
                if first.is_none() {
                    *first = Some(payload);
                } else {
                    // Its drop is foreign code that could panic in turn.
                    forget(payload);
                }
            }
            done += 1;
        }
        // Release: what the tasks wrote is there for the caller. SeqCst against `join`: either the
        // caller sees the end before it sleeps, or this thread sees that it sleeps.
        if done > 0
            && self.pending.0.fetch_sub(done, Ordering::SeqCst) == done
            && self.joining.load(Ordering::SeqCst)
            && let Some(caller) = &*lock(&self.joiner)
        {
            // The region may have ended meanwhile: then the caller wakes once for nothing.
            caller.unpark();
        }
    }

    /// Waits until every task is done, and for what they wrote.
    fn join(&self, caller: Thread) {
        let is_done = || self.pending.0.load(Ordering::SeqCst) == 0;
        if spin(JOIN_SPIN, is_done) {
            return;
        }
        *lock(&self.joiner) = Some(caller);
        self.joining.store(true, Ordering::SeqCst);
        while !is_done() {
            park();
        }
        self.joining.store(false, Ordering::Relaxed);
        *lock(&self.joiner) = None;
    }

    /// A worker's life.
    fn serve(&self, number: usize) {
        let has_tasks = |lane: &Line<AtomicU64>| {
            let word = lane.0.load(Ordering::SeqCst);
            !Lane::from_word(word).is_empty()
        };
        let has_news = || self.lanes.iter().any(has_tasks) || self.closed.load(Ordering::SeqCst);
        while !self.closed.load(Ordering::SeqCst) {
            self.take_part(number + 1);
            if !spin(SPIN, has_news) {
                self.sleep(number, has_news);
            }
        }
    }

    fn sleep(&self, number: usize, has_news: impl Fn() -> bool) {
        let asleep = &self.asleep[number];
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        asleep.store(true, Ordering::SeqCst);
        while !has_news() {
            park();
            // Woken, but too late: someone else took the tasks. The next caller must wake it again.
            asleep.store(true, Ordering::SeqCst);
        }
        asleep.store(false, Ordering::Relaxed);
        self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Looks until `is_over` or for at most `limit`; whether it is over.
#[cfg(not(all(test, loom)))]
fn spin(limit: Duration, is_over: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..LOOKS {
            if is_over() {
                return true;
            }
            core::hint::spin_loop();
        }
        let start = start.get_or_insert_with(std::time::Instant::now);
        if start.elapsed() > limit {
            return false;
        }
        // At once back where nobody else wants the core; elsewhere it may be the very thread that is
        // waited for. Without, decode beside two compilers took 1.3 times as long as on one thread,
        // with it 1.05 times.
        sync::yield_now();
    }
}

/// One look: loom has no clock, and tries on its own what happens before the look and after it.
#[cfg(all(test, loom))]
fn spin(_limit: Duration, is_over: impl Fn() -> bool) -> bool {
    is_over()
}

/// Locks what is only ever exchanged as a whole, so that a panic elsewhere leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, loom))]
mod every_order;
#[cfg(all(test, not(loom)))]
mod tests;
