//! The window without a display: what a person does, by role and label.

#![cfg(feature = "gui")]

#[path = "support/firmware.rs"]
mod firmware;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tiny_model::TinyModel;
use whittle::app::{
    Candidate, DialogAnswer, Dialogs, Purpose, Severity, Speaker, Start, Studio, Utterance,
};
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
        if state.is_idle() && state.jobs.dialog.is_none() {
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
    let start = Start {
        model: Some(path.display().to_string()),
        ..Start::default()
    };
    let out = folder.path().join("out.whittle");
    (folder, window(start, Scripted(Some(out))))
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

/// The encoding of a tensor that the assistant of A runs on.
fn running(window: &Harness<'_, Studio>, tensor: &str) -> &'static str {
    let bench = window.state().state.derived.bench(Candidate::A);
    let tensors = bench.live.as_ref().expect("a running A").tensors();
    let tensor = tensors.iter().find(|t| t.name == tensor).expect(tensor);
    tensor.encoding.name()
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

#[test]
fn a_bits_slider_changes_recipe_bytes_and_the_running_tensor_and_one_undo_takes_it_back() {
    let (_folder, mut window) = tiny_window();
    let tensor = "blk.0.attn_q.weight";
    let before = (window.state().state.project.clone(), total(&window));
    assert_eq!(running(&window, tensor), "dense4");
    assert!(window.query_all_by_label(&shown(before.1)).next().is_some());

    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    assert_eq!(setting(&window, tensor).precision, Precision::Source);
    let after = total(&window);
    assert!(after > before.1, "{after} is not over {}", before.1);
    assert!(window.query_all_by_label(&shown(after)).next().is_some());

    settle(&mut window);
    assert_eq!(running(&window, tensor), "f16");
    assert_eq!(running(&window, "blk.1.attn_q.weight"), "dense4");
    let bench = window.state().state.derived.bench(Candidate::A);
    assert!(bench.is_current());

    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(&mut window);
    assert_eq!(window.state().state.project, before.0);
    assert_eq!(running(&window, tensor), "dense4");
    assert!(!window.state().state.view.can_undo, "one drag is one step");
    window.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    settle(&mut window);
    assert_eq!(running(&window, tensor), "f16");
}

#[test]
fn a_group_slider_sets_every_matrix_of_the_group_with_one_rule() {
    let (_folder, mut window) = tiny_window();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    drag_to_end(&mut window, "Sparsity of Attention, all layers");
    settle(&mut window);
    for layer in 0..2 {
        for (name, bits) in [("attn_k", 4.0), ("attn_output", 4.0)] {
            let found = setting(&window, &format!("blk.{layer}.{name}.weight"));
            assert_eq!((found.precision.bits(), found.sparsity), (Some(bits), 0.95));
        }
    }
    // The exception of before stays one.
    let exception = setting(&window, "blk.0.attn_q.weight");
    assert_eq!(
        (exception.precision, exception.sparsity),
        (Precision::Source, 0.95)
    );
    drag_to_end(&mut window, "Bits of Attention, all layers");
    settle(&mut window);
    let rules = &window.state().state.project.a.rules;
    let last = rules.last().unwrap();
    assert_eq!((last.bits, last.sparsity), (Precision::Source, 0.95));
    let is_attention = |r: &&whittle::recipe::Rule| {
        let text = toml::to_string(r).unwrap();
        text.contains("attn_") || text.contains("attention")
    };
    assert_eq!(rules.iter().filter(is_attention).count(), 1, "{rules:?}");
}

#[test]
fn a_preset_replaces_the_recipe_and_x_switches_the_candidate() {
    let (_folder, mut window) = tiny_window();
    click(&mut window, "Recipe of A");
    click(&mut window, "small-3bit");
    settle(&mut window);
    let preset = Recipe::open("small-3bit").unwrap();
    assert_eq!(window.state().state.project.a, preset);
    let bench = window.state().state.derived.bench(Candidate::A);
    assert!(bench.is_current());
    assert!(
        window
            .state()
            .state
            .derived
            .bench(Candidate::B)
            .live
            .is_none()
    );

    window.key_press(Key::X);
    settle(&mut window);
    assert_eq!(window.state().state.view.active, Candidate::B);
    assert!(
        window
            .state()
            .state
            .derived
            .bench(Candidate::B)
            .is_current()
    );
    assert!(window.query_by_label("B answers · original").is_some());
    click(&mut window, "Candidate A");
    assert_eq!(window.state().state.view.active, Candidate::A);
}

#[test]
fn the_assistant_answers_and_a_replay_asks_both() {
    let (_folder, mut window) = tiny_window();
    window
        .get_by_role_and_label(Role::TextInput, "Prompt")
        .focus();
    window.step();
    window
        .get_by_role_and_label(Role::TextInput, "Prompt")
        .type_text("hello you");
    window.run_steps(2);
    click(&mut window, "Ask");
    settle(&mut window);
    click(&mut window, "Replay through both");
    settle(&mut window);
    let view = &window.state().state.view;
    let speakers: Vec<Speaker> = view.transcript.iter().map(|u| u.speaker).collect();
    let (a, b) = (Speaker::Model(Candidate::A), Speaker::Model(Candidate::B));
    assert_eq!(speakers, [Speaker::Person, a, Speaker::Person, a, b]);
    assert_eq!(view.transcript[2].text, "hello you");
    let hash = |index: usize| view.transcript[index].facts.as_ref().unwrap().logits_hash;
    assert_eq!(hash(1), hash(3), "both begin with an empty memory");
    assert_ne!(hash(3), hash(4), "another recipe has other logits");
    assert!(view.notices.is_empty(), "{:?}", view.notices);
}

#[test]
fn other_models_are_one_click_away_with_their_sizes() {
    let (_folder, window) = tiny_window();
    for (model, size) in [
        ("SmolLM2 135M", "98.36 MB"),
        ("Qwen2.5 Coder 1.5B", "1.12 GB"),
    ] {
        let button = window.get_by(|node| {
            node.role() == Role::Button && node.label().is_some_and(|label| label.contains(model))
        });
        let label = button.accesskit_node().label().expect("a label");
        // What is here already has nothing to fetch.
        let is_here = label.starts_with("Open ");
        let is_fetched = label.starts_with("Fetch ") && label.ends_with(size);
        assert!(is_here || is_fetched, "{label}");
    }
    window.get_by_label("Open hearth, smart-home assistant, 2.2 M, F16");
}

#[test]
fn sampling_is_set_for_both_saved_and_undone() {
    let (_folder, mut window) = tiny_window();
    let greedy = window.state().state.project.sampling;
    click(&mut window, "Sampling");
    window.check_accessibility();
    let temperature = window.get_by_role_and_label(Role::SpinButton, "Temperature");
    let start = temperature.rect().center();
    window.drag_at(start);
    window.step();
    for x in [20.0, 60.0, 100.0] {
        window.hover_at(start + vec2(x, 0.0));
        window.step();
    }
    window.drop_at(start + vec2(100.0, 0.0));
    window.run_steps(2);
    let set = window.state().state.project.sampling;
    assert!(set.temperature > 0.5, "{set:?}");
    assert_eq!(set.sampling().check(), Ok(()));
    window.key_press(Key::Escape);
    window.run_steps(2);
    let seed = window.query_by_role_and_label(Role::SpinButton, "Seed");
    assert!(seed.is_none(), "the menu is closed");

    // B is A here: the same recipe, the same sampling, the same words.
    let project = &mut window.state_mut().state.project;
    project.b = project.a.clone();
    window.state_mut().state.view.prompt = "hello you".into();
    settle(&mut window);
    click(&mut window, "Ask");
    settle(&mut window);
    click(&mut window, "Replay through both");
    settle(&mut window);
    let view = &window.state().state.view;
    let hash = |index: usize| view.transcript[index].facts.as_ref().unwrap().logits_hash;
    let sampled = hash(3);
    assert_eq!(sampled, hash(4));
    assert_eq!(view.transcript[3].text, view.transcript[4].text);

    // One step for the recipe of B, one for the drag.
    for _ in 0..2 {
        window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        window.run_steps(2);
    }
    assert_eq!(window.state().state.project.sampling, greedy);
    click(&mut window, "Replay through both");
    settle(&mut window);
    let last = window.state().state.view.transcript.iter().rev();
    let facts = last.filter_map(|u| u.facts.as_ref());
    assert!(facts.take(2).all(|f| f.logits_hash != sampled));
}

#[test]
fn coarser_keys_and_values_take_less_ram_and_speak_otherwise() {
    let (_folder, mut window) = tiny_window();
    let kv_bytes = |window: &Harness<'_, Studio>| {
        let bench = window.state().state.derived.bench(Candidate::A);
        bench.estimates[0].kv_bytes
    };
    let fine = kv_bytes(&window);
    let hash = |window: &mut Harness<'_, Studio>| {
        window.state_mut().state.view.prompt = "hello you".into();
        click(window, "Ask");
        settle(window);
        let last = window.state().state.view.transcript.last().unwrap();
        last.facts.as_ref().unwrap().logits_hash
    };
    click(&mut window, "New conversation");
    let before = hash(&mut window);
    let choose_four = |window: &mut Harness<'_, Studio>| {
        click(window, "KV bits");
        click(window, "KV 4 bits");
        settle(window);
        assert!(kv_bytes(window) * 2 < fine);
    };
    choose_four(&mut window);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.run_steps(2);
    assert_eq!(kv_bytes(&window), fine);
    choose_four(&mut window);
    click(&mut window, "New conversation");
    assert_ne!(hash(&mut window), before);
}

