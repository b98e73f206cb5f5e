//! A digest of source files, for build scripts: FNV-1a, since it tells a change and guards against nobody.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below `folder`, in the order of the names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the sources are there");
    let mut paths: Vec<PathBuf> = entries
        .map(|e| e.expect("a readable folder").path())
        .collect();
    paths.sort();
    let within = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    let mut files: Vec<PathBuf> = paths.into_iter().flat_map(within).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    files
}

/// A number of the names and contents of all Rust files below `folder`.
pub(crate) fn of(folder: &Path) -> u64 {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files(folder) {
        let name = file.strip_prefix(folder).expect("below the folder");
        let name = name
            .to_str()
            .expect("names of sources are ASCII")
            .replace('\\', "/");
        let contents = fs::read(&file).expect("a readable source");
        // A name and a length before each, so that nothing moves from one file into the next unseen.
        let length = (contents.len() as u64).to_le_bytes();
        for byte in name.bytes().chain(length).chain(contents) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
