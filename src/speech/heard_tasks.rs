//! Tasks as they arrive through speech: each command is spoken and recognized before a model is asked.

use super::WordErrors;
use super::recognize::{self, RecognizeError, Recognizer};
use super::resample::{ResampleError, Resampler};
use super::synthesize::{self, SynthesizeError, Synthesizer};
use crate::evaluate::tasks::Task;
use crate::job::{Cancelled, Job};

/// Silence before and after a command: a quarter of a second, as an utterance has it.
const SILENCE: usize = recognize::SAMPLE_RATE_HZ / 4;

/// Why tasks cannot go through speech.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HearTasksError {
    /// A command cannot be recognized.
    #[error(transparent)]
    Recognize(#[from] RecognizeError),
    /// A command cannot be spoken.
    #[error(transparent)]
    Synthesize(#[from] SynthesizeError),
    /// What was spoken cannot be brought to the recognizer's rate.
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Tasks whose commands went through synthesis and recognition.
#[derive(Debug, Clone)]
pub struct HeardTasks {
    /// The tasks, with what was understood in their prompts.
    pub tasks: Vec<Task>,
    /// What was understood wrong.
    pub word_errors: WordErrors,
}

/// Speaks the command of each task, the last line of its prompt, and puts what is recognized in its
/// place. Lines of context before it stay.
///
/// # Errors
/// When a voice model fails, or the job is cancelled.
pub fn hear_tasks(
    tasks: &[Task],
    recognizer: &Recognizer,
    synthesizer: &Synthesizer,
    job: &Job<'_>,
) -> Result<HeardTasks, HearTasksError> {
    let mut word_errors = WordErrors::default();
    let quiet = job.quiet();
    let mut heard = Vec::with_capacity(tasks.len());
    for task in tasks {
        job.report("Speaking", heard.len() as u64, tasks.len() as u64)?;
        let at = task.prompt.trim_end().rfind('\n').map_or(0, |end| end + 1);
        let (context, command) = task.prompt.split_at(at);
        let audio_24k = synthesizer.synthesize(command)?;
        let (from, to) = (synthesize::SAMPLE_RATE_HZ, recognize::SAMPLE_RATE_HZ);
        let mut audio_16k = vec![0.0; SILENCE];
        audio_16k.extend(Resampler::convert(&audio_24k, from as u32, to as u32)?);
        audio_16k.resize(audio_16k.len() + SILENCE, 0.0);
        let understood = recognizer.recognize(&audio_16k, &quiet)?.text;
        word_errors.add(command, &understood);
        heard.push(Task {
            said: Some(task.prompt.clone()),
            prompt: format!("{context}{}", understood.trim()),
            ..task.clone()
        });
    }
    job.report("Speaking", tasks.len() as u64, tasks.len() as u64)?;
    Ok(HeardTasks {
        tasks: heard,
        word_errors,
    })
}
