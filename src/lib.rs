//! Whittle: tune, hear, size and flash a language model for a microcontroller.

pub mod job;
pub mod workers;
pub mod catalog;
pub mod model;
pub mod recipe;
pub mod board;
pub mod compress;
pub mod packed;
pub mod evaluate;
pub mod estimate;
#[cfg(feature = "voice")]
pub mod voice;
#[cfg(feature = "flash")]
pub mod flash;
#[cfg(feature = "gui")]
pub mod project;
#[cfg(feature = "gui")]
pub mod app;
pub mod cli;
