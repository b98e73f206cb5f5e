//! What a board has measured of itself: a report, one file that anyone can send.
//!
//! [`BoardReport`] is what a board told of one answer: time by block and kind of work, how fast its memories are, what it
//! used; with chip, firmware, model and the hash of the logits. [`Reports`] are those that this account keeps, the newest
//! of each chip, for estimates.

mod kept;

pub use kept::Reports;

use crate::saved_format::{Format, NewerFormat};
use crate::text_file;
use engine::encoding::Encoding;
use engine::session::Work;
use engine::shape::Hyperparameters;
use engine::stamp::GOLDEN_ANSWERS;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a board's times are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Those of a chip.
    Board,
    /// Those of an emulated one, which takes a cycle an instruction and waits for no flash: a real one is slower.
    Emulated,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Board => "by its clock",
            Self::Emulated => "if an instruction took a cycle",
        })
    }
}

/// What one board told of one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardReport {
    /// The form of the file.
    #[serde(default)]
    pub format: Format<1>,
    /// Version of Whittle that asked.
    pub whittle: String,
    /// Day of the measurement, as 2026-12-01.
    pub day: String,
    /// The chip, as boards name it: `esp32c3`.
    pub chip: String,
    /// Its revision, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip_revision: Option<String>,
    /// Clock of the core that computed.
    pub clock_hz: u64,
    /// What the times are.
    pub clock: Clock,
    /// What runs on it.
    pub firmware: ReportedFirmware,
    /// The model in its flash.
    pub model: ReportedModel,
    /// What was asked.
    pub prompt: String,
    /// FNV-1a of the logits of every token that was drawn, in hexadecimal.
    pub logits_hash: String,
    /// Whether that is the hash of the same model on the computer that asked; without it the report feeds no estimate.
    pub is_verified: bool,
    /// Tokens of the prompt that were computed.
    pub prompt_tokens: u32,
    /// What they took.
    pub prompt_secs: f64,
    /// From the request to the first token.
    pub first_token_secs: f64,
    /// Position of the first token after the prompt.
    pub position: u32,
    /// Tokens that were computed after the prompt: what the costs are of.
    pub tokens: u32,
    /// What they took together.
    pub decode_secs: f64,
    /// What their parts took together.
    pub costs: Vec<Cost>,
    /// Its memories.
    pub memories: Vec<MemorySpeed>,
    /// Logits, prompt and arena of this answer.
    pub memory_bytes: u64,
    /// The stack, where it is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackUse>,
}

/// Which firmware a board runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedFirmware {
    /// The newest packed format that it reads.
    pub format: u32,
    /// Digest of its golden answers, in hexadecimal.
    pub answers: String,
    /// Digest of its engine's sources.
    pub engine: String,
    /// Digest of the sources of what every board runs.
    pub app: String,
}

/// Which model a board runs, and what a token asks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedModel {
    /// Its name.
    pub name: String,
    /// Bytes of the packed file.
    pub bytes: u64,
    /// CRC-32 of all of them, in hexadecimal.
    pub crc: String,
    /// Bits of keys and values.
    pub kv_bits: u8,
    /// Transformer blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Width of the feed-forward.
    pub feed_forward: u32,
    /// Query heads.
    pub heads: u32,
    /// Heads of keys and values.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Tokens of the vocabulary.
    pub vocab: u32,
    /// Its matrices, those alike together.
    pub matrices: Vec<Matrices>,
}

/// Matrices of one encoding in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrices {
    /// Where they are multiplied.
    pub place: Place,
    /// As [`Encoding::name`] has it.
    pub encoding: String,
    /// Weights, pruned ones among them.
    pub weights: u64,
    /// Weights kept.
    pub kept: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Where a matrix is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a transformer block.
    Blocks,
    /// For the logits.
    Head,
}

/// What a kind of work took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The transformer block; none for what is done once a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<u32>,
    /// Which.
    pub work: WorkName,
    /// All tokens together.
    pub secs: f64,
}

/// [`Work`] as a report has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are those of the engine's type")]
pub enum WorkName {
    Embedding,
    Products,
    Attention,
    Elementwise,
    Head,
}

impl WorkName {
    /// Each of them.
    pub const ALL: [Self; 5] = [
        Self::Embedding,
        Self::Products,
        Self::Attention,
        Self::Elementwise,
        Self::Head,
    ];

    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Products => "products",
            Self::Attention => "attention",
            Self::Elementwise => "elementwise",
            Self::Head => "head",
        }
    }
}

impl From<Work> for WorkName {
    fn from(work: Work) -> Self {
        match work {
            Work::Embedding => Self::Embedding,
            Work::Products => Self::Products,
            Work::Attention => Self::Attention,
            Work::Elementwise => Self::Elementwise,
            Work::Head => Self::Head,
        }
    }
}

