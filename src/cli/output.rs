//! Where a command's results and diagnostics go.

use super::interrupt::{INTERRUPTED, Interrupt};
use crate::job::{Job, Progress};
use crate::signals;
use crate::source_file;
use crate::warning::Warning;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::Write as _;
use std::process::ExitCode;

/// Prints a command's result: text for people or one JSON object.
#[derive(Debug)]
pub struct Output {
    json: bool,
    bar: ProgressBar,
    interrupt: Interrupt,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(
            ProgressStyle::with_template(
                "{msg:20} {wide_bar} {percent:>3}%  {elapsed} / {duration}",
            )
            .expect("the template is a constant"),
        );
        Self {
            json,
            bar,
            interrupt: Interrupt::listen(),
        }
    }

    /// Whether one JSON object is wanted, so that nothing else may go to standard output.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Runs `work` with a job that draws a progress bar on standard error when that is a terminal, and that
    /// Ctrl-C cancels.
    pub fn with_bar<T>(&self, work: impl FnOnce(&Job<'_>) -> T) -> T {
        let result = self.interrupt.during(|token| {
            let draw = |p: Progress<'_>| {
                self.draw(p);
                if signals::any_lost() {
                    // What comes of it would be refused.
                    token.cancel();
                }
            };
            work(&Job::new(&draw, token.clone()))
        });
        self.bar.finish_and_clear();
        result
    }

    fn draw(&self, progress: Progress<'_>) {
        if progress.total > 0 {
            self.bar.set_length(progress.total);
        }
        self.bar.set_position(progress.done);
        if self.bar.message() != progress.stage {
            self.bar.set_message(progress.stage.to_owned());
        }
    }

    /// Prints `value` as one JSON object, or else what `text` makes of it.
    ///
    /// # Errors
    /// When standard output is closed, the value cannot be written as JSON, or a file that it comes from changed
    /// while it was read.
    pub fn emit<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        source_file::unchanged()?;
        let line = if self.json {
            serde_json::to_string(value)?
        } else {
            text(value)
        };
        let written = writeln!(std::io::stdout().lock(), "{}", line.trim_end_matches('\n'));
        match written {
            // Whoever reads has read enough: `whittle info MODEL | head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Prints a remark for people on standard error.
    pub fn remark(&self, text: &str) {
        // A closed standard error must not turn a finished command into a failure.
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }

    /// Says what is left behind should the work that runs now not hear of Ctrl-C in time.
    #[cfg(feature = "flash")]
    pub(super) fn leave_behind(&self, words: &str) {
        self.interrupt.leave_behind(words);
    }

    /// Says what is going to happen while the bar is drawn; with `--json` it stands in the object.
    #[cfg(feature = "flash")]
    pub(super) fn say(&self, text: &str) {
        if !self.json {
            self.bar.suspend(|| self.remark(text));
        }
    }

    /// Tells warnings on standard error; with `--json` they stand in the object.
    pub fn warn(&self, warnings: &[Warning]) {
        if !self.json {
            for warning in warnings {
                self.remark(&format!("Warning: {warning}"));
            }
        }
    }

    pub(super) fn finish(&self, result: anyhow::Result<()>) -> ExitCode {
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let mut text = sentence(&error);
                if let Some(changed) = source_file::changed().map(|c| c.to_string())
                    && !text.contains(&changed)
                {
                    // Whatever else failed, this is why.
                    text = changed;
                }
                self.remark(&format!("whittle: {text}"));
                if self.interrupt.was_heard() {
                    ExitCode::from(INTERRUPTED)
                } else {
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// The chain of causes, without those that the sentence before them says already.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text += separator;
            text += &cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("no such file")
            .context("cannot read a.txt: no such file")
            .context("cannot load a");
        let expected = "cannot load a: cannot read a.txt: no such file";
        assert_eq!(sentence(&error), expected);
    }
}
