//! Whittle: tune, hear, size and flash a language model for a microcontroller.
//!
//! The road in a few lines: load a model, compress it by a recipe, pack it, ask it.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use std::path::Path;
//! use whittle::compress::compress;
//! use whittle::job::Job;
//! use whittle::model::Model;
//! use whittle::packed::{Conversation, PackedModel, Question};
//! use whittle::recipe::Recipe;
//! use whittle::workers::Processor;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let job = Job::silent();
//! let model = Model::load(Path::new("SmolLM2-135M-Instruct.Q4_1.gguf"), &job)?;
//! let mut recipe = Recipe::open("balanced-4bit")?;
//! recipe.set("feed-forward.down@0..4=bits:6")?;
//! let packed = PackedModel::pack(&model, &compress(&model, &recipe, &job)?, &job)?;
//!
//! let processor = Processor::new(None)?;
//! let mut conversation = Conversation::new(&packed, 1024);
//! let question = Question {
//!     system: None,
//!     user: "What is the capital of France?",
//!     max_tokens: 32,
//!     sampling: engine::sampler::Sampling::GREEDY,
//!     stop: &[],
//! };
//! let answer = conversation.ask(&packed, &processor.host(), &question, &mut |text| {
//!     eprint!("{text}");
//!     ControlFlow::Continue(())
//! })?;
//! assert!(answer.decode_tokens_per_second() > 0.0);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "gui")]
pub mod app;
pub mod board;
pub mod calibrate;
pub mod catalog;
pub mod cli;
pub mod compress;
pub mod estimate;
pub mod evaluate;
pub mod forward;
pub mod job;
pub mod lanes;
pub mod linear;
#[cfg(feature = "flash")]
pub mod link;
pub mod measured;
pub mod model;
pub mod number;
pub mod packed;
pub mod path_text;
#[cfg(feature = "gui")]
pub mod project;
pub mod recipe;
pub mod renamed;
pub mod report;
pub mod rewrite;
pub mod saved_format;
pub mod signals;
pub mod source_file;
#[cfg(feature = "voice")]
pub mod speech;
pub mod text_file;
pub mod tune;
#[cfg(feature = "voice")]
pub mod voice;
pub mod warning;
pub mod whole_file;
pub mod workers;
