//! A reference and a text to measure on, as several commands take them.

use super::Output;
use super::open::open_model;
use crate::compress::compress;
use crate::evaluate::{Basis, Budget, Chosen, Evaluation, Extent, NamedText, SCORED, Score};
use crate::evaluate::{Candidate, score_windows, tasks, windows};
use crate::model::Model;
use crate::packed::{LiveModel, PackedModel, TextSections, sha256_hex};
use crate::recipe::Recipe;
use crate::report::{Quality, TaskQuality};
use crate::whole_file::{self, WholeFile};
use crate::workers::Processor;
use anyhow::Context as _;
use engine::arena::CachePrecision;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of the text is scored.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct ExtentArgs {
    /// Tokens of the text to use, in windows of 512
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
    fn extent(self) -> Extent {
        match (self.quick, self.full) {
            (true, _) => Extent::Within(Budget::Quick),
            (false, true) => Extent::Within(Budget::Full),
            (false, false) => Extent::All,
        }
    }

    fn most_tokens(self) -> usize {
        match self.extent() {
            Extent::All => self.tokens,
            Extent::Within(_) => usize::MAX,
        }
    }
}

/// A reference, ready to be compared with on a text.
pub(super) struct Against {
    pub(super) model: Model,
    sha256: String,
    live: LiveModel,
    text_name: String,
    text: String,
    windows: Vec<Vec<u32>>,
    extent: Extent,
}

impl Against {
    pub(super) fn open(
        reference: &str,
        text: &Path,
        extent: ExtentArgs,
        output: &Output,
    ) -> anyhow::Result<Self> {
        let name = text.display().to_string();
        let text = std::fs::read_to_string(text).with_context(|| format!("cannot read {name}"))?;
        let model = open_model(reference, output)?;
        let windows = windows(&model, &text, extent.most_tokens())?;
        let sha256 = output.with_bar(|job| model.sha256(job))?;
        let original = output.with_bar(|job| compress(&model, &Recipe::original(), job))?;
        let sections = Arc::new(TextSections::new(&model)?);
        let live = LiveModel::new(model.hyperparameters, sections, &original)?;
        Ok(Self {
            model,
            sha256,
            live,
            text_name: name,
            text,
            windows,
            extent: extent.extent(),
        })
    }

    /// Scores packed files on the same windows; each with its quality, in order.
    pub(super) fn score(
        &self,
        files: &[&PackedModel],
        cache: CachePrecision,
        processor: &Processor,
        output: &Output,
    ) -> anyhow::Result<Vec<(Vec<Score>, Quality)>> {
        let candidates: Vec<_> = files
            .iter()
            .map(|file| Candidate {
                source: *file,
                cache,
            })
            .collect();
        let (live, host) = (&self.live, processor.host());
        let scored = output.with_bar(|job| {
            score_windows(&candidates, live, &self.windows, self.extent, &host, job)
        })?;
        let chosen = scored.chosen;
        if let (Some(chosen), false) = (&chosen, output.is_json()) {
            output.remark(&chosen.sentence());
        }
        let quality = |(scores, file): (Vec<Score>, &&PackedModel)| {
            let quality = self.quality(&scores, file, cache, chosen, processor)?;
            Ok((scores, quality))
        };
        scored.scores.into_iter().zip(files).map(quality).collect()
    }

    fn quality(
        &self,
        scores: &[Score],
        file: &PackedModel,
        cache: CachePrecision,
        chosen: Option<Chosen>,
        processor: &Processor,
    ) -> anyhow::Result<Quality> {
        let recipe = sha256_hex(file.recipe()?.to_toml().as_bytes());
        let text = NamedText {
            name: &self.text_name,
            text: &self.text,
        };
        let basis = Basis::new(
            (Some(sha256_hex(file.bytes())), recipe),
            cache,
            (&self.model, self.sha256.clone()),
            text,
            processor,
        );
        Ok(Quality {
            evaluation: Evaluation::new(scores, SCORED),
            basis,
            chosen,
        })
    }
}

/// Asks a packed file the tasks of a set or file.
pub(super) fn ask(
    packed: &PackedModel,
    set: &str,
    cache: CachePrecision,
    processor: &Processor,
    output: &Output,
) -> anyhow::Result<TaskQuality> {
    let all = output.with_bar(|job| tasks::load(set, job))?;
    let (host, longest) = (processor.host(), tasks::MAX_TOKENS);
    let report =
        output.with_bar(|job| tasks::evaluate_tasks(packed, cache, &all, longest, &host, job))?;
    Ok(TaskQuality {
        tasks: set.to_owned(),
        report,
    })
}

/// Opens a packed file.
pub(super) fn open_packed(path: &Path, output: &Output) -> anyhow::Result<PackedModel> {
    Ok(output.with_bar(|job| PackedModel::open(path, job))?)
}

/// Writes a text to a file that replaces an older one only once it is whole.
pub(super) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    whole_file::write(path, text.as_bytes())
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

/// What a settings file names: a file beside it, or else what it would be on the command line.
pub(super) fn beside(settings: &Path, spec: &str) -> String {
    let path = settings.parent().unwrap_or(Path::new("")).join(spec);
    if path.exists() {
        shown(&path)
    } else {
        spec.to_owned()
    }
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
