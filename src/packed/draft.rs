//! A packed file that is written while its tensors are still being compressed.
//!
//! Where each tensor lies follows from the recipe; what stands before them is known last and written
//! last.

use super::provenance::Provenance;
use super::{Layout, PackError, PrefixChoice, TextSections, prefix};
use crate::calibrate::Calibration;
use crate::compress::{CompressedModel, CompressedTensor, compress_each, fitted_to, packed_bytes};
use crate::job::{Cancelled, Job};
use crate::model::Model;
use crate::recipe::Recipe;
use crate::whole_file::WholeFile;
use engine::format::{TENSOR_ALIGNMENT, prefix_bytes};
use std::collections::HashMap;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A packed file on its way to the disk; dropped before [`Draft::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    /// Where the tensors will lie, by name.
    places: HashMap<String, usize>,
    part: Mutex<PartialFile>,
}

#[derive(Debug)]
struct PartialFile {
    file: WholeFile,
    /// The tensors that it has, by place.
    written: HashMap<usize, Arc<CompressedTensor>>,
}

impl Draft {
    /// Begins the file that a recipe makes of a model, as [`Layout::new`] will lay it out.
    ///
    /// # Errors
    /// When nothing can be written to the path, the chat template fails, or the text with which conversations
    /// begin cannot be encoded or fills the context.
    pub fn begin(
        path: &Path,
        model: &Model,
        recipe: &Recipe,
        calibration: Option<&Calibration>,
        choice: PrefixChoice<'_>,
    ) -> Result<Self, PackError> {
        let shape = &model.hyperparameters;
        let mut text = TextSections::new(model)?;
        let format = |source| PackError::Format {
            name: "text".into(),
            source,
        };
        let opening = prefix::opening(&text.text().map_err(format)?, choice.text)?;
        let mut prefix = 0;
        if let Some(opening) = &opening {
            prefix::require_room(shape, opening)?;
            prefix = prefix_bytes(shape, choice.cache, opening.len());
            text.open_with(opening);
        }
        let provenance = Provenance::unhashed(model, recipe, fitted_to(recipe, calibration));
        let others = [
            recipe.to_toml().len(),
            provenance.to_toml()?.len(),
            usize::try_from(prefix).unwrap_or(usize::MAX),
        ];
        let mut end = text.metadata_bytes(model.tensors.len() + 1, others);
        let mut draft = Self::empty(path)?;
        for tensor in &model.tensors {
            let start = end.next_multiple_of(TENSOR_ALIGNMENT);
            draft.places.insert(tensor.name.clone(), start);
            let setting = recipe.setting(tensor.role, tensor.layer, shape.layers);
            end = start + packed_bytes(tensor, setting);
        }
        Ok(draft)
    }

    /// Begins a file of which nothing is known yet.
    ///
    /// # Errors
    /// When nothing can be written to its path.
    pub(super) fn empty(path: &Path) -> Result<Self, PackError> {
        let file = WholeFile::create(path).map_err(|e| failed(path, e))?;
        Ok(Self {
            path: path.into(),
            places: HashMap::new(),
            part: Mutex::new(PartialFile {
                file,
                written: HashMap::new(),
            }),
        })
    }

    /// Compresses the model as the recipe says, as [`compress_each`] does, and writes each tensor while
    /// others are compressed.
    ///
    /// # Errors
    /// When the calibration cannot be read, the system cannot write the file, or the job is cancelled.
    pub fn compress(
        &self,
        model: &Model,
        recipe: &Recipe,
        calibration: Option<&Calibration>,
        job: &Job<'_>,
    ) -> Result<CompressedModel, PackError> {
        let failure = Mutex::new(None);
        let put = |tensor: &Arc<CompressedTensor>| {
            let Some(offset) = self.places.get(&tensor.name) else {
                return Ok(());
            };
            let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
            part.put(tensor, *offset).map_err(|error| {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Cancelled
            })
        };
        let compressed = compress_each(model, recipe, calibration, &[], &put, job);
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(failed(&self.path, error)),
            None => Ok(compressed?),
        }
    }

    /// Writes what is not written yet, and gives the file its name.
    ///
    /// # Errors
    /// When the system cannot write the file, or the job is cancelled; then an older file at the path is
    /// untouched.
    pub fn finish(self, layout: &Layout, job: &Job<'_>) -> Result<(), PackError> {
        let failed = |source| failed(&self.path, source);
        let mut part = self
            .part
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let total = layout.bytes as u64;
        for (offset, tensor) in &layout.tensors {
            job.report("Writing", *offset as u64, total)?;
            part.put(tensor, *offset).map_err(failed)?;
        }
        job.report("Writing", total, total)?;
        let mut file = part.file;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(&layout.metadata).map_err(failed)?;
        file.set_len(total).map_err(failed)?;
        file.finish().map_err(failed)
    }
}

impl PartialFile {
    /// Writes a tensor to a place, unless it is there.
    fn put(&mut self, tensor: &Arc<CompressedTensor>, offset: usize) -> io::Result<()> {
        let there = self.written.get(&offset);
        if !there.is_some_and(|there| Arc::ptr_eq(there, tensor)) {
            self.file.seek(SeekFrom::Start(offset as u64))?;
            self.file.write_all(&tensor.bytes)?;
            self.written.insert(offset, Arc::clone(tensor));
        }
        Ok(())
    }
}

impl Layout {
    /// Writes it to a file, atomically.
    ///
    /// # Errors
    /// When the system cannot write the file, or the job is cancelled; then an older file at the path is
    /// untouched.
    pub fn save(&self, path: &Path, job: &Job<'_>) -> Result<(), PackError> {
        Draft::empty(path)?.finish(self, job)
    }
}

fn failed(path: &Path, source: io::Error) -> PackError {
    PackError::Io {
        action: "write",
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::PrefixText;
    use crate::workers::Processor;
    use engine::arena::CachePrecision;
    use engine::shape::Role;

    #[test]
    fn every_tensor_of_a_model_lies_where_it_belongs_before_the_rest_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.whittle");
        let processor = Processor::new(None).unwrap();
        let silent = Job::silent();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
        let model = Model::load(&source, &silent).unwrap();
        let choices = [
            ("original", PrefixText::None),
            ("seed-extreme", PrefixText::OfTemplate),
            ("small-3bit", PrefixText::System("You are a lamp.")),
        ];
        for (name, text) in choices {
            let cache = CachePrecision::Eight;
            let choice = PrefixChoice { text, cache };
            let recipe = Recipe::open(name).unwrap();
            let draft = Draft::begin(&path, &model, &recipe, None, choice).unwrap();
            let compressed = draft.compress(&model, &recipe, None, &silent).unwrap();
            let layout =
                Layout::new(&model, &compressed, choice, &processor.host(), &silent).unwrap();
            let part = draft.part.lock().unwrap();
            for (offset, tensor) in &layout.tensors {
                let is_there = part.written.contains_key(offset);
                let is_computed = tensor.role == Role::RopeFrequencies;
                assert_eq!(is_there, !is_computed, "{name}: {}", tensor.name);
            }
            drop(part);
            draft.finish(&layout, &silent).unwrap();
            assert!(std::fs::read(&path).unwrap() == layout.join().unwrap().bytes());
        }
    }

    #[test]
    fn a_text_that_fills_the_context_is_refused_before_anything_is_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
        let model = Model::load(&source, &Job::silent()).unwrap();
        let long = "turn on the light ".repeat(1000);
        let choice = PrefixChoice {
            text: PrefixText::System(&long),
            cache: CachePrecision::Sixteen,
        };
        let path = folder.path().join("m.whittle");
        let recipe = Recipe::original();
        let refused = Draft::begin(&path, &model, &recipe, None, choice).unwrap_err();
        assert!(refused.to_string().contains("positions"), "{refused}");
    }
}