#[test]
fn an_exported_model_opens_and_has_the_size_that_the_meter_said() {
    let (folder, mut window) = tiny_window();
    click(&mut window, "Export…");
    window.check_accessibility();
    click(&mut window, "Browse for Export path");
    settle(&mut window);
    click(&mut window, "Export to path");
    settle(&mut window);
    let path = folder.path().join("out.whittle");
    let packed = PackedModel::open(&path, &Job::silent()).unwrap();
    assert_eq!(packed.shape().layers, 2);
    let (said, is) = (total(&window), packed.bytes().len() as u64);
    assert!(
        said.abs_diff(is) <= 4096,
        "the meter said {said}, the file has {is}"
    );
    let notices = &window.state().state.view.notices;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].severity, Severity::Info);
}

#[test]
fn an_exported_gguf_file_is_a_model_with_the_same_shape() {
    let (folder, mut window) = tiny_window();
    click(&mut window, "Export…");
    click(&mut window, "Browse for GGUF path");
    settle(&mut window);
    click(&mut window, "Export GGUF to path");
    settle(&mut window);
    let model = Model::load(&folder.path().join("out.whittle"), &Job::silent()).unwrap();
    assert_eq!(model.hyperparameters.layers, 2);
    assert_eq!(
        window.state().state.view.notices[0].severity,
        Severity::Info
    );
}

