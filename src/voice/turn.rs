//! One turn of a conversation: recognize, ask the assistant, speak sentence by sentence.
//!
//! [`answer`] speaks the first sentence while the assistant writes the second: synthesis runs on a
//! thread of its own behind a bounded channel, so that writing does not wait for it. The audio is
//! the same as without that thread, because a sentence sounds the same whenever it is spoken. An
//! answer's intent line is not spoken.
//! [`talk`] is the same from one recording to another.

use super::session::{BargeIn, Heard, VoiceSession};
use super::vad::Utterance;
use crate::job::{Cancelled, Job};
use crate::packed::intent::SpokenText;
use crate::speech::recognize::{RecognizeError, Recognizer};
use crate::speech::resample::ResampleError;
use crate::speech::sentences::Splitter;
use crate::speech::synthesize::{SynthesizeError, Synthesizer};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

/// Sentences that may wait to be spoken before the assistant must wait too.
const MOST_WAITING_SENTENCES: usize = 64;
/// Audio handed to the session at once in [`talk`]: 20 ms.
const BLOCK: usize = 320;

/// Whoever answers: a language model, or a script in tests.
pub trait Assistant {
    /// Answers what was `heard`, giving the text to `on_text` piece by piece; stops soon after
    /// `on_text` says [`ControlFlow::Break`].
    ///
    /// # Errors
    /// When there is no answer, with the reason in words.
    fn reply(
        &mut self,
        heard: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), AssistantError>;
}

/// Why the assistant cannot answer, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the assistant cannot answer: {0}")]
pub struct AssistantError(pub String);

/// What happens during a turn, in order within each kind.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEvent {
    /// What was said.
    Heard(String),
    /// The next piece of the answer's text.
    Text(String),
    /// A finished sentence with its audio: mono, 24 kHz.
    Spoken {
        /// The sentence.
        sentence: String,
        /// What it sounds like.
        audio_24k: Vec<f32>,
    },
}

/// Milliseconds from the end of speech. The endpoint is measured in the audio, the rest by the clock
/// from the moment when the endpoint was noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Timings {
    /// Until the end of speech was noticed.
    pub endpoint_ms: f64,
    /// Until the words were known.
    pub recognize_ms: f64,
    /// Until the first piece of the answer.
    pub first_token_ms: f64,
    /// Until the first sentence could be heard; the same as `total_ms` when none could.
    pub first_audio_ms: f64,
    /// Until the last sentence could be heard.
    pub total_ms: f64,
}

/// One finished turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// What was said.
    pub heard: String,
    /// The answer's text, with its intent line if it has one.
    pub said: String,
    /// The answer's audio: mono, 24 kHz.
    pub audio_24k: Vec<f32>,
    /// How long it took.
    pub timings: Timings,
}

