//! How long a slider over a large matrix takes to be heard: 2048 x 5632, as models of a thousand million
//! weights have them.

#[path = "../support/tiny_model.rs"]
mod tiny_model;

use eframe::egui::accesskit::Role;
use eframe::egui::{pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use std::time::{Duration, Instant};
use tiny_model::TinyModel;
use whittle::app::{Candidate, Start, Studio, SystemDialogs};

/// Limit of each wait on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// A release build on a machine with nothing else to do shall take 100 ms; this one is hardly optimised and
/// shares the machine.
const LONGEST: Duration = Duration::from_secs(5);
const TENSOR: &str = "blk.0.ffn_down.weight";

/// Draws frames until `is_done`, and returns how long that took.
fn wait(
    window: &mut Harness<'_, Studio>,
    is_done: impl Fn(&Harness<'_, Studio>) -> bool,
) -> Duration {
    let start = Instant::now();
    loop {
        window.step();
        if is_done(window) {
            return start.elapsed();
        }
        assert!(start.elapsed() < LIMIT, "still busy");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What the processors have done for this process so far, in steps of 10 ms.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = text.rsplit(')').next().expect("a name in brackets");
    let fields: Vec<u64> = after_name
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    Duration::from_millis(10 * (fields[11] + fields[12]))
}

/// Whether the tensor that runs has the setting of the slider.
fn is_heard(window: &Harness<'_, Studio>) -> bool {
    let state = &window.state().state;
    let Some(loaded) = state.loaded() else {
        return false;
    };
    let bench = state.derived.bench(Candidate::A);
    let place = loaded.matrices.iter().position(|m| m.name == TENSOR);
    let place = place.expect("the tensor");
    let built = bench.built.get(place).copied().flatten();
    built.is_some_and(|built| built.setting == bench.settings[place])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_slider_over_a_large_matrix_is_heard_at_once() {
    let model = TinyModel {
        layers: 1,
        hidden: 2048,
        feed_forward: 5632,
        heads: 32,
        kv_heads: 4,
        head_dim: 64,
        ..TinyModel::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.gguf");
    std::fs::write(&path, model.gguf()).expect("a file");
    let start = Start {
        model: Some(path.clone()),
        calibrations: Some(folder.path().join("calibrations")),
        ..Start::default()
    };
    let mut window = Harness::builder()
        .with_size(vec2(1400.0, 900.0))
        .allow_missing_glyphs()
        .build_eframe(|creation| {
            let dialogs = Box::new(SystemDialogs);
            Studio::new(&creation.egui_ctx, &start, dialogs).expect("a window")
        });
    wait(&mut window, |window| {
        window.state().state.is_idle() && is_heard(window)
    });
    for slider in ["Bits of blk.0.ffn_down", "Sparsity of blk.0.ffn_down"] {
        let rect = window.get_by_role_and_label(Role::Slider, slider).rect();
        let at = |share: f32| pos2(rect.left() + share * rect.width(), rect.center().y);
        window.drag_at(rect.center());
        window.step();
        let (mut times, begun) = (Vec::new(), processor_time());
        for share in [0.3, 0.42, 0.55, 0.3, 0.42, 0.55, 0.3] {
            window.hover_at(at(share));
            times.push(wait(&mut window, is_heard));
        }
        let busy = (processor_time() - begun) / 7;
        window.drop_at(at(0.3));
        wait(&mut window, |window| window.state().state.is_idle());
        println!("{slider}: {times:?}, of processors {busy:?} each");
        let median = median(times);
        assert!(median < LONGEST, "{slider}: {median:?}");
    }
}
