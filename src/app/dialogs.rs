//! The system's file dialogs, behind a trait so that tests can answer them.

use rfd::AsyncFileDialog;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// What a path is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A model, project or recipe to open.
    Open,
    /// The model of a project.
    Model,
    /// Where to write the packed model.
    Export,
    /// Where to write the GGUF file.
    ExportGguf,
    /// Where to write the report.
    Report,
    /// Where to write the project.
    SaveProject,
    /// The firmware for a board.
    Firmware,
    /// Tasks to ask.
    Tasks,
    /// Limits to check.
    Limits,
    /// Grid to sweep.
    Grid,
    /// Packed file to make again.
    Packed,
    /// Text that a vocabulary is trimmed for.
    TrimText,
    /// Where to write the model with fewer tokens.
    Trimmed,
    /// Where to write the model in another basis.
    Rotated,
}

/// Waits for the person's answer; called on a thread that may wait.
pub type Answer = Box<dyn FnOnce() -> Option<PathBuf> + Send>;

/// Asks the person for a path.
pub trait Dialogs: std::fmt::Debug {
    /// Opens the dialog, on the window's own thread, and returns what waits for its answer.
    fn ask(&self, purpose: Purpose) -> Answer;
}

/// The dialogs of this system.
#[derive(Debug, Clone, Copy)]
pub struct SystemDialogs;

impl Dialogs for SystemDialogs {
    fn ask(&self, purpose: Purpose) -> Answer {
        let dialog = AsyncFileDialog::new();
        match purpose {
            Purpose::Open => wait_for(
                dialog
                    .set_title("Open a model, a project or a recipe")
                    .add_filter("Models, projects, recipes", &["gguf", "toml"])
                    .pick_file(),
            ),
            Purpose::Model => wait_for(
                dialog
                    .set_title("The model of the project")
                    .add_filter("Models", &["gguf"])
                    .pick_file(),
            ),
            Purpose::Export => wait_for(
                dialog
                    .set_title("Export the packed model")
                    .add_filter("Packed models", &["whittle"])
                    .save_file(),
            ),
            Purpose::ExportGguf => wait_for(
                dialog
                    .set_title("Export a GGUF file")
                    .add_filter("GGUF files", &["gguf"])
                    .save_file(),
            ),
            Purpose::Report => wait_for(
                dialog
                    .set_title("Write the report")
                    .add_filter("Pages", &["html"])
                    .save_file(),
            ),
            Purpose::SaveProject => wait_for(
                dialog
                    .set_title("Save the project")
                    .add_filter("Projects", &["toml"])
                    .save_file(),
            ),
            Purpose::Firmware => wait_for(dialog.set_title("Firmware for the board").pick_file()),
            Purpose::TrimText => wait_for(
                dialog
                    .set_title("Text to trim the vocabulary for")
                    .add_filter("Texts", &["txt", "md"])
                    .pick_file(),
            ),
            Purpose::Trimmed => wait_for(
                dialog
                    .set_title("Write the model with fewer tokens")
                    .add_filter("GGUF files", &["gguf"])
                    .save_file(),
            ),
            Purpose::Rotated => wait_for(
                dialog
                    .set_title("Write the model in another basis")
                    .add_filter("GGUF files", &["gguf"])
                    .save_file(),
            ),
            Purpose::Limits => wait_for(
                dialog
                    .set_title("Limits to check")
                    .add_filter("Limits", &["toml"])
                    .pick_file(),
            ),
            Purpose::Grid => wait_for(
                dialog
                    .set_title("Grid to sweep")
                    .add_filter("Grids", &["toml"])
                    .pick_file(),
            ),
            Purpose::Packed => wait_for(
                dialog
                    .set_title("Packed model to make again")
                    .add_filter("Packed models", &["whittle"])
                    .pick_file(),
            ),
            Purpose::Tasks => wait_for(
                dialog
                    .set_title("Tasks to ask")
                    .add_filter("Tasks", &["jsonl"])
                    .pick_file(),
            ),
        }
    }
}

fn wait_for(answer: impl Future<Output = Option<rfd::FileHandle>> + Send + 'static) -> Answer {
    Box::new(move || block_on(answer).map(|file| file.path().to_owned()))
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The whole executor that one dialog needs.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
