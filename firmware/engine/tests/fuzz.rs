//! The fuzzer's checks over its corpus, over damaged copies of it, and over nothing at all.
//!
//! `scripts/fuzz.sh` lets libFuzzer look for more; what it finds becomes a file of the corpus.

#[path = "../../../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "public for the fuzzer, which is another crate"
)]
mod targets;

use std::fs;
use std::path::PathBuf;

/// Name, check and first inputs of each target.
type Target = (&'static str, fn(&[u8]), fn() -> Vec<(String, Vec<u8>)>);
const TARGETS: [Target; 3] = [
    ("packed", targets::packed::check, targets::packed::seeds),
    ("matrix", targets::matrix::check, targets::matrix::seeds),
    (
        "tokenizer",
        targets::tokenizer::check,
        targets::tokenizer::seeds,
    ),
];

fn corpus(target: &str) -> PathBuf {
    let engine = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    engine.join("../../fuzz/corpus").join(target)
}

#[test]
fn the_corpus_and_damaged_copies_of_it_break_nothing() {
    for (name, check, _) in TARGETS {
        check(&[]);
        let mut files = 0;
        for file in fs::read_dir(corpus(name)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            check(&bytes);
            files += 1;
            // A few damaged places of each, another set for each length; and cut short.
            for place in (bytes.len() % 13..bytes.len()).step_by(13) {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << (place % 8);
                check(&damaged);
                check(&bytes[..place]);
            }
        }
        assert!(files > 0, "{name} has no corpus");
    }
}

#[test]
fn the_models_of_the_corpus_are_valid() {
    // What is written now, and files of version 1, which nothing writes any more.
    let of_before = (0..5).map(|model| {
        let name = format!("version-1-model-{model}");
        let short = fs::read(corpus("packed").join(&name)).unwrap();
        (name, short)
    });
    for (name, short) in targets::packed::seeds().into_iter().chain(of_before) {
        let file = targets::packed::file(&short).unwrap();
        let packed = engine::format::Packed::parse(&file).unwrap();
        packed.text().unwrap();
        (0..packed.tensors()).for_each(|i| packed.verify(i).unwrap());
        let shape = *packed.shape();
        let mut table = vec![None; engine::weights::table_len(shape.layers)];
        packed.fill_table(&mut table).unwrap();
        assert!(
            engine::weights::Weights::new(shape, &table).is_ok(),
            "{name}"
        );
    }
}

#[test]
#[ignore = "writes the files from which the fuzzer starts"]
fn write_corpus() {
    for (name, _, seeds) in TARGETS {
        fs::create_dir_all(corpus(name)).unwrap();
        for (seed, bytes) in seeds() {
            fs::write(corpus(name).join(seed), bytes).unwrap();
        }
    }
}
