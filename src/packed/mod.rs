//! One byte string in the engine's format: what runs, is exported, is flashed.

pub mod bill;
mod chat;
mod draft;
pub mod export;
pub mod intent;
mod live;
mod prefix;
mod provenance;
mod reproduce;
mod text;
mod write;

pub use chat::{Answer, ChatError, Conversation, Generation, Piece, Question, StopReason};
pub use draft::Draft;
pub use live::LiveModel;
pub use prefix::{PrefixChoice, PrefixText};
pub use provenance::{ENGINE_VERSION, FittedTo, Provenance, sha256_hex};
pub use reproduce::{Difference, Part, differences};
pub use text::TextSections;
pub use write::Layout;

use crate::calibrate::CalibrateError;
use crate::compress::{CompressError, CompressedModel, Unstorable};
use crate::job::{Cancelled, Job};
use crate::model::{Bytes, Model, ModelError};
use crate::recipe::Recipe;
use crate::whole_file;
use engine::arena::CachePrecision;
use engine::encoding::Encoding;
use engine::format::{Checked, FormatError, Packed, Prefix, Section, TENSOR_ALIGNMENT, Text};
use engine::matrix::Matrix;
use engine::shape::Hyperparameters;
use engine::weights::{Weights, WeightsError, table_index, table_len};
use engine::workers::Host;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a model cannot be packed, or a packed file not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A text in the file is not what it should be.
    #[error("{what} of the packed file: {message}")]
    Text {
        /// `recipe` or `provenance`.
        what: &'static str,
        /// Where and why.
        message: String,
    },
    /// The chat template or a text of it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The text with which conversations begin.
    #[error(transparent)]
    Prefix(#[from] ChatError),
    /// The file is not a packed model, or damaged.
    #[error("{name}: {source}")]
    Format {
        /// The file.
        name: String,
        /// What is wrong.
        source: FormatError,
    },
    /// The tensors do not make a model.
    #[error("{name}: the tensors do not make a model: {problem:?}")]
    Weights {
        /// The file.
        name: String,
        /// The first that is missing or wrong.
        problem: WeightsError,
    },
    /// Old and new tensors would take too much memory together.
    #[error(
        "cannot replace {name}: with the tensors that are still being read it needs {needed} bytes, \
         the ceiling is {ceiling}"
    )]
    Ceiling {
        /// The tensor.
        name: String,
        /// Bytes of all that would be held.
        needed: usize,
        /// The most that may be held.
        ceiling: usize,
    },
    /// The system cannot read or write the file.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The calibration cannot be read.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// Weights of the model cannot be stored as the recipe asks.
    #[error(transparent)]
    Unstorable(#[from] Unstorable),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<CompressError> for PackError {
    fn from(error: CompressError) -> Self {
        match error {
            CompressError::Calibrate(error) => error.into(),
            CompressError::Weights(error) => error.into(),
            CompressError::Cancelled(error) => error.into(),
        }
    }
}

/// Where the weights of a running model are.
pub trait WeightSource: Send + Sync + std::fmt::Debug {
    /// The numbers that every shape follows from.
    fn shape(&self) -> &Hyperparameters;
    /// How text goes in and comes out.
    fn text(&self) -> Text<'_>;
    /// Lends the tensors as they are now.
    fn lend(&self, work: &mut dyn FnMut(&Weights<'_>));
    /// The tokens with which conversations begin, where their keys and values are at hand.
    fn prefix(&self) -> Option<Prefix<'_>> {
        None
    }
    /// The precision of keys and values that it was made for, with which its conversations are kept where
    /// nobody asks for another.
    fn cache(&self) -> CachePrecision {
        CachePrecision::Sixteen
    }
}

/// A packed model, checked and ready to run.
#[derive(Debug)]
pub struct PackedModel {
    bytes: Bytes,
    shape: Hyperparameters,
    /// Table place, encoding, rows, cols, kept and bytes of each tensor.
    tensors: Vec<(usize, Encoding, usize, usize, usize, Range<usize>)>,
}

impl PackedModel {
    /// Packs a compressed model, without a prefix, for keys and values of 16 bits.
    ///
    /// # Errors
    /// When the chat template fails or the job is cancelled.
    pub fn pack(
        model: &Model,
        compressed: &CompressedModel,
        job: &Job<'_>,
    ) -> Result<Self, PackError> {
        let text = TextSections::new(model)?;
        let provenance = Provenance::of(model, compressed, job)?.to_toml()?;
        let shape = &model.hyperparameters;
        let cache = CachePrecision::Sixteen;
        let layout = Layout::of_sections(shape, compressed, &text, &provenance, cache, (0, &[]));
        layout.join()
    }

