//! Every task runs once, whoever sleeps, panics or forks again.

use super::sync::yield_now;
use super::*;
use std::sync::Barrier;
use std::vec;

/// Runs a region and says how often each task ran.
fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
    let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    pool.run(tasks, &|i| {
        counts[i].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn every_task_runs_once_on_any_number_of_threads() {
    for threads in 1..=8 {
        let pool = Pool::new(threads).unwrap();
        assert_eq!(pool.threads(), threads);
        for tasks in (0..40).chain([1000]) {
            assert_eq!(counts(&pool, tasks), vec![1; tasks], "{threads} threads");
        }
    }
}

#[test]
fn what_tasks_write_is_there_after_the_region() {
    let pool = Pool::new(4).unwrap();
    let mut values: Vec<u64> = vec![0; 24];
    for round in 1..20_000 {
        // Plain memory, each part written by one task: the pool alone orders the threads.
        let start = values.as_mut_ptr() as usize;
        pool.run(24, &|i| {
            // SAFETY: inside the vector, which outlives the region; a part belongs to one task.
            unsafe { *(start as *mut u64).add(i) += i as u64 };
        });
        let expected = (0..24).map(|i| i * round);
        assert!(values.iter().copied().eq(expected), "round {round}");
    }
}

#[test]
fn a_region_uses_the_workers_awake_or_asleep() {
    let pool = Pool::new(3).unwrap();
    for _ in 0..50 {
        // Passes only when three threads are in it at once.
        let barrier = Barrier::new(3);
        pool.run(3, &|_| {
            barrier.wait();
        });
        // Until the workers sleep.
        while pool.shared.sleepers.0.load(Ordering::SeqCst) < 2 {
            yield_now();
        }
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    let pool = Pool::new(3).unwrap();
    for guilty in 0..20 {
        let finished = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(20, &|i| {
                assert!(i != guilty, "task {i} fails");
                finished.fetch_add(1, Ordering::Relaxed);
            });
        }));
        let payload = result.unwrap_err();
        let text = payload.downcast_ref::<std::string::String>().unwrap();
        assert_eq!(*text, std::format!("task {guilty} fails"));
        assert_eq!(finished.into_inner(), 19);
        assert_eq!(counts(&pool, 20), vec![1; 20]);
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        pool.run(20, &|i| panic!("task {i} fails"));
    }));
    assert!(result.is_err(), "one of many");
    assert_eq!(counts(&pool, 20), vec![1; 20]);
}

#[test]
fn a_task_that_forks_runs_its_tasks_itself() {
    let pool = Pool::new(3).unwrap();
    let sum = AtomicUsize::new(0);
    pool.run(8, &|i| {
        pool.run(8, &|k| {
            sum.fetch_add(8 * i + k, Ordering::Relaxed);
        });
    });
    assert_eq!(sum.into_inner(), 63 * 64 / 2);
}

#[test]
fn callers_on_several_threads_share_a_pool() {
    let pool = Pool::new(3).unwrap();
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..2000 {
                    let tasks = 2 + (caller + round) % 7;
                    assert_eq!(counts(pool, tasks), vec![1; tasks]);
                }
            });
        }
    });
}

#[test]
fn a_caller_sleeps_while_a_worker_is_late() {
    let pool = Pool::new(2).unwrap();
    let caller = current().id();
    let both = Barrier::new(2);
    pool.run(2, &|_| {
        both.wait();
        // The worker's task ends only once the caller sleeps, or is about to.
        while current().id() != caller && !pool.shared.joining.load(Ordering::SeqCst) {
            yield_now();
        }
    });
    assert_eq!(counts(&pool, 9), vec![1; 9]);
}

#[test]
fn a_pool_ends_at_once_awake_or_asleep() {
    for threads in 1..=8 {
        drop(Pool::new(threads).unwrap());
        let pool = Pool::new(threads).unwrap();
        assert_eq!(counts(&pool, 5), vec![1; 5]);
    }
}
