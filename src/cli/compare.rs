//! `whittle compare`: packed files side by side.

use super::Output;
use super::estimate::range;
use super::kv_bits;
use super::measure::{ExtentArgs, open_all, remark_on, stem};
use super::open::open_model;
use crate::estimate::Estimate;
use crate::evaluate::{Mean, TensorError, kl_difference, scored_positions, tensor_errors};
use crate::packed::PackedModel;
use crate::report::{Against, Quality, Run, TaskQuality, ask, estimate_packed, other_reference};
use crate::warning::Warning;
use crate::workers::Processor;
use anyhow::ensure;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Put packed files side by side: bytes, quality on the same text, tasks, boards, tensors
#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// Packed files
    #[arg(required = true, num_args = 2..)]
    files: Vec<PathBuf>,
    /// Path or catalog name of the model that they were made of
    #[arg(long, value_name = "MODEL")]
    reference: Option<PathBuf>,
    /// Text file to score
    #[arg(long, value_name = "T", requires = "reference")]
    text: Option<PathBuf>,
    #[command(flatten)]
    extent: ExtentArgs,
    /// Set or file of tasks to ask
    #[arg(long, value_name = "T.jsonl")]
    tasks: Option<PathBuf>,
    /// Ids of built-in boards, board files, or "all"
    #[arg(long, value_name = "ID|FILE|all", num_args = 1..)]
    board: Vec<PathBuf>,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bits of an element of keys and values, 16, 8 or 4; if not given
    /// those that each file was made for
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
}

#[derive(Debug, Serialize)]
struct Comparison {
    files: Vec<File>,
    tensors: Vec<Tensor>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
struct File {
    file: String,
    recipe: String,
    bytes: usize,
    bits_per_weight: f64,
    quality: Option<Quality>,
    /// Its mean KL less that of the first file, position by position.
    kl_difference: Option<Mean>,
    tasks: Option<TaskQuality>,
    boards: Vec<Estimate>,
}

/// One tensor in each file, in their order; `None` where a file lacks it.
#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    files: Vec<Option<Stored>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Stored {
    encoding: &'static str,
    bytes: usize,
    /// Checksum of the bytes.
    crc32: u32,
    /// Absent where no reference was named.
    nmse: Option<f64>,
}

pub(super) fn run(args: &CompareArgs, output: &Output) -> anyhow::Result<()> {
    ensure!(args.files.len() >= 2, "expected two packed files and more");
    let packed = open_all(&args.files, output)?;
    let processor = Processor::new(args.threads)?;
    let run = Run {
        cache: args.kv_bits,
        processor: &processor,
    };
    let mut files = Vec::new();
    for (path, packed) in args.files.iter().zip(&packed) {
        let name = stem(path);
        let tasks = match &args.tasks {
            Some(set) => Some(output.with_bar(|job| ask(packed, set, run, job))?),
            None => None,
        };
        files.push(File {
            recipe: packed.recipe()?.name,
            bytes: packed.bytes().len(),
            bits_per_weight: packed.bits_per_weight(),
            quality: None,
            kl_difference: None,
            tasks,
            boards: estimate_packed(packed, &name, &args.board, args.kv_bits)?,
            file: name,
        });
    }
    let names: Vec<String> = args.files.iter().map(|path| stem(path)).collect();
    let named: Vec<_> = names.iter().map(String::as_str).zip(&packed).collect();
    let mut warnings = Vec::new();
    let mut errors: Vec<Option<Vec<TensorError>>> = packed.iter().map(|_| None).collect();
    if let Some(reference) = &args.reference {
        let model = open_model(reference, output)?;
        if let Some(text) = &args.text {
            let extent = args.extent.extent();
            let against = output.with_bar(|job| Against::open(&model, text, extent, job))?;
            let all: Vec<&PackedModel> = packed.iter().collect();
            warnings = against.warnings(&named)?;
            let mut first = None;
            let scored = output.with_bar(|job| against.score(&all, run, job))?;
            remark_on(scored.first().map(|(_, quality)| quality), output);
            for (file, (scores, quality)) in files.iter_mut().zip(scored) {
                let per_window = scored_positions(quality.evaluation.window_tokens);
                file.quality = Some(quality);
                match &first {
                    None => first = Some(scores),
                    Some(first) => {
                        file.kl_difference = Some(kl_difference(&scores, first, per_window));
                    }
                }
            }
        }
        if args.text.is_none() {
            let sha256 = output.with_bar(|job| model.sha256(job))?;
            for of in &named {
                warnings.extend(other_reference(*of, (&model, &sha256))?);
            }
        }
        for (errors, packed) in errors.iter_mut().zip(&packed) {
            *errors = Some(output.with_bar(|job| tensor_errors(packed, &model, job))?);
        }
    }
    let comparison = Comparison {
        files,
        tensors: tensors(&packed, &errors),
        warnings,
    };
    output.warn(&comparison.warnings);
    output.emit(&comparison, text)
}

