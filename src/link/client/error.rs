//! Why a board does not answer.

use crate::job::Cancelled;
use std::time::Duration;

/// Why there is no answer from a board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TalkError {
    /// The person who asked stopped it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The person who sent a model stopped it.
    #[error("{source}: {left}")]
    LeftOff {
        /// That it was stopped.
        source: Cancelled,
        /// What the board has now.
        left: &'static str,
    },
    /// The port could not be opened.
    #[error("cannot open {port}: {reason}")]
    Port {
        /// The port.
        port: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Nothing came.
    #[error(
        "the board on {port} said nothing within {} s: is it the right port, and is Whittle's firmware on it (whittle flash)?",
        waited.as_secs()
    )]
    Silent {
        /// The port.
        port: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Something came, and it was not this protocol.
    #[error(
        "the board on {port} speaks, but not as Whittle's firmware does{}",
        said(last)
    )]
    Babble {
        /// The port.
        port: String,
        /// The last line that could be read.
        last: Option<String>,
    },
    /// It said no.
    #[error("the board refused: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// What it said is no message of this version.
    #[error("the board on {port} sent {error}: whittle flash writes the firmware of this program")]
    Protocol {
        /// The port.
        port: String,
        /// What it was.
        error: protocol::FrameError,
    },
    /// The line broke.
    #[error("the board on {port} went away: {reason}")]
    Gone {
        /// The port.
        port: String,
        /// The system's words.
        reason: String,
    },
    /// It runs Whittle's firmware and has not said hello yet.
    #[error(
        "the board on {port} runs Whittle's firmware and did not say hello within {} s; its last line: {last}",
        waited.as_secs()
    )]
    Slow {
        /// The port.
        port: String,
        /// How long was waited.
        waited: Duration,
        /// The last line that it said.
        last: String,
    },
    /// It started again in the middle of an answer, or of a model that was sent.
    #[error("the board on {port} started again in the middle of its work: its supply may be weak")]
    Restarted {
        /// The port.
        port: String,
    },
    /// Frames of its answer did not come.
    #[error("part of the answer was lost on the line to {port}: {came} of {sent} tokens came")]
    Lost {
        /// The port.
        port: String,
        /// Tokens that came.
        came: usize,
        /// Tokens that the board has sent.
        sent: usize,
    },
    /// It answers beyond what it was asked.
    #[error("the board on {port} answers with more than the {most} tokens that it was asked for")]
    Endless {
        /// The port.
        port: String,
        /// Tokens at most.
        most: usize,
    },
    /// The prompt does not fit the board's room for it.
    #[error("the prompt has {found} bytes, the board takes {most}")]
    LongPrompt {
        /// Its bytes.
        found: usize,
        /// What the board takes.
        most: usize,
    },
    /// It began to answer and then said nothing more.
    #[error(
        "the board on {port} stopped in the middle of its answer{}",
        said(last)
    )]
    Stalled {
        /// The port.
        port: String,
        /// The last line that it said.
        last: Option<String>,
    },
}

fn said(last: &Option<String>) -> String {
    last.as_ref()
        .map_or_else(String::new, |line| format!("; its last line: {line}"))
}
