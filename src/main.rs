//! No arguments: the window; a subcommand: headless.

use std::process::ExitCode;
use whittle::cli::{self, Next};

/// Forward passes on floats make and drop buffers of megabytes: the system's allocator gives each back to
/// the kernel, which has to clear it again for the next.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::main() {
        Next::Exit(code) => code,
        #[cfg(feature = "gui")]
        Next::Studio(args) => studio(args),
    }
}

#[cfg(feature = "gui")]
fn studio(args: cli::StudioArgs) -> ExitCode {
    use std::io::Write as _;
    let start = whittle::app::Start {
        model: args.model,
        recipe: args.recipe,
        ask: args.ask,
        evaluate: args.evaluate,
        screenshot: args.screenshot,
        calibrations: None,
        unsaved: whittle::app::KeepUnsaved::of_this_account(),
        reports: whittle::measured::Reports::folder(),
    };
    match whittle::app::run(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error must not hide the exit code.
            drop(writeln!(std::io::stderr().lock(), "whittle: {error}"));
            ExitCode::FAILURE
        }
    }
}