#[test]
fn a_project_is_saved_and_opened_again() {
    let (folder, mut window) = tiny_window();
    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    click(&mut window, "Export…");
    let path = folder.path().join("mine.toml");
    window.state_mut().state.view.project_path = path.display().to_string();
    window.run_steps(2);
    click(&mut window, "Save to path");
    settle(&mut window);
    let saved = Project::parse("mine", &std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved, window.state().state.project);
    let again = open_spec(&path);
    assert_eq!(again.state().state.project, saved);
    assert_eq!(running(&again, "blk.0.attn_q.weight"), "f16");
}

fn open_spec(path: &Path) -> Harness<'static, Studio> {
    let start = Start {
        model: Some(path.display().to_string()),
        ..Start::default()
    };
    window(start, Scripted(None))
}

#[test]
fn a_broken_path_is_a_notice_that_can_be_dismissed() {
    let mut window = open_spec(Path::new("no/such/model.gguf"));
    let view = &window.state().state.view;
    assert_eq!(view.notices.len(), 1);
    assert_eq!(view.notices[0].severity, Severity::Error);
    let text = &view.notices[0].text;
    assert!(text.contains("no/such/model.gguf"), "{text}");
    assert!(window.query_by_label(&text.clone()).is_some());
    click(&mut window, "Dismiss");
    assert!(window.state().state.view.notices.is_empty());
    // The window lives on: what could be opened is offered.
    assert!(
        window
            .query_by_label("Open a language model to begin")
            .is_some()
    );
}

#[test]
fn a_dialog_that_is_not_there_is_said_and_nothing_is_lost() {
    let mut window = open_spec(Path::new("no/such/model.gguf"));
    click(&mut window, "Browse…");
    settle(&mut window);
    let last = window.state().state.view.notices.last().unwrap();
    assert!(last.text.contains("type the path"), "{}", last.text);
}

#[test]
fn an_evaluation_belongs_to_its_recipe() {
    // Longer than a window of the evaluation.
    let model = TinyModel {
        context: 1024,
        ..TinyModel::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, model.gguf()).unwrap();
    let mut window = open_spec(&path);
    click(&mut window, "Evaluate");
    settle(&mut window);
    let state = &window.state().state;
    assert!(state.view.notices.is_empty(), "{:?}", state.view.notices);
    let evaluated = state.derived.bench(Candidate::A).evaluation.as_ref();
    let evaluated = evaluated.unwrap();
    assert_eq!(evaluated.recipe, state.project.a);
    assert!(evaluated.result.kl_mean > 0.0 && evaluated.result.kl_mean_standard_error > 0.0);
    let label = format!(
        "KL {:.4} ± {:.4}",
        evaluated.result.kl_mean, evaluated.result.kl_mean_standard_error
    );
    assert!(window.query_by_label(&label).is_some(), "no {label}");
    assert!(
        evaluated
            .basis
            .reference_precision
            .ends_with("bits a weight")
    );

    // What was measured is in the page on it.
    let page = folder.path().join("page.html");
    click(&mut window, "Export…");
    window.state_mut().state.view.report_path = page.display().to_string();
    window.run_steps(2);
    window.check_accessibility();
    click(&mut window, "Report to path");
    settle(&mut window);
    let page = std::fs::read_to_string(page).unwrap();
    let mean = window
        .state()
        .state
        .derived
        .bench(Candidate::A)
        .evaluation
        .as_ref();
    let mean = format!("{:.5}", mean.unwrap().result.kl_mean);
    for text in [
        mean.as_str(),
        "evaluation.txt of Whittle",
        "esp32-c3",
        "<svg",
    ] {
        assert!(page.contains(text), "no {text} in the page");
    }
}

