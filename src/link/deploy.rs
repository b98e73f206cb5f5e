//! A board that is written, runs, says who it is and computes what is computed here: only then is it a success.

use super::client::Clock;
use super::{
    BoardAnswer, BoardQuestion, Client, Device, FlashError, FlashOptions, Flashed, Greeting,
    HELLO_PATIENCE, Image, TalkError,
};
use crate::job::Job;
use crate::packed::{ChatError, Conversation, PackedModel, Question};
use engine::format::crc32;
use engine::sampler::{LogitsHash, Sampling};
use engine::workers::Host;
use serde::Serialize;
use std::ops::ControlFlow;

/// What a board is asked to show that it computes as this program does.
const SELF_TEST: &str = "turn on the kitchen light";
/// Tokens of its answer: what comes after the first has read the cache.
const SELF_TEST_TOKENS: u32 = 2;

/// A board that was written.
#[derive(Debug, Serialize)]
pub struct Deployed {
    /// What was written and verified.
    #[serde(flatten)]
    pub flashed: Flashed,
    /// What the board said afterwards.
    #[serde(flatten)]
    pub proof: Option<Proof>,
    /// Why it is not certain that the board runs: the error as one sentence.
    pub unproven: Option<String>,
}

/// A board that runs a model and computes what is computed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// What it says of itself.
    pub hello: Greeting,
    /// FNV-1a of the logits of its self-test, on the board and here.
    pub self_test: String,
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

/// Writes what differs, lets the board run it, waits for its hello and compares its self-test with this program's.
///
/// # Errors
/// When the board was not, or not wholly, written. That it does not answer afterwards is told in the result.
pub fn deploy(
    device: &Device,
    image: &Image,
    packed: &PackedModel,
    options: &FlashOptions,
    job: &Job<'_>,
) -> Result<Deployed, FlashError> {
    let flashed = device.flash(image, options, job)?;
    let proof = device
        .client()
        .map_err(ProofError::Talk)
        .and_then(|mut client| prove(&mut client, packed, job));
    let (proof, unproven) = match proof {
        Ok(proof) => (Some(proof), None),
        Err(error) => (None, Some(super::chain(&error))),
    };
    Ok(Deployed {
        flashed,
        proof,
        unproven,
    })
}

/// An answer of a board beside what is computed here.
#[derive(Debug, Clone, Serialize)]
pub struct BoardTurn {
    /// What it answered.
    #[serde(flatten)]
    pub answer: BoardAnswer,
    /// Who it is.
    pub hello: Greeting,
    /// What its times are.
    pub clock: Clock,
    /// Whether that has the bits of this program's answer; unknown where there was nothing to compare it with.
    pub same_here: Option<bool>,
    /// Why it is unknown, or what differs.
    pub differs: Option<String>,
}

/// Asks a board, and compares its answer with that of `packed`, where one is given.
///
/// # Errors
/// As [`Client::hello`] and [`Client::ask`].
pub fn ask_board(
    client: &mut Client,
    packed: Option<&PackedModel>,
    question: &BoardQuestion<'_>,
    job: &Job<'_>,
    show: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<BoardTurn, TalkError> {
    let hello = client.hello(HELLO_PATIENCE, job)?;
    let answer = client.ask(&hello, question, job, show)?;
    let (same_here, differs) = match packed
        .map(|packed| compared(&hello, &answer, packed, question))
    {
        None => (None, None),
        Some(Ok(())) => (Some(true), None),
        Some(Err(error @ ProofError::OtherAnswer { .. })) => (Some(false), Some(error.to_string())),
        Some(Err(error)) => (None, Some(super::chain(&error))),
    };
    Ok(BoardTurn {
        answer,
        hello,
        clock: client.clock,
        same_here,
        differs,
    })
}

fn compared(
    hello: &Greeting,
    answer: &BoardAnswer,
    packed: &PackedModel,
    question: &BoardQuestion<'_>,
) -> Result<(), ProofError> {
    require_model(hello, packed)?;
    // What ended sooner than this program's answer would has another hash, and no other bits.
    if matches!(answer.stop, "cancelled" | "context_full") {
        return Err(ProofError::Cut(answer.stop.replace('_', " ")));
    }
    let (expected, found) = (answer_here(packed, question)?.0, answer.logits_hash.0);
    if expected == found {
        Ok(())
    } else {
        Err(ProofError::OtherAnswer { expected, found })
    }
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
    let question = BoardQuestion {
        prompt: SELF_TEST,
        max_tokens: SELF_TEST_TOKENS,
        context: 0,
        sampling: Sampling::GREEDY,
    };
    job.report("Comparing with the board", 0, 0)
        .map_err(TalkError::from)?;
    let expected = answer_here(packed, &question)?;
    let answer = client.ask(&hello, &question, job, &mut |_| ControlFlow::Continue(()))?;
    let found = answer.logits_hash;
    if found != expected {
        let (expected, found) = (expected.0, found.0);
        return Err(ProofError::OtherAnswer { expected, found });
    }
    let self_test = format!("{:016x}", found.0);
    Ok(Proof { hello, self_test })
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
fn answer_here(
    packed: &PackedModel,
    question: &BoardQuestion<'_>,
) -> Result<LogitsHash, ProofError> {
    let context = packed.view().shape().context as usize;
    let asked = Question {
        system: None,
        user: question.prompt,
        max_tokens: question.max_tokens as usize,
        sampling: question.sampling,
        stop: &[],
    };
    let mut conversation = Conversation::new(packed, context);
    let answer = conversation.ask(packed, &Host::serial(), &asked, &mut |_| {
        ControlFlow::Continue(())
    });
    answer
        .map(|answer| answer.logits_hash)
        .map_err(ProofError::Here)
}