/// How fast a memory was read from one end to the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySpeed {
    /// What lies in it: `model`, `conversation`.
    pub name: String,
    /// So much was read.
    pub bytes: u64,
    /// What that took.
    pub secs: f64,
}

impl MemorySpeed {
    /// Bytes a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "bytes of a memory")]
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.secs
    }
}

/// The most that was used of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackUse {
    /// All of it.
    pub bytes: u32,
    /// The most that was used since the start.
    pub used_bytes: u32,
}

/// Why a report was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// It is of a newer Whittle.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// The file could not be read.
    #[error("cannot read the report {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a report in JSON.
    #[error("{origin} is not a report of a board")]
    Parse {
        /// The file.
        origin: String,
        /// What the parser met, with line and column.
        source: Box<serde_json::Error>,
    },
    /// A number that no measurement has.
    #[error("{origin}: {field} {problem}")]
    Value {
        /// The file.
        origin: String,
        /// The field.
        field: &'static str,
        /// Expected and found.
        problem: String,
    },
    /// It computes something else than this program.
    #[error(
        "{origin}: the board gives other answers than this program (digest {found}, here {GOLDEN_ANSWERS:016x}), so its \
         times are of something else"
    )]
    OtherAnswers {
        /// The file.
        origin: String,
        /// Its digest.
        found: String,
    },
    /// The same model answers otherwise here.
    #[error(
        "{origin}: its logits have hash {found}, this model's here {expected}: the board computes something else"
    )]
    OtherHash {
        /// The file.
        origin: String,
        /// That of the report.
        found: String,
        /// That of this program.
        expected: String,
    },
}

/// A measurement is no longer than a day, and no core is faster than this.
const MOST_SECS: f64 = 86_400.0;
const MOST_HZ: u64 = 10_000_000_000;
/// Longest conversation, in tokens.
const MOST_TOKENS: u32 = 1 << 20;
/// No core multiplies more weights in a cycle, or reads more bytes of a memory.
const MOST_A_CYCLE: f64 = 64.0;
/// Parts of a token that may go uncounted or be counted twice at the clock's resolution.
const SUM_SLACK: f64 = 0.05;

