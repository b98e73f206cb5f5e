//! A board that is written, runs, says who it is and computes what is computed here: only then is it a success.

use super::{
    BoardAnswer, BoardQuestion, Client, Device, FlashError, FlashOptions, FlashPlan, Flashed,
    Greeting, HELLO_PATIENCE, Image, ImageError, TalkError,
};
use crate::board::Board;
use crate::estimate::{Options, Range, Validation, estimate_file};
use crate::job::Job;
use crate::measured::Clock;
use crate::packed::{ChatError, Conversation, PackedModel, Question, WeightSource as _};
use engine::format::crc32;
use engine::sampler::LogitsHash;
use engine::workers::Host;
use serde::Serialize;
use std::ops::ControlFlow;

/// A board that was written.
#[derive(Debug, Serialize)]
pub struct Deployed {
    /// What the board ran before, where that was Whittle's firmware.
    pub before: Option<Greeting>,
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

/// Asks what runs on the board, writes what differs, lets the board run it, waits for its hello and compares its self-test
/// with this program's. `show` is given what ran there and the plan before the first byte is written; where it breaks off
/// nothing is, and there is no result.
///
/// # Errors
/// When the board was not, or not wholly, written. That it does not answer afterwards is told in the result.
pub fn deploy(
    device: &Device,
    (image, packed): (&Image, &PackedModel),
    options: &FlashOptions,
    show: &mut dyn FnMut(Option<&Greeting>, &FlashPlan) -> ControlFlow<()>,
    job: &Job<'_>,
) -> Result<Option<Deployed>, FlashError> {
    job.report("Asking what runs on the board", 0, 0)?;
    let before = device.greeting(job);
    let mut planned = |plan: &FlashPlan| show(before.as_ref(), plan);
    let Some(flashed) = device.flash(image, options, &mut planned, job)? else {
        return Ok(None);
    };
    let proof = device
        .client()
        .map_err(ProofError::Talk)
        .and_then(|mut client| prove(&mut client, packed, job));
    let (proof, unproven) = match proof {
        Ok(proof) => (Some(proof), None),
        Err(error) => (None, Some(super::chain(&error))),
    };
    Ok(Some(Deployed {
        before,
        flashed,
        proof,
        unproven,
    }))
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
    /// What was estimated of this turn, where the board and its model are known.
    pub estimated: Option<TurnEstimate>,
    /// Whether that has the bits of this program's answer; unknown where there was nothing to compare it with.
    pub same_here: Option<bool>,
    /// Why it is unknown, or what differs.
    pub differs: Option<String>,
}

/// What was estimated of a turn that a board has answered.
#[derive(Debug, Clone, Serialize)]
pub struct TurnEstimate {
    /// The board's description.
    pub board: String,
    /// Seconds from the request to the first token.
    pub first_token_secs: Option<Range>,
    /// Tokens a second after it.
    pub tokens_per_second: Option<Range>,
    /// What that was held against.
    pub validation: Validation,
}

impl TurnEstimate {
    /// That of an answer of `packed` on `board`: as many tokens, at the same positions.
    #[must_use]
    pub fn of(board: &Board, packed: &PackedModel, answer: &BoardAnswer) -> Self {
        let prefix = packed.prefix().filter(|p| p.precision() == packed.cache());
        let prefix = prefix.map_or(0, |p| u32::try_from(p.positions()).unwrap_or(u32::MAX));
        let before: u32 = prefix.saturating_add(answer.prompt_tokens);
        let options = Options {
            // An estimate is of a context that is half full.
            context_tokens: before
                .saturating_mul(2)
                .saturating_add(answer.decoded)
                .max(1),
            cache: packed.cache(),
            prompt_tokens: answer.prompt_tokens,
            ..Options::default()
        };
        let estimate = estimate_file(packed, "", board, &options);
        Self {
            board: board.id.clone(),
            first_token_secs: estimate.first_token_seconds,
            tokens_per_second: estimate.tokens_per_second,
            validation: estimate.validation,
        }
    }
}

/// Asks a board, and compares its answer with that of `packed`, where one is given; its times stand beside the estimate for
/// the first of `boards` that has its chip.
///
/// # Errors
/// As [`Client::hello`] and [`Client::ask`].
pub fn ask_board(
    client: &mut Client,
    (packed, boards): (Option<&PackedModel>, &[Board]),
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
    let board = boards.iter().find(|board| board.chip == hello.board);
    let estimated = packed
        .filter(|packed| require_model(&hello, packed).is_ok())
        .zip(board)
        .map(|(packed, board)| TurnEstimate::of(board, packed, &answer));
    Ok(BoardTurn {
        estimated,
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
    job.report("Comparing with the board", 0, 0)
        .map_err(TalkError::from)?;
    let expected = answer_here(packed, &BoardQuestion::self_test())?;
    let answer = client.self_test(&hello, job)?;
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
pub(super) fn answer_here(
    packed: &PackedModel,
    question: &BoardQuestion<'_>,
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
    let answer = conversation.ask(packed, &Host::serial(), &asked, &mut |_| {
        ControlFlow::Continue(())
    });
    answer
        .map(|answer| answer.logits_hash)
        .map_err(ProofError::Here)
}