#[test]
fn tasks_are_asked_in_the_background_and_belong_to_their_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("tiny.gguf");
    std::fs::write(&model, TinyModel::default().gguf()).unwrap();
    let tasks = folder.path().join("two.jsonl");
    let lines = "{\"prompt\": \"hello\", \"pattern\": \".\"}\n{\"prompt\": \"hello\", \"intent\": \"Chat\"}\n";
    std::fs::write(&tasks, lines).unwrap();
    let start = Start {
        model: Some(model.display().to_string()),
        ..Start::default()
    };
    let mut window = window(start, Scripted(Some(tasks.clone())));
    assert!(window.query_by_label("tasks 50.0 % of 2").is_none());
    click(&mut window, "Tasks…");
    window.check_accessibility();
    click(&mut window, "Tasks from a file…");
    settle(&mut window);
    let state = &window.state().state;
    assert!(state.view.notices.is_empty(), "{:?}", state.view.notices);
    let tasked = state.derived.bench(Candidate::A).tasks.as_ref().unwrap();
    assert_eq!(tasked.set, tasks.display().to_string());
    assert_eq!(tasked.recipe, state.project.a);
    assert_eq!(
        (tasked.report.held.held, tasked.report.groups.len()),
        (1, 2)
    );
    assert!(window.query_by_label("tasks not asked").is_some(), "B");
    window.get_by_label("tasks 50.0 % of 2").hover();
    window.run_steps(60);
    let stale = "of an earlier recipe or KV precision: ask again";
    assert!(window.query_by_label_contains("right intent").is_some());
    assert!(window.query_by_label(stale).is_none());

    drag_to_end(&mut window, "Bits of blk.0.attn_q");
    settle(&mut window);
    window.get_by_label("tasks 50.0 % of 2").hover();
    window.run_steps(60);
    assert!(window.query_by_label(stale).is_some());

    std::fs::write(&tasks, "{}").unwrap();
    click(&mut window, "Tasks…");
    click(&mut window, "Tasks from a file…");
    settle(&mut window);
    let notice = window.state().state.view.notices.last().unwrap();
    assert!(
        notice.text.contains("line 1: missing field `prompt`"),
        "{notice:?}"
    );
}

#[test]
fn an_intent_line_stands_above_the_reply() {
    let (_folder, mut window) = tiny_window();
    let utterance = |text: &str| Utterance {
        speaker: Speaker::Model(Candidate::A),
        text: text.into(),
        facts: None,
    };
    window.state_mut().state.view.transcript = vec![
        utterance("HassTurnOn@area kitchen\nThe kitchen light is on."),
        utterance("Yes"),
    ];
    window.run_steps(2);
    for label in ["HassTurnOn@area kitchen", "The kitchen light is on.", "Yes"] {
        assert!(window.query_by_label(label).is_some(), "no {label}");
    }
}

#[cfg(all(unix, feature = "flash"))]
#[test]
fn a_board_is_flashed_and_verified() {
    let (folder, mut window) = tiny_window();
    let elf = folder.path().join("firmware.elf");
    std::fs::write(&elf, firmware::firmware(4096)).unwrap();
    let project = &mut window.state_mut().state.project;
    project.board = "esp32-c3".into();
    project.firmware = Some(elf);
    click(&mut window, "Flash…");
    settle(&mut window);
    window.state_mut().state.view.port = "fake".into();
    window.run_steps(2);
    window.check_accessibility();
    click(&mut window, "Flash the board");
    settle(&mut window);
    let view = &window.state().state.view;
    let flashed = view
        .flashed
        .as_ref()
        .unwrap_or_else(|| panic!("{:?}", view.notices));
    assert!(flashed.verified_bytes > 50_000, "{flashed:?}");
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
