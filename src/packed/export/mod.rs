//! A packed model for other programs: GGUF for llama.cpp, safetensors for Python.
//!
//! Twins of llama.cpp's formats go out bit for bit, as they came in. Values of Whittle's own formats are
//! products that few other formats hold: where one does it is taken, else 16-bit floats are, and the
//! [`Exported`] says how much they round. Tokenizer and chat template come from the model that was packed,
//! since a packed file keeps only what the engine needs of them.

mod gguf;
mod metadata;
mod safetensors;
mod twin;
mod values;

pub(crate) use gguf::{Listed, pad, put_header};
pub(crate) use metadata::{Metadata, of_model};
pub(crate) use values::HeadOrder;

use super::{
    PackError, PackedModel, Provenance, TextSections, WeightSource as _, bill, provenance::hex,
};
use crate::job::{Cancelled, Job};
use crate::model::{Misfit, Model, ModelError};
use crate::whole_file::{WholeFile, WholeFolder};
use engine::format::Section;
use engine::shape::{Hyperparameters, Role, RopePairs};
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use values::{Outgoing, Rounding};

/// Floats of an exported file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    /// 16 bits: half the bytes; Whittle's own formats may round.
    F16,
    /// 32 bits: every value as it is.
    F32,
}

/// Which values a GGUF file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// In llama.cpp's formats where they are exact, else as 16-bit floats.
    AsStored,
    /// All as floats, so that llama.cpp rounds no activation to 8 bits.
    Dequantized(FloatType),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Exported {
    /// Bytes of the file with the weights.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Each tensor with its type.
    pub tensors: Vec<(String, &'static str)>,
    /// Values that 16-bit floats changed.
    pub rounded_values: u64,
    /// Largest change over the value, of values of at least 2^-14; 16-bit floats keep fewer digits of
    /// smaller ones.
    pub largest_relative_rounding: f64,
}

/// Why a packed model cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The packed file and the model do not belong together.
    #[error("expected the model that was packed, found {found}: {what} differs")]
    OtherModel {
        /// Its name.
        found: String,
        /// What differs.
        what: &'static str,
    },
    /// Values that the file's floats do not hold, or that are no numbers.
    #[error(
        "expected values of {tensor} that {kind} holds, found {found}: a file of 32-bit floats holds all that are finite"
    )]
    Values {
        /// GGUF name.
        tensor: String,
        /// What they were to be stored as.
        kind: &'static str,
        /// How many, and where.
        found: Misfit,
    },
    /// The rotary frequencies cannot be written in the file's terms.
    #[error("the rotary frequencies follow no base, which {0} needs")]
    Frequencies(&'static str),
    /// The system cannot write a file.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The model cannot be read again.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its text sections cannot be made.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Writes a GGUF file that llama.cpp runs; `model` is what was packed.
///
/// # Errors
/// When the model is another one, or the file cannot be written; then an older file at the path is
/// untouched.
pub fn to_gguf(
    packed: &PackedModel,
    model: &Model,
    values: Values,
    path: &Path,
    job: &Job<'_>,
) -> Result<Exported, ExportError> {
    check_model(packed, model)?;
    let tensors = outgoing(packed, values, model.architecture.gguf_rope_pairs());
    let metadata = metadata::of_packed(packed, model)?;
    write(path, |file| {
        let mut hashed = Hashed::new(file);
        let exported = gguf::write(&metadata, &tensors, &mut hashed, path, job)?;
        Ok(hashed.sha256_of(exported))
    })
}

/// Writes a Hugging Face folder: `config.json` and `model.safetensors`, and beside them what
/// the model's folder holds of the tokenizer, where it came out of one, the licence and a software
/// bill. It appears whole or not at all, and takes the place of an earlier export as a whole.
///
/// # Errors
/// As [`to_gguf`], and when another folder with something in it is there.
pub fn to_safetensors(
    packed: &PackedModel,
    model: &Model,
    float: FloatType,
    folder: &Path,
    job: &Job<'_>,
) -> Result<Exported, ExportError> {
    check_model(packed, model)?;
    let config = safetensors::config(packed, model, float)?;
    let failed = |source| ExportError::Io {
        path: folder.to_owned(),
        source,
    };
    let [weights, config_json] = ["model.safetensors", "config.json"];
    let required = [weights, config_json];
    // Folders of before have neither licences nor a bill.
    let optional = [
        &safetensors::TOKENIZER_FILES[..],
        &[bill::LICENCES, bill::BILL],
    ]
    .concat();
    let mut whole = WholeFolder::create(folder, &required, &optional).map_err(failed)?;
    let put = |whole: &mut WholeFolder, name: &str, bytes: &[u8]| {
        let mut file = whole.file(name).map_err(failed)?;
        file.write_all(bytes)
            .and_then(|()| file.flush())
            .map_err(failed)
    };
    put(&mut whole, config_json, config.as_bytes())?;
    for name in safetensors::TOKENIZER_FILES {
        if let Some(bytes) = model.file_beside(name)? {
            put(&mut whole, name, &bytes)?;
        }
    }
    let tensors = outgoing(packed, Values::Dequantized(float), RopePairs::Halves);
    let mut file = whole.file(weights).map_err(failed)?;
    let mut hashed = Hashed::new(&mut file);
    let exported = safetensors::write(&tensors, &mut hashed, &folder.join(weights), job)?;
    let exported = hashed.sha256_of(exported);
    file.flush().map_err(failed)?;
    drop(file);
    let provenance = packed.provenance()?;
    let licences = licences(weights, &provenance);
    put(&mut whole, bill::LICENCES, licences.as_bytes())?;
    let bill_text = bill::of_file(&provenance, &exported.sha256);
    put(&mut whole, bill::BILL, bill_text.as_bytes())?;
    whole.finish().map_err(failed)?;
    Ok(exported)
}

/// The page for people of a folder that holds nothing but a model.
fn licences(weights: &str, provenance: &Provenance) -> String {
    let line = bill::licence_line(weights, provenance);
    format!("# Licences of what is in this folder\n\n{line}")
}

/// Bytes on their way into a file, and their hash.
struct Hashed<'w> {
    into: &'w mut dyn Write,
    hash: Sha256,
}

