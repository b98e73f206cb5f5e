//! What the window's jobs do: one function for each, run on a thread.

use super::candidate::Candidate;
use super::loaded::Loaded;
use super::measured::{Evaluated, QuickKl, Tasked};
use super::running::Failure;
#[cfg(feature = "flash")]
use crate::board::Board;
use crate::calibrate::Calibration;
use crate::compress::{CompressedModel, CompressedTensor, compress_calibrated};
use crate::estimate::Estimate;
use crate::evaluate::{Basis, NamedText, evaluate, tasks, tensor_errors, window_tokens, windows};
use crate::job::Job;
use crate::packed::export::{Values, to_gguf};
use crate::packed::{Layout, LiveModel, PackedModel, PrefixChoice, PrefixText, bill, sha256_hex};
use crate::recipe::Recipe;
use crate::report::{Quality, Report, TaskQuality, html};
use crate::whole_file;
use crate::workers::Processor;
use engine::arena::CachePrecision;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Public-domain prose that candidates are measured on; `assets/README.md` names its source.
pub(super) const EVALUATION_TEXT: &str = include_str!("../../assets/texts/evaluation.txt");
/// Tokens of it: two windows and more, a few seconds a model.
const EVALUATION_TOKENS: usize = 1024;
/// Most weights of a model whose reference in 16 bits stays in memory between two quick measurements.
const KEPT_WEIGHTS: u64 = 500_000_000;

/// What a compression may start from.
#[derive(Debug, Clone, Default)]
pub(super) struct Ready {
    /// The running tensors, as a snapshot that later exchanges leave alone.
    pub(super) tensors: Vec<Arc<CompressedTensor>>,
    pub(super) calibration: Option<Arc<Calibration>>,
}

impl Ready {
    /// Compresses by `recipe`; what is ready and what it asks is taken over.
    fn compress(
        &self,
        loaded: &Loaded,
        recipe: &Recipe,
        job: &Job<'_>,
    ) -> Result<CompressedModel, Failure> {
        let calibration = self.calibration.as_deref();
        // A tensor that was made before there was a calibration has the setting, and is not what it asks.
        let is_fitted = |tensor: &&Arc<CompressedTensor>| {
            let can_fit = calibration.is_some_and(|c| c.input_of(tensor.role).is_some());
            !can_fit || !tensor.setting.is_calibrated() || tensor.output_error.is_some()
        };
        let ready: Vec<_> = self.tensors.iter().filter(is_fitted).cloned().collect();
        let compressed = compress_calibrated(&loaded.model, recipe, calibration, &ready, job)?;
        // A file that was overwritten while the window had it open gives numbers of nothing.
        loaded.model.unchanged()?;
        Ok(compressed)
    }
}

/// A candidate compressed as a whole.
#[derive(Debug)]
pub struct BuiltModel {
    /// The model that it was made from.
    pub loaded: Arc<Loaded>,
    /// Ready to run.
    pub live: Arc<LiveModel>,
    /// Its tensors.
    pub tensors: Vec<Arc<CompressedTensor>>,
}

/// Compresses a candidate as a whole.
pub(super) fn build(
    loaded: Arc<Loaded>,
    recipe: &Recipe,
    ready: &Ready,
    job: &Job<'_>,
) -> Result<BuiltModel, Failure> {
    let compressed = ready.compress(&loaded, recipe, job)?;
    let live = live(&loaded, &compressed)?;
    Ok(BuiltModel {
        live: Arc::new(live),
        tensors: compressed.tensors,
        loaded,
    })
}

pub(super) fn live(loaded: &Loaded, compressed: &CompressedModel) -> Result<LiveModel, Failure> {
    let text = Arc::clone(&loaded.text);
    Ok(LiveModel::new(
        loaded.model.hyperparameters,
        text,
        compressed,
    )?)
}

