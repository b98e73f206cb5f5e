//! Tells what every board runs which sources it was built from.

#[path = "../../engine/digest.rs"]
mod digest;

use std::path::Path;

fn main() {
    let sources = digest::of(Path::new("src"));
    println!("cargo::rustc-env=WHITTLE_APP_SOURCES={sources:016x}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../engine/digest.rs");
}
