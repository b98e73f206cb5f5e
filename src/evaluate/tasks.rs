//! How often a model does what it is asked: a file of prompts, each with what the answer must be.
//!
//! [`load`] reads a task file, [`evaluate_tasks`] asks every prompt in a conversation of its own and
//! says what held. Answers take the most likely token always, so that the same model gives the same
//! figures on every machine.

mod file;
mod score;
mod sets;

pub use file::{Expected, LONGEST_LINE_BYTES, MAX_BYTES, MAX_TASKS, Task, parse};
pub use score::{GroupScore, LineResult, Share, TaskReport};
pub use sets::{ShippedSet, load, shipped};

use crate::job::{Cancelled, Job};
use crate::packed::{ChatError, Conversation, Question, WeightSource};
use engine::arena::CachePrecision;
use engine::sampler::Sampling;
use engine::session::SessionError;
use engine::workers::Host;
use std::io;
use std::path::PathBuf;

/// Longest answer in tokens unless somebody says otherwise: an intent line and two sentences.
pub const MAX_TOKENS: usize = 96;
/// Longest prompt and answer together in tokens, where the model has room for it.
const CONTEXT: usize = 2048;

/// Why tasks cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TasksError {
    /// The system cannot read the file.
    #[error("cannot read tasks from {path}{hint}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The names that stand for sets of their own, if there are any.
        hint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too large.
    #[error("{name}: a task file has at most {MAX_BYTES} bytes, this one has more")]
    Size {
        /// The file.
        name: String,
    },
    /// There are too many tasks in the file.
    #[error("{name}: a task file has at most {MAX_TASKS} tasks, this one has more")]
    Count {
        /// The file.
        name: String,
    },
    /// There is no task in the file.
    #[error("{name}: expected one task a line, found none")]
    Empty {
        /// The file.
        name: String,
    },
    /// A line is no task.
    #[error("{name}, line {line}: {problem}")]
    Line {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What was expected and what was found.
        problem: String,
    },
    /// The model cannot answer at all.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Asks `source`, with its keys and values kept at `cache`, every task in a conversation of its own;
/// an answer has at most `max_tokens` tokens.
///
/// A prompt that the model cannot take, because it is longer than the context or has a system text
/// that the chat template has no place for, counts as one that did not hold, with the reason.
///
/// # Errors
/// When the engine fails, or the job is cancelled, which it is within one token.
pub fn evaluate_tasks(
    source: &dyn WeightSource,
    cache: CachePrecision,
    tasks: &[Task],
    max_tokens: usize,
    host: &Host<'_>,
    job: &Job<'_>,
) -> Result<TaskReport, TasksError> {
    let mut conversation = Conversation::with_cache(source, CONTEXT, cache);
    let mut lines = Vec::with_capacity(tasks.len());
    let quiet = job.quiet();
    for task in tasks {
        job.report("Tasks", lines.len() as u64, tasks.len() as u64)?;
        let question = Question {
            system: task.system.as_deref(),
            user: &task.prompt,
            max_tokens,
            sampling: Sampling::GREEDY,
            stop: &[],
        };
        conversation.reset();
        let answer = conversation
            .generate(source, host, &question, &quiet)
            .and_then(|mut generation| {
                generation.by_ref().try_for_each(|piece| piece.map(drop))?;
                Ok(generation.finish())
            });
        // An answer that was cut off by this person says nothing of the model.
        job.check()?;
        lines.push(match answer {
            Ok(answer) => LineResult::of(task, &answer.text, answer.stop.name()),
            Err(error) if is_of_prompt(&error) => LineResult::unanswered(task, error.to_string()),
            Err(error) => return Err(error.into()),
        });
    }
    job.report("Tasks", tasks.len() as u64, tasks.len() as u64)?;
    Ok(TaskReport::new(lines, max_tokens))
}

/// Whether another prompt may do better.
fn is_of_prompt(error: &ChatError) -> bool {
    match error {
        ChatError::Session(SessionError::ContextFull { .. })
        | ChatError::NoSystemRole
        | ChatError::LongWord(_) => true,
        ChatError::Session(_)
        | ChatError::Sampling(_)
        | ChatError::EmptyStop
        | ChatError::NotFinite { .. } => false,
    }
}
