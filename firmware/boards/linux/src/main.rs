//! Whittle's program for boards that run Linux: maps a packed model, answers hosts and people.
//!
//! One file without a library beside it. A host reaches it over a loopback socket, a serial device (a UART, or the USB
//! gadget of a board that is plugged into a computer) or a pseudo-terminal, in the protocol of every other board.

mod console;
mod machine;
mod memory;
mod options;
mod socket;
mod store;
mod terminal;
mod waiting;

use app::{Matrix, Model, Refusal, packed_bytes, serve};
use console::Console;
use engine::pool::Pool;
use engine::workers::{Host, SimdLevel};
use memmap2::Mmap;
use options::Options;
use std::convert::Infallible;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use store::ModelFile;

/// Tensors of 256 layers.
const TABLE: usize = 256 * 18;

fn main() -> ExitCode {
    let Err(sentence) = run();
    eprintln!("whittle-linux: {sentence}");
    ExitCode::FAILURE
}

/// Answers until it is ended, or says why it cannot.
fn run() -> Result<Infallible, String> {
    let options = Options::parse(std::env::args_os().skip(1))?;
    let model = map(&options.model)
        .map_err(|error| format!("cannot read {}: {error}", options.model.display()))?;
    let kept = ModelFile::at(&options.model);
    let mut console = Console::open(&options.line, host(options.threads)?, kept)?;
    let mut tensors: Vec<Option<Matrix<'_>>> = vec![None; TABLE];
    let model: Result<Model<'_>, Refusal> =
        Model::open(&mut console, packed_bytes(&model), &mut tensors);
    let mut memory = vec![0; model.as_ref().map_or(0, memory::words)];
    serve(
        &mut console,
        model.as_ref().map_err(|refusal| *refusal),
        &mut memory,
    )
}

/// The file's bytes, read from it when they are needed: a model may be larger than the memory that is free.
fn map(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("expected a file"));
    }
    // SAFETY: nothing writes through the map. Whoever writes into the file meanwhile changes bytes that were checked:
    // numbers that are multiplied, and offsets that the engine checks again wherever it uses them; whoever shortens it
    // ends this program by a signal. The instructions beside the program say to replace the file by renaming another.
    unsafe { Mmap::map(&file) }
}

/// Every core, unless told otherwise, with the best instructions that they have.
fn host(threads: Option<usize>) -> Result<Host<'static>, String> {
    let threads =
        threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let pool =
        Pool::new(threads).map_err(|error| format!("cannot start {threads} threads: {error}"))?;
    Ok(Host {
        level: SimdLevel::available().last().unwrap_or(SimdLevel::scalar()),
        // For as long as the program runs.
        workers: Box::leak(Box::new(pool)),
    })
}
