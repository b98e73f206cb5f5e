//! `whittle studio`: the arguments of the window, which `main.rs` opens.

use super::files::Files;
use std::path::PathBuf;

/// Open the window; also what `whittle` alone does
#[derive(Debug, Default, clap::Args)]
pub struct StudioArgs {
    /// Path or catalog name of a model, or path of a project; else hearth, which is built in
    pub model: Option<PathBuf>,
    /// Preset or path of the recipe of candidate A
    #[arg(long, value_name = "R")]
    pub recipe: Option<String>,
    /// Ask both candidates this once the model is ready
    #[arg(long, value_name = "P")]
    pub ask: Option<String>,
    /// Measure candidate A once the model is ready
    #[arg(long)]
    pub evaluate: bool,
    /// Write a picture of the window once all is done, and close it
    #[arg(long, value_name = "F.png")]
    pub screenshot: Option<PathBuf>,
}

impl StudioArgs {
    pub(super) fn files(&self) -> Files {
        Files::default()
            .reads(&self.model)
            .reads(&self.recipe)
            .writes(&self.screenshot)
    }
}
