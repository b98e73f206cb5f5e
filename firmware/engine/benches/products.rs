//! Products of weights and activations, for each encoding and level: bytes of weights and
//! multiplications per second. `cargo bench -p whittle-engine --bench products`.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use engine::encoding::{Encoding, Width};
use engine::kernels::{ActivationScratch, Activations, multiply};
use engine::matrix::Matrix;
use engine::workers::{Host, Serial, SimdLevel};

/// Weights that no cache of a desktop holds are read in decoding; these fit the second level.
const ROWS: usize = 512;
const COLS: usize = 2048;

fn main() {
    divan::main();
}

/// Bytes that are a valid tensor; in sparse ones a fifth of the weights is kept.
fn weights(encoding: Encoding) -> (Vec<u8>, usize) {
    let kept = COLS / 5;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = (0..encoding.bytes(ROWS, COLS, kept))
        .map(|_| random().to_le_bytes()[3] & 0x3f)
        .collect();
    if let (Encoding::Sparse(_), Some(record)) = (encoding, encoding.record()) {
        let records = COLS / 32 / record.groups;
        for block in bytes.chunks_exact_mut(encoding.block_bytes(COLS, kept)) {
            for index in 0..records {
                let at = encoding.row_scale_bytes() + index * record.bytes() + record.header;
                for byte in &mut block[at..at + record.groups * record.group] {
                    *byte = (0..8).map(|bit| u8::from(random() % 5 == 0) << bit).sum();
                }
            }
        }
    }
    (bytes, kept)
}

fn product(bencher: Bencher<'_, '_>, encoding: Encoding, level: SimdLevel, tokens: usize) {
    let (bytes, kept) = weights(encoding);
    let matrix = Matrix::new(encoding, ROWS, COLS, kept, &bytes).expect("as long as it must be");
    let floats: Vec<f32> = (0..tokens * COLS).map(|i| (i as f32).sin()).collect();
    let groups = tokens * COLS / 32;
    let (mut values, mut scales, mut sums) =
        (vec![0; tokens * COLS], vec![0.0; groups], vec![0; groups]);
    let mut scratch = ActivationScratch {
        values: &mut values,
        scales: &mut scales,
        sums: &mut sums,
    };
    let input = Activations::quantize(COLS, &floats, &mut scratch);
    let host = Host {
        level,
        workers: &Serial,
    };
    let mut out = vec![0.0; tokens * ROWS];
    bencher
        .counter(BytesCount::from(bytes.len()))
        .counter(ItemsCount::from(tokens * ROWS * COLS))
        .bench_local(|| multiply(&host, &matrix, &input, divan::black_box(&mut out)));
}

const ENCODINGS: [&str; 17] = [
    "dense1", "ternary", "1of4", "dense2", "dense3", "dense4", "dense5", "dense6", "dense8",
    "sparse1", "sparse2", "sparse3", "sparse4", "sparse8", "q4_1", "q4_k", "q6_k",
];

fn named(name: &str) -> Encoding {
    let found = Encoding::ALL.into_iter().find(|e| e.name() == name);
    found.unwrap_or(Encoding::Dense(Width::Eight))
}

/// One token, as in decoding, at the best level.
#[divan::bench(args = ENCODINGS)]
fn decode(bencher: Bencher<'_, '_>, encoding: &str) {
    let level = SimdLevel::available().last().unwrap_or(SimdLevel::scalar());
    product(bencher, named(encoding), level, 1);
}

/// 64 tokens, as in a prefill, at the best level.
#[divan::bench(args = ENCODINGS)]
fn prefill(bencher: Bencher<'_, '_>, encoding: &str) {
    let level = SimdLevel::available().last().unwrap_or(SimdLevel::scalar());
    product(bencher, named(encoding), level, 64);
}

/// Four bits at every level.
#[divan::bench(args = ["scalar", "paired", "avx2", "avx512", "neon"])]
fn decode_level(bencher: Bencher<'_, '_>, level: &str) {
    if let Some(level) = SimdLevel::available().find(|l| l.name() == level) {
        product(bencher, Encoding::Dense(Width::Four), level, 1);
    }
}