impl<'w> Hashed<'w> {
    fn new(into: &'w mut dyn Write) -> Self {
        let hash = Sha256::new();
        Self { into, hash }
    }

    /// What was written, with the hash of it.
    fn sha256_of(self, exported: Exported) -> Exported {
        Exported {
            sha256: hex(&self.hash.finalize()),
            ..exported
        }
    }
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

/// Refuses a model whose shape or vocabulary is not the packed one's.
fn check_model(packed: &PackedModel, model: &Model) -> Result<(), ExportError> {
    let other = |what| ExportError::OtherModel {
        found: model.name.clone(),
        what,
    };
    let unpaired = |shape: &Hyperparameters| Hyperparameters {
        rope_pairs: RopePairs::Adjacent,
        ..*shape
    };
    if unpaired(packed.shape()) != unpaired(&model.hyperparameters) {
        return Err(other("the shape"));
    }
    if packed.view().section(Section::Vocabulary) != TextSections::new(model)?.vocabulary {
        return Err(other("the vocabulary"));
    }
    Ok(())
}

fn outgoing(packed: &PackedModel, values: Values, pairs: RopePairs) -> Vec<Outgoing<'_>> {
    let order = HeadOrder::new(packed.shape(), pairs);
    packed
        .view()
        .entries()
        .filter(|entry| entry.role != Role::RopeFrequencies)
        .map(|entry| Outgoing::new(&entry, values, order))
        .collect()
}

/// Writes all tensors through `take` and sums up what became of them.
///
/// # Errors
/// Those of `take`, and when a value is not finite where it is written.
fn put_tensors<E: From<Cancelled> + From<ExportError>>(
    tensors: &[Outgoing<'_>],
    job: &Job<'_>,
    mut take: impl FnMut(&Outgoing<'_>, &[u8]) -> Result<(), E>,
) -> Result<Rounding, E> {
    let total = tensors.iter().map(Outgoing::bytes).sum();
    let (mut done, mut rounding) = (0, Rounding::default());
    for tensor in tensors {
        let of_tensor = tensor.each_part(|part| {
            job.report("Exporting", done, total)?;
            done += part.len() as u64;
            take(tensor, part)
        })?;
        if let Some(found) = of_tensor.lost {
            return Err(E::from(ExportError::Values {
                tensor: tensor.name.to_owned(),
                kind: tensor.stored.name(),
                found,
            }));
        }
        rounding = rounding.and(of_tensor);
    }
    job.report("Exporting", total, total)?;
    Ok(rounding)
}

fn exported(tensors: &[Outgoing<'_>], rounding: Rounding, bytes: u64) -> Exported {
    Exported {
        bytes,
        sha256: String::new(),
        tensors: tensors
            .iter()
            .map(|t| (t.name.to_owned(), t.stored.name()))
            .collect(),
        rounded_values: rounding.changed,
        largest_relative_rounding: rounding.largest,
    }
}

/// Writes a file beside its place and puts it there once it is whole.
///
/// # Errors
/// Those of `content`, and when the file cannot be written; an older one is untouched then.
pub(crate) fn write<T, E: From<ExportError>>(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let failed = |source| ExportError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = WholeFile::create(path).map_err(failed)?;
    let result = content(&mut file)?;
    file.finish().map_err(failed)?;
    Ok(result)
}