/// Measures a recipe against the source in 16 bits. `ready` are tensors that may be taken over.
pub(super) fn measure(
    loaded: &Loaded,
    recipe: Recipe,
    cache: CachePrecision,
    ready: &Ready,
    processor: &Processor,
    job: &Job<'_>,
) -> Result<Evaluated, Failure> {
    let tokens = windows(&loaded.model, EVALUATION_TEXT, EVALUATION_TOKENS)?;
    let tuned = live(loaded, &ready.compress(loaded, &recipe, job)?)?;
    let original = Recipe::original();
    let reference = live(loaded, &ready.compress(loaded, &original, job)?)?;
    let result = evaluate(&tuned, cache, &reference, &tokens, &processor.host(), job)?;
    let text = NamedText {
        name: "evaluation.txt of Whittle",
        text: EVALUATION_TEXT,
    };
    let basis = Basis::new(
        (None, sha256_hex(recipe.to_toml().as_bytes())),
        cache,
        (&loaded.model, loaded.model.sha256(job)?),
        text,
        processor,
    );
    Ok(Evaluated {
        recipe,
        cache,
        result,
        basis,
    })
}

/// What was measured on a few tokens after a slider moved.
#[derive(Debug)]
pub struct Quick {
    /// Whose slider.
    pub candidate: Candidate,
    /// What came out.
    pub kl: QuickKl,
    /// The reference, for the next time; nothing of a large model.
    pub reference: Option<Arc<LiveModel>>,
}

/// Measures a recipe on one window, against `reference` if it was kept.
pub(super) fn measure_quickly(
    loaded: &Loaded,
    (candidate, recipe, cache): (Candidate, Recipe, CachePrecision),
    ready: &Ready,
    reference: Option<Arc<LiveModel>>,
    processor: &Processor,
    job: &Job<'_>,
) -> Result<Quick, Failure> {
    // One window.
    let window = window_tokens(loaded.model.hyperparameters.context);
    let tokens = windows(&loaded.model, EVALUATION_TEXT, window)?;
    let tuned = live(loaded, &ready.compress(loaded, &recipe, job)?)?;
    let reference = match reference {
        Some(reference) => reference,
        None => {
            let compressed = ready.compress(loaded, &Recipe::original(), job)?;
            Arc::new(live(loaded, &compressed)?)
        }
    };
    let result = evaluate(&tuned, cache, &*reference, &tokens, &processor.host(), job)?;
    let kl = QuickKl {
        recipe,
        cache,
        mean: result.kl_mean,
        tokens: window,
    };
    let is_kept = loaded.model.parameters() <= KEPT_WEIGHTS;
    Ok(Quick {
        candidate,
        kl,
        reference: Some(reference).filter(|_| is_kept),
    })
}

/// Asks a recipe's model the tasks of a set or file. `ready` are tensors that may be taken over.
pub(super) fn ask_tasks(
    loaded: &Loaded,
    recipe: Recipe,
    cache: CachePrecision,
    ready: &Ready,
    set: PathBuf,
    processor: &Processor,
    job: &Job<'_>,
) -> Result<Tasked, Failure> {
    let all = tasks::load(&set, job)?;
    let tuned = live(loaded, &ready.compress(loaded, &recipe, job)?)?;
    let host = processor.host();
    let report = tasks::evaluate_tasks(&tuned, cache, &all, tasks::MAX_TOKENS, &host, job)?;
    Ok(Tasked {
        set,
        recipe,
        cache,
        report,
    })
}

/// Packs a recipe's model with the system text of its own, whose keys and values are kept at `cache`.
/// `ready` are tensors that may be taken over.
pub(super) fn pack(
    loaded: &Loaded,
    recipe: &Recipe,
    ready: &Ready,
    run: (CachePrecision, &Processor),
    job: &Job<'_>,
) -> Result<PackedModel, Failure> {
    Ok(lay_out(loaded, recipe, ready, run, job)?.join()?)
}

