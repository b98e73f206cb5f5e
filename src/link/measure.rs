//! A board that measures itself: one answer, what it cost, and a report of it.

use super::proof::{answer_here, require_model};
use super::{BoardQuestion, Client, HELLO_PATIENCE, ProofError, TalkError};
use crate::job::Job;
use crate::measured::{BoardReport, Matrices, Place, ReportError, ReportedFirmware, ReportedModel};
use crate::packed::{PackedModel, WeightSource as _};
use crate::saved_format::Format;
use engine::format::{Entry, crc32};
use engine::sampler::Sampling;
use engine::shape::Role;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::SystemTime;

/// Why a board has no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// It does not run this model, or computes something else.
    #[error(transparent)]
    Unproven(#[from] ProofError),
    /// It counts instructions and no time, or does not say at which clock it computes.
    #[error(
        "the board {board} does not say at which clock it computes: there is nothing to report"
    )]
    NoClock {
        /// Its family.
        board: String,
    },
    /// It says what cannot be, or a part of it was lost on the line.
    #[error("the board's measurement is not whole: {field} {problem}; measure again")]
    Impossible {
        /// The field of the report.
        field: &'static str,
        /// Expected and found.
        problem: String,
    },
    /// The answer is of one token, and costs are of those after the first.
    #[error(
        "the answer to \"{prompt}\" has no token after the first: ask something with a longer answer"
    )]
    Short {
        /// What was asked.
        prompt: String,
    },
}

impl From<TalkError> for MeasureError {
    fn from(error: TalkError) -> Self {
        Self::Unproven(ProofError::Talk(error))
    }
}

/// Tokens of the answer that is measured: enough to read the cache, and no small context is full by then.
const MEASURED_TOKENS: u32 = 16;

const fn question(prompt: &str) -> BoardQuestion<'_> {
    BoardQuestion {
        prompt,
        max_tokens: MEASURED_TOKENS,
        context: 0,
        sampling: Sampling::GREEDY,
    }
}

/// Lets a board begin to answer `prompt` and measure itself; `packed` is the model that it runs.
///
/// # Errors
/// When it does not answer, runs another model, computes something else, or has no clock.
pub fn measure(
    client: &mut Client,
    packed: &PackedModel,
    prompt: &str,
    job: &Job<'_>,
) -> Result<BoardReport, MeasureError> {
    let question = &question(prompt);
    let hello = client.hello(HELLO_PATIENCE, job)?;
    require_model(&hello, packed)?;
    let Some(clock_hz) = hello.clock_hz.filter(|_| hello.counts_time()) else {
        return Err(MeasureError::NoClock { board: hello.board });
    };
    job.report("Measuring on the board", 0, 0)
        .map_err(TalkError::from)?;
    let mut go_on = |_: &str| ControlFlow::Continue(());
    let measurement = client.measure(&hello, question, job, &mut go_on)?;
    let (answer, costs) = (measurement.answer, measurement.costs);
    if costs.tokens == 0 {
        let prompt = prompt.to_owned();
        return Err(MeasureError::Short { prompt });
    }
    if matches!(answer.stop, "cancelled" | "context_full") {
        return Err(ProofError::Cut(answer.stop.replace('_', " ")).into());
    }
    let (expected, found) = (answer_here(packed, question, job)?.0, answer.logits_hash.0);
    if expected != found {
        return Err(ProofError::OtherAnswer { expected, found }.into());
    }
    if costs.tokens != answer.decoded {
        let (told, decoded) = (costs.tokens, answer.decoded);
        return Err(MeasureError::Impossible {
            field: "tokens",
            problem: format!("must be the {decoded} that were computed, found {told}"),
        });
    }
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let report = BoardReport {
        format: Format,
        whittle: env!("CARGO_PKG_VERSION").to_owned(),
        day: now.chars().take("2026-12-01".len()).collect(),
        chip: hello.chip.unwrap_or(hello.board),
        chip_revision: hello.chip_revision,
        clock_hz: u64::from(clock_hz),
        clock: client.clock,
        firmware: ReportedFirmware {
            format: hello.firmware.format.unwrap_or_default(),
            answers: hello.firmware.answers.unwrap_or_default(),
            engine: hello.firmware.engine.unwrap_or_default(),
            app: hello.firmware.app.unwrap_or_default(),
        },
        model: reported(
            packed,
            hello.model.map_or_else(String::new, |model| model.name),
        ),
        prompt: prompt.to_owned(),
        logits_hash: format!("{found:016x}"),
        is_verified: true,
        prompt_tokens: answer.prompt_tokens,
        prompt_secs: answer.prompt_secs.unwrap_or_default(),
        first_token_secs: answer.first_token_secs.unwrap_or_default(),
        position: costs.position,
        tokens: costs.tokens,
        decode_secs: costs.decode_secs,
        costs: costs.parts,
        memories: costs.memories,
        memory_bytes: u64::from(costs.memory_bytes),
        stack: costs.stack,
    };
    match report.check() {
        Ok(()) => Ok(report),
        Err((field, problem)) => Err(MeasureError::Impossible { field, problem }),
    }
}

