//! The slow tests: real models, a real window, a sound server, emulated boards. One module a subject.

mod models;