    /// As [`Self::pack`], with the keys and values of the text with which conversations begin. A system
    /// text that is named becomes the one that opens conversations without a system text.
    ///
    /// # Errors
    /// As [`Self::pack`], and when the text cannot be encoded, fills the context, or finds no place in the
    /// chat template.
    pub fn pack_with_prefix(
        model: &Model,
        compressed: &CompressedModel,
        choice: PrefixChoice<'_>,
        host: &Host<'_>,
        job: &Job<'_>,
    ) -> Result<Self, PackError> {
        Layout::new(model, compressed, choice, host, job)?.join()
    }

    /// Packs as this file was packed: with its prefix, and with what it says of where the model lay.
    /// The same model, compressed by the same recipe and engine, gives the same bytes.
    ///
    /// # Errors
    /// As [`Self::pack_with_prefix`], and when its provenance cannot be read.
    pub fn pack_again(
        &self,
        model: &Model,
        compressed: &CompressedModel,
        host: &Host<'_>,
        job: &Job<'_>,
    ) -> Result<Self, PackError> {
        let provenance = Provenance::of(model, compressed, job)?.told_as(self.provenance()?);
        let prefix = self.prefix();
        let opening: Option<Vec<u32>> = prefix.map(|p| p.tokens().collect());
        let choice = PrefixChoice {
            text: opening
                .as_deref()
                .map_or(PrefixText::None, PrefixText::Tokens),
            cache: self.cache(),
        };
        Layout::with_provenance(model, compressed, choice, &provenance, host)?.join()
    }

    /// Opens a packed file and checks every checksum.
    ///
    /// # Errors
    /// When the file cannot be read, is not a packed model, or is damaged.
    pub fn open(path: &Path, job: &Job<'_>) -> Result<Self, PackError> {
        let packed = Self::check(&path.display().to_string(), Bytes::open(path)?)?;
        let view = packed.view();
        for index in 0..view.tensors() {
            job.report("Checking", u64::from(index), u64::from(view.tensors()))?;
            let entry = view.entry(index);
            let found = crc32fast::hash(entry.matrix.bytes());
            let checked = Checked::Tensor(index).check(entry.crc, found);
            checked.map_err(|source| PackError::Format {
                name: path.display().to_string(),
                source,
            })?;
        }
        Ok(packed)
    }

    fn check(name: &str, mut bytes: Bytes) -> Result<Self, PackError> {
        let format = |source| PackError::Format {
            name: name.into(),
            source,
        };
        // All but the tensors is looked at again and again: nobody may change it under us.
        for part in beside_tensors(&Packed::parse(&bytes).map_err(format)?) {
            bytes.own(part).map_err(|source| PackError::Io {
                action: "read",
                path: name.into(),
                source,
            })?;
        }
        let packed = Packed::parse(&bytes).map_err(format)?;
        packed.text().map_err(format)?;
        let shape = *packed.shape();
        let mut table = vec![None; table_len(shape.layers)];
        packed.fill_table(&mut table).map_err(format)?;
        Weights::new(shape, &table).map_err(|problem| PackError::Weights {
            name: name.into(),
            problem,
        })?;
        let tensors = packed
            .entries()
            .map(|e| {
                let (m, start) = (e.matrix, e.offset);
                (
                    table_index(e.role, e.layer),
                    m.encoding(),
                    m.rows(),
                    m.cols(),
                    e.kept,
                    start..start + m.bytes().len(),
                )
            })
            .collect();
        Ok(Self {
            bytes,
            shape,
            tensors,
        })
    }

    /// As the engine reads it.
    #[must_use]
    pub fn view(&self) -> Packed<'_> {
        Packed::parse_again(&self.bytes).expect("checked when it was opened, and our own since")
    }

