//! A reference and a text to measure on, as several commands take them.

use super::Output;
use crate::evaluate::{Budget, Extent};
use crate::packed::PackedModel;
use crate::report::Quality;
use crate::whole_file::{self, WholeFile};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// How much of the text is scored.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct ExtentArgs {
    /// Tokens of the text to use, in windows of 512, or of the model's context where that is shorter
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub(super) tokens: usize,
    /// As many tokens as about 30 seconds are enough for, by the speed of the first window
    #[arg(long, conflicts_with = "tokens")]
    pub(super) quick: bool,
    /// As many tokens as about 5 minutes are enough for
    #[arg(long, conflicts_with_all = ["tokens", "quick"])]
    pub(super) full: bool,
}

impl ExtentArgs {
    /// The most tokens, and how many of them are taken.
    pub(super) fn extent(self) -> (usize, Extent) {
        match (self.quick, self.full) {
            (true, _) => (usize::MAX, Extent::Within(Budget::Quick)),
            (false, true) => (usize::MAX, Extent::Within(Budget::Full)),
            (false, false) => (self.tokens, Extent::All),
        }
    }
}

/// Says how much of the text was taken, where the machine's speed decided.
pub(super) fn remark_on(quality: Option<&Quality>, output: &Output) {
    if let Some(chosen) = quality.and_then(|q| q.chosen).filter(|_| !output.is_json()) {
        output.remark(&chosen.sentence());
    }
}

/// Opens a packed file.
pub(super) fn open_packed(path: &Path, output: &Output) -> anyhow::Result<PackedModel> {
    Ok(output.with_bar(|job| PackedModel::open(path, job))?)
}

/// Writes a text to a file that replaces an older one only once it is whole.
pub(super) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    whole_file::write_result(path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses a path that [`write_whole`] could not write.
pub(super) fn require_writable(path: &Path) -> anyhow::Result<()> {
    WholeFile::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// A path as people read it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The name of a packed file without its ending.
pub(super) fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Opens packed files, in order.
pub(super) fn open_all(paths: &[PathBuf], output: &Output) -> anyhow::Result<Vec<PackedModel>> {
    paths.iter().map(|path| open_packed(path, output)).collect()
}
