//! `whittle compress`: a model and a recipe in, a packed file out.

use super::Output;
use super::calibrate::{CalibrationArgs, folder};
use super::files::Files;
use super::open::open_model;
use crate::compress::CompressedModel;
use crate::model::Model;
use crate::packed::{
    Draft, Layout, PackError, PackedModel, PrefixChoice, PrefixText, bill, sha256_hex,
};
use crate::recipe::Recipe;
use crate::warning::Warning;
use crate::workers::Processor;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Compress a model as a recipe says and pack it
#[derive(Debug, clap::Args)]
pub(super) struct CompressArgs {
    /// Path or catalog name of a model
    model: PathBuf,
    /// Preset or path of a recipe
    #[arg(long, value_name = "R")]
    recipe: PathBuf,
    /// Exception to the recipe, such as `feed-forward.down@0..4=bits:6,sparsity:20%`;
    /// method:nearest|search|gptq, pruner:magnitude|wanda|sparsegpt and pattern:N:M may follow
    #[arg(long, value_name = "PATTERN=bits:B,sparsity:S")]
    set: Vec<String>,
    #[command(flatten)]
    calibration: CalibrationArgs,
    /// Fail unless every weight is packed as it is, as of a model that was trained for the recipe
    #[arg(long)]
    exact: bool,
    /// Packed file to write
    #[arg(long, value_name = "F.whittle")]
    out: PathBuf,
    /// System text with which conversations begin, computed now instead of on the board; if not given the
    /// one that the chat template has of its own
    #[arg(long, value_name = "S", conflicts_with = "no_prefix")]
    prefix: Option<String>,
    /// Compute nothing beforehand
    #[arg(long)]
    no_prefix: bool,
    /// Bits of an element of the keys and values that the file is made for, 16, 8 or 4: those of the text
    /// with which conversations begin, and the default wherever the file runs
    #[arg(long, value_name = "B", default_value = "16", value_parser = super::kv_bits)]
    kv_bits: CachePrecision,
    /// Write a software bill beside the file, as F.whittle.cdx.json (CycloneDX)
    #[arg(long)]
    sbom: bool,
}

#[derive(Serialize)]
struct CompressReport {
    bytes: usize,
    prefix_tokens: usize,
    prefix_bytes: usize,
    bits_per_weight: f64,
    /// Matrices of which every weight is what it was.
    exact_matrices: usize,
    matrices: usize,
    seconds: f64,
    peak_rss_bytes: Option<u64>,
    tensors: Vec<TensorReport>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    bits: f64,
    sparsity: f64,
    encoding: &'static str,
    bytes: usize,
    nmse: f64,
    /// Squared error of the outputs over their square, on the calibration text.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_error: Option<f64>,
    /// What was done, which without a calibration is not what was asked.
    method: &'static str,
    pruner: &'static str,
}

/// The preset or file with its exceptions.
pub(super) fn open_recipe(spec: &Path, set: &[String]) -> anyhow::Result<Recipe> {
    let mut recipe = Recipe::open(spec)?;
    for text in set {
        recipe.set(text)?;
    }
    Ok(recipe)
}

impl CompressArgs {
    pub(super) fn files(&self) -> Files {
        let texts = self.calibration.files();
        Files::default()
            .reads([&self.model, &self.recipe])
            .reads(texts)
            .writes([&self.out])
            .writes(self.sbom.then(|| bill::beside(&self.out)))
    }
}

