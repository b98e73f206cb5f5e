//! Whittle: tune, hear, size and flash a language model for a microcontroller.

#[cfg(feature = "gui")]
pub mod app;
pub mod board;
pub mod catalog;
pub mod cli;
pub mod compress;
pub mod estimate;
pub mod evaluate;
#[cfg(feature = "flash")]
pub mod flash;
pub mod job;
pub mod model;
pub mod packed;
#[cfg(feature = "gui")]
pub mod project;
pub mod recipe;
#[cfg(feature = "voice")]
pub mod voice;
pub mod workers;
