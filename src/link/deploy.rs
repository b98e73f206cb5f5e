//! A board that is written, runs, says who it is and computes what is computed here: only then is it a success.

use super::proof::answer_here;
use super::returning::prove_started;
use super::{
    BoardAnswer, BoardQuestion, Client, Device, FlashError, FlashOptions, FlashPlan, Flashed,
    Greeting, HELLO_PATIENCE, Image, Proof, ProofError, TalkError, ports, require_model,
};
use crate::board::Board;
use crate::estimate::{Options, Range, Validation, estimate_file};
use crate::job::{Cancelled, Job};
use crate::measured::Clock;
use crate::packed::{PackedModel, WeightSource as _};
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
    // Where they cannot be listed, the board is waited for under its own name.
    let known = ports().unwrap_or_default();
    let mut planned = |plan: &FlashPlan| show(before.as_ref(), plan);
    let Some(flashed) = device.flash(image, options, &mut planned, job)? else {
        return Ok(None);
    };
    let proof = prove_started(device, &known, packed, job);
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// Asks a board; [`BoardTurn::beside`] holds what it answered to this program's answer.
///
/// # Errors
/// As [`Client::hello`] and [`Client::ask`].
pub fn ask_board(
    client: &mut Client,
    question: &BoardQuestion<'_>,
    job: &Job<'_>,
    show: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<BoardTurn, TalkError> {
    let hello = client.hello(HELLO_PATIENCE, job)?;
    job.report("The board answers", 0, 0)?;
    let answer = client.ask(&hello, question, job, show)?;
    Ok(BoardTurn {
        answer,
        hello,
        clock: client.clock,
        estimated: None,
        same_here: None,
        differs: None,
    })
}

impl BoardTurn {
    /// The turn, compared with the answer of `packed` to the same question; its times stand beside the estimate for the first
    /// of `boards` that has its chip.
    ///
    /// # Errors
    /// When `job` is cancelled.
    pub fn beside(
        self,
        (packed, boards): (&PackedModel, &[Board]),
        question: &BoardQuestion<'_>,
        job: &Job<'_>,
    ) -> Result<Self, Cancelled> {
        let compared = compared(&self, packed, question, job);
        job.check()?;
        let (same_here, differs) = match compared {
            Ok(()) => (Some(true), None),
            Err(error @ ProofError::OtherAnswer { .. }) => (Some(false), Some(error.to_string())),
            Err(error) => (None, Some(super::chain(&error))),
        };
        let board = boards
            .iter()
            .find(|board| self.hello.chip.as_ref() == Some(&board.chip));
        let board = board.filter(|_| require_model(&self.hello, packed).is_ok());
        Ok(Self {
            estimated: board.map(|board| TurnEstimate::of(board, packed, &self.answer)),
            same_here,
            differs,
            ..self
        })
    }
}

fn compared(
    turn: &BoardTurn,
    packed: &PackedModel,
    question: &BoardQuestion<'_>,
    job: &Job<'_>,
) -> Result<(), ProofError> {
    require_model(&turn.hello, packed)?;
    // What ended sooner than this program's answer would has another hash, and no other bits.
    if matches!(turn.answer.stop, "cancelled" | "context_full") {
        return Err(ProofError::Cut(turn.answer.stop.replace('_', " ")));
    }
    let expected = answer_here(packed, question, job)?.0;
    let found = turn.answer.logits_hash.0;
    if expected == found {
        Ok(())
    } else {
        Err(ProofError::OtherAnswer { expected, found })
    }
}
