//! A picture of the real window, for the README and for tests.

use super::running::lock;
use super::state::{Severity, State};
use crate::whole_file;
use eframe::egui::{ColorImage, Context, ViewportCommand};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Frames after the last change, so that every size has settled.
const SETTLED_FRAMES: u32 = 6;

/// Whether the picture was written, once that is known.
pub(super) type Taken = Arc<Mutex<Option<Result<(), String>>>>;

/// Waits for the window to settle, takes its picture and closes it.
#[derive(Debug)]
pub(super) struct Screenshot {
    path: PathBuf,
    taken: Taken,
    settled: u32,
}

impl Screenshot {
    pub(super) fn new(path: PathBuf, taken: Taken) -> Self {
        Self {
            path,
            taken,
            settled: 0,
        }
    }

    /// Called every frame.
    pub(super) fn step(&mut self, ctx: &Context, state: &State) {
        if lock(&self.taken).is_some() {
            ctx.send_viewport_cmd(ViewportCommand::Close);
            return;
        }
        let error = state
            .view
            .notices
            .iter()
            .find(|notice| notice.severity == Severity::Error);
        if let Some(error) = error {
            *lock(&self.taken) = Some(Err(error.text.clone()));
            ctx.request_repaint();
            return;
        }
        let is_ready = state.is_idle() && state.loaded().is_some();
        self.settled = if is_ready { self.settled + 1 } else { 0 };
        if is_ready {
            ctx.request_repaint();
        }
        if self.settled == SETTLED_FRAMES {
            let (path, taken, waiting) = (self.path.clone(), Arc::clone(&self.taken), ctx.clone());
            ctx.request_screenshot(move |image| {
                *lock(&taken) = Some(write(&path, &image));
                waiting.request_repaint();
            });
        }
    }
}

fn write(path: &Path, image: &ColorImage) -> Result<(), String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", path.display());
    let size = |n: usize| u32::try_from(n).map_err(|error| failed(&error));
    let [width, height] = image.size;
    let mut picture = Vec::new();
    let mut encoder = png::Encoder::new(&mut picture, size(width)?, size(height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let rgb: Vec<u8> = image
        .pixels
        .iter()
        .flat_map(|pixel| [pixel.r(), pixel.g(), pixel.b()])
        .collect();
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&rgb))
        .map_err(|error| failed(&error))?;
    whole_file::write(path, &picture).map_err(|error| failed(&error))
}
