//! Tells the engine what it was built from, and whether its target computes floats in software: rustc names the
//! feature `f` of RISC-V targets on nightly only, so their name must do.

mod digest;

use std::path::Path;

fn main() {
    let sources = digest::of(Path::new("src"));
    println!("cargo::rustc-env=WHITTLE_ENGINE_SOURCES={sources:016x}");
    println!("cargo::rustc-check-cfg=cfg(soft_float)");
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=digest.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let architecture = target.split('-').next().unwrap_or_default();
    let is_soft = match architecture.strip_prefix("riscv32") {
        Some(extensions) => !extensions.contains(['f', 'g']),
        None => architecture.starts_with("thumb") && target.ends_with("eabi"),
    };
    if is_soft {
        println!("cargo::rustc-cfg=soft_float");
    }
}
