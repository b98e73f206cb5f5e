//! The slow tests: real models, a real window, a sound server, emulated boards. One module a subject.
//! Slow tests with real models and devices: `cargo test --test slow`.

mod model;
