//! Tells the engine whether its target computes floats in software: rustc names the feature `f` of RISC-V targets on
//! nightly only, so their name must do.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(soft_float)");
    println!("cargo::rerun-if-changed=build.rs");
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
