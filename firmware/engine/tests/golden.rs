//! Packed files give the answers that were written down, at every level of SIMD.
//!
//! `tests/golden/` in the root has the files; `make golden` writes those of today anew.

#[path = "../../../tests/support/golden.rs"]
mod golden;

use engine::arena::CachePrecision;
use engine::encoding::Encoding;
use engine::format::Packed;
use engine::workers::{Host, Serial, SimdLevel};
use golden::{Golden, answer, files, functions, read, text};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR"));
    engine.join("../../tests/golden").join(name)
}

/// Compares every file of a folder, at every precision of keys and values, with the table.
fn check(folder: &Path, table: &Path) {
    let expected = read(table);
    let mut encodings = BTreeSet::new();
    let mut prefixes = BTreeSet::new();
    for level in SimdLevel::available() {
        let workers = &Serial;
        let host = Host { level, workers };
        let mut found = Vec::new();
        for (name, file) in files(folder) {
            let packed = Packed::parse(&file).expect("a packed file");
            encodings.extend(packed.entries().map(|e| e.matrix.encoding()));
            prefixes.extend(packed.prefix().map(|p| p.precision().bits()));
            for cache in CachePrecision::ALL {
                let (tokens, hash) = answer(&file, &host, cache);
                let name = name.clone();
                found.push(Golden {
                    name,
                    cache,
                    hash,
                    tokens,
                });
            }
        }
        let lines = |answers: &[Golden]| answers.iter().map(Golden::to_string).collect::<Vec<_>>();
        assert_eq!(lines(&found), lines(&expected), "{}", level.name());
    }
    // Nothing is left out: every encoding, and prefixes with keys and values of every precision.
    let every: BTreeSet<Encoding> = Encoding::ALL.into_iter().collect();
    assert_eq!(encodings, every, "{}", folder.display());
    assert_eq!(prefixes, CachePrecision::ALL.map(|c| c.bits()).into());
}

#[test]
fn the_functions_of_floats_keep_their_bits() {
    assert_eq!(functions(), text(&folder("packed/functions.snap")));
}

#[test]
fn every_level_gives_the_golden_answers() {
    check(&folder("packed"), &folder("packed/answers.snap"));
}

#[test]
fn files_of_version_1_give_the_answers_that_they_gave() {
    check(&folder("version-1"), &folder("version-1/answers.txt"));
}
