//! A loaded language model: hyperparameters, named tensors, tokenizer, chat template.
//!
//! [`Model::load`] opens a GGUF file or a Hugging Face folder. The weights stay in the mapped file;
//! [`Model::row`] turns one row at a time into floats.

mod architecture;
mod chat;
mod dequantize;
mod error;
mod folder;
mod from_folder;
mod from_gguf;
mod gguf;
mod map;
mod misfit;
mod rope;
mod safetensors;
mod tokenizer;

pub use chat::{ChatPieces, ChatTemplate, Generation, Message, TemplateSource};
pub use dequantize::SourceType;
pub use error::ModelError;
pub use misfit::Misfit;
pub use tokenizer::{
    BpeKind, BpeTables, Merge, Normalization, Pretokenizer, SpacePrefix, Specials, TokenKind,
    Tokenizer, WholeWords,
};

use crate::job::{Cancelled, Job};
use crate::source_file::SourceChanged;
use engine::dialogue::Dialogue;
use engine::shape::{Architecture, Hyperparameters, Role};
use folder::Folder;
pub(crate) use map::Bytes;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

/// A language model, never changed after loading.
#[derive(Debug)]
pub struct Model {
    /// Short name: the file's or folder's, without its extension.
    pub name: String,
    /// The family that it is of.
    pub architecture: Architecture,
    /// Its numbers; checked.
    pub hyperparameters: Hyperparameters,
    /// Its tensors, in file order; every role that the architecture needs, in its shape.
    pub tensors: Vec<Tensor>,
    /// Radians per position of each of the `head_dim / 2` pairs, scaling included.
    pub rope_frequencies: Vec<f32>,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// How a conversation is written out for this model.
    pub chat: ChatTemplate,
    /// How it is to be asked.
    pub dialogue: Dialogue,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Length of its files, all together.
    pub file_bytes: u64,
    files: Vec<Bytes>,
    /// What it was loaded from, unless that was one file.
    folder: Option<Folder>,
    /// Of its files, once somebody asked.
    sha256: OnceLock<String>,
}

/// What a GGUF file says beside the tensors.
#[derive(Debug, Clone)]
pub struct GgufHeader<'a> {
    /// Metadata in file order: keys, and the bytes of each type and value.
    pub entries: Vec<(&'a str, &'a [u8])>,
    /// Bytes of `rope_freqs.weight`, 32-bit floats, where the file has it.
    pub rope_divisors: Option<&'a [u8]>,
}

/// One tensor of a loaded model.
#[derive(Debug)]
pub struct Tensor {
    /// GGUF name: `blk.3.ffn_down.weight`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its layer, for roles that each layer has.
    pub layer: Option<u32>,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub cols: usize,
    /// How its values are stored in the file.
    pub source: SourceType,
    /// Its length in the file.
    pub bytes: u64,
    file: usize,
    offset: usize,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Name of the file or folder it was loaded from.
    pub file_name: String,
    /// The licence that the file states: "apache-2.0".
    pub licence: Option<String>,
    /// How its values were stored: "Q4_1 79 %, Q8_0 21 %", by share of all values.
    pub source_precision: String,
}