    /// Each tensor with its place in the engine's table.
    fn matrices(&self) -> impl Iterator<Item = (usize, Matrix<'_>)> {
        self.tensors
            .iter()
            .filter_map(|(place, encoding, rows, cols, kept, range)| {
                let bytes = &self.bytes[range.clone()];
                let matrix = Matrix::new(*encoding, *rows, *cols, *kept, bytes).ok()?;
                Some((*place, matrix))
            })
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The recipe that it was made by.
    ///
    /// # Errors
    /// When the section is no recipe.
    pub fn recipe(&self) -> Result<Recipe, PackError> {
        let text = self.toml("recipe", Section::Recipe)?;
        Recipe::parse("of the packed file", text).map_err(|e| PackError::Text {
            what: "recipe",
            message: e.to_string(),
        })
    }

    /// What it was made from.
    ///
    /// # Errors
    /// When the section is not one.
    pub fn provenance(&self) -> Result<Provenance, PackError> {
        Provenance::parse(self.toml("provenance", Section::Provenance)?)
    }

    fn toml(&self, what: &'static str, section: Section) -> Result<&str, PackError> {
        let bytes = self.view().section(section);
        std::str::from_utf8(bytes).map_err(|e| PackError::Text {
            what,
            message: format!("expected UTF-8, found another byte at {}", e.valid_up_to()),
        })
    }

    /// Bits for each weight of the matrices: every scale, mask and table of theirs counted.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        let matrices = || self.view().entries().filter(|e| e.role.is_matrix());
        let bytes: usize = matrices().map(|e| e.matrix.bytes().len()).sum();
        let weights: usize = matrices().map(|e| e.matrix.rows() * e.matrix.cols()).sum();
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let bits = bytes as f64 * 8.0 / weights.max(1) as f64;
        bits
    }

    /// Writes it to a file, atomically.
    ///
    /// # Errors
    /// When the system cannot write the file; then an older file at the path is untouched.
    pub fn save(&self, path: &Path) -> Result<(), PackError> {
        let failed = |source| PackError::Io {
            action: "write",
            path: path.into(),
            source,
        };
        whole_file::write_result(path, &self.bytes).map_err(failed)
    }
}

/// Where header, sections and directory are.
fn beside_tensors(packed: &Packed<'_>) -> Vec<Range<usize>> {
    let first = packed.entries().map(|tensor| tensor.offset).min();
    let first = first.unwrap_or(0);
    let behind = packed.sections().filter(|s| s.offset >= first);
    let behind = behind.map(|s| s.offset..s.offset + s.bytes.len());
    std::iter::once(0..first).chain(behind).collect()
}

impl WeightSource for PackedModel {
    fn shape(&self) -> &Hyperparameters {
        &self.shape
    }

    fn text(&self) -> Text<'_> {
        self.view().text().expect("checked when it was opened")
    }

    fn lend(&self, work: &mut dyn FnMut(&Weights<'_>)) {
        let mut table = vec![None; table_len(self.shape.layers)];
        for (place, matrix) in self.matrices() {
            table[place] = Some(matrix);
        }
        work(&Weights::new(self.shape, &table).expect("checked when it was opened"));
    }

    fn prefix(&self) -> Option<Prefix<'_>> {
        self.view().prefix()
    }

    fn cache(&self) -> CachePrecision {
        self.view().cache()
    }
}

impl Layout {
    /// As [`PackedModel::pack_with_prefix`], laid out only.
    ///
    /// # Errors
    /// As there.
    pub fn new(
        model: &Model,
        compressed: &CompressedModel,
        choice: PrefixChoice<'_>,
        host: &Host<'_>,
        job: &Job<'_>,
    ) -> Result<Self, PackError> {
        let provenance = Provenance::of(model, compressed, job)?;
        Self::with_provenance(model, compressed, choice, &provenance, host)
    }

    /// The packed model in memory.
    ///
    /// # Errors
    /// When what was laid out is no packed model.
    pub fn join(&self) -> Result<PackedModel, PackError> {
        PackedModel::check("packed model", Bytes::Held(self.joined()))
    }

    fn with_provenance(
        model: &Model,
        compressed: &CompressedModel,
        choice: PrefixChoice<'_>,
        provenance: &Provenance,
        host: &Host<'_>,
    ) -> Result<Self, PackError> {
        let shape = &model.hyperparameters;
        let mut text = TextSections::new(model)?;
        // Whether the tensors make a model shows before a file has its name.
        let plain = LiveModel::new(*shape, Arc::new(text.clone()), compressed)?;
        let opening = prefix::opening(&plain.text(), choice.text)?;
        let mut section = Vec::new();
        if let Some(opening) = &opening {
            section = prefix::section(&plain, host, opening, choice.cache)?;
            text.open_with(opening);
        }
        let opened = (opening.map_or(0, |tokens| tokens.len()), section.as_slice());
        let provenance = provenance.to_toml()?;
        Ok(Self::of_sections(
            shape,
            compressed,
            &text,
            &provenance,
            choice.cache,
            opened,
        ))
    }
}

/// Bytes that a packed file of these tensors takes: metadata, and every tensor at a 4 KiB boundary.
#[must_use]
pub fn file_bytes(metadata_bytes: usize, tensors: impl IntoIterator<Item = usize>) -> usize {
    tensors.into_iter().fold(metadata_bytes, |end, bytes| {
        end.next_multiple_of(TENSOR_ALIGNMENT) + bytes
    })
}
