//! No arguments: the window; a subcommand: headless.

use std::process::ExitCode;

fn main() -> ExitCode {
    whittle::cli::main()
}
