//! The window without a display: what a person does, by role and label.

#![cfg(feature = "gui")]

mod assistant;
#[cfg(all(unix, feature = "flash"))]
mod board;
mod copying;
mod files;
#[path = "../support/firmware.rs"]
mod firmware;
mod keeping;
mod measured;
mod numbers;
mod opening;
mod pictures;
mod preview;
mod recipes;
#[path = "../support/required.rs"]
mod required;
mod rewriting;
#[path = "../support/tiny_model.rs"]
mod tiny_model;
mod tuning;
mod verifying;

use eframe::egui::accesskit::Role;
use eframe::egui::{Event, Key, Modifiers, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tiny_model::TinyModel;
use whittle::app::{
    Answerer, Candidate, DialogAnswer, Dialogs, JobKind, Purpose, Severity, Speaker, Start, Studio,
    Utterance,
};
use whittle::compress::CompressedTensor;
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::{PackedModel, WeightSource as _};
use whittle::project::Project;
use whittle::recipe::{Precision, Recipe, Setting};

/// Longer than any work here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Answers every file dialog with one path.
#[derive(Debug)]
struct Scripted(Option<PathBuf>);

impl Dialogs for Scripted {
    fn ask(&self, _purpose: Purpose) -> DialogAnswer {
        let path = self.0.clone();
        Box::new(move || path)
    }
}

fn window(start: Start, dialogs: Scripted) -> Harness<'static, Studio> {
    let mut window = Harness::builder()
        .with_size(vec2(1400.0, 900.0))
        // A random model says random bytes.
        .allow_missing_glyphs()
        .build_eframe(|creation| {
            Studio::new(&creation.egui_ctx, &start, Box::new(dialogs)).expect("a window")
        });
    settle(&mut window);
    window
}

/// Draws frames until nothing runs and nothing waits.
fn settle(window: &mut Harness<'_, Studio>) {
    let start = Instant::now();
    window.step();
    loop {
        window.step();
        let state = &window.state().state;
        if state.is_idle() {
            break;
        }
        assert!(start.elapsed() < LIMIT, "still busy: {:?}", state.jobs);
        std::thread::yield_now();
    }
    window.run_steps(2);
}

/// A folder with the tiny model in it, and a window that has it open.
fn tiny_window() -> (TempDir, Harness<'static, Studio>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, TinyModel::default().gguf()).expect("a file");
    let window = window_on(folder.path());
    (folder, window)
}

/// A window on the tiny model of this folder, which is also where it keeps calibrations.
fn window_on(folder: &Path) -> Harness<'static, Studio> {
    let start = Start {
        model: Some(folder.join("tiny.gguf")),
        calibrations: Some(folder.join("calibrations")),
        ..Start::default()
    };
    window(start, Scripted(Some(folder.join("out.whittle"))))
}

fn click(window: &mut Harness<'_, Studio>, label: &str) {
    window
        .get_by(|node| node.label().as_deref() == Some(label) && node.role() != Role::Label)
        .click();
    window.run_steps(3);
}

fn setting(window: &Harness<'_, Studio>, tensor: &str) -> Setting {
    let state = &window.state().state;
    let loaded = state.loaded().expect("a model");
    let index = loaded.matrices.iter().position(|m| m.name == tensor);
    state.derived.bench(Candidate::A).settings[index.expect(tensor)]
}

/// A tensor that the assistant of A runs on.
fn running_tensor(window: &Harness<'_, Studio>, tensor: &str) -> Arc<CompressedTensor> {
    let bench = window.state().state.derived.bench(Candidate::A);
    let tensors = bench.live.as_ref().expect("a running A").tensors();
    let found = tensors.iter().find(|t| t.name == tensor);
    Arc::clone(found.expect(tensor))
}

/// Its encoding.
fn running(window: &Harness<'_, Studio>, tensor: &str) -> &'static str {
    running_tensor(window, tensor).encoding.name()
}

fn total(window: &Harness<'_, Studio>) -> u64 {
    window.state().state.derived.bench(Candidate::A).meter.total
}

/// As the meter writes it.
fn shown(bytes: u64) -> String {
    format!("{:.1} kB", bytes as f64 / 1e3)
}

/// Drags the handle of a slider to its right end, in steps, as a hand does.
fn drag_to_end(window: &mut Harness<'_, Studio>, label: &str) {
    let rect = window.get_by_role_and_label(Role::Slider, label).rect();
    window.drag_at(rect.center());
    window.step();
    for share in [0.7, 0.9, 1.0] {
        let x = rect.left() + share * rect.width();
        window.hover_at(pos2(x, rect.center().y));
        window.step();
    }
    let end = pos2(rect.right() - 1.0, rect.center().y);
    window.drop_at(end);
    window.step();
}

fn open_spec(path: &Path) -> Harness<'static, Studio> {
    let start = Start {
        model: Some(path.to_owned()),
        calibrations: path.parent().map(|folder| folder.join("calibrations")),
        ..Start::default()
    };
    window(start, Scripted(None))
}

#[test]
fn every_input_has_a_name_and_a_wide_window_is_not_needed() {
    let (_folder, mut window) = tiny_window();
    window.check_accessibility();
    click(&mut window, "Open…");
    window.check_accessibility();
    window.set_size(vec2(1100.0, 680.0));
    window.run_steps(2);
    window.check_accessibility();
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_display_there_is_one_clear_sentence() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_whittle"))
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(
        sentence.starts_with("whittle: no display: ") && sentence.lines().count() == 1,
        "{sentence}"
    );
}
