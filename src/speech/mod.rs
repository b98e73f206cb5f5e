//! The two models of speech: [`recognize::Recognizer`] writes down what was said,
//! [`synthesize::Synthesizer`] says what is written.
//!
//! Neither knows of conversations, devices or threads; `voice` is the loop around them. What both
//! need stands beside them: how `numbers` are spelled, where [`sentences`] end, and
//! [`resample`] from one rate to another.

mod heard_tasks;
mod models;
mod numbers;
pub mod recognize;
pub mod resample;
pub mod sentences;
pub mod synthesize;
mod word_errors;

pub use heard_tasks::{HearTasksError, HeardTasks, hear_tasks};
pub use models::{RECOGNIZER, SYNTHESIZER, missing_models};
pub use word_errors::WordErrors;