impl Model {
    /// Opens a GGUF file, or a Hugging Face folder with `config.json`, `tokenizer.json` and
    /// safetensors.
    ///
    /// # Errors
    /// When a file cannot be read, is malformed, or holds a model of an unsupported kind.
    pub fn load(path: &Path, job: &Job<'_>) -> Result<Self, ModelError> {
        let file_name = match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => path.to_string_lossy().into_owned(),
        };
        if path.is_dir() {
            from_folder::load(file_name, Folder::At(path.to_owned()), job)
        } else {
            from_gguf::load(file_name, Bytes::open(path)?, job)
        }
    }

    /// Reads a model out of the files of a folder that the program holds itself; `name` is the folder's.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_program(
        name: &str,
        files: Vec<(&'static str, &'static [u8])>,
        job: &Job<'_>,
    ) -> Result<Self, ModelError> {
        from_folder::load(name.to_owned(), Folder::Held(files), job)
    }

    /// Whether its files are still what they were when it was loaded.
    ///
    /// # Errors
    /// When one that is read in place was changed since.
    pub fn unchanged(&self) -> Result<(), SourceChanged> {
        self.files.iter().try_for_each(Bytes::unchanged)
    }

    /// Whether it was loaded from a folder, with files beside the weights.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// A file of the folder that it was loaded from; nothing where there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn file_beside(&self, name: &str) -> Result<Option<Vec<u8>>, ModelError> {
        match self.folder.as_ref().filter(|folder| folder.has(name)) {
            Some(folder) => folder.read(name).map(Some),
            None => Ok(None),
        }
    }

    /// Reads a GGUF file that is already in memory; `file_name` is kept as its provenance.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_gguf(file_name: &str, bytes: Vec<u8>, job: &Job<'_>) -> Result<Self, ModelError> {
        from_gguf::load(file_name.to_owned(), Bytes::Held(bytes), job)
    }

    /// The tensor of this role and layer, if the model has it.
    #[must_use]
    pub fn tensor(&self, role: Role, layer: Option<u32>) -> Option<&Tensor> {
        self.tensors
            .iter()
            .find(|t| t.role == role && t.layer == layer)
    }

    /// Turns one row of a tensor of this model into floats.
    ///
    /// # Panics
    /// When `row` is not below `tensor.rows` or `out` is not `tensor.cols` long.
    pub fn row(&self, tensor: &Tensor, row: usize, out: &mut [f32]) {
        assert!(
            row < tensor.rows,
            "row {row} of {}, which has {}",
            tensor.name,
            tensor.rows
        );
        assert_eq!(
            out.len(),
            tensor.cols,
            "floats for a row of {}",
            tensor.name
        );
        let bytes = self.source_bytes(tensor);
        let row_bytes = bytes.len() / tensor.rows;
        let bytes = &bytes[row * row_bytes..][..row_bytes];
        dequantize::dequantize(tensor.source, bytes, out);
    }

    /// A tensor of this model as its file stores it: rows of whole blocks of its source type.
    #[must_use]
    pub fn source_bytes(&self, tensor: &Tensor) -> &[u8] {
        let row_bytes = tensor.cols / tensor.source.block_values() * tensor.source.block_bytes();
        &self.files[tensor.file][tensor.offset..][..tensor.rows * row_bytes]
    }

    /// A whole tensor of this model as floats `[rows, cols]`, row-major.
    #[must_use]
    pub fn values(&self, tensor: &Tensor) -> Vec<f32> {
        let mut values = vec![0.0; tensor.rows * tensor.cols];
        let rows = values.par_chunks_exact_mut(tensor.cols).enumerate();
        rows.for_each(|(row, out)| self.row(tensor, row, out));
        values
    }

    /// What its GGUF file says beside the tensors; nothing for a model out of a folder.
    ///
    /// # Errors
    /// When the file was changed since the model was loaded.
    pub fn gguf_header(&self) -> Result<Option<GgufHeader<'_>>, ModelError> {
        let Some(file) = self.files.first().filter(|f| f.starts_with(b"GGUF")) else {
            return Ok(None);
        };
        let gguf = gguf::parse(file)?;
        let divisors = gguf.tensors.iter().find(|t| t.name == "rope_freqs.weight");
        Ok(Some(GgufHeader {
            rope_divisors: divisors.map(|t| &file[t.offset..t.offset + t.bytes]),
            entries: gguf.entries,
        }))
    }

    /// SHA-256 of the weights file in hexadecimal; of the shards one after another, in the order of
    /// their names, when there are several. Computed once.
    ///
    /// # Errors
    /// When the job is cancelled.
    pub fn sha256(&self, job: &Job<'_>) -> Result<String, Cancelled> {
        if let Some(known) = self.sha256.get() {
            return Ok(known.clone());
        }
        let mut hasher = Sha256::new();
        let mut done = 0;
        for file in &self.files {
            for part in file.chunks(4 << 20) {
                job.report("Hashing", done, self.file_bytes)?;
                hasher.update(part);
                done += part.len() as u64;
            }
        }
        let mut text = String::with_capacity(64);
        for byte in hasher.finalize() {
            write!(text, "{byte:02x}").expect("a String takes any text");
        }
        Ok(self.sha256.get_or_init(|| text).clone())
    }

    /// Number of values in all tensors.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(Tensor::parameters).sum()
    }
}

impl Tensor {
    /// Number of values.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }
}

/// How the values of all tensors are stored, the most common type first.
fn source_precision(tensors: &[Tensor]) -> String {
    let mut values = BTreeMap::<SourceType, u64>::new();
    for tensor in tensors {
        *values.entry(tensor.source).or_default() += tensor.parameters();
    }
    let total = values.values().sum::<u64>().max(1);
    let mut types: Vec<_> = values.into_iter().collect();
    types.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let shares: Vec<String> = types
        .into_iter()
        // Norms and biases of large models are below half a per cent: not worth a word.
        .filter(|&(_, count)| count * 200 >= total)
        .map(|(source, count)| {
            format!(
                "{} {:.0} %",
                source.name(),
                100.0 * count as f64 / total as f64
            )
        })
        .collect();
    shares.join(", ")
}
