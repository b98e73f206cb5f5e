//! The fuzzer's checks of the line over its corpus, and over damaged copies of it.

#[path = "../../../fuzz/src/line.rs"]
#[expect(
    unreachable_pub,
    reason = "public for the fuzzer, which is another crate"
)]
mod line;

use std::fs;
use std::path::PathBuf;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/line")
}

#[test]
fn the_corpus_and_damaged_copies_of_it_lose_no_frame() {
    let files: Vec<Vec<u8>> = fs::read_dir(corpus())
        .unwrap()
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(files.len() >= line::seeds().len());
    line::check(&[]);
    for bytes in files {
        line::check(&bytes);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            line::check(&damaged);
            line::check(&bytes[..place]);
        }
    }
}

#[test]
#[ignore = "writes the files from which the fuzzer starts"]
fn write_corpus() {
    fs::create_dir_all(corpus()).unwrap();
    for (seed, bytes) in line::seeds() {
        fs::write(corpus().join(seed), bytes).unwrap();
    }
}