pub(super) fn run(args: &CompressArgs, output: &Output) -> anyhow::Result<()> {
    let recipe = open_recipe(&args.recipe, &args.set)?;
    let model = open_model(&args.model, output)?;
    let start = Instant::now();
    let folder = match recipe.is_calibrated() {
        true => Some(folder(output)?),
        false => None,
    };
    let calibration = folder
        .as_ref()
        .map(|folder| args.calibration.compute(&model, &folder.path, output))
        .transpose()?;
    let choice = PrefixChoice {
        text: match (&args.prefix, args.no_prefix) {
            (Some(system), _) => PrefixText::System(system),
            (None, true) => PrefixText::None,
            (None, false) => PrefixText::OfTemplate,
        },
        cache: args.kv_bits,
    };
    let draft = Draft::begin(&args.out, &model, &recipe, calibration.as_ref(), choice)?;
    let compressed = output.with_bar(|job| {
        // The file names the hash of its model, which one thread computes beside the others' work.
        let (hashed, compressed) = rayon::join(
            || model.sha256(&job.quiet()),
            || draft.compress(&model, &recipe, calibration.as_ref(), job),
        );
        hashed?;
        compressed
    })?;
    if args.exact {
        compressed.require_exact()?;
    }
    let processor = Processor::new(None)?;
    let layout = output.with_bar(|job| {
        let layout = Layout::new(&model, &compressed, choice, &processor.host(), job)?;
        draft.finish(&layout, job)?;
        Ok::<_, PackError>(layout)
    })?;
    if args.sbom {
        let packed = output.with_bar(|job| PackedModel::open(&args.out, job))?;
        bill::write_beside(
            &args.out,
            &packed.provenance()?,
            &sha256_hex(packed.bytes()),
        )?;
    }
    let report = report(&model, &compressed, &layout, start);
    output.warn(&report.warnings);
    output.emit(&report, |report| text(args, report))
}

/// What people read: a line a tensor, then the file.
fn text(args: &CompressArgs, r: &CompressReport) -> String {
    let bar =
        |nmse: f64| "▇".repeat(((nmse.max(1e-6).log10() + 6.0) * 2.0).clamp(0.0, 12.0) as usize);
    let mut text = String::new();
    for t in r.tensors.iter().filter(|t| t.encoding != "f32") {
        let error = if t.nmse == 0.0 {
            "exact".to_owned()
        } else {
            let outputs = t
                .output_error
                .map_or_else(String::new, |e| format!(", of outputs {e:.2e}"));
            format!("error {:.2e} {}{outputs}", t.nmse, bar(t.nmse))
        };
        text += &format!(
            "{:28} {:>8} {:>4.0} %  {:>11} B  {error}\n",
            t.name,
            t.encoding,
            t.sparsity * 100.0,
            t.bytes,
        );
    }
    if r.prefix_tokens > 0 {
        text += &format!(
            "Conversations begin with {} tokens whose keys and values take {} bytes\n",
            r.prefix_tokens, r.prefix_bytes
        );
    }
    text + &format!(
        "{}: {} bytes, {:.3} bits per weight, {} of {} matrices exact, {:.1} s",
        args.out.display(),
        r.bytes,
        r.bits_per_weight,
        r.exact_matrices,
        r.matrices,
        r.seconds
    )
}

fn report(
    model: &Model,
    compressed: &CompressedModel,
    layout: &Layout,
    start: Instant,
) -> CompressReport {
    let mut warnings = compressed.recipe.warnings_for(model);
    let fitted = compressed.calibration.as_ref();
    warnings.extend(fitted.and_then(|origin| origin.warning(model)));
    let tensor = |t: &crate::compress::CompressedTensor| TensorReport {
        name: t.name.clone(),
        bits: if t.role.is_matrix() {
            let stored = t.bytes.len() as f64 * 8.0 / (t.rows * t.cols) as f64;
            t.setting.precision.bits().unwrap_or(stored)
        } else {
            32.0
        },
        sparsity: t.setting.sparsity,
        encoding: t.encoding.name(),
        bytes: t.bytes.len(),
        nmse: t.nmse,
        output_error: t.output_error,
        method: t.methods.quantizer.name(),
        pruner: t.methods.pruner.name(),
    };
    let (exact_matrices, matrices) = compressed.exact_matrices();
    let (prefix_tokens, prefix_bytes) = layout.prefix();
    CompressReport {
        exact_matrices,
        matrices,
        bytes: layout.bytes(),
        prefix_tokens,
        prefix_bytes,
        bits_per_weight: compressed.bits_per_weight(),
        seconds: start.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
        tensors: compressed.tensors.iter().map(|t| tensor(t)).collect(),
        warnings,
    }
}

/// Largest resident memory of this process so far; unknown where the system does not tell.
pub(super) fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}