/// The same, to be written as it lies.
fn lay_out(
    loaded: &Loaded,
    recipe: &Recipe,
    ready: &Ready,
    (cache, processor): (CachePrecision, &Processor),
    job: &Job<'_>,
) -> Result<Layout, Failure> {
    let compressed = ready.compress(loaded, recipe, job)?;
    let text = PrefixText::OfTemplate;
    let (choice, host) = (PrefixChoice { text, cache }, processor.host());
    Ok(Layout::new(&loaded.model, &compressed, choice, &host, job)?)
}

/// Whether a software bill goes beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sbom {
    /// Under the name of the file and `.cdx.json`.
    Beside,
    None,
}

/// What a model is exported as.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExportAs {
    /// The packed file.
    Packed(Sbom),
    /// GGUF, for llama.cpp and what builds on it.
    Gguf(Sbom),
    /// A folder with what a board that runs Linux needs, and a program of one's own in place of the one that comes along.
    #[cfg(feature = "flash")]
    Bundle(&'static Board, Option<PathBuf>),
}

/// Packs a recipe's model and writes it to a file; returns its path and length.
pub(super) fn export(
    loaded: &Loaded,
    recipe: &Recipe,
    ready: &Ready,
    run: (CachePrecision, &Processor),
    (path, kind): (PathBuf, ExportAs),
    job: &Job<'_>,
) -> Result<(PathBuf, u64), Failure> {
    let layout = lay_out(loaded, recipe, ready, run, job)?;
    let bytes = match kind {
        ExportAs::Packed(sbom) => {
            layout.save(&path, job)?;
            if sbom == Sbom::Beside {
                let packed = PackedModel::open(&path, job)?;
                write_bill(&path, &packed, &sha256_hex(packed.bytes()))?;
            }
            layout.bytes() as u64
        }
        ExportAs::Gguf(sbom) => {
            let packed = layout.join()?;
            let exported = to_gguf(&packed, &loaded.model, Values::AsStored, &path, job)?;
            if sbom == Sbom::Beside {
                write_bill(&path, &packed, &exported.sha256)?;
            }
            exported.bytes
        }
        #[cfg(feature = "flash")]
        ExportAs::Bundle(board, program) => {
            let program = program.as_deref().map(read_firmware).transpose()?;
            let packed = layout.join()?;
            let bundle = crate::link::Bundle::new(board, program.as_deref(), &packed);
            let bundle = bundle.ok_or_else(|| format!("{} runs no Linux", board.name))??;
            bundle
                .write(&path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            (bundle.program.len() + bundle.model.bytes().len()) as u64
        }
    };
    Ok((path, bytes))
}

fn write_bill(path: &Path, packed: &PackedModel, sha256: &str) -> Result<(), Failure> {
    let beside = bill::beside(path);
    bill::write_beside(path, &packed.provenance()?, sha256)
        .map_err(|error| format!("cannot write {}: {error}", beside.display()).into())
}

/// What the window has measured of a candidate already, for its report.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) quality: Option<Quality>,
    pub(super) tasks: Option<TaskQuality>,
    pub(super) estimates: Vec<Estimate>,
}

/// Packs a recipe's model and writes a page on it, with what was measured before.
pub(super) fn report(
    loaded: &Loaded,
    recipe: &Recipe,
    ready: &Ready,
    run: (CachePrecision, &Processor),
    (measured, path): (Measured, PathBuf),
    job: &Job<'_>,
) -> Result<(PathBuf, u64), Failure> {
    let packed = pack(loaded, recipe, ready, run, job)?;
    let name = format!("{}, {}", loaded.model.name, recipe.name);
    let mut report = Report::new(&name, &packed)?;
    report.tensors = tensor_errors(&packed, &loaded.model, job)?;
    Measured {
        quality: report.quality,
        tasks: report.tasks,
        estimates: report.estimates,
    } = measured;
    let page = html(&report)?;
    whole_file::write_result(&path, page.as_bytes())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok((path, page.len() as u64))
}

/// The bytes of an ELF file of the person's own.
#[cfg(feature = "flash")]
pub(super) fn read_firmware(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read firmware {}: {error}", path.display()))
}
