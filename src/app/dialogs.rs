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
    /// Where to write what a board that runs Linux needs.
    #[cfg(feature = "flash")]
    Bundle,
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

/// What becomes of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// What is there is read.
    Read,
    /// A file is written there.
    Write,
}

/// What people call a kind of file, and how names of it end.
type Filter = (&'static str, &'static [&'static str]);

impl Purpose {
    /// The title of the dialog, what becomes of the path, and which files are meant; all files without a filter.
    const fn words(self) -> (&'static str, Access, Option<Filter>) {
        const MODELS: Filter = ("GGUF files", &["gguf"]);
        const PACKED: Filter = ("Packed models", &["whittle"]);
        use Access::{Read, Write};
        match self {
            Self::Open => (
                "Open a model, a project or a recipe",
                Read,
                Some(("Models, projects, recipes", &["gguf", "toml"])),
            ),
            Self::Model => ("The model of the project", Read, Some(MODELS)),
            Self::Export => ("Export the packed model", Write, Some(PACKED)),
            Self::ExportGguf => ("Export a GGUF file", Write, Some(MODELS)),
            #[cfg(feature = "flash")]
            Self::Bundle => ("Write the folder for the board", Write, None),
            Self::Report => ("Write the report", Write, Some(("Pages", &["html"]))),
            Self::SaveProject => ("Save the project", Write, Some(("Projects", &["toml"]))),
            Self::Firmware => ("Firmware for the board", Read, None),
            Self::TrimText => (
                "Text to trim the vocabulary for",
                Read,
                Some(("Texts", &["txt", "md"])),
            ),
            Self::Trimmed => ("Write the model with fewer tokens", Write, Some(MODELS)),
            Self::Rotated => ("Write the model in another basis", Write, Some(MODELS)),
            Self::Limits => ("Limits to check", Read, Some(("Limits", &["toml"]))),
            Self::Grid => ("Grid to sweep", Read, Some(("Grids", &["toml"]))),
            Self::Packed => ("Packed model to make again", Read, Some(PACKED)),
            Self::Tasks => ("Tasks to ask", Read, Some(("Tasks", &["jsonl"]))),
        }
    }
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
        let (title, access, filter) = purpose.words();
        let mut dialog = AsyncFileDialog::new().set_title(title);
        if let Some((name, endings)) = filter {
            dialog = dialog.add_filter(name, endings);
        }
        match access {
            Access::Read => wait_for(dialog.pick_file()),
            Access::Write => wait_for(dialog.save_file()),
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