impl BoardReport {
    /// Reads a report from a file.
    ///
    /// # Errors
    /// When it cannot be read, is no report, states what cannot be, or is of other answers than this program's.
    pub fn load(path: &Path) -> Result<Self, ReportError> {
        let read = |source| ReportError::Read {
            path: path.to_owned(),
            source,
        };
        let text = text_file::read(path, text_file::WRITTEN_BYTES).map_err(read)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a report; `origin` names the text in errors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, ReportError> {
        Format::<1>::check_json("report", origin, text.as_bytes())?;
        let report: Self = serde_json::from_str(text).map_err(|source| ReportError::Parse {
            origin: origin.to_owned(),
            source: Box::new(source),
        })?;
        report
            .check()
            .map_err(|(field, problem)| ReportError::Value {
                origin: origin.to_owned(),
                field,
                problem,
            })?;
        if report.firmware.answers != format!("{GOLDEN_ANSWERS:016x}") {
            return Err(ReportError::OtherAnswers {
                origin: origin.to_owned(),
                found: report.firmware.answers,
            });
        }
        Ok(report)
    }

    /// Fails where this program's hash of the same answer is another.
    ///
    /// # Errors
    /// [`ReportError::OtherHash`].
    pub fn require_hash(&self, expected: u64, origin: &str) -> Result<(), ReportError> {
        let expected = format!("{expected:016x}");
        if self.logits_hash == expected {
            return Ok(());
        }
        Err(ReportError::OtherHash {
            origin: origin.to_owned(),
            found: self.logits_hash.clone(),
            expected,
        })
    }

    /// Names the first field that no measurement has, and what is wrong with it.
    ///
    /// # Errors
    /// The field, and expected and found.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let secs = |field, secs: f64| {
            if secs > 0.0 && secs <= MOST_SECS {
                return Ok(());
            }
            Err((
                field,
                format!("must be above 0 and at most {MOST_SECS} seconds, found {secs}"),
            ))
        };
        if self.clock_hz == 0 || self.clock_hz > MOST_HZ {
            let found = self.clock_hz;
            return Err(("clock_hz", format!("is out of range, found {found}")));
        }
        if self.tokens == 0 {
            return Err(("tokens", "must be at least 1, found 0".to_owned()));
        }
        let end = self.position.saturating_add(self.tokens);
        if end > MOST_TOKENS {
            return Err((
                "position",
                format!("and tokens must stay below {MOST_TOKENS}, found {end}"),
            ));
        }
        self.check_rates()?;
        secs("prompt_secs", self.prompt_secs)?;
        secs("first_token_secs", self.first_token_secs)?;
        secs("decode_secs", self.decode_secs)?;
        for cost in &self.costs {
            secs("costs.secs", cost.secs)?;
            if cost.layer.is_some_and(|layer| layer >= self.model.layers) {
                return Err((
                    "costs.layer",
                    format!("must be below {}", self.model.layers),
                ));
            }
        }
        for memory in &self.memories {
            secs("memories.secs", memory.secs)?;
        }
        let sum: f64 = self.costs.iter().map(|cost| cost.secs).sum();
        let share = sum / self.decode_secs;
        if (share - 1.0).abs() > SUM_SLACK {
            return Err((
                "costs",
                format!("must add up to decode_secs, found {share:.2} of it"),
            ));
        }
        if self.model.matrices.is_empty()
            || self
                .model
                .matrices
                .iter()
                .any(|m| m.encoding().is_none() || m.kept > m.weights)
        {
            return Err((
                "model.matrices",
                "must name encodings that this program has".to_owned(),
            ));
        }
        let positive = [
            self.model.layers,
            self.model.hidden,
            self.model.heads,
            self.model.head_dim,
            self.model.kv_heads,
        ];
        if positive.contains(&0) {
            return Err(("model", "must have layers and heads".to_owned()));
        }
        Ok(())
    }

    /// Nothing computes or reads faster than a core can.
    #[expect(clippy::cast_precision_loss, reason = "compared with bounds only")]
    fn check_rates(&self) -> Result<(), (&'static str, String)> {
        let kept: u64 = self.model.matrices.iter().map(|m| m.kept).sum();
        let weights = kept as f64 * f64::from(self.tokens);
        let cycles = self.cycles(self.decode_secs);
        if weights > cycles * MOST_A_CYCLE {
            return Err((
                "decode_secs",
                format!(
                    "must be {MOST_A_CYCLE} weights a cycle or fewer, found {:.0}",
                    weights / cycles
                ),
            ));
        }
        let is_too_fast =
            |memory: &&MemorySpeed| memory.bytes as f64 > self.cycles(memory.secs) * MOST_A_CYCLE;
        match self.memories.iter().find(is_too_fast) {
            None => Ok(()),
            Some(memory) => Err((
                "memories",
                format!(
                    "must be read at {MOST_A_CYCLE} bytes a cycle or fewer, found {} bytes of {} in {} s",
                    memory.bytes, memory.name, memory.secs
                ),
            )),
        }
    }

    /// Seconds of a token that a kind of work takes, in the mean.
    #[must_use]
    pub fn secs_of(&self, work: WorkName) -> f64 {
        let all = self.costs.iter().filter(|cost| cost.work == work);
        all.map(|cost| cost.secs).sum::<f64>() / f64::from(self.tokens)
    }

    /// The position in the middle of the tokens that were measured.
    #[must_use]
    pub fn mean_position(&self) -> f64 {
        f64::from(self.position) + f64::from(self.tokens - 1) / 2.0
    }

    /// Tokens a second after the prompt.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        f64::from(self.tokens) / self.decode_secs
    }

    /// Cycles of so many seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a clock is far below 2^52 Hz")]
    pub fn cycles(&self, secs: f64) -> f64 {
        secs * self.clock_hz as f64
    }

    /// What it is, in one line: for the sources of numbers.
    #[must_use]
    pub fn title(&self) -> String {
        let revision = self
            .chip_revision
            .as_ref()
            .map_or_else(String::new, |revision| format!(" revision {revision}"));
        let how = match self.clock {
            Clock::Board => "measured on",
            Clock::Emulated => "counted on an emulated",
        };
        format!(
            "{how} {}{revision} at {} MHz with {}, {}",
            self.chip,
            self.clock_hz / 1_000_000,
            self.model.name,
            self.day
        )
    }
}

impl Matrices {
    /// The encoding, where this program has it.
    #[must_use]
    pub fn encoding(&self) -> Option<Encoding> {
        let mut all = Encoding::ALL.into_iter();
        all.find(|encoding| encoding.name() == self.encoding)
    }
}

impl ReportedModel {
    /// Whether a model has this shape.
    #[must_use]
    pub const fn has_shape(&self, shape: &Hyperparameters) -> bool {
        self.layers == shape.layers
            && self.hidden == shape.hidden
            && self.feed_forward == shape.feed_forward
            && self.heads == shape.heads
            && self.kv_heads == shape.kv_heads
            && self.head_dim == shape.head_dim
            && self.vocab == shape.vocab
    }
}
