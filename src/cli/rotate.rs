//! `whittle rotate`: a model in another basis.

use super::Output;
use super::export::float;
use super::files::Files;
use super::measure::require_writable;
use super::open::open_model;
use crate::path_text;
use crate::rewrite::{Basis, FloatType, Rotated, Rotation, rotate};
use serde::Serialize;
use std::path::PathBuf;

/// Write the same model in another basis, where no direction stands out
#[derive(Debug, clap::Args)]
pub(super) struct RotateArgs {
    /// Path or catalog name of a model
    model: PathBuf,
    /// GGUF file to write
    #[arg(long, value_name = "F.gguf")]
    out: PathBuf,
    /// What turns: the residual stream (`stream`), the values of each head (`heads`), or `both`
    #[arg(long, value_name = "BASIS", default_value = "both", value_parser = basis)]
    basis: Basis,
    /// Names the random rotations
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// How the matrices that change are stored: f16 or f32
    #[arg(long, value_name = "FLOATS", default_value = "f16", value_parser = float)]
    floats: FloatType,
}

fn basis(text: &str) -> Result<Basis, String> {
    let all = [Basis::Stream, Basis::Heads, Basis::Both];
    let found = all.into_iter().find(|basis| basis.name() == text);
    found.ok_or_else(|| "expected stream, heads or both".to_owned())
}

#[derive(Serialize)]
struct RotateReport {
    #[serde(serialize_with = "path_text::lossy")]
    file: PathBuf,
    basis: Basis,
    seed: u64,
    #[serde(flatten)]
    rotated: Rotated,
}

impl RotateArgs {
    pub(super) fn files(&self) -> Files {
        Files::default().reads([&self.model]).writes([&self.out])
    }
}

pub(super) fn run(args: &RotateArgs, output: &Output) -> anyhow::Result<()> {
    require_writable(&args.out)?;
    let model = open_model(&args.model, output)?;
    let rotation = Rotation {
        basis: args.basis,
        seed: args.seed,
        floats: args.floats,
    };
    let report = RotateReport {
        file: args.out.clone(),
        basis: args.basis,
        seed: args.seed,
        rotated: output.with_bar(|job| rotate(&model, &rotation, &args.out, job))?,
    };
    output.emit(&report, |r| {
        format!(
            "{}: {} bytes instead of {}, {} matrices in another basis ({}, seed {})",
            r.file.display(),
            r.rotated.bytes,
            r.rotated.source_bytes,
            r.rotated.matrices,
            r.basis.name(),
            r.seed
        )
    })
}