/// Holds a report to this program's answer of the same model.
///
/// # Errors
/// When the model is another, or the hash is.
pub fn verify(report: &BoardReport, packed: &PackedModel, origin: &str) -> Result<(), VerifyError> {
    let expected = format!("{:08x}", crc32(packed.bytes()));
    if report.model.crc != expected {
        return Err(VerifyError::OtherModel {
            origin: origin.to_owned(),
            found: report.model.crc.clone(),
            expected,
        });
    }
    let question = question(&report.prompt);
    let here = answer_here(packed, &question, &Job::silent())?;
    Ok(report.require_hash(here.0, origin)?)
}

/// Why a report is not of this program's answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is of another model.
    #[error("{origin}: it is of a model with checksum {found}, this one has {expected}")]
    OtherModel {
        /// The file.
        origin: String,
        /// Checksum of its model.
        found: String,
        /// That of the one at hand.
        expected: String,
    },
    /// Its hash is another.
    #[error(transparent)]
    Hash(#[from] ReportError),
    /// This program cannot compute it.
    #[error(transparent)]
    Here(#[from] ProofError),
}

/// What a report says of a model.
fn reported(packed: &PackedModel, name: String) -> ReportedModel {
    let view = packed.view();
    let shape = view.shape();
    let is_tied = !view.entries().any(|entry| entry.role == Role::Output);
    let mut matrices: BTreeMap<(Place, &str), (u64, u64, u64)> = BTreeMap::new();
    for entry in view.entries().filter(|entry| entry.role.is_matrix()) {
        let Some(place) = place(&entry, is_tied) else {
            continue;
        };
        let sum = matrices
            .entry((place, entry.matrix.encoding().name()))
            .or_default();
        let rows = entry.matrix.rows() as u64;
        sum.0 += rows * entry.matrix.cols() as u64;
        sum.1 += rows * entry.kept as u64;
        sum.2 += entry.matrix.bytes().len() as u64;
    }
    let matrices = matrices
        .into_iter()
        .map(|((place, encoding), (weights, kept, bytes))| Matrices {
            place,
            encoding: encoding.to_owned(),
            weights,
            kept,
            bytes,
        });
    ReportedModel {
        name,
        bytes: packed.bytes().len() as u64,
        crc: format!("{:08x}", crc32(packed.bytes())),
        kv_bits: u8::try_from(packed.cache().bits()).unwrap_or(16),
        layers: shape.layers,
        hidden: shape.hidden,
        feed_forward: shape.feed_forward,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        vocab: shape.vocab,
        matrices: matrices.collect(),
    }
}

/// Where a matrix is multiplied; nothing for an embedding that only rows are read of.
fn place(entry: &Entry<'_>, is_tied: bool) -> Option<Place> {
    if entry.role == Role::Embedding {
        return is_tied.then_some(Place::Head);
    }
    Some(if entry.role == Role::Output {
        Place::Head
    } else {
        Place::Blocks
    })
}
