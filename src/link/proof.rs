//! That a board runs a model and computes what is computed here.

use super::{BoardQuestion, Client, FlashError, Greeting, HELLO_PATIENCE, ImageError, TalkError};
use crate::job::Job;
use crate::packed::{ChatError, Conversation, PackedModel, Question};
use engine::format::crc32;
use engine::sampler::LogitsHash;
use engine::workers::Host;
use serde::Serialize;
use std::ops::ControlFlow;

/// A board that runs a model and computes what is computed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// What it says of itself.
    pub hello: Greeting,
    /// FNV-1a of the logits of its self-test, on the board and here.
    pub self_test: String,
    /// The port that it came back on, where that has another name.
    pub moved_to: Option<String>,
}

/// Why a board does not run what was written to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// It does not answer.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// It answers that it has no model.
    #[error("the board runs, and refuses its model: {0}")]
    NoModel(String),
    /// It is another board than the one that was meant.
    #[error("the board is {found}, expected {expected}: nothing was changed")]
    OtherBoard {
        /// Family of the firmware that was expected.
        expected: String,
        /// What it says.
        found: String,
    },
    /// Its firmware cannot read the model.
    #[error("{0}: nothing was changed")]
    OldFirmware(ImageError),
    /// It was told to erase its model, and has one.
    #[error("the board still has a model: {0}")]
    NotErased(String),
    /// An emulated board was written, and its flash could not be kept.
    #[error(transparent)]
    NotKept(FlashError),
    /// It runs another model than this one.
    #[error(
        "the board runs another model: {found_bytes} bytes with checksum {found:08x}, expected {expected_bytes} with {expected:08x}"
    )]
    OtherModel {
        /// Bytes of the model here.
        expected_bytes: usize,
        /// Its CRC-32.
        expected: u32,
        /// Bytes of the board's.
        found_bytes: u32,
        /// Its CRC-32.
        found: u32,
    },
    /// It computes something else.
    #[error(
        "the board computes something else: its logits have hash {found:016x}, here {expected:016x}"
    )]
    OtherAnswer {
        /// Hash here.
        expected: u64,
        /// Hash on the board.
        found: u64,
    },
    /// Its answer ended before it was whole.
    #[error("there is nothing to compare: the answer ended by {0}")]
    Cut(String),
    /// This program cannot compute what the board should.
    #[error("the self-test does not run here")]
    Here(#[source] ChatError),
}

/// Waits for a board's hello, and holds its model and its self-test to these.
///
/// # Errors
/// When it does not answer, has another model, or computes something else.
pub fn prove(
    client: &mut Client,
    packed: &PackedModel,
    job: &Job<'_>,
) -> Result<Proof, ProofError> {
    let hello = client.hello(HELLO_PATIENCE, job)?;
    require_model(&hello, packed)?;
    job.report("Comparing with the board", 0, 0)
        .map_err(TalkError::from)?;
    let expected = answer_here(packed, &BoardQuestion::self_test(), job)?;
    let answer = client.self_test(&hello, job)?;
    let found = answer.logits_hash;
    if found != expected {
        let (expected, found) = (expected.0, found.0);
        return Err(ProofError::OtherAnswer { expected, found });
    }
    let self_test = format!("{:016x}", found.0);
    Ok(Proof {
        hello,
        self_test,
        moved_to: None,
    })
}

/// Fails unless the board's model is this one.
///
/// # Errors
/// When it has none, or another.
pub fn require_model(hello: &Greeting, packed: &PackedModel) -> Result<(), ProofError> {
    let Some(model) = &hello.model else {
        let why = hello.refusal.clone().unwrap_or_default();
        return Err(ProofError::NoModel(why));
    };
    let (expected_bytes, expected) = (packed.bytes().len(), crc32(packed.bytes()));
    if (model.bytes as usize, model.crc) != (expected_bytes, expected) {
        return Err(ProofError::OtherModel {
            expected_bytes,
            expected,
            found_bytes: model.bytes,
            found: model.crc,
        });
    }
    Ok(())
}

/// The hash of this program's own answer.
pub(super) fn answer_here(
    packed: &PackedModel,
    question: &BoardQuestion<'_>,
    job: &Job<'_>,
) -> Result<LogitsHash, ProofError> {
    let context = packed.view().shape().context as usize;
    let asked = Question {
        system: None,
        user: question.prompt,
        max_tokens: match question.max_tokens {
            0 => protocol::MAX_TOKENS as usize,
            asked => asked as usize,
        },
        sampling: question.sampling,
        stop: &[],
    };
    let mut conversation = Conversation::new(packed, context);
    let answer = conversation.ask(
        packed,
        &Host::serial(),
        &asked,
        &mut |_| match job.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        },
    );
    job.check().map_err(TalkError::from)?;
    answer
        .map(|answer| answer.logits_hash)
        .map_err(ProofError::Here)
}
