//! Calibrations, methods and tunes.

use super::*;
use whittle::app::{GoalKind, JobKind};
use whittle::recipe::Quantizer;

const TENSOR: &str = "blk.0.attn_q.weight";

/// Chooses an entry of a menu.
fn choose(window: &mut Harness<'_, Studio>, menu: &str, entry: &str) {
    click(window, menu);
    click(window, entry);
    settle(window);
}

#[test]
fn gptq_searches_until_the_model_is_calibrated_and_then_is_made_anew() {
    let (folder, mut window) = tiny_window();
    assert!(window.state().state.derived.calibration.is_none());
    choose(&mut window, "Method of blk.0.attn_q", "gptq");
    assert_eq!(setting(&window, TENSOR).method, Quantizer::Gptq);
    let before = running_tensor(&window, TENSOR);
    assert_eq!(before.methods.quantizer, Quantizer::Search);
    assert_eq!(before.output_error, None);

    click(&mut window, "Calibrate");
    settle(&mut window);
    let state = &window.state().state;
    let said = state.view.notices.last().expect("a notice");
    assert_eq!(said.severity, Severity::Info, "{}", said.text);
    let calibration = state.derived.calibration.as_ref().expect("a calibration");
    let tokens = calibration.origin.tokens.to_string();
    assert!(said.text.contains(&tokens) && said.text.contains("cache"));
    let after = running_tensor(&window, TENSOR);
    assert_eq!(after.methods.quantizer, Quantizer::Gptq);
    assert!(after.output_error.is_some() && after.bytes != before.bytes);
    let other = running_tensor(&window, "blk.1.attn_q.weight");
    assert_eq!(other.methods.quantizer, Quantizer::Nearest);

    // The next window takes up what is in the cache, and its export is calibrated too.
    drop(window);
    let mut window = window_on(folder.path());
    assert!(window.state().state.derived.calibration.is_some());
    assert!(window.query_by_label("Calibrated").is_some());
    choose(&mut window, "Method of blk.0.attn_q", "gptq");
    assert_eq!(*running_tensor(&window, TENSOR), *after);
    window.check_accessibility();
}

#[test]
fn a_group_gets_its_method_and_its_pruner_with_one_rule() {
    let (_folder, mut window) = tiny_window();
    choose(&mut window, "Method of Attention, all layers", "search");
    drag_to_end(&mut window, "Sparsity of Attention, all layers");
    choose(
        &mut window,
        "Method of Attention, all layers",
        "prune by wanda",
    );
    for layer in 0..2 {
        let found = setting(&window, &format!("blk.{layer}.attn_k.weight"));
        let text = found.to_string();
        assert_eq!(text, "bits:4,sparsity:0.95,method:search,pruner:wanda");
    }
    let shown = window.query_all_by(|node| node.value().as_deref() == Some("search+wanda"));
    assert!(shown.count() > 1, "the group and its matrices");
    let bench = window.state().state.derived.bench(Candidate::A);
    assert!(bench.is_current());
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(&mut window);
    let text = setting(&window, TENSOR).to_string();
    assert_eq!(text, "bits:4,sparsity:0.95,method:search");

    // A pruner that has nothing to prune asks for nothing, and holds nothing up.
    choose(&mut window, "Method of Embedding", "prune by sparsegpt");
    let bench = window.state().state.derived.bench(Candidate::A);
    assert!(bench.is_current());
}

#[test]
fn a_tune_replaces_the_recipe_and_one_undo_brings_the_old_one_back() {
    let (_folder, mut window) = tiny_window();
    let before = window.state().state.project.clone();
    click(&mut window, "Tune…");
    window.check_accessibility();
    let form = &mut window.state_mut().state.view.tune;
    assert!(form.megabytes > 0.0, "as large as it is");
    assert_eq!(form.kind, GoalKind::Megabytes);
    form.exchanges = 2;
    window.run_steps(2);
    click(&mut window, "Start tune");
    settle(&mut window);
    let state = &window.state().state;
    let tuned = state.derived.tuned.as_ref();
    let tuned = tuned.unwrap_or_else(|| panic!("{:?}", state.view.notices));
    assert_eq!(state.project.a, tuned.recipe);
    assert_ne!(state.project.a, before.a);
    let label = format!("measured {:.4}", tuned.measured_kl);
    assert!(window.query_all_by_label_contains(&label).next().is_some());
    let bench = state.derived.bench(Candidate::A);
    assert!(bench.is_current() && bench.meter.total <= tuned.bytes);
    // What the window predicts of it is what the tune did.
    let predicted = bench.preview.as_ref().expect("a preview").total.value;
    assert!((predicted - tuned.predicted_kl).abs() < 0.2 * tuned.predicted_kl + 1e-6);

    window.key_press(Key::Escape);
    window.run_steps(2);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(&mut window);
    assert_eq!(window.state().state.project, before);
    assert!(!window.state().state.view.can_undo, "a tune is one step");
}

#[test]
fn a_goal_below_the_smallest_file_is_refused_before_any_work() {
    let (folder, mut window) = tiny_window();
    let before = window.state().state.project.clone();
    click(&mut window, "Tune…");
    let check = |window: &mut Harness<'_, Studio>, kind: GoalKind, expected: &str| {
        let form = &mut window.state_mut().state.view.tune;
        (form.kind, form.megabytes, form.bits_per_weight) = (kind, 0.01, 0.5);
        window.run_steps(2);
        click(window, "Start tune");
        settle(window);
        let notice = window.state().state.view.notices.last().expect("a notice");
        assert_eq!(notice.severity, Severity::Error);
        assert!(notice.text.contains(expected), "{}", notice.text);
    };
    check(
        &mut window,
        GoalKind::Megabytes,
        " bytes, found 10000: that is every tensor",
    );
    check(
        &mut window,
        GoalKind::BitsPerWeight,
        " bits for each weight, found 0.5: that is",
    );
    assert!(
        !folder.path().join("calibrations").exists(),
        "it was calibrated"
    );
    assert_eq!(window.state().state.project, before);
}

#[test]
fn a_cancelled_calibration_changes_nothing() {
    let (_folder, mut window) = tiny_window();
    let before = window.state().state.project.clone();
    window
        .get_by_role_and_label(Role::Button, "Calibrate")
        .click();
    window.step();
    let job = window.state().state.jobs.get(JobKind::Calibrate);
    job.expect("a job").cancel();
    settle(&mut window);
    let state = &window.state().state;
    assert!(state.derived.calibration.is_none());
    assert!(state.view.notices.is_empty(), "{:?}", state.view.notices);
    assert_eq!(state.project, before);
}
