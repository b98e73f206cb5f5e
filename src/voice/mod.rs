//! The voice loop: everything from audio in to audio out.
//!
//! [`talk`] answers one recording with another; [`live::LiveVoice`] holds a conversation through
//! microphone and loudspeaker. Both are made of the same parts: [`VoiceSession`] follows the
//! conversation without threads, devices or a clock, and [`answer`] makes one turn of a
//! recognizer, an [`Assistant`] and a synthesizer. [`audio`] is the only real-time code.

pub mod audio;
pub mod live;
mod model_assistant;
pub mod session;
mod turn;
pub mod vad;
pub mod wav;

pub use model_assistant::{ModelAssistant, SPOKEN_SYSTEM, SPOKEN_TOKENS, spoken_system};
pub use session::{BargeIn, Heard, VoiceSession, VoiceState};
pub use turn::{
    Assistant, AssistantError, Timings, Turn, TurnEvent, VoiceError, answer, speak_reply, talk,
};