/// Every tensor of any file, in the order of the first that has it.
fn tensors(packed: &[PackedModel], errors: &[Option<Vec<TensorError>>]) -> Vec<Tensor> {
    let mut tensors: Vec<Tensor> = Vec::new();
    for (index, (packed, errors)) in packed.iter().zip(errors).enumerate() {
        for entry in packed.view().entries() {
            let found = tensors.iter().position(|t| t.name == entry.name);
            let at = found.unwrap_or_else(|| {
                tensors.push(Tensor {
                    name: entry.name.to_owned(),
                    files: Vec::new(),
                });
                tensors.len() - 1
            });
            let of_entry =
                |e: &&TensorError| e.role == entry.role && e.layer.unwrap_or(0) == entry.layer;
            let error = errors.as_ref().and_then(|e| e.iter().find(of_entry));
            tensors[at].files.resize(index, None);
            tensors[at].files.push(Some(Stored {
                encoding: entry.matrix.encoding().name(),
                bytes: entry.matrix.bytes().len(),
                crc32: entry.crc,
                nmse: error.map(|e| e.nmse),
            }));
        }
    }
    for tensor in &mut tensors {
        tensor.files.resize(packed.len(), None);
    }
    tensors
}

fn text(comparison: &Comparison) -> String {
    let Comparison { files, tensors, .. } = comparison;
    let mut text = table(&figures(files));
    let quality = files.first().and_then(|f| f.quality.as_ref());
    if let Some(quality) = quality {
        let (e, basis) = (&quality.evaluation, &quality.basis);
        writeln!(
            text,
            "{} tokens in {} windows of {} tokens, the second half scored, of {}; reference: {}, {}",
            e.tokens,
            e.windows,
            e.window_tokens,
            basis.text,
            basis.reference,
            basis.reference_precision
        )
        .expect("writing to a string cannot fail");
    }
    text.push('\n');
    let differing = tensors
        .iter()
        .filter(|t| t.files.windows(2).any(|w| w[0] != w[1]));
    let differing: Vec<(String, Vec<String>)> = differing
        .map(|t| (t.name.clone(), t.files.iter().map(stored).collect()))
        .collect();
    let alike = tensors.len() - differing.len();
    text += &table(&differing);
    text + &format!(
        "{alike} of {} tensors are the same bytes in all files",
        tensors.len()
    )
}

/// What is known of each file, a row a figure; without those that no file has.
fn figures(files: &[File]) -> Vec<(String, Vec<String>)> {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut row = |label: &str, cell: &dyn Fn(&File) -> Option<String>| {
        let cells: Vec<Option<String>> = files.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(Option::unwrap_or_default);
            rows.push((label.to_owned(), cells.collect()));
        }
    };
    row("file", &|f| Some(f.file.clone()));
    row("recipe", &|f| Some(f.recipe.clone()));
    row("bytes", &|f| Some(f.bytes.to_string()));
    row("bits per weight", &|f| {
        Some(format!("{:.3}", f.bits_per_weight))
    });
    let quality = |f: &File| f.quality.as_ref().map(|q| q.evaluation.clone());
    row("KL", &|f| {
        quality(f).map(|e| format!("{:.5} ± {:.5}", e.kl_mean, e.kl_mean_standard_error))
    });
    row("KL less the first's", &|f| {
        f.kl_difference
            .map(|d| format!("{:+.5} ± {:.5}", d.mean, d.standard_error))
    });
    row("KL 99th percentile", &|f| {
        quality(f).map(|e| format!("{:.4}", e.kl_p99))
    });
    row("same top token", &|f| {
        quality(f).map(|e| {
            format!(
                "{:.2} ± {:.2} %",
                e.same_top * 100.0,
                e.same_top_standard_error * 100.0
            )
        })
    });
    row("perplexity", &|f| {
        quality(f).map(|e| format!("{:.3} ± {:.3}", e.perplexity, e.perplexity_standard_error))
    });
    row("tasks that held", &|f| {
        f.tasks.as_ref().map(|t| {
            let held = t.report.held;
            format!(
                "{:.1} % ({:.1} to {:.1})",
                held.share * 100.0,
                held.low * 100.0,
                held.high * 100.0
            )
        })
    });
    let boards = files.first().map_or(&[][..], |f| &f.boards);
    for (index, board) in boards.iter().enumerate() {
        row(&board.id, &|f| {
            let e = &f.boards[index];
            let fits = if e.fits { "fits" } else { "does not fit" };
            Some(format!(
                "{fits}, {} {} /s",
                e.validation.name(),
                range(e.tokens_per_second.as_ref())
            ))
        });
    }
    rows
}

fn stored(stored: &Option<Stored>) -> String {
    let Some(Stored {
        encoding,
        bytes,
        nmse,
        ..
    }) = stored
    else {
        return "none".to_owned();
    };
    match nmse {
        None => format!("{encoding} {bytes} B"),
        Some(0.0) => format!("{encoding} {bytes} B exact"),
        Some(nmse) => format!("{encoding} {bytes} B {nmse:.1e}"),
    }
}

/// Rows with a label and a cell for each file, in columns as wide as they need.
fn table(rows: &[(String, Vec<String>)]) -> String {
    let long = |text: &String| text.chars().count();
    let label = rows.iter().map(|(label, _)| long(label)).max().unwrap_or(0);
    let cells = rows.iter().flat_map(|(_, cells)| cells);
    let cell = cells.map(long).max().unwrap_or(0);
    let mut text = String::new();
    for (name, cells) in rows {
        write!(text, "{name:label$}").expect("writing to a string cannot fail");
        for value in cells {
            write!(text, "  {value:>cell$}").expect("writing to a string cannot fail");
        }
        text.push('\n');
    }
    text
}
