//! One small picture a panel, as it was reviewed: `make snapshots` draws them anew.
//!
//! Lavapipe draws them, which is a program: the same pixels on every machine. What a picture would show of this
//! machine or this moment is set before it is taken.

use super::*;
use crate::required::required;
use egui_kittest::wgpu::WgpuTestRenderer;
use egui_kittest::{SnapshotOptions, try_image_snapshot_options};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

/// Where Debian's `mesa-vulkan-drivers` says that it brings lavapipe.
const DRIVERS: &str = "/usr/share/vulkan/icd.d";
/// Left, top, right and bottom of what is shown of each panel, in a window of 1400 x 900 points.
const PANELS: [(&str, [u32; 4]); 6] = [
    ("top", [0, 0, 1060, 118]),
    ("layers", [0, 118, 640, 258]),
    ("boards", [922, 118, 1400, 300]),
    ("errors", [922, 716, 1400, 872]),
    ("assistant", [0, 600, 640, 780]),
    ("status", [0, 872, 1400, 900]),
];
/// Largest file of a picture: the repository keeps every version.
const LARGEST_BYTES: u64 = 30_000;

fn lavapipe() -> Result<WgpuTestRenderer, String> {
    let is_lavapipe = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("lvp_icd");
    let mut drivers = std::fs::read_dir(DRIVERS).into_iter().flatten().flatten();
    if drivers.any(|driver| is_lavapipe(&driver.file_name())) {
        Ok(WgpuTestRenderer::new())
    } else {
        Err("mesa-vulkan-drivers is not installed".to_owned())
    }
}

/// Fixes what this machine or this moment would write into a panel.
fn still(window: &mut Harness<'_, Studio>) {
    let view = &mut window.state_mut().state.view;
    view.processor = "scalar, 1 thread".to_owned();
    #[cfg(feature = "voice")]
    view.missing_voice.clear();
    for facts in view.transcript.iter_mut().filter_map(|u| u.facts.as_mut()) {
        facts.tokens_per_second = 100.0;
        facts.first_token_seconds = 0.1;
    }
    // A pointer over a button would draw a hint, and a text cursor blinks.
    window.remove_cursor();
    window.run_steps(3);
}

#[test]
fn the_panels_look_as_they_were_reviewed() {
    let Some(renderer) = required(lavapipe()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let start = Start {
        model: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth")),
        calibrations: Some(folder.path().join("calibrations")),
        ask: Some("Turn on the kitchen light!".to_owned()),
        ..Start::default()
    };
    let mut window = Harness::builder()
        .with_size(vec2(1400.0, 900.0))
        .renderer(renderer)
        .build_eframe(|creation| {
            Studio::new(&creation.egui_ctx, &start, Box::new(Scripted(None))).expect("a window")
        });
    settle(&mut window);
    still(&mut window);
    let whole = window.render().expect("a picture");
    let options = SnapshotOptions::new()
        .output_path(format!("{}/tests/ui/pictures", env!("CARGO_MANIFEST_DIR")));
    let mut failures = Vec::new();
    for (panel, [left, top, right, bottom]) in PANELS {
        let part = image::imageops::crop_imm(&whole, left, top, right - left, bottom - top);
        if let Err(error) = try_image_snapshot_options(&part.to_image(), panel, &options) {
            failures.push(error.to_string());
        }
        // Set by `make snapshots`.
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            pack(&options.output_path.join(format!("{panel}.png")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Writes a picture in half the bytes: nothing in it is transparent, and text is packed best as it is.
fn pack(path: &Path) {
    let picture = image::open(path).expect("a picture").to_rgb8();
    let file = std::fs::File::create(path).expect("a writable folder");
    let encoder = PngEncoder::new_with_quality(file, CompressionType::Best, FilterType::NoFilter);
    picture.write_with_encoder(encoder).expect("a picture");
}

#[test]
fn the_pictures_are_small_and_one_for_each_panel() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/pictures");
    for (panel, _) in PANELS {
        let file = std::fs::metadata(folder.join(format!("{panel}.png"))).expect("a picture");
        assert!(file.len() <= LARGEST_BYTES, "{panel}: {} bytes", file.len());
    }
}
