//! What it costs to fork a region and join it, against rayon, which the engine does not use for it.
//!
//! A region of empty tasks costs the fork alone; one of 24 tasks of 2 µs is a product of a small model.

use divan::Bencher;
use engine::pool::Pool;
use engine::workers::Workers;
use rayon::prelude::*;
use std::hint::black_box;

fn main() {
    divan::main();
}

const THREADS: usize = 2;

/// Arithmetic that takes about `micros` on a core.
fn work(micros: usize) {
    let mut x = 1_u32;
    for _ in 0..micros * 700 {
        x = black_box(x.wrapping_mul(747_796_405));
    }
}

#[divan::bench(args = [(2, 0), (24, 0), (24, 2)], sample_size = 200)]
fn pool(bencher: Bencher<'_, '_>, (tasks, micros): (usize, usize)) {
    let pool = Pool::new(THREADS).expect("threads");
    bencher.bench_local(|| pool.run(tasks, &|_| work(micros)));
}

#[divan::bench(args = [(2, 0), (24, 0), (24, 2)], sample_size = 200)]
fn rayon(bencher: Bencher<'_, '_>, (tasks, micros): (usize, usize)) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS);
    let pool = pool.build().expect("threads");
    bencher.bench_local(|| pool.install(|| (0..tasks).into_par_iter().for_each(|_| work(micros))));
}
