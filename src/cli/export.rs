//! `whittle export`: a packed file in, a file for llama.cpp or a folder for Python out.

use super::Output;
use super::files::Files;
use super::open::open_model;
use crate::packed::export::{Exported, FloatType, Values, to_gguf, to_safetensors};
use crate::packed::{PackedModel, bill};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Write a packed model for other programs, with the values that it has
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(super) struct ExportArgs {
    /// Packed file
    file: PathBuf,
    /// Path or catalog name of the model that was packed: tokenizer and chat template come from it
    #[arg(long, value_name = "M")]
    model: PathBuf,
    /// GGUF file to write, for llama.cpp
    #[arg(long, value_name = "F.gguf", group = "target")]
    gguf: Option<PathBuf>,
    /// Folder to write `model.safetensors` and `config.json` to, for Python
    #[arg(long, value_name = "DIR", group = "target")]
    safetensors: Option<PathBuf>,
    /// Write all matrices as floats of this kind, f16 or f32; without it a GGUF file has llama.cpp's types where
    /// they are exact
    #[arg(long, value_name = "FLOATS", num_args = 0..=1, default_missing_value = "f16", value_parser = float)]
    dequantize: Option<FloatType>,
    /// Write a software bill beside the GGUF file, as F.gguf.cdx.json (CycloneDX); a folder has one in any case
    #[arg(long, conflicts_with = "safetensors")]
    sbom: bool,
}

/// Floats, as `--dequantize` and `--floats` take them.
pub(super) fn float(text: &str) -> Result<FloatType, String> {
    match text {
        "f16" => Ok(FloatType::F16),
        "f32" => Ok(FloatType::F32),
        _ => Err("expected f16 or f32".to_owned()),
    }
}

impl ExportArgs {
    pub(super) fn files(&self) -> Files {
        Files::default()
            .reads([&self.file, &self.model])
            .writes(&self.gguf)
            .writes(self.sbom_path())
            .makes(&self.safetensors)
    }

    fn sbom_path(&self) -> Option<PathBuf> {
        let file = self.gguf.as_deref().filter(|_| self.sbom);
        file.map(bill::beside)
    }
}

pub(super) fn run(args: &ExportArgs, output: &Output) -> anyhow::Result<()> {
    let packed = output.with_bar(|job| PackedModel::open(&args.file, job))?;
    let model = open_model(&args.model, output)?;
    let (path, exported) = match (&args.gguf, &args.safetensors) {
        (Some(path), _) => {
            let values = args
                .dequantize
                .map_or(Values::AsStored, Values::Dequantized);
            let exported = output.with_bar(|job| to_gguf(&packed, &model, values, path, job))?;
            if args.sbom {
                bill::write_beside(path, &packed.provenance()?, &exported.sha256)?;
            }
            (path, exported)
        }
        (None, Some(folder)) => {
            let float = args.dequantize.unwrap_or(FloatType::F16);
            let exported =
                output.with_bar(|job| to_safetensors(&packed, &model, float, folder, job))?;
            if !model.is_folder() {
                output.remark(
                    "The tokenizer is in the GGUF file that was packed: the folder has none.",
                );
            }
            (folder, exported)
        }
        (None, None) => anyhow::bail!("expected --gguf or --safetensors"),
    };
    output
        .emit(&exported, |e| text(path, e))
        .context("cannot print")
}

fn text(path: &Path, exported: &Exported) -> String {
    let mut types = BTreeMap::<&str, usize>::new();
    for (_, kind) in &exported.tensors {
        *types.entry(kind).or_default() += 1;
    }
    let types: Vec<String> = types.iter().map(|(t, n)| format!("{n} {t}")).collect();
    let rounding = if exported.rounded_values == 0 {
        "every value as it is".to_owned()
    } else {
        format!(
            "16-bit floats change {} values, by at most {:.3} %",
            exported.rounded_values,
            100.0 * exported.largest_relative_rounding
        )
    };
    format!(
        "{}: {} bytes, tensors: {}; {rounding}",
        path.display(),
        exported.bytes,
        types.join(", ")
    )
}