/// Why a turn fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VoiceError {
    /// Nobody speaks in the recording.
    #[error("nobody speaks in the recording: {secs:.1} s of audio without speech")]
    NoSpeech {
        /// How long the recording is.
        secs: f64,
    },
    /// Somebody made a sound without words.
    #[error("a sound of {secs:.1} s was heard but no words")]
    NoWords {
        /// How long the utterance is.
        secs: f64,
    },
    /// Recognition failed.
    #[error(transparent)]
    Recognize(#[from] RecognizeError),
    /// Synthesis failed.
    #[error(transparent)]
    Synthesize(#[from] SynthesizeError),
    /// Speech has another sample rate than it must have.
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// The assistant failed.
    #[error(transparent)]
    Assistant(#[from] AssistantError),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Recognizes an utterance, has it answered, and speaks the answer.
///
/// `on_event` is called from this thread with text and from the thread that speaks with audio.
///
/// # Errors
/// When there are no words in the utterance, a stage fails, or the job is cancelled.
pub fn answer(
    recognizer: &Recognizer,
    synthesizer: &Synthesizer,
    assistant: &mut dyn Assistant,
    utterance: &Utterance,
    job: &Job<'_>,
    on_event: &(dyn Fn(TurnEvent) + Sync),
) -> Result<Turn, VoiceError> {
    let endpoint_ms = utterance.endpoint_ms();
    let noticed = Instant::now();
    let now_ms = || endpoint_ms + noticed.elapsed().as_secs_f64() * 1000.0;
    let heard = recognizer.recognize(&utterance.audio_16k, job)?.text;
    let known = Timings {
        endpoint_ms,
        recognize_ms: now_ms(),
        ..Timings::default()
    };
    if !heard.chars().any(char::is_alphanumeric) {
        return Err(VoiceError::NoWords {
            secs: utterance.audio_16k.len() as f64 / 16_000.0,
        });
    }
    on_event(TurnEvent::Heard(heard.clone()));
    respond(synthesizer, assistant, heard, known, &now_ms, job, on_event)
}

/// Has what is already in words answered, and speaks the answer.
///
/// # Errors
/// When a stage fails, or the job is cancelled.
pub fn speak_reply(
    synthesizer: &Synthesizer,
    assistant: &mut dyn Assistant,
    words: String,
    job: &Job<'_>,
    on_event: &(dyn Fn(TurnEvent) + Sync),
) -> Result<Turn, VoiceError> {
    let begun = Instant::now();
    let now_ms = || begun.elapsed().as_secs_f64() * 1000.0;
    let known = Timings::default();
    respond(synthesizer, assistant, words, known, &now_ms, job, on_event)
}

/// The second half of a turn, when the words are known at the times of `known`.
fn respond(
    synthesizer: &Synthesizer,
    assistant: &mut dyn Assistant,
    heard: String,
    known: Timings,
    now_ms: &(dyn Fn() -> f64 + Sync),
    job: &Job<'_>,
    on_event: &(dyn Fn(TurnEvent) + Sync),
) -> Result<Turn, VoiceError> {
    job.report("Answering", 0, 0)?;
    let (sentences, waiting) = sync_channel::<String>(MOST_WAITING_SENTENCES);
    let mut said = String::new();
    let mut first_token_ms = None;
    let (replied, spoken) = std::thread::scope(|scope| {
        let speaker = scope.spawn(|| speak(synthesizer, waiting, job, on_event, now_ms));
        let (mut spoken, mut splitter) = (SpokenText::new(), Splitter::new());
        let mut on_text = |text: &str| {
            first_token_ms.get_or_insert_with(now_ms);
            said += text;
            on_event(TurnEvent::Text(text.to_owned()));
            let delivered = splitter
                .push(&spoken.push(text))
                .into_iter()
                .all(|sentence| sentences.send(sentence).is_ok());
            // The speaker only goes away when it failed; then there is no point in more text.
            if delivered && job.check().is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let replied = assistant.reply(&heard, &mut on_text);
        let mut last = splitter.push(&spoken.finish());
        last.extend(splitter.finish());
        for rest in last.into_iter().filter(|_| replied.is_ok()) {
            // When the speaker has failed, its own error says why.
            drop(sentences.send(rest));
        }
        drop(sentences);
        (replied, speaker.join())
    });
    let spoken = spoken.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    replied?;
    job.check()?;
    let total_ms = now_ms();
    Ok(Turn {
        heard,
        said: said.trim().to_owned(),
        audio_24k: spoken.audio_24k,
        timings: Timings {
            first_token_ms: first_token_ms.unwrap_or(total_ms),
            first_audio_ms: spoken.first_audio_ms.unwrap_or(total_ms),
            total_ms,
            ..known
        },
    })
}

/// What the speaking thread made.
#[derive(Debug, Default)]
struct Spoken {
    audio_24k: Vec<f32>,
    first_audio_ms: Option<f64>,
}

fn speak(
    synthesizer: &Synthesizer,
    sentences: Receiver<String>,
    job: &Job<'_>,
    on_event: &(dyn Fn(TurnEvent) + Sync),
    now_ms: &(dyn Fn() -> f64 + Sync),
) -> Result<Spoken, VoiceError> {
    let mut spoken = Spoken::default();
    for sentence in sentences {
        job.check()?;
        let audio = synthesizer.synthesize(&sentence)?;
        if audio.is_empty() {
            continue;
        }
        spoken.first_audio_ms.get_or_insert_with(now_ms);
        spoken.audio_24k.extend_from_slice(&audio);
        on_event(TurnEvent::Spoken {
            sentence,
            audio_24k: audio,
        });
    }
    Ok(spoken)
}

/// Answers a recording: everything that is said in `audio_16k` (mono, 16 kHz) is one utterance.
///
/// # Errors
/// When nobody speaks in it, a stage fails, or the job is cancelled.
pub fn talk(
    recognizer: &Recognizer,
    synthesizer: &Synthesizer,
    assistant: &mut dyn Assistant,
    audio_16k: &[f32],
    job: &Job<'_>,
    on_event: &(dyn Fn(TurnEvent) + Sync),
) -> Result<Turn, VoiceError> {
    let utterance = whole_utterance(audio_16k).ok_or(VoiceError::NoSpeech {
        secs: audio_16k.len() as f64 / 16_000.0,
    })?;
    answer(
        recognizer,
        synthesizer,
        assistant,
        &utterance,
        job,
        on_event,
    )
}

/// From the first begin of speech to the last end; nothing when there is none.
fn whole_utterance(audio_16k: &[f32]) -> Option<Utterance> {
    let mut session = VoiceSession::new(BargeIn::Allowed);
    let mut whole: Option<Utterance> = None;
    let silence = [0.0; 16_000];
    let blocks = audio_16k.chunks(BLOCK).chain(silence.chunks(BLOCK));
    let heard: Vec<Heard> = blocks.flat_map(|block| session.push(block)).collect();
    for heard in heard.into_iter().chain(session.finish()) {
        match heard {
            Heard::Utterance(next) => {
                whole = Some(match whole {
                    None => next,
                    Some(first) => Utterance {
                        start: first.start,
                        audio_16k: Vec::new(),
                        ..next
                    },
                });
            }
            Heard::SpeechBegan | Heard::Dismissed | Heard::Interrupted => {}
        }
    }
    let mut whole = whole?;
    if whole.audio_16k.is_empty() {
        let at = |position: u64| {
            usize::try_from(position)
                .unwrap_or(usize::MAX)
                .min(audio_16k.len())
        };
        whole.audio_16k = audio_16k[at(whole.start)..at(whole.noticed)].to_vec();
    }
    Some(whole)
}
