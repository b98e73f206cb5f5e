//! What the voice loop is doing: one state, moved on by audio and by the answer's progress.

use super::vad::{Endpoint, Endpointer, Utterance};

/// Where a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoiceState {
    /// Waiting for somebody to speak.
    Listening,
    /// Somebody is speaking.
    Hearing,
    /// What was said is being written down.
    Recognizing,
    /// The assistant is thinking or speaking.
    Answering,
}

/// What happens when somebody speaks while the assistant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BargeIn {
    /// The answer stops and the new words count: for headphones.
    Allowed,
    /// The microphone is not listened to: a loudspeaker would interrupt itself.
    Ignored,
}

/// What the audio showed.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Somebody began to speak.
    SpeechBegan,
    /// It was only a click.
    Dismissed,
    /// Somebody began to speak while the assistant answered: stop the answer.
    Interrupted,
    /// Somebody finished speaking: recognize and answer this.
    Utterance(Utterance),
}

/// Follows a conversation: takes audio, tells what to do. No threads, no devices, no clock.
///
/// It starts in [`VoiceState::Listening`]. Audio moves it to `Hearing` and, with an utterance, to
/// `Recognizing`; whoever answers calls [`VoiceSession::answering`] once the words are known and
/// [`VoiceSession::answered`] at the end.
#[derive(Debug)]
pub struct VoiceSession {
    endpointer: Endpointer,
    state: VoiceState,
    barge_in: BargeIn,
}

impl VoiceSession {
    /// A session that listens.
    #[must_use]
    pub fn new(barge_in: BargeIn) -> Self {
        Self {
            endpointer: Endpointer::new(),
            state: VoiceState::Listening,
            barge_in,
        }
    }

    /// Where the conversation is.
    #[must_use]
    pub fn state(&self) -> VoiceState {
        self.state
    }

    /// Takes mono audio at 16 kHz, in blocks of any size, and returns what it showed, in order.
    pub fn push(&mut self, block_16k: &[f32]) -> Vec<Heard> {
        let busy = matches!(self.state, VoiceState::Recognizing | VoiceState::Answering);
        if busy && self.barge_in == BargeIn::Ignored {
            return Vec::new();
        }
        let endpoints = self.endpointer.push(block_16k);
        endpoints
            .into_iter()
            .map(|endpoint| self.notice(endpoint))
            .collect()
    }

    /// Ends the stream: what was being said counts as it is.
    pub fn finish(&mut self) -> Option<Heard> {
        self.endpointer
            .finish()
            .map(|endpoint| self.notice(endpoint))
    }

    /// The words are known; the assistant begins. An interruption stays one.
    pub fn answering(&mut self) {
        if self.state == VoiceState::Recognizing {
            self.state = VoiceState::Answering;
        }
    }

    /// The assistant begins to speak unasked; what somebody was saying counts no more.
    pub fn speaking(&mut self) {
        self.endpointer = Endpointer::new();
        self.state = VoiceState::Answering;
    }

    /// The answer is over, or there was nothing to answer.
    pub fn answered(&mut self) {
        if matches!(self.state, VoiceState::Recognizing | VoiceState::Answering) {
            // What was heard of the answer itself must not be taken for speech.
            if self.barge_in == BargeIn::Ignored {
                self.endpointer = Endpointer::new();
            }
            self.state = VoiceState::Listening;
        }
    }

    fn notice(&mut self, endpoint: Endpoint) -> Heard {
        match endpoint {
            Endpoint::Began => {
                let interrupts =
                    matches!(self.state, VoiceState::Recognizing | VoiceState::Answering);
                self.state = VoiceState::Hearing;
                if interrupts {
                    Heard::Interrupted
                } else {
                    Heard::SpeechBegan
                }
            }
            Endpoint::Dismissed => {
                self.state = VoiceState::Listening;
                Heard::Dismissed
            }
            Endpoint::Ended(utterance) => {
                self.state = VoiceState::Recognizing;
                Heard::Utterance(utterance)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vad::tests::vowel;
    use super::*;

    fn speech() -> Vec<f32> {
        [vec![0.0; 8000], vowel(16_000), vec![0.0; 12_000]].concat()
    }

    #[test]
    fn a_turn_goes_round_once() {
        let mut session = VoiceSession::new(BargeIn::Ignored);
        assert_eq!(session.state(), VoiceState::Listening);
        let heard = session.push(&speech());
        assert!(matches!(
            heard.as_slice(),
            [Heard::SpeechBegan, Heard::Utterance(_)]
        ));
        assert_eq!(session.state(), VoiceState::Recognizing);
        session.answering();
        assert_eq!(session.state(), VoiceState::Answering);
        session.answered();
        assert_eq!(session.state(), VoiceState::Listening);
        session.answering();
        assert_eq!(
            session.state(),
            VoiceState::Listening,
            "nothing is being recognized"
        );
    }

    #[test]
    fn an_answer_is_interrupted_only_when_that_is_allowed() {
        for (barge_in, interrupted) in [(BargeIn::Allowed, true), (BargeIn::Ignored, false)] {
            let mut session = VoiceSession::new(barge_in);
            session.push(&speech());
            session.answering();
            let heard = session.push(&speech());
            assert_eq!(
                heard.first() == Some(&Heard::Interrupted),
                interrupted,
                "{barge_in:?}"
            );
            let state = if interrupted {
                VoiceState::Recognizing
            } else {
                VoiceState::Answering
            };
            assert_eq!(session.state(), state);
        }
    }

    #[test]
    fn a_replay_is_not_taken_for_an_answer_to_what_was_being_said() {
        let mut session = VoiceSession::new(BargeIn::Ignored);
        session.push(&[vec![0.0; 8000], vowel(8000)].concat());
        assert_eq!(session.state(), VoiceState::Hearing);
        session.speaking();
        assert_eq!(session.push(&speech()), []);
        session.answered();
        assert_eq!(session.state(), VoiceState::Listening);
    }

    #[test]
    fn what_is_said_when_the_stream_ends_counts() {
        let mut session = VoiceSession::new(BargeIn::Allowed);
        session.push(&[vec![0.0; 8000], vowel(16_000)].concat());
        assert_eq!(session.state(), VoiceState::Hearing);
        assert!(matches!(session.finish(), Some(Heard::Utterance(_))));
        assert_eq!(session.finish(), None);
    }
}
