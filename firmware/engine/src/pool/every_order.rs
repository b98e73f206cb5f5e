//! The protocol in every order that the memory model allows, up to a number of preemptions: no task is lost or
//! runs twice, nobody sleeps for ever, and nothing is read that is not ordered after its write.
//!
//! `make test-loom` runs it; loom (Norris and Demsky 2013, "CDSChecker") stops at the first order that fails.

use super::*;

/// Runs `body` in every order with at most so many preemptions in each thread's way.
fn explore(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// What tasks write: loom finds accesses that nothing orders.
#[derive(Debug)]
struct Places(Vec<Place<usize>>);

// SAFETY: loom watches every access and fails the test where two are not ordered.
unsafe impl Sync for Places {}

impl Places {
    fn write(&self, index: usize) {
        // SAFETY: valid while the places are; one task writes it.
        self.0[index].write(|place| unsafe { *place += index + 1 });
    }
}

/// Runs a region whose tasks each write a place of their own, and reads all places afterwards.
fn region(pool: &Pool, tasks: usize) {
    let places = Places((0..tasks).map(|_| Place::new(0)).collect());
    pool.run(tasks, &|i| places.write(i));
    // SAFETY: the region has ended; loom would tell.
    let read = |place: &Place<usize>| place.read(|place| unsafe { *place });
    let found: Vec<usize> = places.0.iter().map(read).collect();
    assert_eq!(found, (1..=tasks).collect::<Vec<_>>());
}

#[test]
fn two_threads_take_each_task_once() {
    explore(3, || region(&Pool::new(2).unwrap(), 2));
}

#[test]
fn three_threads_take_each_task_once() {
    explore(2, || region(&Pool::new(3).unwrap(), 3));
}

#[test]
fn a_late_worker_takes_part_in_the_region_that_is_there() {
    explore(2, || {
        let pool = Pool::new(2).unwrap();
        for tasks in [2, 3] {
            region(&pool, tasks);
        }
    });
}

#[test]
fn a_second_caller_runs_its_tasks_itself() {
    explore(2, || {
        let pool = Arc::new(Pool::new(2).unwrap());
        let other = Arc::clone(&pool);
        let caller = loom::thread::spawn(move || region(&other, 2));
        region(&pool, 2);
        caller.join().unwrap();
    });
}

#[test]
fn a_panic_is_the_callers_and_the_next_region_is_whole() {
    explore(2, || {
        let pool = Pool::new(2).unwrap();
        let guilty = || pool.run(2, &|i| assert!(i != 1, "task {i} fails"));
        assert!(catch_unwind(AssertUnwindSafe(guilty)).is_err());
        region(&pool, 2);
    });
}

#[test]
fn a_pool_ends_without_a_region() {
    explore(3, || drop(Pool::new(3).unwrap()));
}
