//! The slow tests: real models, a real window, a sound server, emulated boards. One module a subject.

#[cfg(feature = "voice")]
mod assistant;
mod boards;
#[cfg(all(unix, feature = "flash"))]
mod chip;
mod emulated;
#[cfg(unix)]
mod interrupt;
#[cfg(all(target_os = "linux", feature = "gui"))]
mod kept;
mod large;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod linux_measured;
#[cfg(target_os = "linux")]
mod linux_model;
mod model;
mod models;
#[cfg(all(unix, feature = "flash"))]
mod pace;
#[cfg(all(target_os = "linux", feature = "gui"))]
mod preview;
#[path = "../support/required.rs"]
mod required;
#[cfg(feature = "voice")]
mod sound_server;
#[cfg(feature = "voice")]
mod voice;
#[cfg(all(target_os = "linux", feature = "gui"))]
mod window;
